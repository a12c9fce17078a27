//! What happens at the public listeners.

use std::net::IpAddr;
use std::sync::Arc;

use prometheus::{IntCounterVec, IntGauge};

use super::log_limit::{Flood, Floods};
use super::metric_names;
use super::metric_registry::{self, Book};
use crate::error::Error;
use crate::memory::Memory;

/// What the public listeners count.
#[derive(Debug)]
pub(crate) struct DownstreamTelemetry {
    refused: IntCounterVec,
    connects: IntCounterVec,
    errors: IntCounterVec,
    memory_pressure: IntGauge,
    /// Connections that were not let in may be many.
    arrivals: Flood,
    paths: Flood,
    routes: Arc<Floods>,
}

impl DownstreamTelemetry {
    pub(super) fn new(book: &mut Book, routes: Arc<Floods>) -> Self {
        DownstreamTelemetry {
            refused: metric_registry::counters(book, &metric_names::REFUSED),
            connects: metric_registry::counters(book, &metric_names::CONNECTS),
            errors: metric_registry::counters(book, &metric_names::ERRORS),
            memory_pressure: metric_registry::gauge(book, &metric_names::MEMORY_PRESSURE),
            arrivals: Flood::default(),
            paths: Flood::default(),
            routes,
        }
    }

    /// A request was refused before or by a route's policies.
    pub(crate) fn request_refused(
        &self,
        reason: &str,
        detail: &str,
        request_id: &str,
        remote: &str,
    ) {
        self.refused.with_label_values(&[reason]).inc();
        // A page that was written for the backend alone may send such paths in good faith.
        if reason == "path"
            && let Some(not_told) = self.paths.admit()
        {
            tracing::info!(
                reason,
                detail,
                request_id,
                remote,
                not_told,
                "request refused"
            );
        } else {
            tracing::debug!(reason, detail, request_id, remote, "request refused");
        }
    }

    /// A request came back once too often; at this route it would have gone to this upstream.
    pub(crate) fn loop_detected(&self, route: &str, upstream: &str) {
        if let Some(not_told) = self.routes.admit(route) {
            tracing::error!(
                route,
                upstream,
                not_told,
                "a request comes back to crossfade again and again, and is answered by 508: name the backend's own address in this upstream's `servers`, and let nothing behind it send the request here once more"
            );
        }
    }

    /// A connection was refused before its first request.
    pub(crate) fn connection_refused(&self, reason: &str, remote: Option<IpAddr>) {
        self.refused.with_label_values(&[reason]).inc();
        if let Some(not_told) = self.arrivals.admit() {
            let remote = remote.map_or_else(|| "unix".to_owned(), |ip| ip.to_string());
            tracing::info!(reason, remote, not_told, "connection refused");
        }
    }

    /// The engine of HTTP/2 has reset a stream that was no request.
    pub(crate) fn stream_malformed(&self, remote: Option<IpAddr>) {
        let reason = "malformed";
        self.refused.with_label_values(&[reason]).inc();
        if let Some(not_told) = self.arrivals.admit() {
            let remote = remote.map_or_else(|| "unix".to_owned(), |ip| ip.to_string());
            let detail = "its head breaks a rule of HTTP/2, or its :path holds what no URL may, such as a quote";
            tracing::info!(reason, remote, not_told, detail, "stream reset");
        }
    }

    /// A realtime connection was asked for and not granted.
    pub(crate) fn handshake_refused(&self, route: &str, protocol: &str, reason: &str) {
        self.connects
            .with_label_values(&[route, protocol, "refused", reason])
            .inc();
    }

    /// A realtime connection was granted; the reason is the rollout's.
    pub(crate) fn handshake_accepted(&self, route: &str, protocol: &str, reason: &str) {
        self.connects
            .with_label_values(&[route, protocol, "accepted", reason])
            .inc();
    }

    /// An exchange ended otherwise than planned.
    pub(crate) fn exchange_failed(&self, error: &Error, request_id: &str) {
        let (side, kind) = (error.side.as_str(), error.kind.as_str());
        self.errors.with_label_values(&[side, kind, ""]).inc();
        tracing::debug!(side, kind, detail = %error.detail, request_id, "exchange failed");
    }

    /// Memory runs short, or no longer does.
    pub(crate) fn memory_pressed(&self, number: u8, level: &'static str, memory: Memory) {
        self.memory_pressure.set(number.into());
        let (used, limit) = (memory.used, memory.limit);
        tracing::warn!(level, used, limit, "memory pressure changed");
    }

    /// The system gave no connection; so many clients got an error answer.
    pub(crate) fn accept_failed(&self, error: &std::io::Error, turned_away: usize) {
        self.refused
            .with_label_values(&["descriptors"])
            .inc_by(turned_away as u64);
        tracing::warn!(%error, turned_away, "no connection accepted");
    }
}
