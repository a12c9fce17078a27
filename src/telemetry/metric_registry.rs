//! The book of all families: each is registered once, by the part of the telemetry that counts it.

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry,
};

use super::metric_names::Family;

/// From a tenth of a millisecond to ten seconds.
const LATENCY_BUCKETS: [f64; 15] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    10.0,
];

/// Puts this before each of our names.
const PREFIX: &str = "crossfade";

/// All our families, with what stands above their samples.
#[derive(Debug)]
pub(super) struct Book {
    pub(crate) registry: Registry,
    /// In the order in which the parts registered them.
    pub(crate) announced: Vec<Announced>,
}

/// A family as `HELP` and `TYPE` announce it.
#[derive(Debug)]
pub(super) struct Announced {
    pub(crate) name: String,
    /// `counter`, `gauge` or `histogram`.
    pub(crate) kind: String,
    pub(crate) help: String,
    /// For the page of metrics, which a test makes.
    #[cfg(test)]
    pub(crate) labels: Vec<String>,
}

impl Default for Book {
    fn default() -> Self {
        let registry = Registry::new_custom(Some(PREFIX.into()), None);
        Book {
            registry: registry.expect("the prefix is a valid metric name"),
            announced: Vec::new(),
        }
    }
}

impl Book {
    fn add(&mut self, collector: impl Collector + 'static) {
        for (family, described) in collector.collect().iter().zip(collector.desc()) {
            self.announced.push(Announced {
                name: format!("{PREFIX}_{}", family.name()),
                kind: format!("{:?}", family.get_field_type()).to_lowercase(),
                help: described.help.clone(),
                #[cfg(test)]
                labels: described.variable_labels.clone(),
            });
        }
        self.registry
            .register(Box::new(collector))
            .expect("each family is registered once");
    }

    /// A family whose labels were not met yet is announced all the same: authors of dashboards find its name.
    pub(crate) fn announce_the_rest(&self, seen: &[MetricFamily], text: &mut String) {
        for Announced {
            name, kind, help, ..
        } in &self.announced
        {
            if !seen.iter().any(|family| family.name() == name) {
                text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
            }
        }
    }
}

fn describe(family: &Family) -> Opts {
    Opts::new(family.name, family.help)
}

/// The page of names is fixed text: a family that is not valid shows in the first test that makes a `Telemetry`.
const VALID: &str = "names and labels of every family are valid";

pub(super) fn counter(book: &mut Book, family: &Family) -> IntCounter {
    let made = IntCounter::with_opts(describe(family)).expect(VALID);
    book.add(made.clone());
    made
}

pub(super) fn counters(book: &mut Book, family: &Family) -> IntCounterVec {
    let made = IntCounterVec::new(describe(family), family.labels).expect(VALID);
    book.add(made.clone());
    made
}

pub(super) fn gauge(book: &mut Book, family: &Family) -> IntGauge {
    let made = IntGauge::with_opts(describe(family)).expect(VALID);
    book.add(made.clone());
    made
}

pub(super) fn gauges(book: &mut Book, family: &Family) -> IntGaugeVec {
    let made = IntGaugeVec::new(describe(family), family.labels).expect(VALID);
    book.add(made.clone());
    made
}

pub(super) fn float_gauges(book: &mut Book, family: &Family) -> GaugeVec {
    let made = GaugeVec::new(describe(family), family.labels).expect(VALID);
    book.add(made.clone());
    made
}

pub(super) fn histogram(book: &mut Book, family: &Family) -> Histogram {
    let opts = HistogramOpts::from(describe(family)).buckets(LATENCY_BUCKETS.to_vec());
    let made = Histogram::with_opts(opts).expect(VALID);
    book.add(made.clone());
    made
}

pub(super) fn histograms(book: &mut Book, family: &Family) -> HistogramVec {
    let opts = HistogramOpts::from(describe(family)).buckets(LATENCY_BUCKETS.to_vec());
    let made = HistogramVec::new(opts, family.labels).expect(VALID);
    book.add(made.clone());
    made
}
