//! Happenings of Socket.IO's namespaces.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::metric_names;
use super::metric_registry::{self, Book};

/// What is no event, or one that the configuration does not name.
const NO_NAME: &str = "-";

/// Meters, and the generation of the configuration that named their events.
type Dated = (u64, Arc<PacketMeters>);

/// What namespaces count, by their configured names.
#[derive(Debug)]
pub(crate) struct NamespaceTelemetry {
    messages: IntCounterVec,
    sessions: IntGaugeVec,
    /// By namespace, as of which configuration.
    known: RwLock<HashMap<Box<str>, Dated>>,
}

impl NamespaceTelemetry {
    pub(super) fn new(book: &mut Book) -> Self {
        NamespaceTelemetry {
            messages: metric_registry::counters(book, &metric_names::NAMESPACE_MESSAGES),
            sessions: metric_registry::gauges(book, &metric_names::NAMESPACE_SESSIONS),
            known: RwLock::default(),
        }
    }

    /// Counts the packets of a namespace's clients, for all of its sessions. `generation` is that of the configuration which names
    /// the `events`.
    pub(crate) fn packet_meters(
        &self,
        namespace: &str,
        generation: u64,
        events: impl FnOnce() -> Vec<Arc<str>>,
    ) -> Arc<PacketMeters> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, meters)) = known.get(namespace).filter(|known| known.0 == generation) {
            return meters.clone();
        }
        drop(known);
        let mut names = events();
        names.sort();
        names.dedup();
        let meters = Arc::new(PacketMeters {
            messages: self.messages.clone(),
            namespace: namespace.into(),
            events: names.into_iter().map(EventCounters::new).collect(),
            others: EventCounters::new(NO_NAME.into()),
        });
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(namespace.into(), (generation, meters.clone()));
        meters
    }

    /// How many sessions a namespace has in a cohort.
    pub(super) fn sessions(&self, namespace: &str, cohort: &str) -> IntGauge {
        self.sessions.with_label_values(&[namespace, cohort])
    }
}

/// Counts the packets of one namespace, ready to be used without a look-up by labels.
#[derive(Debug)]
pub struct PacketMeters {
    messages: IntCounterVec,
    namespace: Box<str>,
    /// By name.
    events: Vec<EventCounters>,
    others: EventCounters,
}

/// The counters of one event. They exist from its first packet on: most events go one way only.
#[derive(Debug)]
struct EventCounters {
    event: Arc<str>,
    came: OnceLock<IntCounter>,
    left: OnceLock<IntCounter>,
}

impl EventCounters {
    fn new(event: Arc<str>) -> Self {
        EventCounters {
            event,
            came: OnceLock::new(),
            left: OnceLock::new(),
        }
    }
}

impl PacketMeters {
    /// A packet came from a client, with this event where it bears one.
    pub(crate) fn came(&self, event: Option<&[u8]>) {
        let counters = self.find(event);
        self.counter(&counters.came, &counters.event, "in").inc();
    }

    /// A packet is on its way to a client, likewise.
    pub(crate) fn left(&self, event: Option<&[u8]>) {
        let counters = self.find(event);
        self.counter(&counters.left, &counters.event, "out").inc();
    }

    fn find(&self, event: Option<&[u8]>) -> &EventCounters {
        let known = event.and_then(|event| {
            let by_name = |known: &EventCounters| known.event.as_bytes().cmp(event);
            let at = self.events.binary_search_by(by_name).ok()?;
            self.events.get(at)
        });
        known.unwrap_or(&self.others)
    }

    fn counter<'a>(
        &self,
        counter: &'a OnceLock<IntCounter>,
        event: &str,
        direction: &str,
    ) -> &'a IntCounter {
        counter.get_or_init(|| {
            let labels = [&*self.namespace, event, direction];
            self.messages.with_label_values(&labels)
        })
    }
}
