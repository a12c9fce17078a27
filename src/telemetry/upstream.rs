//! What happens on the backend's half.

use std::time::Duration;

use prometheus::{IntCounterVec, IntGaugeVec};

use super::log_limit::Floods;
use super::metric_names;
use super::metric_registry::{self, Book};
use crate::error::{Error, Obstacle};

/// What the backends' half counts.
#[derive(Debug)]
pub(crate) struct UpstreamTelemetry {
    pub(crate) requests: IntCounterVec,
    errors: IntCounterVec,
    healthy: IntGaugeVec,
    ejections: IntCounterVec,
    retries: IntCounterVec,
    retries_refused: IntCounterVec,
    waits: IntCounterVec,
    /// Answers that were refused, by upstream.
    answers: Floods,
}

impl UpstreamTelemetry {
    pub(super) fn new(book: &mut Book) -> Self {
        UpstreamTelemetry {
            requests: metric_registry::counters(book, &metric_names::UPSTREAM_REQUESTS),
            errors: metric_registry::counters(book, &metric_names::UPSTREAM_ERRORS),
            healthy: metric_registry::gauges(book, &metric_names::UPSTREAM_HEALTHY),
            ejections: metric_registry::counters(book, &metric_names::UPSTREAM_EJECTIONS),
            retries: metric_registry::counters(book, &metric_names::UPSTREAM_RETRIES),
            retries_refused: metric_registry::counters(
                book,
                &metric_names::UPSTREAM_RETRIES_REFUSED,
            ),
            waits: metric_registry::counters(book, &metric_names::UPSTREAM_WAITS),
            answers: Floods::default(),
        }
    }

    /// A backend's answer began.
    pub(crate) fn upstream_answered(&self, route: &str, upstream: &str, kind: &str, status: u16) {
        let mut digits = [0; 3];
        let status = decimal(status, &mut digits);
        self.requests
            .with_label_values(&[route, upstream, kind, status])
            .inc();
        tracing::trace!(route, upstream, kind, status, "upstream answered");
    }

    /// A backend failed, before or during its answer.
    pub(crate) fn upstream_failed(&self, upstream: &str, error: &Error) {
        self.errors
            .with_label_values(&[upstream, error.reason()])
            .inc();
        tracing::debug!(upstream, reason = error.reason(), detail = %error.detail, "upstream failed");
    }

    /// The name of a server leads to other addresses than before.
    pub(crate) fn upstream_moved(&self, upstream: &str, host: &str, addresses: usize) {
        tracing::info!(upstream, host, addresses, "upstream has other addresses");
    }

    /// The name of a server leads nowhere at the moment: its last addresses are kept. Logged where
    /// that is news.
    pub(crate) fn upstream_name_lost(
        &self,
        upstream: &str,
        host: &str,
        detail: &str,
        is_news: bool,
    ) {
        self.errors
            .with_label_values(&[upstream, Obstacle::NoAddress.as_str()])
            .inc();
        if is_news {
            tracing::warn!(
                upstream,
                host,
                detail,
                "upstream's name is not found, its last addresses are kept"
            );
        }
    }

    /// A backend's answer was none, or stopped before its end.
    pub(crate) fn answer_refused(&self, upstream: &str, reason: &str) {
        if let Some(held_back) = self.answers.admit(upstream) {
            tracing::warn!(
                upstream,
                reason,
                held_back,
                "the backend's answer was refused"
            );
        }
    }

    /// A request goes to another server, or over another connection, after this.
    pub(crate) fn request_repeated(&self, upstream: &str, error: &Error) {
        let reason = error.kind.as_str();
        self.upstream_failed(upstream, error);
        self.retries.with_label_values(&[upstream, reason]).inc();
    }

    /// An upstream authenticates connections; logged once of each.
    pub(crate) fn connections_bound(&self, upstream: &str, is_pinned: bool) {
        match is_pinned {
            true => tracing::info!(
                upstream,
                "the backend authenticates connections (NTLM or Negotiate): each is pinned to its client's, or closed after the answer"
            ),
            false => tracing::warn!(
                upstream,
                "the backend authenticates connections (NTLM or Negotiate): each is closed after the answer, so a login of                  several steps fails; set upstream.NAME.connection_auth = \"pin\" where clients come directly"
            ),
        }
    }

    /// A request could have been sent once more, and the retry budget was used up.
    pub(crate) fn retry_refused(&self, upstream: &str) {
        self.retries_refused.with_label_values(&[upstream]).inc();
        tracing::debug!(upstream, "no retry: too many lately");
    }

    /// A request had to wait for the upstream's budget.
    pub(crate) fn budget_waited(&self, upstream: &str, kind: &str) {
        self.waits.with_label_values(&[upstream, kind]).inc();
    }

    /// A server is part of an upstream, and this is what is known of it.
    pub(crate) fn server_known(&self, upstream: &str, server: &str, is_healthy: bool) {
        self.healthy
            .with_label_values(&[upstream, server])
            .set(is_healthy.into());
    }

    /// A server is no longer part of an upstream.
    pub(crate) fn server_removed(&self, upstream: &str, server: &str) {
        // It may be another upstream's of the same name by now, or never have been reported.
        let _ = self.healthy.remove_label_values(&[upstream, server]);
    }

    /// A server failed too often in a row; `term` is how long it is left alone, where there are others.
    pub(crate) fn server_ejected(&self, upstream: &str, server: &str, term: Option<Duration>) {
        self.server_known(upstream, server, false);
        self.ejections.with_label_values(&[upstream, server]).inc();
        match term {
            Some(term) => tracing::warn!(
                upstream,
                server,
                seconds = term.as_secs(),
                "a server failed five times in a row and is left alone"
            ),
            None => tracing::error!(
                upstream,
                server,
                "the last server of an upstream failed five times in a row; it is tried until it answers"
            ),
        }
    }

    /// A server does not pass its checks.
    pub(crate) fn server_unhealthy(&self, upstream: &str, server: &str, why: &str) {
        self.server_known(upstream, server, false);
        tracing::warn!(
            upstream,
            server,
            why,
            "a server does not pass its health checks and gets no requests"
        );
    }

    /// A server may be used again; `by` says by what: what it answers, or its checks.
    pub(crate) fn server_back(&self, upstream: &str, server: &str, by: &str) {
        self.server_known(upstream, server, true);
        tracing::info!(upstream, server, by, "a server is back");
    }
}

/// A status code as text without an allocation per request.
fn decimal(status: u16, digits: &mut [u8; 3]) -> &str {
    let mut rest = status;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    std::str::from_utf8(digits).unwrap_or("000")
}
