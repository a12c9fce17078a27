//! What happens to the sources.

use std::sync::Arc;

use prometheus::{IntGauge, IntGaugeVec};

use super::log_limit::Floods;
use super::metric_names;
use super::metric_registry::{self, Book};

/// A stream counts as open until this is dropped.
#[derive(Debug)]
pub(crate) struct OpenStream(IntGauge);

/// What the sources count.
#[derive(Debug)]
pub(crate) struct SourceTelemetry {
    streams: IntGaugeVec,
    /// The topics of a route that lose their backend at once may be many.
    routes: Arc<Floods>,
}

impl SourceTelemetry {
    pub(super) fn new(book: &mut Book, routes: Arc<Floods>) -> Self {
        SourceTelemetry {
            streams: metric_registry::gauges(book, &metric_names::UPSTREAM_STREAMS),
            routes,
        }
    }

    /// A Server-Sent-Events stream began.
    pub(crate) fn stream_opened(&self, route: &str) -> OpenStream {
        let open = self.streams.with_label_values(&[route]);
        open.inc();
        OpenStream(open)
    }

    /// A topic's clients learn that what they hold may be stale, or why it still is; `detail` is what came instead of what the
    /// source reads. Many topics may lose one backend at once: the first lines say it.
    pub(crate) fn source_stale(&self, route: &str, upstream: &str, why: &str, detail: &str) {
        if let Some(not_told) = self.routes.admit(route) {
            tracing::warn!(
                route,
                upstream,
                why,
                detail,
                not_told,
                "a source lost its backend; clients are told, and stay"
            );
        }
    }

    /// A topic that was stale follows its backend again.
    pub(crate) fn source_recovered(&self, route: &str) {
        if let Some(not_told) = self.routes.admit(route) {
            tracing::info!(route, not_told, "a source follows its backend again");
        }
    }

    /// A polled list could not be compared by key, and went out whole.
    pub(crate) fn list_not_comparable(&self, route: &str, why: &str) {
        if let Some(not_told) = self.routes.admit(route) {
            tracing::warn!(
                route,
                why,
                not_told,
                "a change cannot be told item by item; the whole document is sent (look at `items` and `key`)"
            );
        }
    }

    /// Most of a polled list is gone; a second poll is asked before that is reported.
    pub(crate) fn mass_delete_doubted(&self, route: &str, deleted: usize) {
        if let Some(not_told) = self.routes.admit(route) {
            tracing::warn!(
                route,
                deleted,
                not_told,
                "most of the list is gone; clients are told when the next poll says so too (`mass_delete_guard`)"
            );
        }
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.dec();
    }
}
