//! Happenings of the hub: topics, losses, tripwires.

use std::sync::Arc;

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::access_log::shorten;
use super::log_limit::Floods;
use super::metric_names;
use super::metric_registry::{self, Book};
use crate::http::path::without_parameters;

/// What one topic counts, its labels asked for once.
#[derive(Debug)]
pub(crate) struct TopicMeters {
    /// `topics`; one more while the topic lives.
    pub(crate) topics: IntGauge,
    /// `subscribers`.
    pub(crate) subscribers: IntGauge,
    /// `replays_total`.
    pub(crate) replays: IntCounter,
}

/// What the hub counts.
#[derive(Debug)]
pub(crate) struct HubTelemetry {
    topics: IntGaugeVec,
    subscribers: IntGaugeVec,
    replays: IntCounterVec,
    pub(super) gaps: IntCounterVec,
    queue_bytes: IntGauge,
    windows_squeezed: IntCounterVec,
    share_refused: IntCounterVec,
    routes: Arc<Floods>,
}

impl HubTelemetry {
    pub(super) fn new(book: &mut Book, routes: Arc<Floods>) -> Self {
        HubTelemetry {
            topics: metric_registry::gauges(book, &metric_names::TOPICS),
            subscribers: metric_registry::gauges(book, &metric_names::SUBSCRIBERS),
            replays: metric_registry::counters(book, &metric_names::REPLAYS),
            gaps: metric_registry::counters(book, &metric_names::GAPS),
            queue_bytes: metric_registry::gauge(book, &metric_names::QUEUE_BYTES),
            windows_squeezed: metric_registry::counters(book, &metric_names::WINDOWS_SQUEEZED),
            share_refused: metric_registry::counters(book, &metric_names::SHARE_REFUSED),
            routes,
        }
    }

    /// Handles for a topic of this route.
    pub(crate) fn topic_meters(&self, route: &str) -> TopicMeters {
        TopicMeters {
            topics: self.topics.with_label_values(&[route]),
            subscribers: self.subscribers.with_label_values(&[route]),
            replays: self.replays.with_label_values(&[route]),
        }
    }

    /// One subscriber, or all of a topic at once, got a reported gap.
    pub(crate) fn gap_told(&self, route: &str, why: &str) {
        self.gaps.with_label_values(&[route, why]).inc();
    }

    /// Replay windows and queues hold this many bytes more, or less.
    pub(crate) fn queue_bytes_changed(&self, by: i64) {
        self.queue_bytes.add(by);
    }

    /// The memory budget took bytes from a replay window before their time.
    pub(crate) fn window_squeezed(&self, route: &str, bytes: usize) {
        self.windows_squeezed
            .with_label_values(&[route])
            .inc_by(bytes as u64);
    }

    /// An answer on a shared topic looks private; its subscriptions end.
    pub(crate) fn share_refused(&self, route: &str, reason: &str) {
        self.share_refused.with_label_values(&[route, reason]).inc();
    }

    /// ALARM: an answer on a shared topic is not for all of its clients. Whether it could be logged.
    pub(crate) fn share_alarm(&self, route: &str, url: &str, reason: &str, fix: &str) -> bool {
        let admitted = self.routes.admit(route);
        if let Some(not_told) = admitted {
            // Queries may hold secrets.
            let path = without_parameters(url.split('?').next().unwrap_or_default());
            tracing::error!(
                route,
                path = shorten(&path),
                reason,
                fix,
                not_told,
                "an answer on a shared topic is not for all of its clients: nothing of it is delivered, and their subscriptions end (told once, until a good answer comes)"
            );
        }
        admitted.is_some()
    }
}
