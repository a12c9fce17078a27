//! Each happening is one function: its log line and its metric together.
//!
//! The metrics' names stand in [`names`]. Every room has its happenings in a file of its own here, as functions of
//! [`Telemetry`]; hot paths hold [`Meters`] instead of asking for labels each time.

mod access;
mod downstream;
mod edge;
mod flood;
mod hub;
mod life;
mod log;
pub mod names;
mod queue;
mod rollout;
mod session;
mod source;
mod trace;
mod upgrade;
mod upstream;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::MetricFamily;
use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

pub use access::{Ending, Request, Session, Times, Tunnel, shorten};
pub use hub::TopicMeters;
pub use log::LogControl;
use names::Family;
pub use rollout::{Cohorts, Counted, Counts};
pub use source::OpenStream;
pub use trace::{Span, Trace};

/// All counters and gauges, and the log's switches; made once by `app` and handed to every room.
#[derive(Debug)]
pub struct Telemetry {
    book: Book,
    process: Registry,
    log: Option<LogControl>,
    access: AtomicBool,
    /// Connections that were not let in may be many.
    arrivals: flood::Flood,
    /// So may the topics of a route that lose their backend at once.
    sources: flood::Floods,
    /// Answers that were refused, by upstream.
    answers: flood::Floods,
    pub(crate) sessions: IntGaugeVec,
    pub(crate) connects: IntCounterVec,
    pub(crate) messages: IntCounterVec,
    pub(crate) bytes: IntCounterVec,
    pub(crate) event_latency: HistogramVec,
    pub(crate) data_age: GaugeVec,
    pub(crate) upstream_requests: IntCounterVec,
    pub(crate) upstream_streams: IntGaugeVec,
    pub(crate) upstream_errors: IntCounterVec,
    pub(crate) upstream_healthy: IntGaugeVec,
    pub(crate) upstream_ejections: IntCounterVec,
    pub(crate) upstream_retries: IntCounterVec,
    pub(crate) upstream_retries_refused: IntCounterVec,
    pub(crate) upstream_waits: IntCounterVec,
    pub(crate) topics: IntGaugeVec,
    pub(crate) subscribers: IntGaugeVec,
    pub(crate) replays: IntCounterVec,
    pub(crate) gaps: IntCounterVec,
    pub(crate) slow_closes: IntCounterVec,
    pub(crate) windows_squeezed: IntCounterVec,
    pub(crate) queue_bytes: IntGauge,
    pub(crate) memory_pressure: IntGauge,
    pub(crate) reloads: IntCounterVec,
    pub(crate) upgrades: IntCounterVec,
    pub(crate) reload_seconds: Histogram,
    pub(crate) config_generation: IntGauge,
    pub(crate) rollout_percent: GaugeVec,
    pub(crate) rollout_state: IntGaugeVec,
    pub(crate) decisions: IntCounterVec,
    pub(crate) rollout_requests: IntCounterVec,
    pub(crate) fallbacks: IntCounterVec,
    pub(crate) reconnects: IntCounterVec,
    pub(crate) refused: IntCounterVec,
    pub(crate) fields_dropped: IntCounter,
    pub(crate) rate_limited: IntCounterVec,
    pub(crate) auth: IntCounterVec,
    pub(crate) auth_ended: IntCounterVec,
    pub(crate) auth_fetches: IntCounterVec,
    pub(crate) share_refused: IntCounterVec,
    pub(crate) errors: IntCounterVec,
    pub(crate) panics: IntCounter,
    pub(crate) cookies_dropped: IntCounterVec,
    pub(crate) trace_spans: IntCounterVec,
    /// Peers that forward what is not believed, and of which the log has told.
    disbelieved: Mutex<Vec<IpAddr>>,
    /// The log has told of a field that was dropped.
    has_dropped_fields: AtomicBool,
    tracing: trace::Tracing,
    rollouts: rollout::Known,
    /// By route, then by protocol and cohort: as many as there are label values.
    meters: RwLock<HashMap<Box<str>, Kinds>>,
}

/// Handles of one route, by protocol and cohort.
type Kinds = HashMap<(&'static str, &'static str), Arc<Meters>>;

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
        let mut book = Book::default();
        let process = Registry::new();
        process
            .register(Box::new(ProcessCollector::for_self()))
            .expect("nothing else is there");
        let log_lines_dropped = counter(&mut book, &names::LOG_LINES_DROPPED);
        if let Some(log) = &log {
            log.count_drops(log_lines_dropped.clone());
        }
        let build = gauges(&mut book, &names::BUILD_INFO);
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Telemetry {
            sessions: gauges(&mut book, &names::SESSIONS),
            connects: counters(&mut book, &names::CONNECTS),
            messages: counters(&mut book, &names::MESSAGES),
            bytes: counters(&mut book, &names::BYTES),
            event_latency: histograms(&mut book, &names::EVENT_LATENCY),
            data_age: float_gauges(&mut book, &names::DATA_AGE),
            upstream_requests: counters(&mut book, &names::UPSTREAM_REQUESTS),
            upstream_streams: gauges(&mut book, &names::UPSTREAM_STREAMS),
            upstream_errors: counters(&mut book, &names::UPSTREAM_ERRORS),
            upstream_healthy: gauges(&mut book, &names::UPSTREAM_HEALTHY),
            upstream_ejections: counters(&mut book, &names::UPSTREAM_EJECTIONS),
            upstream_retries: counters(&mut book, &names::UPSTREAM_RETRIES),
            upstream_retries_refused: counters(&mut book, &names::UPSTREAM_RETRIES_REFUSED),
            upstream_waits: counters(&mut book, &names::UPSTREAM_WAITS),
            topics: gauges(&mut book, &names::TOPICS),
            subscribers: gauges(&mut book, &names::SUBSCRIBERS),
            replays: counters(&mut book, &names::REPLAYS),
            gaps: counters(&mut book, &names::GAPS),
            slow_closes: counters(&mut book, &names::SLOW_CLOSES),
            windows_squeezed: counters(&mut book, &names::WINDOWS_SQUEEZED),
            queue_bytes: gauge(&mut book, &names::QUEUE_BYTES),
            memory_pressure: gauge(&mut book, &names::MEMORY_PRESSURE),
            reloads: counters(&mut book, &names::RELOADS),
            upgrades: counters(&mut book, &names::UPGRADES),
            reload_seconds: histogram(&mut book, &names::RELOAD_SECONDS),
            config_generation: gauge(&mut book, &names::CONFIG_GENERATION),
            rollout_percent: float_gauges(&mut book, &names::ROLLOUT_PERCENT),
            rollout_state: gauges(&mut book, &names::ROLLOUT_STATE),
            decisions: counters(&mut book, &names::DECISIONS),
            rollout_requests: counters(&mut book, &names::ROLLOUT_REQUESTS),
            fallbacks: counters(&mut book, &names::FALLBACKS),
            reconnects: counters(&mut book, &names::RECONNECTS),
            refused: counters(&mut book, &names::REFUSED),
            fields_dropped: counter(&mut book, &names::FIELDS_DROPPED),
            rate_limited: counters(&mut book, &names::RATE_LIMITED),
            auth: counters(&mut book, &names::AUTH),
            auth_ended: counters(&mut book, &names::AUTH_ENDED),
            auth_fetches: counters(&mut book, &names::AUTH_FETCHES),
            share_refused: counters(&mut book, &names::SHARE_REFUSED),
            errors: counters(&mut book, &names::ERRORS),
            panics: counter(&mut book, &names::PANICS),
            cookies_dropped: counters(&mut book, &names::COOKIES_DROPPED),
            trace_spans: counters(&mut book, &names::TRACE_SPANS),
            disbelieved: Mutex::default(),
            has_dropped_fields: AtomicBool::new(false),
            tracing: trace::Tracing::default(),
            rollouts: rollout::Known::default(),
            meters: RwLock::default(),
            access: AtomicBool::new(true),
            arrivals: flood::Flood::default(),
            sources: flood::Floods::default(),
            answers: flood::Floods::default(),
            log,
            process,
            book,
        }
    }

    /// Handles for sessions of one kind, which all of them share; a session asks once and keeps them.
    pub fn route_meters(
        &self,
        route: &str,
        protocol: &'static str,
        cohort: &'static str,
    ) -> Arc<Meters> {
        let kind = (protocol, cohort);
        let known = self.meters.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(meters) = known.get(route).and_then(|kinds| kinds.get(&kind)) {
            return meters.clone();
        }
        drop(known);
        let mut known = self.meters.write().unwrap_or_else(PoisonError::into_inner);
        let kinds = known.entry(route.into()).or_default();
        let made = || self.make_meters(route, protocol, cohort);
        kinds.entry(kind).or_insert_with(made).clone()
    }

    fn make_meters(&self, route: &str, protocol: &str, cohort: &str) -> Arc<Meters> {
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

/// Puts this before each of our names.
const PREFIX: &str = "crossfade";

/// All our families, with what stands above their samples.
#[derive(Debug)]
struct Book {
    registry: Registry,
    /// Name, and the lines `HELP` and `TYPE`.
    heads: Vec<(String, String)>,
}

impl Default for Book {
    fn default() -> Self {
        let registry = Registry::new_custom(Some(PREFIX.into()), None);
        Book {
            registry: registry.expect("the prefix is a valid metric name"),
            heads: Vec::new(),
        }
    }
}

impl Book {
    fn add(&mut self, collector: impl Collector + 'static) {
        for family in collector.collect() {
            let name = format!("{PREFIX}_{}", family.name());
            let kind = format!("{:?}", family.get_field_type()).to_lowercase();
            let head = format!("# HELP {name} {}\n# TYPE {name} {kind}\n", family.help());
            self.heads.push((name, head));
        }
        self.registry
            .register(Box::new(collector))
            .expect("each family is registered once");
    }

    /// A family whose labels were not met yet is announced all the same: whoever writes a dashboard finds its name.
    fn announce_the_rest(&self, seen: &[MetricFamily], text: &mut String) {
        for (name, head) in &self.heads {
            if !seen.iter().any(|family| family.name() == name) {
                text.push_str(head);
            }
        }
    }
}

fn describe(family: &Family) -> Opts {
    Opts::new(family.name, family.help)
}

/// The page of names is fixed text: a family that is not valid shows in the first test that makes a [`Telemetry`].
const VALID: &str = "names and labels of every family are valid";

fn counter(book: &mut Book, family: &Family) -> IntCounter {
    let made = IntCounter::with_opts(describe(family)).expect(VALID);
    book.add(made.clone());
    made
}

fn counters(book: &mut Book, family: &Family) -> IntCounterVec {
    let made = IntCounterVec::new(describe(family), family.labels).expect(VALID);
    book.add(made.clone());
    made
}

fn gauge(book: &mut Book, family: &Family) -> IntGauge {
    let made = IntGauge::with_opts(describe(family)).expect(VALID);
    book.add(made.clone());
    made
}

fn gauges(book: &mut Book, family: &Family) -> IntGaugeVec {
    let made = IntGaugeVec::new(describe(family), family.labels).expect(VALID);
    book.add(made.clone());
    made
}

fn float_gauges(book: &mut Book, family: &Family) -> GaugeVec {
    let made = GaugeVec::new(describe(family), family.labels).expect(VALID);
    book.add(made.clone());
    made
}

fn histogram(book: &mut Book, family: &Family) -> Histogram {
    let opts = HistogramOpts::from(describe(family)).buckets(LATENCY_BUCKETS.to_vec());
    let made = Histogram::with_opts(opts).expect(VALID);
    book.add(made.clone());
    made
}

fn histograms(book: &mut Book, family: &Family) -> HistogramVec {
    let opts = HistogramOpts::from(describe(family)).buckets(LATENCY_BUCKETS.to_vec());
    let made = HistogramVec::new(opts, family.labels).expect(VALID);
    book.add(made.clone());
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_of_one_kind_share_their_handles() {
        let telemetry = Telemetry::default();
        let meters = |route, protocol| telemetry.route_meters(route, protocol, "websocket");
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
                "# HELP crossfade_gaps_total Losses that subscribers were told of\n",
            ] {
                assert_eq!(text.matches(head).count(), 1, "{head} in\n{text}");
            }
            telemetry.gap_told("feed", "slow");
            telemetry.route_meters("feed", "json", "websocket");
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
