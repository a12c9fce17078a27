//! What a pool depends on.

use std::time::Duration;

use crate::config::{self, Trust, Upstream};

/// What of an upstream's definition a pool depends on; the rest may change under it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Settings {
    pub(super) name: String,
    pub(super) connect_timeout: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) keepalive: usize,
    pub(super) http2: bool,
    pub(super) trust: Trust,
    pub(super) response_headers: usize,
}

impl Settings {
    /// `response_headers` is the limit of `[server.limits]`.
    pub(crate) fn of(upstream: &Upstream, response_headers: usize) -> Self {
        Settings {
            name: upstream.name.clone(),
            connect_timeout: upstream.connect_timeout,
            idle_timeout: upstream.idle_timeout,
            keepalive: upstream.keepalive,
            http2: upstream.http2,
            trust: upstream.tls.clone(),
            response_headers,
        }
    }

    /// For a server of no upstream's.
    pub(crate) fn outside(name: &str, keepalive: usize) -> Self {
        Settings {
            name: name.to_owned(),
            connect_timeout: Duration::from_secs(3),
            idle_timeout: Duration::from_secs(60),
            keepalive,
            http2: false,
            trust: Trust::default(),
            response_headers: config::RESPONSE_HEADERS,
        }
    }
}
