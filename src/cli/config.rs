//! `crossfade config …`.

use clap::Subcommand;
use serde_json::Value;

use super::client::ApiClient;
use super::outcome::{AdminOptions, Outcome, print};
use super::table::{cell, table};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Shows every value in force and where it came from; secrets are ***.
    #[command(after_help = "Example:
  crossfade config show
  crossfade config show --changed
  crossfade config show --toml")]
    Show {
        /// Leaves out what has its default value.
        #[arg(long)]
        changed: bool,
        /// The file's text instead.
        #[arg(long, conflicts_with = "changed")]
        toml: bool,
        #[command(flatten)]
        remote: AdminOptions,
    },
    /// Reads the file again; a file with problems changes nothing.
    #[command(after_help = "Example:
  crossfade config reload")]
    Reload {
        #[command(flatten)]
        remote: AdminOptions,
    },
    /// Shows the last accepted configurations, oldest first.
    #[command(after_help = "Example:
  crossfade config history")]
    History {
        #[command(flatten)]
        remote: AdminOptions,
    },
    /// Goes one step back: rewrites the file with what was in force before, and reloads.
    #[command(after_help = "Example:
  crossfade config undo")]
    Undo {
        #[command(flatten)]
        remote: AdminOptions,
    },
}

pub(crate) async fn run(command: Command) -> Outcome {
    match command {
        Command::Show {
            changed,
            toml,
            remote,
        } => show(remote, changed, toml).await,
        Command::Reload { remote } => apply(remote, "/v1/config/reload").await,
        Command::History { remote } => history(remote).await,
        Command::Undo { remote } => apply(remote, "/v1/config/undo").await,
    }
}

async fn show(remote: AdminOptions, changed: bool, toml: bool) -> Outcome {
    let client = ApiClient::new(remote)?;
    let answer = client.get("/v1/config").await?;
    if client.wants_json() {
        print(&answer.text);
        return Ok(());
    }
    let config = answer.json;
    if toml {
        print(config["toml"].as_str().unwrap_or_default());
        return Ok(());
    }
    let values = config["values"].as_array();
    let rows: Vec<[String; 3]> = values
        .into_iter()
        .flatten()
        .filter(|value| !changed || value["source"] != "default")
        .map(|value| ["key", "value", "source"].map(|name| cell(&value[name])))
        .collect();
    print(&format!(
        "generation {} of {}, in force since {}\n\n{}",
        config["generation"],
        cell(&config["file"]),
        cell(&config["loaded_at"]),
        table(
            ["KEY", "VALUE", "SOURCE"],
            &rows,
            "every value is its default"
        )
    ));
    Ok(())
}

async fn history(remote: AdminOptions) -> Outcome {
    let client = ApiClient::new(remote)?;
    let answer = client.get("/v1/config/history").await?;
    if client.wants_json() {
        print(&answer.text);
        return Ok(());
    }
    let entries = answer.json["entries"].as_array();
    let rows: Vec<[String; 4]> = entries
        .into_iter()
        .flatten()
        .map(|entry| {
            let [generation, at, trigger, sha256] =
                ["generation", "at", "trigger", "sha256"].map(|name| cell(&entry[name]));
            // Enough to tell two files apart; --json has all of it.
            let sha256 = sha256.chars().take(12).collect();
            [generation, at, trigger, sha256]
        })
        .collect();
    print(&table(["GENERATION", "AT", "TRIGGER", "SHA256"], &rows, ""));
    Ok(())
}

async fn apply(remote: AdminOptions, path: &str) -> Outcome {
    let client = ApiClient::new(remote)?;
    let answer = client.post(path, None).await?;
    match client.wants_json() {
        true => print(&answer.text),
        false => print(&describe(&answer.json)),
    }
    Ok(())
}

fn describe(applied: &Value) -> String {
    let generation = &applied["generation"];
    if applied["changed"] == false {
        return format!("unchanged: generation {generation} stays in force");
    }
    let mut text = format!("generation {generation} is in force");
    for kind in ["added", "removed", "changed"] {
        let routes = &applied["routes"][kind];
        if routes.as_array().is_some_and(|routes| !routes.is_empty()) {
            text.push_str(&format!("\nroutes {kind}: {}", cell(routes)));
        }
    }
    text.push_str(&format!("\nconnections closed: {}", applied["closed"]));
    text
}
