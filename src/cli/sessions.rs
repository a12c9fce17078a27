//! `crossfade sessions …` and `crossfade drain`.

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Map, Value, json};

use super::client::ApiClient;
use super::client::encode;
use super::outcome::{AdminOptions, Outcome, print};
use super::table::{age, cell, table};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Lists the connected clients, the oldest connection first.
    #[command(after_help = "Example:
  crossfade sessions list --limit 20")]
    List {
        /// At most this many, up to 1000.
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u16,
        /// Those after this session.
        #[arg(long, value_name = "ID")]
        after: Option<String>,
        #[command(flatten)]
        remote: AdminOptions,
    },
    /// Closes some sessions; the code tells their clients what to do.
    #[command(override_usage = "crossfade sessions close [OPTIONS] <--id|--user|--route|--all>")]
    #[command(after_help = "Example:
  crossfade sessions close --route board
  crossfade sessions close --id 5f3a --id 77c1 --code 4403")]
    Close {
        #[command(flatten)]
        whom: SelectorOptions,
        /// 4200 come back at once, 4100 come back later, 4300 go native, 4403 get new credentials.
        #[arg(long, default_value_t = 4200, value_parser = clap::value_parser!(u16).range(1000..=4999))]
        code: u16,
        #[command(flatten)]
        remote: AdminOptions,
    },
    /// Sends a notice to everyone, or to those on a route.
    #[command(after_help = "Example:
  crossfade sessions notify 'Maintenance at 22:00' --level warn")]
    Notify {
        /// For people.
        #[arg(value_name = "MESSAGE")]
        msg: String,
        /// How serious.
        #[arg(long, default_value = "info", value_parser = ["info", "warn", "error"])]
        level: String,
        /// JSON for programs.
        #[arg(long, value_name = "JSON", value_parser = parse_json)]
        data: Option<Value>,
        /// Only those with a subscription to it.
        #[arg(long, value_name = "NAME")]
        route: Option<String>,
        #[command(flatten)]
        remote: AdminOptions,
    },
}

#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct SelectorOptions {
    /// This session; may be given several times.
    #[arg(long = "id", value_name = "ID")]
    ids: Vec<String>,
    /// All of this user.
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// All with a subscription to this route.
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// Everyone.
    #[arg(long)]
    all: bool,
}

#[derive(Args)]
pub(crate) struct DrainCommand {
    /// Over how long they leave.
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "30s",
        conflicts_with = "cancel"
    )]
    window: String,
    /// Takes a drain back: ready again; sessions that are still open stay.
    #[arg(long)]
    cancel: bool,
    #[command(flatten)]
    remote: AdminOptions,
}

pub(crate) async fn run(command: Command) -> Outcome {
    match command {
        Command::List {
            limit,
            after,
            remote,
        } => list(remote, limit, after).await,
        Command::Close { whom, code, remote } => close(remote, whom, code).await,
        Command::Notify {
            msg,
            level,
            data,
            route,
            remote,
        } => {
            let mut document = Map::new();
            document.insert("msg".to_owned(), msg.into());
            document.insert("level".to_owned(), level.into());
            document.extend(data.map(|data| ("d".to_owned(), data)));
            document.extend(route.map(|route| ("route".to_owned(), route.into())));
            count(
                remote,
                "/v1/sessions/notify",
                document.into(),
                "notified",
                "sessions were told",
            )
            .await
        }
    }
}

/// Leave in order, or stay after all.
pub(crate) async fn drain(drain: DrainCommand) -> Outcome {
    let client = ApiClient::new(drain.remote)?;
    let answer = match drain.cancel {
        true => client.ask(Method::DELETE, "/v1/drain", None).await?,
        false => {
            let document = json!({ "window": drain.window });
            client.post("/v1/drain", Some(document)).await?
        }
    };
    let sessions = &answer.json["sessions"];
    match (client.wants_json(), drain.cancel) {
        (true, _) => print(&answer.text),
        (_, true) => print(&format!("ready again; {sessions} sessions stay")),
        (_, false) => print(&format!(
            "{sessions} sessions leave within {}; new ones are refused until `crossfade drain --cancel`",
            drain.window
        )),
    }
    Ok(())
}

async fn list(remote: AdminOptions, limit: u16, after: Option<String>) -> Outcome {
    let client = ApiClient::new(remote)?;
    let mut path = format!("/v1/sessions?limit={limit}");
    if let Some(after) = &after {
        path.push_str(&format!("&after={}", encode(after)));
    }
    let answer = client.get(&path).await?;
    if client.wants_json() {
        print(&answer.text);
        return Ok(());
    }
    let rows: Vec<[String; 7]> = answer.json["sessions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(row)
        .collect();
    let heading = ["ID", "USER", "REMOTE", "PROTOCOL", "AGE", "QUEUED", "PATHS"];
    let mut text = table(heading, &rows, "no client is connected");
    if let Some(next) = answer.json["next"].as_str() {
        text.push_str(&format!(
            "\n{} in all; more with --after {next}\n",
            answer.json["total"]
        ));
    }
    print(&text);
    Ok(())
}

/// What fits 80 columns; `--json` has the rest.
fn row(session: &Value) -> [String; 7] {
    let text = |name: &str| cell(&session[name]);
    let subscriptions: Vec<Value> = session["subscriptions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|subscription| subscription["path"].clone())
        .collect();
    [
        text("id"),
        text("user"),
        text("remote"),
        match session["namespace"].as_str() {
            Some(namespace) => format!("{} {namespace}", text("protocol")),
            None => text("protocol"),
        },
        age(&session["connected_at"]),
        session["queued"]["messages"].to_string(),
        cell(&Value::Array(subscriptions)),
    ]
}

async fn close(remote: AdminOptions, whom: SelectorOptions, code: u16) -> Outcome {
    let SelectorOptions {
        ids,
        user,
        route,
        all,
    } = whom;
    let (name, value) = match (user, route, all) {
        (Some(user), _, _) => ("user", json!(user)),
        (_, Some(route), _) => ("route", json!(route)),
        (_, _, true) => ("all", json!(true)),
        _ => ("ids", json!(ids)),
    };
    let document = json!({ name: value, "code": code });
    count(
        remote,
        "/v1/sessions/close",
        document,
        "closed",
        "sessions were closed",
    )
    .await
}

/// Sends an order whose answer is a number.
async fn count(
    remote: AdminOptions,
    path: &str,
    document: Value,
    member: &str,
    sentence: &str,
) -> Outcome {
    let client = ApiClient::new(remote)?;
    let answer = client.post(path, Some(document)).await?;
    match client.wants_json() {
        true => print(&answer.text),
        false => print(&format!("{} {sentence}", answer.json[member])),
    }
    Ok(())
}

fn parse_json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("no JSON: {error}"))
}
