//! `/v1/topics`: what is read upstream, and for how many.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use crate::admin::endpoint::Call;
use crate::admin::response::Fault;
use crate::admin::typed::Json;
use crate::hub::{Split, TopicInfo};

/// What is read upstream.
#[derive(Serialize, JsonSchema)]
pub(crate) struct TopicList {
    /// How many topics there are.
    total: usize,
    /// By route and path.
    topics: Vec<TopicView>,
    /// Routes whose topics differ in one query parameter only.
    hints: Vec<TopicHint>,
}

/// One topic.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Topic")]
struct TopicView {
    /// The route's name.
    route: Arc<str>,
    /// Path and query.
    path: String,
    /// Which clients may share it.
    #[schemars(extend("enum" = ["public", "claims", "authenticated", "user", "connection"]))]
    scope: &'static str,
    /// How many subscriptions it has.
    subscribers: usize,
    /// The position of its last event.
    at: String,
    /// Whether it follows its backend.
    live: bool,
    /// Why not.
    why: Option<&'static str>,
    /// Its replay window.
    history: ReplayWindow,
}

/// What a replay window holds.
#[derive(Serialize, JsonSchema)]
struct ReplayWindow {
    /// How many events.
    events: usize,
    /// Their size.
    bytes: usize,
}

/// What an operator may do about topics that are probably one.
#[derive(Serialize, JsonSchema)]
struct TopicHint {
    /// The route's name.
    route: Arc<str>,
    /// The parameter's name; never a value.
    parameter: String,
    /// So many are the same but for its value.
    #[schemars(range(min = 2))]
    topics: usize,
    /// What to do.
    hint: String,
}

/// All of them, by route and path.
pub(crate) async fn list(call: Call) -> Result<Json<TopicList>, Fault> {
    let hub = &call.admin.shared.hub;
    let topics: Vec<TopicView> = hub.topics().into_iter().map(TopicView::from).collect();
    Ok(Json(TopicList {
        total: topics.len(),
        topics,
        hints: hub.splits().into_iter().map(TopicHint::from).collect(),
    }))
}

impl From<TopicInfo> for TopicView {
    fn from(topic: TopicInfo) -> Self {
        TopicView {
            route: topic.route,
            path: topic.path,
            scope: topic.scope,
            subscribers: topic.subscribers,
            at: topic.at.to_string(),
            live: topic.state.live,
            why: topic.state.why,
            history: ReplayWindow {
                events: topic.events,
                bytes: topic.bytes,
            },
        }
    }
}

impl From<Split> for TopicHint {
    fn from(split: Split) -> Self {
        let Split {
            route,
            parameter,
            topics,
        } = split;
        let hint = format!(
            "{topics} topics of {route} differ in the parameter `{parameter}` only: where it changes nothing of the answer, \
             write `ignore_query = [\"{parameter}\"]` in that route"
        );
        TopicHint {
            route,
            parameter,
            topics,
            hint,
        }
    }
}
