//! The line that every finished request, tunnel and session leaves.
//!
//! Nothing in here may hold a query, a cookie or a token; what a client chose is shortened.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::{Method, Version};

use crate::http::header_text::Text;
use crate::http::path::without_parameters;

/// Longest foreign text in a field, bytes.
const LONGEST: usize = 4096;

/// A request that is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestLine<'a> {
    /// What was asked, and by which client.
    pub(crate) request: &'a LoggedRequest,
    /// The route's name, `-` where there is none.
    pub(crate) route: &'a str,
    /// The backend's name, empty where it was not asked.
    pub(crate) upstream: &'a str,
    /// Which transport the client was asked to use, where a rollout or a bridged route said so.
    pub(crate) cohort: &'a str,
    /// What was done: `passthrough`, `tunnel`, `websocket`, `own`, `refused`.
    pub(crate) action: &'a str,
    /// How it ended.
    pub(crate) end: Ending<'a>,
    /// How long it took.
    pub(crate) times: Times,
    /// Body bytes that the client sent, as far as they were read.
    pub(crate) bytes_in: u64,
    /// Body bytes sent downstream.
    pub(crate) bytes_out: u64,
}

/// A request, as the log names it.
#[derive(Debug)]
pub(crate) struct LoggedRequest {
    /// What `X-Request-Id` says.
    pub(crate) id: Text,
    /// Its method.
    pub(crate) method: Method,
    /// Its path without its query (queries carry tokens).
    pub(crate) path: Arc<str>,
    /// The version of HTTP that it came in.
    pub(crate) version: Version,
    /// The client's address.
    pub(crate) remote: Text,
}

/// How a request ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending<'a> {
    /// Status of the answer.
    pub(crate) status: u16,
    /// The side that ended it otherwise than planned: `downstream`, `edge`, `upstream`; empty where nothing did.
    pub(crate) side: &'a str,
    /// Why the client's credential did not hold until the end: `expired`, `revoked` and their like.
    pub(crate) reason: Option<&'static str>,
}

/// How long a request took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    /// From the request's head to the answer's last byte.
    pub(crate) total: Duration,
    /// From the request's head to the answer's head.
    pub(crate) first_byte: Duration,
    /// From the request sent upstream to the answer's head, where it went there.
    pub(crate) upstream: Option<Duration>,
}

/// A connection of the backend's own protocol that is over; its handshake left a line before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tunnel<'a> {
    /// What the handshake's `X-Request-Id` said.
    pub(crate) id: &'a str,
    /// The route's name.
    pub(crate) route: &'a str,
    /// The backend's name.
    pub(crate) upstream: &'a str,
    /// The client's address.
    pub(crate) remote: &'a str,
    /// Which side ended first: `downstream`, `upstream`, or `edge` where the client's credential did not hold any longer.
    pub(crate) side: &'a str,
    /// Why it did not: `expired`, `revoked` and their like.
    pub(crate) reason: Option<&'static str>,
    /// From the `101` to the end.
    pub(crate) total: Duration,
    /// Bytes from the client to the backend.
    pub(crate) bytes_in: u64,
    /// Bytes from the backend to the client.
    pub(crate) bytes_out: u64,
}

/// A realtime connection that is over; its handshake left a line before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionLine<'a> {
    /// The connection's own id, as in `welcome` and the admin API.
    pub(crate) id: &'a str,
    /// What the handshake's `X-Request-Id` said.
    pub(crate) request_id: &'a str,
    /// The route's name, `-` for `PREFIX/ws`.
    pub(crate) route: &'a str,
    /// `json`, `raw`.
    pub(crate) protocol: &'a str,
    /// Which transport its rollout wanted for it at the end.
    pub(crate) cohort: &'a str,
    /// The client's address.
    pub(crate) remote: &'a str,
    /// The side that began the close: `downstream` or `edge`.
    pub(crate) side: &'a str,
    /// That side's close code; 1006 where the connection just broke.
    pub(crate) code: u16,
    /// From the handshake to the end.
    pub(crate) total: Duration,
    /// Bytes read from the client.
    pub(crate) bytes_in: u64,
    /// Bytes written to the client.
    pub(crate) bytes_out: u64,
}

/// Whether finished requests, tunnels and sessions leave a line.
#[derive(Debug)]
pub(crate) struct AccessLog {
    is_wanted: AtomicBool,
}

impl AccessLog {
    pub(super) fn new() -> Self {
        AccessLog {
            is_wanted: AtomicBool::new(true),
        }
    }

    /// A request is over: its access line, unless `log.access` is off.
    pub(crate) fn request_finished(&self, finished: &RequestLine<'_>) {
        if !self.wants_access() {
            return;
        }
        let request = finished.request;
        tracing::info!(
            request_id = shorten(&request.id),
            method = shorten(request.method.as_str()),
            path = shorten(&without_parameters(&request.path)),
            protocol = protocol(request.version),
            route = finished.route,
            upstream = finished.upstream,
            cohort = finished.cohort,
            action = finished.action,
            side = finished.end.side,
            reason = finished.end.reason,
            status = finished.end.status,
            remote = shorten(&request.remote),
            total_ms = milliseconds(finished.times.total),
            first_byte_ms = milliseconds(finished.times.first_byte),
            upstream_ms = finished.times.upstream.map(milliseconds),
            bytes_in = finished.bytes_in,
            bytes_out = finished.bytes_out,
            "request",
        );
    }

    /// A tunnel is over: its access line.
    pub(crate) fn tunnel_finished(&self, tunnel: &Tunnel<'_>) {
        if !self.wants_access() {
            return;
        }
        tracing::info!(
            request_id = shorten(tunnel.id),
            route = tunnel.route,
            upstream = tunnel.upstream,
            side = tunnel.side,
            reason = tunnel.reason,
            remote = shorten(tunnel.remote),
            total_ms = milliseconds(tunnel.total),
            bytes_in = tunnel.bytes_in,
            bytes_out = tunnel.bytes_out,
            "tunnel",
        );
    }

    /// A session is over: its access line.
    pub(crate) fn session_finished(&self, session: &SessionLine<'_>) {
        if !self.wants_access() {
            return;
        }
        tracing::info!(
            request_id = shorten(session.request_id),
            session = session.id,
            route = session.route,
            protocol = session.protocol,
            cohort = session.cohort,
            side = session.side,
            code = session.code,
            reason = close_reason(session.code),
            remote = shorten(session.remote),
            total_ms = milliseconds(session.total),
            bytes_in = session.bytes_in,
            bytes_out = session.bytes_out,
            "session",
        );
    }

    pub(super) fn want(&self, is_wanted: bool) {
        self.is_wanted.store(is_wanted, Ordering::Relaxed);
    }

    /// Whether access lines are wanted; lets a caller skip what only they need.
    pub(crate) fn wants_access(&self) -> bool {
        self.is_wanted.load(Ordering::Relaxed)
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

/// What a close code means, in one word. The text of a close frame is the client's to choose, and stays out of the log.
fn close_reason(code: u16) -> &'static str {
    match code {
        1000 => "done",
        1001 => "going_away",
        1002 => "protocol_error",
        1005 | 1006 => "gone",
        1007 => "invalid_utf8",
        1011 => "bug",
        4000 => "bad_frame",
        4001 => "unauthorized",
        4003 => "forbidden",
        4004 => "not_found",
        4008 => "no_hello",
        4009 => "too_big",
        4029 => "too_many_connections",
        4100 => "overloaded",
        4108 => "heartbeat_lost",
        4113 => "slow",
        4129 => "rate_limited",
        4200 => "drain",
        4201 => "route_moved",
        4300 => "legacy",
        4301 => "rolled_back",
        4302 => "killed",
        4401 => "token_expired",
        4403 => "revoked",
        _ => "other",
    }
}

/// At most 4 KiB of a foreign text, cut between characters.
pub(crate) fn shorten(text: &str) -> &str {
    text.get(..text.floor_char_boundary(LONGEST))
        .unwrap_or(text)
}

/// With three decimals.
fn milliseconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::shorten;
    use crate::http::path::without_parameters;

    #[test]
    fn foreign_text_is_cut_between_characters() {
        assert_eq!(shorten("short"), "short");
        let long = "é".repeat(3000);
        assert_eq!(shorten(&long).len(), 4096);
        let odd = format!("a{long}");
        assert_eq!(shorten(&odd).len(), 4095);
    }

    #[test]
    fn parameters_of_a_path_are_hidden() {
        assert_eq!(without_parameters("/a/b"), "/a/b");
        let path = "/a;jsessionid=secret;x=1/b;v=2";
        assert_eq!(without_parameters(path), "/a;***/b;***");
    }
}
