//! `crossfade topics …`.

use clap::Subcommand;

use super::client::Client;
use super::outcome::{Outcome, Remote, print};
use super::table::{cell, table};

#[derive(Subcommand)]
pub enum Command {
    /// Shows every shared feed: its route, path, scope, subscribers, position and state.
    #[command(after_help = "Example:
  crossfade topics list")]
    List {
        #[command(flatten)]
        remote: Remote,
    },
}

pub async fn run(command: Command) -> Outcome {
    let Command::List { remote } = command;
    let client = Client::new(remote)?;
    let answer = client.get("/v1/topics").await?;
    if client.wants_json() {
        print(&answer.text);
        return Ok(());
    }
    let topics = answer.json["topics"].as_array();
    let rows: Vec<[String; 8]> = topics
        .into_iter()
        .flatten()
        .map(|topic| {
            let text = |name: &str| cell(&topic[name]);
            [
                text("route"),
                text("path"),
                text("scope"),
                text("subscribers"),
                text("at"),
                text("live"),
                text("why"),
                cell(&topic["history"]["events"]),
            ]
        })
        .collect();
    let heading = [
        "ROUTE",
        "PATH",
        "SCOPE",
        "SUBSCRIBERS",
        "AT",
        "LIVE",
        "WHY",
        "EVENTS",
    ];
    print(&table(
        heading,
        &rows,
        "nothing is read upstream: nobody listens",
    ));
    for hint in answer.json["hints"].as_array().into_iter().flatten() {
        print(&format!("hint: {}", cell(&hint["hint"])));
    }
    Ok(())
}
