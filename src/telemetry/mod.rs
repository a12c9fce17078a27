//! Each happening is one function: its log line and its metric together.
//!
//! The metrics' names stand in [`metric_names`]. Every folder of `src/` has its events in a file of its own here, as functions of a
//! part of [`Telemetry`]; hot paths hold [`Meters`] instead of asking for labels each time.

mod access_log;
#[cfg(test)]
mod docs;
mod downstream;
mod edge;
mod hub;
mod lifecycle;
mod log;
mod log_limit;
pub(crate) mod metric_names;
mod metric_registry;
mod namespace;
mod queue;
mod rollout;
mod session;
mod source;
mod trace;
mod trace_context;
mod upgrade;
mod upstream;

use std::sync::Arc;

use prometheus::process_collector::ProcessCollector;
use prometheus::{Registry, TextEncoder};
use tracing::Level;

pub(crate) use access_log::{
    AccessLog, Ending, LoggedRequest, RequestLine, SessionLine, Times, Tunnel, shorten,
};
pub(crate) use downstream::DownstreamTelemetry;
pub(crate) use edge::EdgeTelemetry;
pub(crate) use hub::{HubTelemetry, TopicMeters};
pub(crate) use lifecycle::LifeTelemetry;
pub(crate) use log::LogControl;
use log_limit::Floods;
use metric_registry::Book;
pub use namespace::PacketMeters;
#[cfg(test)]
pub(crate) use rollout::Counts;
pub(crate) use rollout::{Cohorts, Counted, RolloutTelemetry};
pub(crate) use session::{Meters, SessionTelemetry};
pub(crate) use source::SourceTelemetry;
pub(crate) use trace::{Span, TraceTelemetry};
pub(crate) use upgrade::UpgradeTelemetry;
pub(crate) use upstream::UpstreamTelemetry;

/// All counters and gauges, and the log's switches, by what they tell of; made once by `app` and handed to every part.
#[derive(Debug)]
pub struct Telemetry {
    /// The lines that finished requests, tunnels and sessions leave.
    pub(crate) access: AccessLog,
    /// The public listeners.
    pub(crate) downstream: DownstreamTelemetry,
    /// The edge's policies.
    pub(crate) edge: EdgeTelemetry,
    /// Topics.
    pub(crate) hub: HubTelemetry,
    /// The process itself.
    pub(crate) life: LifeTelemetry,
    /// Rollouts and their cohorts.
    pub(crate) rollouts: RolloutTelemetry,
    /// Realtime connections.
    pub(crate) sessions: SessionTelemetry,
    /// What reads upstream.
    pub(crate) sources: SourceTelemetry,
    /// Spans.
    pub(crate) traces: TraceTelemetry,
    /// One process in place of another.
    pub(crate) upgrades: UpgradeTelemetry,
    /// Backends.
    pub(crate) upstreams: UpstreamTelemetry,
    book: Book,
    process: Registry,
    log: Option<LogControl>,
}

impl Telemetry {
    /// All families at zero. Without a [`LogControl`] the log belongs to an embedding program, or to a test.
    pub(crate) fn new(log: Option<LogControl>) -> Self {
        let mut all = Book::default();
        let book = &mut all;
        let process = Registry::new();
        process
            .register(Box::new(ProcessCollector::for_self()))
            .expect("nothing else is there");
        let log_lines_dropped = metric_registry::counter(book, &metric_names::LOG_LINES_DROPPED);
        if let Some(log) = &log {
            log.count_drops(log_lines_dropped.clone());
        }
        let build = metric_registry::gauges(book, &metric_names::BUILD_INFO);
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let routes = Arc::<Floods>::default();
        let (hub, sessions) = (
            HubTelemetry::new(book, routes.clone()),
            SessionTelemetry::new(book),
        );
        Telemetry {
            access: AccessLog::new(),
            downstream: DownstreamTelemetry::new(book, routes.clone()),
            edge: EdgeTelemetry::new(book),
            life: LifeTelemetry::new(book),
            rollouts: RolloutTelemetry::new(book, &sessions, &hub),
            sources: SourceTelemetry::new(book, routes),
            traces: TraceTelemetry::new(book),
            upgrades: UpgradeTelemetry::new(book),
            upstreams: UpstreamTelemetry::new(book),
            hub,
            sessions,
            log,
            process,
            book: all,
        }
    }

    /// Turns the log's switches: least severity, JSON or text, access lines or none.
    pub(crate) fn set_log(&self, level: Level, json: bool, access: bool) {
        self.access.want(access);
        if let Some(log) = &self.log {
            log.turn(level, json);
        }
    }

    /// Waits until the log's last lines are written, or given up, before the process ends.
    pub(crate) fn flush_log(&self) {
        if let Some(log) = &self.log {
            log.flush();
        }
    }

    /// All families in the Prometheus text format.
    pub fn render(&self) -> String {
        let mut families = self.book.registry.gather();
        families.extend(self.process.gather());
        // Encoding fails only for a family without samples, and gathering leaves those out.
        let encoded = TextEncoder::new().encode_to_string(&families);
        let mut text = encoded.unwrap_or_default();
        self.book.announce_the_rest(&families, &mut text);
        text
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Telemetry::new(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_of_one_kind_share_their_handles() {
        let telemetry = Telemetry::default();
        let meters = |route, protocol| {
            telemetry
                .sessions
                .route_meters(route, protocol, "websocket")
        };
        let first = meters("feed", "json");
        assert!(Arc::ptr_eq(&first, &meters("feed", "json")));
        for other in [meters("feed", "raw"), meters("list", "json")] {
            assert!(!Arc::ptr_eq(&first, &other));
        }
    }

    #[test]
    fn families_without_labels_show_from_the_start() {
        let text = Telemetry::default().render();
        for name in [
            "crossfade_queue_bytes 0",
            "crossfade_config_generation 0",
            "crossfade_panics_total 0",
            "crossfade_build_info{version=",
            "process_resident_memory_bytes",
            "process_open_fds",
            "process_cpu_seconds_total",
        ] {
            assert!(text.contains(name), "{name} is missing in\n{text}");
        }
    }

    #[test]
    fn every_family_is_announced_once_from_the_start() {
        let telemetry = Telemetry::default();
        for _ in 0..2 {
            let text = telemetry.render();
            for head in [
                "# TYPE crossfade_slow_closes_total counter\n",
                "# TYPE crossfade_sessions gauge\n",
                "# TYPE crossfade_event_latency_seconds histogram\n",
                "# HELP crossfade_gaps_total Losses that were reported to subscribers\n",
            ] {
                assert_eq!(text.matches(head).count(), 1, "{head} in\n{text}");
            }
            telemetry.hub.gap_told("feed", "slow");
            telemetry.sessions.route_meters("feed", "json", "websocket");
        }
    }

    #[test]
    fn meters_count_under_their_labels() {
        let telemetry = Telemetry::default();
        let meters = telemetry.sessions.route_meters("feed", "json", "websocket");
        meters.enter();
        meters.messages_out.inc_by(3);
        meters.event_latency.observe(0.002);
        let text = telemetry.render();
        for line in [
            r#"crossfade_sessions{cohort="websocket",protocol="json",route="feed"} 1"#,
            r#"crossfade_messages_total{direction="out",protocol="json",route="feed"} 3"#,
            r#"crossfade_event_latency_seconds_count{cohort="websocket",route="feed"} 1"#,
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
