//! The line that every finished request leaves.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Telemetry;

/// A request that is over. Nothing in here may hold a query, a cookie or a token.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What `X-Request-Id` said.
    pub id: &'a str,
    /// HTTP method.
    pub method: &'a str,
    /// Path without its query (queries carry tokens).
    pub path: &'a str,
    /// The route's name, `-` where there is none.
    pub route: &'a str,
    /// What was done: `passthrough`, `tunnel`, `websocket`, `own`, `refused`.
    pub action: &'a str,
    /// Whose side ended it otherwise than planned: `downstream`, `edge`, `upstream`; empty where nothing did.
    pub side: &'a str,
    /// Status of the answer.
    pub status: u16,
    /// The client's address.
    pub remote: &'a str,
    /// From the request's head to the answer's last byte.
    pub total: Duration,
    /// From the request sent upstream to the answer's head, where it went there.
    pub upstream: Option<Duration>,
    /// Body bytes sent downstream.
    pub bytes: u64,
}

impl Telemetry {
    /// A request is over: its access line, unless `log.access` is off.
    pub fn request_finished(&self, request: &Request<'_>) {
        if !self.access.load(Ordering::Relaxed) {
            return;
        }
        tracing::info!(
            request_id = shorten(request.id),
            method = shorten(request.method),
            path = shorten(request.path),
            route = request.route,
            action = request.action,
            side = request.side,
            status = request.status,
            remote = request.remote,
            total_ms = milliseconds(request.total),
            upstream_ms = request.upstream.map(milliseconds),
            bytes = request.bytes,
            "request",
        );
    }

    /// Whether access lines are wanted; lets a caller skip what only they need.
    pub fn wants_access(&self) -> bool {
        self.access.load(Ordering::Relaxed)
    }
}

/// At most 4 KiB of a foreign text, cut between characters.
pub fn shorten(text: &str) -> &str {
    const LONGEST: usize = 4096;
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

    #[test]
    fn foreign_text_is_cut_between_characters() {
        assert_eq!(shorten("short"), "short");
        let long = "é".repeat(3000);
        assert_eq!(shorten(&long).len(), 4096);
        let odd = format!("a{long}");
        assert_eq!(shorten(&odd).len(), 4095);
    }
}
