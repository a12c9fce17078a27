//! `crossfade rollout …`: the release manager's commands.

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

use super::client::ApiClient;
use super::client::{ApiAnswer, encode};
use super::outcome::{AdminOptions, Failure, Outcome, print};
use super::table::{age, cell, table};
use crate::rollout::thousandths;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Shows percentage, state, source, sessions and namespaces of Socket.IO.
    #[command(after_help = "Example:
  crossfade rollout status")]
    Status(Which),
    /// Sets the percentage that gets WebSocket.
    #[command(
        after_help = "Lowering it moves the clients that leave back to the legacy transport, with their position.

Example:
  crossfade rollout set 25 --rollout web"
    )]
    Set {
        /// 0 to 100, up to three decimals.
        #[arg(value_name = "PERCENT", value_parser = percent, allow_negative_numbers = true)]
        percent: f64,
        #[command(flatten)]
        which: Which,
    },
    /// Takes everybody back to the legacy transport, within seconds; without --rollout, of every rollout.
    #[command(
        after_help = "It stays killed until `crossfade rollout resume`, through reloads and restarts.

Example:
  crossfade rollout kill --reason 'events arrive twice'"
    )]
    Kill {
        /// For the history.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        #[command(flatten)]
        which: Which,
    },
    /// Ends a kill, a rollback or a pause; the percentage is what was set last.
    #[command(after_help = "Example:
  crossfade rollout resume --rollout web")]
    Resume(Which),
    /// Stops the schedule where it is; the percentage stays.
    #[command(after_help = "Example:
  crossfade rollout pause --rollout web")]
    Pause(Which),
    /// Shows what happened, oldest first.
    #[command(after_help = "Example:
  crossfade rollout history --rollout web")]
    History(Which),
}

#[derive(Args)]
pub(crate) struct Which {
    /// Which rollout; may be left out when there is one.
    #[arg(long, value_name = "NAME")]
    rollout: Option<String>,
    #[command(flatten)]
    remote: AdminOptions,
}

pub(crate) async fn run(command: Command) -> Outcome {
    match command {
        Command::Status(which) => status(which).await,
        Command::Set { percent, which } => {
            change(
                which,
                Method::PATCH,
                "",
                Some(json!({ "percent": percent })),
            )
            .await
        }
        Command::Kill { reason, which } => kill(which, reason).await,
        Command::Resume(which) => change(which, Method::POST, "/resume", None).await,
        Command::Pause(which) => {
            change(which, Method::PATCH, "", Some(json!({ "paused": true }))).await
        }
        Command::History(which) => history(which).await,
    }
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).parse::<f64>();
    number
        .ok()
        .filter(|percent| thousandths(*percent).is_some())
        .ok_or_else(|| "a number from 0 to 100 with up to three decimals is needed".to_owned())
}

async fn status(which: Which) -> Outcome {
    let client = ApiClient::new(which.remote)?;
    let answer = match &which.rollout {
        Some(name) => {
            client
                .get(&format!("/v1/rollouts/{}", encode(name)))
                .await?
        }
        None => client.get("/v1/rollouts").await?,
    };
    if client.wants_json() {
        print(&answer.text);
        return Ok(());
    }
    let rollouts = match which.rollout {
        Some(_) => vec![answer.json],
        None => list_of(&answer),
    };
    print(&show(&rollouts));
    Ok(())
}

/// Without a name it kills all: in an emergency operators should not have to look one up.
async fn kill(which: Which, reason: Option<String>) -> Outcome {
    let client = ApiClient::new(which.remote)?;
    let names = match which.rollout {
        Some(name) => vec![name],
        None => names_of(&client.get("/v1/rollouts").await?),
    };
    if names.is_empty() {
        return Err(none_configured());
    }
    let document = reason.map(|reason| json!({ "reason": reason }));
    let (mut killed, mut failed) = (Vec::new(), Vec::new());
    for name in &names {
        let path = format!("/v1/rollouts/{}/kill", encode(name));
        match client.post(&path, document.clone()).await {
            Ok(answer) if client.wants_json() => print(&answer.text),
            Ok(answer) => killed.push(answer.json),
            // The others must be killed all the same.
            Err(Failure::No(why) | Failure::Usage(why)) => failed.push(why),
        }
    }
    if !killed.is_empty() {
        print(&show(&killed));
    }
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Failure::No(failed.join("\n"))),
    }
}

async fn change(which: Which, method: Method, action: &str, document: Option<Value>) -> Outcome {
    let client = ApiClient::new(which.remote)?;
    let name = one(&client, which.rollout).await?;
    let path = format!("/v1/rollouts/{}{action}", encode(&name));
    let answer = client.ask(method, &path, document).await?;
    match client.wants_json() {
        true => print(&answer.text),
        false => print(&show(&[answer.json])),
    }
    Ok(())
}

async fn history(which: Which) -> Outcome {
    let client = ApiClient::new(which.remote)?;
    let name = one(&client, which.rollout).await?;
    let answer = client
        .get(&format!("/v1/rollouts/{}/history", encode(&name)))
        .await?;
    if client.wants_json() {
        print(&answer.text);
        return Ok(());
    }
    let entries = answer.json["entries"].as_array();
    let rows: Vec<[String; 6]> = entries
        .into_iter()
        .flatten()
        .map(|entry| ["at", "by", "action", "from", "to", "why"].map(|name| cell(&entry[name])))
        .collect();
    let heading = ["AT", "BY", "ACTION", "FROM", "TO", "WHY"];
    print(&table(heading, &rows, "nothing happened yet"));
    Ok(())
}

/// The rollout that is meant: the one named, or the only one there is.
async fn one(client: &ApiClient, named: Option<String>) -> Result<String, Failure> {
    if let Some(name) = named {
        return Ok(name);
    }
    let names = names_of(&client.get("/v1/rollouts").await?);
    match names.as_slice() {
        [name] => Ok(name.clone()),
        [] => Err(none_configured()),
        several => Err(Failure::Usage(format!(
            "error: there are several rollouts; choose one with --rollout: {}",
            several.join(", ")
        ))),
    }
}

fn none_configured() -> Failure {
    Failure::No("error: no rollout is configured; add a [rollout.NAME] to the file".to_owned())
}

fn list_of(answer: &ApiAnswer) -> Vec<Value> {
    answer.json["rollouts"]
        .as_array()
        .cloned()
        .unwrap_or_default()
}

fn names_of(answer: &ApiAnswer) -> Vec<String> {
    let rollouts = list_of(answer);
    let names = rollouts
        .iter()
        .filter_map(|rollout| rollout["name"].as_str());
    names.map(str::to_owned).collect()
}

fn show(rollouts: &[Value]) -> String {
    let percent = |rollout: &Value| {
        let (set, in_force) = (&rollout["percent"], &rollout["effective_percent"]);
        match set == in_force {
            true => format!("{set} %"),
            false => format!("{in_force} % (set: {set} %)"),
        }
    };
    let rows: Vec<[String; 8]> = rollouts
        .iter()
        .map(|rollout| {
            let text = |name: &str| cell(&rollout[name]);
            [
                text("name"),
                percent(rollout),
                text("state"),
                text("source"),
                text("by"),
                text("sessions"),
                text("durable"),
                format!("{} ago", age(&rollout["changed_at"])),
            ]
        })
        .collect();
    let heading = [
        "NAME", "PERCENT", "STATE", "SOURCE", "BY", "SESSIONS", "DURABLE", "CHANGED",
    ];
    let shown = table(
        heading,
        &rows,
        "no rollout is configured: bridged routes are on for everybody",
    );
    shown + &namespaces(rollouts)
}

/// The namespaces of Socket.IO, in a table of their own: beside the rest a line has no room for them.
fn namespaces(rollouts: &[Value]) -> String {
    let governs = |rollout: &&Value| rollout["namespaces"] != Value::Array(Vec::new());
    let rows: Vec<[String; 2]> = (rollouts.iter().filter(governs))
        .map(|rollout| ["name", "namespaces"].map(|name| cell(&rollout[name])))
        .collect();
    match rows.is_empty() {
        true => String::new(),
        false => format!("\n{}", table(["NAME", "NAMESPACES"], &rows, "")),
    }
}
