//! What the cohorts of a rollout do: counted where it happens, read by `/metrics` and by the rollout's windows alike.

use std::collections::{BTreeMap, HashMap};
use std::ops::AddAssign;
use std::sync::Arc;

use arc_swap::ArcSwap;
use prometheus::core::Collector;
use prometheus::proto::Metric;
use prometheus::{GaugeVec, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec};

use super::hub::HubTelemetry;
use super::metric_names;
use super::metric_registry::{self, Book};
use super::session::SessionTelemetry;

/// Every state of a rollout, for `rollout_state`.
const STATES: [&str; 4] = ["running", "paused", "killed", "rolled_back"];

/// Each rollout's meters, by name. An answer finds its own without a lock; rollouts of earlier configurations stay, as their
/// samples do.
type Known = ArcSwap<BTreeMap<Box<str>, Arc<RolloutMeters>>>;

/// What one rollout counts, its labels asked for once.
#[derive(Debug)]
struct RolloutMeters {
    legacy_ok: IntCounter,
    legacy_failed: IntCounter,
}

/// What one cohort of a rollout did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Counts {
    /// Requests that were answered, or failed.
    pub(crate) requests: u64,
    /// Those of them that were answered by 5xx, or not at all.
    pub(crate) failed: u64,
    /// Writes of events whose latency was taken.
    pub(crate) events: u64,
    /// The sum of these latencies, seconds.
    pub(crate) latency: f64,
    /// Subscriptions that asked to resume.
    pub(crate) reconnects: u64,
    /// Losses that were reported.
    pub(crate) gaps: u64,
}

/// What both cohorts did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Cohorts {
    /// The clients on WebSocket.
    pub(crate) websocket: Counts,
    /// The clients on the legacy transport.
    pub(crate) legacy: Counts,
}

/// Everything that is counted of routes and rollouts, at one moment.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    routes: HashMap<String, Cohorts>,
    rollouts: HashMap<String, Cohorts>,
}

impl Counted {
    /// What the cohorts of a rollout with these routes have done since the process began.
    pub(crate) fn of<'r>(&self, rollout: &str, routes: impl Iterator<Item = &'r str>) -> Cohorts {
        let own = self.rollouts.get(rollout);
        let parts = own
            .into_iter()
            .chain(routes.filter_map(|route| self.routes.get(route)));
        let mut sum = Cohorts::default();
        for part in parts {
            sum += *part;
        }
        sum
    }
}

/// What the rollouts count; of what sessions and the hub count, that which tells how a cohort fares.
#[derive(Debug)]
pub(crate) struct RolloutTelemetry {
    percent: GaugeVec,
    state: IntGaugeVec,
    decisions: IntCounterVec,
    requests: IntCounterVec,
    event_latency: HistogramVec,
    reconnects: IntCounterVec,
    gaps: IntCounterVec,
    known: Known,
}

impl RolloutTelemetry {
    pub(super) fn new(book: &mut Book, sessions: &SessionTelemetry, hub: &HubTelemetry) -> Self {
        RolloutTelemetry {
            percent: metric_registry::float_gauges(book, &metric_names::ROLLOUT_PERCENT),
            state: metric_registry::gauges(book, &metric_names::ROLLOUT_STATE),
            decisions: metric_registry::counters(book, &metric_names::DECISIONS),
            requests: metric_registry::counters(book, &metric_names::ROLLOUT_REQUESTS),
            event_latency: sessions.event_latency.clone(),
            reconnects: sessions.reconnects.clone(),
            gaps: hub.gaps.clone(),
            known: Known::default(),
        }
    }

    /// A rollout's stage is this now.
    pub(crate) fn rollout_stands(&self, rollout: &str, effective_percent: f64, state: &str) {
        self.percent
            .with_label_values(&[rollout])
            .set(effective_percent);
        for known in STATES {
            self.state
                .with_label_values(&[rollout, known])
                .set((known == state).into());
        }
    }

    /// A rollout is no longer configured.
    pub(crate) fn rollout_gone(&self, rollout: &str) {
        // An error says only that it was never shown.
        let _ = self.percent.remove_label_values(&[rollout]);
        for known in STATES {
            let _ = self.state.remove_label_values(&[rollout, known]);
        }
    }

    /// An operator or the controller moved a rollout.
    pub(crate) fn rollout_moved(&self, rollout: &str, by: &str, action: &str, to: &str, why: &str) {
        match action {
            "start" => tracing::info!(rollout, percent = to, "rollout starts as the file says"),
            _ => tracing::warn!(rollout, by, action, to, why, "rollout changed"),
        }
    }

    /// What is kept of a rollout is another version's, or damaged.
    pub(crate) fn rollout_distrusted(&self, rollout: &str, why: &str) {
        tracing::error!(
            rollout,
            why,
            "rollout state not understood: no client gets WebSocket until an operator runs `crossfade rollout resume`"
        );
    }

    /// A rollout decided for one client.
    pub(crate) fn decided(&self, rollout: &str, transport: &str, reason: &str) {
        self.decisions
            .with_label_values(&[rollout, transport, reason])
            .inc();
    }

    /// These rollouts are configured.
    pub(crate) fn rollouts_known<'n>(&self, names: impl Iterator<Item = &'n str>) {
        let known = self.known.load();
        let missing: Vec<&str> = names.filter(|name| !known.contains_key(*name)).collect();
        if missing.is_empty() {
            return;
        }
        let mut all = BTreeMap::clone(&known);
        for name in missing {
            let requests = |result| {
                let labels = [name, "legacy", result];
                self.requests.with_label_values(&labels)
            };
            let meters = RolloutMeters {
                legacy_ok: requests("ok"),
                legacy_failed: requests("failed"),
            };
            all.insert(name.into(), Arc::new(meters));
        }
        self.known.store(Arc::new(all));
    }

    /// An ordinary request to a bridged route of a rollout was answered, or not.
    pub(crate) fn legacy_answered(&self, rollout: &str, is_failed: bool) {
        if let Some(meters) = self.known.load().get(rollout) {
            match is_failed {
                true => meters.legacy_failed.inc(),
                false => meters.legacy_ok.inc(),
            }
        }
    }

    /// What has been counted up to now, in the samples that `/metrics` shows.
    pub(crate) fn counted(&self) -> Counted {
        let mut counted = Counted::default();
        let Counted { routes, rollouts } = &mut counted;
        each(&self.requests, |sample| {
            let counts = cohort_of(rollouts, "rollout", sample);
            let requests = count(sample);
            counts.requests += requests;
            if label(sample, "result") == "failed" {
                counts.failed += requests;
            }
        });
        each(&self.event_latency, |sample| {
            let counts = cohort_of(routes, "route", sample);
            counts.events += sample.get_histogram().get_sample_count();
            counts.latency += sample.get_histogram().get_sample_sum();
        });
        each(&self.reconnects, |sample| {
            cohort_of(routes, "route", sample).reconnects += count(sample);
        });
        each(&self.gaps, |sample| {
            cohort_of(routes, "route", sample).gaps += count(sample);
        });
        counted
    }
}

fn each(family: &impl Collector, mut read: impl FnMut(&Metric)) {
    for family in family.collect() {
        family.get_metric().iter().for_each(&mut read);
    }
}

/// Where a sample counts. What only WebSocket has, such as a gap, has no label of its cohort.
fn cohort_of<'c>(
    all: &'c mut HashMap<String, Cohorts>,
    by: &str,
    sample: &Metric,
) -> &'c mut Counts {
    let cohorts = all.entry(label(sample, by).to_owned()).or_default();
    match label(sample, "cohort") {
        "legacy" => &mut cohorts.legacy,
        _ => &mut cohorts.websocket,
    }
}

fn count(sample: &Metric) -> u64 {
    sample.get_counter().get_value() as u64
}

fn label<'s>(sample: &'s Metric, name: &str) -> &'s str {
    let mut labels = sample.get_label().iter();
    let found = labels.find(|label| label.name() == name);
    found.map_or("", |label| label.value())
}

impl Counts {
    /// What was done since then.
    fn since(self, then: Counts) -> Counts {
        Counts {
            requests: self.requests.saturating_sub(then.requests),
            failed: self.failed.saturating_sub(then.failed),
            events: self.events.saturating_sub(then.events),
            latency: (self.latency - then.latency).max(0.0),
            reconnects: self.reconnects.saturating_sub(then.reconnects),
            gaps: self.gaps.saturating_sub(then.gaps),
        }
    }
}

impl Cohorts {
    /// What was done since then.
    pub(crate) fn since(self, then: Cohorts) -> Cohorts {
        Cohorts {
            websocket: self.websocket.since(then.websocket),
            legacy: self.legacy.since(then.legacy),
        }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Counts) {
        self.requests += more.requests;
        self.failed += more.failed;
        self.events += more.events;
        self.latency += more.latency;
        self.reconnects += more.reconnects;
        self.gaps += more.gaps;
    }
}

impl AddAssign for Cohorts {
    fn add_assign(&mut self, more: Cohorts) {
        self.websocket += more.websocket;
        self.legacy += more.legacy;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Telemetry;

    #[test]
    fn what_is_counted_is_what_metrics_show() {
        let telemetry = Telemetry::default();
        telemetry
            .rollouts
            .rollouts_known(["web", "other"].into_iter());
        for is_failed in [false, false, true] {
            telemetry.rollouts.legacy_answered("web", is_failed);
        }
        telemetry.rollouts.legacy_answered("other", true);
        telemetry.rollouts.legacy_answered("unknown", true);
        for (route, protocol) in [("feed", "json"), ("feed", "raw"), ("list", "json")] {
            let meters = telemetry
                .sessions
                .route_meters(route, protocol, "websocket");
            meters.event_latency.observe(0.25);
        }
        telemetry.sessions.resume_asked("feed");
        telemetry.hub.gap_told("feed", "slow");
        telemetry.hub.gap_told("feed", "expired");
        telemetry.hub.gap_told("elsewhere", "slow");

        let expected = Cohorts {
            websocket: Counts {
                events: 3,
                latency: 0.75,
                reconnects: 1,
                gaps: 2,
                ..Counts::default()
            },
            legacy: Counts {
                requests: 3,
                failed: 1,
                ..Counts::default()
            },
        };
        let counted = telemetry.rollouts.counted();
        assert_eq!(counted.of("web", ["feed", "list"].into_iter()), expected);
        let shown = telemetry.render();
        for line in [
            r#"crossfade_rollout_requests_total{cohort="legacy",result="ok",rollout="web"} 2"#,
            r#"crossfade_rollout_requests_total{cohort="legacy",result="failed",rollout="web"} 1"#,
            r#"crossfade_event_latency_seconds_count{cohort="websocket",route="feed"} 2"#,
            r#"crossfade_gaps_total{route="feed",why="slow"} 1"#,
        ] {
            assert!(shown.contains(line), "{line} is missing in\n{shown}");
        }
        // Counters outlive a configuration that leaves their rollout out.
        telemetry.rollouts.rollouts_known(["web"].into_iter());
        assert_eq!(
            telemetry
                .rollouts
                .counted()
                .of("other", [].into_iter())
                .legacy
                .failed,
            1
        );
    }
}
