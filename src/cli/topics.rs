//! `crossfade topics …`.

use std::collections::{BTreeMap, BTreeSet};

use clap::Subcommand;
use serde_json::Value;

use super::client::{ApiClient, encode};
use super::outcome::{AdminOptions, Failure, Outcome, print};
use super::table::{cell, table};

/// Pages of sessions, of 1,000 each, that are looked through for the users of topics.
const PAGES: usize = 100;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Shows every shared feed: its route, path, user, scope, subscribers, position and state.
    #[command(after_help = "Example:
  crossfade topics list")]
    List {
        #[command(flatten)]
        remote: AdminOptions,
    },
}

pub(super) async fn run(command: Command) -> Outcome {
    let Command::List { remote } = command;
    let client = ApiClient::new(remote)?;
    let answer = client.get("/v1/topics").await?;
    if client.wants_json() {
        print(&answer.text);
        return Ok(());
    }
    let topics = answer.json["topics"].as_array();
    let topics = topics.map(Vec::as_slice).unwrap_or_default();
    let users = users(&client, topics).await?;
    print(&describe(topics, &users));
    for hint in answer.json["hints"].as_array().into_iter().flatten() {
        print(&format!("hint: {}", cell(&hint["hint"])));
    }
    Ok(())
}

/// What fits 80 columns; `--json` has the rest.
fn describe(topics: &[Value], users: &BTreeMap<String, BTreeSet<String>>) -> String {
    let rows: Vec<[String; 7]> = topics
        .iter()
        .map(|topic| {
            let text = |name: &str| cell(&topic[name]);
            let users = epoch(&topic["at"]).and_then(|epoch| users.get(epoch));
            let users = users.filter(|_| is_of_users(topic));
            let users: Vec<Value> = users
                .into_iter()
                .flatten()
                .cloned()
                .map(Value::from)
                .collect();
            [
                text("path"),
                cell(&users.into()),
                text("scope"),
                text("subscribers"),
                text("live"),
                text("why"),
                cell(&topic["history"]["events"]),
            ]
        })
        .collect();
    let heading = [
        "PATH",
        "USER",
        "SCOPE",
        "SUBSCRIBERS",
        "LIVE",
        "WHY",
        "EVENTS",
    ];
    let empty = "nothing is read upstream: no client has a subscription";
    table(heading, &rows, empty)
}

/// The users of each topic, by its epoch, which a subscription's position names too.
async fn users(
    client: &ApiClient,
    topics: &[Value],
) -> Result<BTreeMap<String, BTreeSet<String>>, Failure> {
    let mut users = BTreeMap::<String, BTreeSet<String>>::new();
    if !topics.iter().any(is_of_users) {
        return Ok(users);
    }
    let mut path = "/v1/sessions?limit=1000".to_owned();
    for _ in 0..PAGES {
        let page = client.get(&path).await?.json;
        for session in page["sessions"].as_array().into_iter().flatten() {
            let Some(user) = session["user"].as_str() else {
                continue;
            };
            let subscriptions = session["subscriptions"].as_array().into_iter().flatten();
            for epoch in subscriptions.filter_map(|subscription| epoch(&subscription["at"])) {
                users
                    .entry(epoch.to_owned())
                    .or_default()
                    .insert(user.to_owned());
            }
        }
        match page["next"].as_str() {
            Some(next) => path = format!("/v1/sessions?limit=1000&after={}", encode(next)),
            None => break,
        }
    }
    Ok(users)
}

/// Whether a topic is of one user, or of one user's connection.
fn is_of_users(topic: &Value) -> bool {
    matches!(topic["scope"].as_str(), Some("user" | "connection"))
}

/// `k3` of `k3-41`.
fn epoch(at: &Value) -> Option<&str> {
    at.as_str()?.rsplit_once('-').map(|(epoch, _)| epoch)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_topic_of_a_user_has_its_name() {
        let topic = |scope: &str, at: &str| {
            json!({
                "route": "board", "path": "/board?page=1", "scope": scope, "subscribers": 2, "at": at,
                "live": true, "why": null, "history": {"events": 7, "bytes": 70},
            })
        };
        let names = BTreeSet::from(["alice".to_owned()]);
        let users = BTreeMap::from([("k3".to_owned(), names)]);
        let topics = [
            topic("user", "k3-41"),
            topic("public", "k3-41"),
            topic("user", "k4-1"),
        ];
        let told = describe(&topics, &users);
        let column: Vec<&str> = told
            .lines()
            .filter_map(|line| line.split_whitespace().nth(1))
            .collect();
        assert_eq!(column, ["USER", "alice", "-", "-"]);
    }
}
