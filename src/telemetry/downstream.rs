//! What happens at the public door.

use super::Telemetry;
use crate::error::Error;

impl Telemetry {
    /// A request was refused before or by a route's policies.
    pub fn request_refused(&self, reason: &str, request_id: &str, remote: &str) {
        self.refused.with_label_values(&[reason]).inc();
        tracing::debug!(reason, request_id, remote, "request refused");
    }

    /// A connection was refused before its first request.
    pub fn connection_refused(&self, reason: &str) {
        self.refused.with_label_values(&[reason]).inc();
        tracing::debug!(reason, "connection refused");
    }

    /// A realtime connection was asked for and not granted.
    pub fn handshake_refused(&self, route: &str, protocol: &str, reason: &str) {
        self.connects
            .with_label_values(&[route, protocol, "refused", reason])
            .inc();
    }

    /// A realtime connection was granted; the reason is the rollout's.
    pub fn handshake_accepted(&self, route: &str, protocol: &str, reason: &str) {
        self.connects
            .with_label_values(&[route, protocol, "accepted", reason])
            .inc();
    }

    /// An exchange ended otherwise than planned.
    pub fn exchange_failed(&self, error: &Error, request_id: &str) {
        let (side, kind) = (error.side.as_str(), error.kind.as_str());
        self.errors.with_label_values(&[side, kind, ""]).inc();
        tracing::debug!(side, kind, detail = %error.detail, request_id, "exchange failed");
    }

    /// The system gave no connection.
    pub fn accept_failed(&self, error: &std::io::Error) {
        tracing::warn!(%error, "no connection accepted");
    }
}
