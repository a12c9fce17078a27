//! Happenings of realtime connections.

use super::Telemetry;

impl Telemetry {
    /// A connection is closed from our side.
    pub fn session_closing(&self, code: u16) {
        tracing::debug!(code, "closing a connection");
    }

    /// A client read too slowly.
    pub fn slow_client_closed(&self, route: &str) {
        self.slow_closes.with_label_values(&[route]).inc();
    }

    /// A `sub` asked to resume.
    pub fn resume_asked(&self, route: &str) {
        self.reconnects.with_label_values(&[route]).inc();
    }

    /// A live session, or one of its subscriptions, is sent to the legacy transport.
    pub fn sent_to_legacy(&self, route: &str) {
        self.fallbacks.with_label_values(&[route]).inc();
    }

    /// An answer to a call had cookies, which cannot reach the browser.
    pub fn cookies_dropped(&self, route: &str, count: u64) {
        self.cookies_dropped
            .with_label_values(&[route])
            .inc_by(count);
    }
}
