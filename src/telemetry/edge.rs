//! What the edge's policies decide.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use prometheus::{IntCounter, IntCounterVec};

use super::metric_names;
use super::metric_registry::{self, Book};

/// The most peers that the log names for forwarding fields that are not believed: any peer can send such a field.
const DISBELIEVED: usize = 8;

/// What the edge's policies count.
#[derive(Debug)]
pub(crate) struct EdgeTelemetry {
    auth: IntCounterVec,
    auth_ended: IntCounterVec,
    pub(crate) auth_fetches: IntCounterVec,
    rate_limited: IntCounterVec,
    fields_dropped: IntCounter,
    /// Untrusted peers that forward, and that the log has named already.
    disbelieved: Mutex<Vec<IpAddr>>,
    /// The log has named a dropped field already.
    has_dropped_fields: AtomicBool,
}

impl EdgeTelemetry {
    pub(super) fn new(book: &mut Book) -> Self {
        EdgeTelemetry {
            auth: metric_registry::counters(book, &metric_names::AUTH),
            auth_ended: metric_registry::counters(book, &metric_names::AUTH_ENDED),
            auth_fetches: metric_registry::counters(book, &metric_names::AUTH_FETCHES),
            rate_limited: metric_registry::counters(book, &metric_names::RATE_LIMITED),
            fields_dropped: metric_registry::counter(book, &metric_names::FIELDS_DROPPED),
            disbelieved: Mutex::default(),
            has_dropped_fields: AtomicBool::new(false),
        }
    }

    /// An `[auth.NAME]` judged a credential; `result` is a fixed word.
    pub(crate) fn authenticated(&self, auth: &str, result: &'static str) {
        self.auth.with_label_values(&[auth, result]).inc();
    }

    /// An answer or a tunnel was cut because its client's credential did not hold any longer; `reason` is a fixed word.
    pub(crate) fn credential_ended(&self, what: &str, reason: &'static str) {
        self.auth_ended.with_label_values(&[what, reason]).inc();
    }

    /// A key set arrived.
    pub(crate) fn keys_fetched(&self, auth: &str, keys: usize) {
        self.auth_fetches.with_label_values(&[auth, "ok"]).inc();
        tracing::info!(auth, keys, "key set fetched");
    }

    /// A key set did not arrive, or was none.
    pub(crate) fn keys_not_fetched(&self, auth: &str, why: &str, are_old_ones_kept: bool) {
        self.auth_fetches.with_label_values(&[auth, "failed"]).inc();
        match are_old_ones_kept {
            true => tracing::warn!(auth, why, "key set not fetched; the last one holds"),
            false => tracing::error!(
                auth,
                why,
                "key set not fetched, and there is none: requests with tokens are answered with 503"
            ),
        }
    }

    /// The authority named the user, or does not know them.
    pub(crate) fn authority_answered(&self, auth: &str, is_known: bool) {
        let result = if is_known { "ok" } else { "refused" };
        self.auth_fetches.with_label_values(&[auth, result]).inc();
    }

    /// The authority could not be asked, or its answer was none; logged where that is news.
    pub(crate) fn authority_failed(&self, auth: &str, why: &str, is_news: bool) {
        self.auth_fetches.with_label_values(&[auth, "failed"]).inc();
        if is_news {
            tracing::warn!(auth, why, "the authority gave no usable answer");
        }
    }

    /// An admin revoked a user, a login or a token; so many sessions depended on it.
    pub(crate) fn revoked(&self, what: &str, sessions: usize) {
        tracing::warn!(what, sessions, "revoked");
    }

    /// A peer outside `trusted_proxies` names the client that it forwards for; logged once for each, and for a few only.
    pub(crate) fn forwarded_disbelieved(&self, peer: IpAddr) {
        let known = self.disbelieved.lock();
        let mut known = known.unwrap_or_else(PoisonError::into_inner);
        if known.len() >= DISBELIEVED || known.contains(&peer) {
            return;
        }
        known.push(peer);
        tracing::warn!(
            %peer,
            "X-Forwarded-For of a peer outside server.trusted_proxies is not believed: all its users count as one address, \
             and share one cap of topics (if it is your proxy, name it in server.trusted_proxies)"
        );
    }

    /// So many fields of a request do not go upstream, for their names may be taken for others; the first of all is logged.
    pub(crate) fn fields_dropped(&self, count: usize, name: &str) {
        self.fields_dropped.inc_by(count as u64);
        if !self.has_dropped_fields.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                name,
                "a request's field is dropped: many backends take `_` and `-` in a field's name for the same, so one may pass for \
                 another (let clients write `-`, or set server.underscore_headers = \"allow\"; further ones are counted only)"
            );
        }
    }

    /// A rate limit held something back.
    pub(crate) fn rate_limited(&self, policy: &str) {
        self.rate_limited.with_label_values(&[policy]).inc();
    }
}
