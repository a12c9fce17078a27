//! Each happening is one function: its log line and its metric together.
//!
//! The metrics' names stand in [`names`]. Every room has its happenings in a file of its own here, as functions of
//! [`Telemetry`]; hot paths hold [`Meters`] instead of asking for labels each time.

mod access;
mod downstream;
mod hub;
mod life;
mod log;
pub mod names;
mod session;
mod source;
mod upstream;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

pub use access::{Request, shorten};
pub use hub::TopicMeters;
pub use log::LogControl;
use names::Family;
pub use source::OpenStream;

/// All counters and gauges, and the log's switches; made once by `app` and handed to every room.
#[derive(Debug)]
pub struct Telemetry {
    registry: Registry,
    process: Registry,
    log: Option<LogControl>,
    access: AtomicBool,
    pub(crate) sessions: IntGaugeVec,
    pub(crate) connects: IntCounterVec,
    pub(crate) messages: IntCounterVec,
    pub(crate) bytes: IntCounterVec,
    pub(crate) event_latency: HistogramVec,
    pub(crate) data_age: GaugeVec,
    pub(crate) upstream_requests: IntCounterVec,
    pub(crate) upstream_streams: IntGaugeVec,
    pub(crate) upstream_errors: IntCounterVec,
    pub(crate) topics: IntGaugeVec,
    pub(crate) subscribers: IntGaugeVec,
    pub(crate) replays: IntCounterVec,
    pub(crate) gaps: IntCounterVec,
    pub(crate) slow_closes: IntCounterVec,
    pub(crate) windows_squeezed: IntCounterVec,
    pub(crate) queue_bytes: IntGauge,
    pub(crate) reloads: IntCounterVec,
    pub(crate) reload_seconds: Histogram,
    pub(crate) config_generation: IntGauge,
    pub(crate) rollout_percent: GaugeVec,
    pub(crate) rollout_state: IntGaugeVec,
    pub(crate) decisions: IntCounterVec,
    pub(crate) fallbacks: IntCounterVec,
    pub(crate) reconnects: IntCounterVec,
    pub(crate) refused: IntCounterVec,
    pub(crate) share_refused: IntCounterVec,
    pub(crate) errors: IntCounterVec,
    pub(crate) panics: IntCounter,
    pub(crate) cookies_dropped: IntCounterVec,
}

/// What one kind of session counts, ready to be used without a look-up.
#[derive(Debug)]
pub struct Meters {
    /// `sessions`: one more while a session lives.
    pub sessions: IntGauge,
    /// `messages_total`, `direction="in"`.
    pub messages_in: IntCounter,
    /// `messages_total`, `direction="out"`.
    pub messages_out: IntCounter,
    /// `bytes_total`, `direction="in"`.
    pub bytes_in: IntCounter,
    /// `bytes_total`, `direction="out"`.
    pub bytes_out: IntCounter,
    /// `event_latency_seconds`.
    pub event_latency: Histogram,
}

/// From a tenth of a millisecond to ten seconds.
const LATENCY_BUCKETS: [f64; 15] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    10.0,
];

impl Telemetry {
    /// All families at zero. Without a [`LogControl`] the log is somebody else's: an embedding program's, or a test's.
    pub fn new(log: Option<LogControl>) -> Self {
        let registry = Registry::new_custom(Some("crossfade".into()), None)
            .expect("the prefix is a valid metric name");
        let process = Registry::new();
        add(&process, ProcessCollector::for_self());
        let log_lines_dropped = counter(&registry, &names::LOG_LINES_DROPPED);
        if let Some(log) = &log {
            log.count_drops(log_lines_dropped.clone());
        }
        let build = gauges(&registry, &names::BUILD_INFO);
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Telemetry {
            sessions: gauges(&registry, &names::SESSIONS),
            connects: counters(&registry, &names::CONNECTS),
            messages: counters(&registry, &names::MESSAGES),
            bytes: counters(&registry, &names::BYTES),
            event_latency: histograms(&registry, &names::EVENT_LATENCY),
            data_age: float_gauges(&registry, &names::DATA_AGE),
            upstream_requests: counters(&registry, &names::UPSTREAM_REQUESTS),
            upstream_streams: gauges(&registry, &names::UPSTREAM_STREAMS),
            upstream_errors: counters(&registry, &names::UPSTREAM_ERRORS),
            topics: gauges(&registry, &names::TOPICS),
            subscribers: gauges(&registry, &names::SUBSCRIBERS),
            replays: counters(&registry, &names::REPLAYS),
            gaps: counters(&registry, &names::GAPS),
            slow_closes: counters(&registry, &names::SLOW_CLOSES),
            windows_squeezed: counters(&registry, &names::WINDOWS_SQUEEZED),
            queue_bytes: gauge(&registry, &names::QUEUE_BYTES),
            reloads: counters(&registry, &names::RELOADS),
            reload_seconds: histogram(&registry, &names::RELOAD_SECONDS),
            config_generation: gauge(&registry, &names::CONFIG_GENERATION),
            rollout_percent: float_gauges(&registry, &names::ROLLOUT_PERCENT),
            rollout_state: gauges(&registry, &names::ROLLOUT_STATE),
            decisions: counters(&registry, &names::DECISIONS),
            fallbacks: counters(&registry, &names::FALLBACKS),
            reconnects: counters(&registry, &names::RECONNECTS),
            refused: counters(&registry, &names::REFUSED),
            share_refused: counters(&registry, &names::SHARE_REFUSED),
            errors: counters(&registry, &names::ERRORS),
            panics: counter(&registry, &names::PANICS),
            cookies_dropped: counters(&registry, &names::COOKIES_DROPPED),
            access: AtomicBool::new(true),
            log,
            process,
            registry,
        }
    }

    /// Handles for sessions of one kind; a session asks once and keeps them.
    pub fn route_meters(&self, route: &str, protocol: &str, cohort: &str) -> Arc<Meters> {
        let messages = |way| self.messages.with_label_values(&[route, protocol, way]);
        let bytes = |way| self.bytes.with_label_values(&[route, protocol, way]);
        Arc::new(Meters {
            sessions: self.sessions.with_label_values(&[route, protocol, cohort]),
            messages_in: messages("in"),
            messages_out: messages("out"),
            bytes_in: bytes("in"),
            bytes_out: bytes("out"),
            event_latency: self.event_latency.with_label_values(&[route, cohort]),
        })
    }

    /// All families in the Prometheus text format.
    pub fn render(&self) -> String {
        let mut families = self.registry.gather();
        families.extend(self.process.gather());
        // Encoding fails only for a family without samples, and gathering leaves those out.
        TextEncoder::new()
            .encode_to_string(&families)
            .unwrap_or_default()
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Telemetry::new(None)
    }
}

fn add(registry: &Registry, collector: impl Collector + 'static) {
    registry
        .register(Box::new(collector))
        .expect("each family is registered once");
}

fn describe(family: &Family) -> Opts {
    Opts::new(family.name, family.help)
}

/// The page of names is fixed text: a family that is not valid shows in the first test that makes a [`Telemetry`].
const VALID: &str = "names and labels of every family are valid";

fn counter(registry: &Registry, family: &Family) -> IntCounter {
    let made = IntCounter::with_opts(describe(family)).expect(VALID);
    add(registry, made.clone());
    made
}

fn counters(registry: &Registry, family: &Family) -> IntCounterVec {
    let made = IntCounterVec::new(describe(family), family.labels).expect(VALID);
    add(registry, made.clone());
    made
}

fn gauge(registry: &Registry, family: &Family) -> IntGauge {
    let made = IntGauge::with_opts(describe(family)).expect(VALID);
    add(registry, made.clone());
    made
}

fn gauges(registry: &Registry, family: &Family) -> IntGaugeVec {
    let made = IntGaugeVec::new(describe(family), family.labels).expect(VALID);
    add(registry, made.clone());
    made
}

fn float_gauges(registry: &Registry, family: &Family) -> GaugeVec {
    let made = GaugeVec::new(describe(family), family.labels).expect(VALID);
    add(registry, made.clone());
    made
}

fn histogram(registry: &Registry, family: &Family) -> Histogram {
    let opts = HistogramOpts::from(describe(family)).buckets(LATENCY_BUCKETS.to_vec());
    let made = Histogram::with_opts(opts).expect(VALID);
    add(registry, made.clone());
    made
}

fn histograms(registry: &Registry, family: &Family) -> HistogramVec {
    let opts = HistogramOpts::from(describe(family)).buckets(LATENCY_BUCKETS.to_vec());
    let made = HistogramVec::new(opts, family.labels).expect(VALID);
    add(registry, made.clone());
    made
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn meters_count_under_their_labels() {
        let telemetry = Telemetry::default();
        let meters = telemetry.route_meters("feed", "json", "websocket");
        meters.sessions.inc();
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
