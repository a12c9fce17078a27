//! `/v1/topics`: what is read upstream, and for how many.

use serde_json::{Value, json};

use super::Admin;
use super::answer::{self, Answer};

/// All of them, by route and path.
pub fn list(admin: &Admin) -> Answer {
    let topics: Vec<Value> = admin
        .shared
        .hub
        .topics()
        .into_iter()
        .map(|topic| {
            json!({
                "route": topic.route,
                "path": topic.path,
                "scope": topic.scope,
                "subscribers": topic.subscribers,
                "at": topic.at.to_string(),
                "live": topic.state.live,
                "why": topic.state.why,
                "history": { "events": topic.events, "bytes": topic.bytes },
            })
        })
        .collect();
    answer::json(&json!({ "total": topics.len(), "topics": topics }))
}
