//! `/v1/topics`: what is read upstream, and for how many.

use serde_json::{Value, json};

use crate::admin::Admin;
use crate::admin::response::{self, Answer};
use crate::hub::Split;

/// All of them, by route and path.
pub fn list(admin: &Admin) -> Answer {
    let hub = &admin.shared.hub;
    let topics: Vec<Value> = hub
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
    let hints: Vec<Value> = hub.splits().iter().map(hint).collect();
    response::json(&json!({ "total": topics.len(), "topics": topics, "hints": hints }))
}

/// What an operator may do about topics that are probably one.
fn hint(split: &Split) -> Value {
    let Split {
        route,
        parameter,
        topics,
    } = split;
    json!({
        "route": route,
        "parameter": parameter,
        "topics": topics,
        "hint": format!(
            "{topics} topics of {route} differ in the parameter `{parameter}` only: where it changes nothing of the answer, \
             write `ignore_query = [\"{parameter}\"]` in that route"
        ),
    })
}
