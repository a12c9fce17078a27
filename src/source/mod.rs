//! What reads upstream: an SSE stream or a polled endpoint, as a `hub::Feed`.

pub(crate) mod answer;
pub mod diff;
mod outage;
pub(crate) mod poll;
mod request;
pub mod sse;

use std::sync::Arc;

use crate::config::Source;
use crate::hub::{Feed, Feeds};
use crate::telemetry::Telemetry;
use crate::upstream::Upstreams;

/// What makes the feed that a route's `source` asks for.
pub(crate) fn feeds(upstreams: Upstreams, telemetry: Arc<Telemetry>) -> Feeds {
    Box::new(move |target| -> Box<dyn Feed> {
        let (upstreams, telemetry) = (upstreams.clone(), telemetry.clone());
        match target.route.source {
            Some(Source::Poll(_)) => Box::new(poll::PollFeed {
                upstreams,
                telemetry,
            }),
            // Only bridged routes have topics.
            Some(Source::Sse(_)) | None => Box::new(sse::SseFeed {
                upstreams,
                telemetry,
            }),
        }
    })
}

#[cfg(test)]
mod tests;
