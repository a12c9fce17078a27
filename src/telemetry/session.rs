//! Happenings of realtime connections.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::metric_names;
use super::metric_registry::{self, Book};
use super::namespace::NamespaceTelemetry;

/// What belongs to no route.
const NO_ROUTE: &str = "-";

/// Handles of one route, by protocol and cohort.
type Kinds = HashMap<(&'static str, &'static str), Arc<Meters>>;

/// What one kind of session counts, ready to be used without a look-up.
#[derive(Debug)]
pub(crate) struct Meters {
    /// `sessions`: one more while a session lives.
    sessions: IntGauge,
    /// `namespace_sessions`, likewise, where it is a namespace's.
    namespace_sessions: Option<IntGauge>,
    /// `messages_total`, `direction="in"`.
    pub(crate) messages_in: IntCounter,
    /// `messages_total`, `direction="out"`.
    pub(crate) messages_out: IntCounter,
    /// `bytes_total`, `direction="in"`.
    pub(crate) bytes_in: IntCounter,
    /// `bytes_total`, `direction="out"`.
    pub(crate) bytes_out: IntCounter,
    /// `event_latency_seconds`.
    pub(crate) event_latency: Histogram,
}

impl Meters {
    /// A session begins to count here.
    pub(crate) fn enter(&self) {
        self.sessions.inc();
        self.namespace_sessions.iter().for_each(IntGauge::inc);
    }

    /// A session counts here no longer.
    pub(crate) fn leave(&self) {
        self.sessions.dec();
        self.namespace_sessions.iter().for_each(IntGauge::dec);
    }
}

/// What sessions count.
#[derive(Debug)]
pub(crate) struct SessionTelemetry {
    sessions: IntGaugeVec,
    messages: IntCounterVec,
    bytes: IntCounterVec,
    pub(super) event_latency: HistogramVec,
    slow_closes: IntCounterVec,
    pub(super) reconnects: IntCounterVec,
    fallbacks: IntCounterVec,
    cookies_dropped: IntCounterVec,
    /// By route, then by protocol and cohort: as many as there are label values.
    meters: RwLock<HashMap<Box<str>, Kinds>>,
    /// Likewise, by namespace.
    namespace_meters: RwLock<HashMap<Box<str>, Kinds>>,
    /// What namespaces count beside.
    pub(crate) namespaces: NamespaceTelemetry,
}

impl SessionTelemetry {
    pub(super) fn new(book: &mut Book) -> Self {
        SessionTelemetry {
            sessions: metric_registry::gauges(book, &metric_names::SESSIONS),
            messages: metric_registry::counters(book, &metric_names::MESSAGES),
            bytes: metric_registry::counters(book, &metric_names::BYTES),
            event_latency: metric_registry::histograms(book, &metric_names::EVENT_LATENCY),
            slow_closes: metric_registry::counters(book, &metric_names::SLOW_CLOSES),
            reconnects: metric_registry::counters(book, &metric_names::RECONNECTS),
            fallbacks: metric_registry::counters(book, &metric_names::FALLBACKS),
            cookies_dropped: metric_registry::counters(book, &metric_names::COOKIES_DROPPED),
            meters: RwLock::default(),
            namespace_meters: RwLock::default(),
            namespaces: NamespaceTelemetry::new(book),
        }
    }

    /// Handles for sessions of one kind, which all of them share; a session asks once and keeps them.
    pub(crate) fn route_meters(
        &self,
        route: &str,
        protocol: &'static str,
        cohort: &'static str,
    ) -> Arc<Meters> {
        known_or_made(&self.meters, route, (protocol, cohort), || {
            self.make_meters(route, protocol, cohort)
        })
    }

    /// As [`SessionTelemetry::route_meters`], for the sessions of a namespace, by its configured name: they belong to no route.
    pub(crate) fn namespace_meters(
        &self,
        namespace: &str,
        protocol: &'static str,
        cohort: &'static str,
    ) -> Arc<Meters> {
        let kind = (protocol, cohort);
        known_or_made(&self.namespace_meters, namespace, kind, || Meters {
            namespace_sessions: Some(self.namespaces.sessions(namespace, cohort)),
            ..self.make_meters(NO_ROUTE, protocol, cohort)
        })
    }

    fn make_meters(&self, route: &str, protocol: &str, cohort: &str) -> Meters {
        let messages = |way| self.messages.with_label_values(&[route, protocol, way]);
        let bytes = |way| self.bytes.with_label_values(&[route, protocol, way]);
        Meters {
            sessions: self.sessions.with_label_values(&[route, protocol, cohort]),
            namespace_sessions: None,
            messages_in: messages("in"),
            messages_out: messages("out"),
            bytes_in: bytes("in"),
            bytes_out: bytes("out"),
            event_latency: self.event_latency.with_label_values(&[route, cohort]),
        }
    }

    /// A connection is closed from our side.
    pub(crate) fn session_closing(&self, code: u16) {
        tracing::debug!(code, "closing a connection");
    }

    /// A client read too slowly.
    pub(crate) fn slow_client_closed(&self, route: &str) {
        self.slow_closes.with_label_values(&[route]).inc();
    }

    /// A `sub` asked to resume.
    pub(crate) fn resume_asked(&self, route: &str) {
        self.reconnects.with_label_values(&[route]).inc();
    }

    /// A live session, or one of its subscriptions, is sent to the legacy transport.
    pub(crate) fn sent_to_legacy(&self, route: &str) {
        self.fallbacks.with_label_values(&[route]).inc();
    }

    /// An answer to a call had cookies, which cannot reach the browser.
    pub(crate) fn cookies_dropped(&self, route: &str, count: u64) {
        self.cookies_dropped
            .with_label_values(&[route])
            .inc_by(count);
    }
}

fn known_or_made(
    all: &RwLock<HashMap<Box<str>, Kinds>>,
    name: &str,
    kind: (&'static str, &'static str),
    make: impl FnOnce() -> Meters,
) -> Arc<Meters> {
    let known = all.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(meters) = known.get(name).and_then(|kinds| kinds.get(&kind)) {
        return meters.clone();
    }
    drop(known);
    let mut known = all.write().unwrap_or_else(PoisonError::into_inner);
    let kinds = known.entry(name.into()).or_default();
    kinds
        .entry(kind)
        .or_insert_with(|| Arc::new(make()))
        .clone()
}
