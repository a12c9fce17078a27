//! What can go wrong, and on which side.
//!
//! A [`Refusal`] is a policy that said no; an [`Error`] is something that broke. Parts return
//! them as values; only the edges (`proxy::error_response`, a protocol's encoder) turn them
//! into bytes.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

/// Where the fault lies: the client's half, ours, or the backend's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum Side {
    /// The client's half of the request path.
    Downstream,
    /// crossfade itself, its policies included.
    Edge,
    /// The legacy backend's half.
    Upstream,
}

impl Side {
    /// The word used in problem documents, logs and metric labels.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Side::Downstream => "downstream",
            Side::Edge => "edge",
            Side::Upstream => "upstream",
        }
    }
}

/// The machine-readable word of an `err` or `end` frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The frame was not understood.
    BadFrame,
    /// No credentials, or the backend did not accept them.
    Unauthorized,
    /// The token's time is over.
    TokenExpired,
    /// Known, but not allowed.
    Forbidden,
    /// The rollout keeps this client on the legacy transport.
    Legacy,
    /// No such route, or the backend knows nothing there.
    NotFound,
    /// More subscriptions or topics than allowed.
    TooManySubs,
    /// Faster than the rate limit.
    RateLimited,
    /// Larger than the limit.
    PayloadTooLarge,
    /// The backend could not be reached or answered brokenly.
    UpstreamDown,
    /// The backend did not answer in time.
    UpstreamTimeout,
    /// The request went out and no answer came: it may have been executed.
    OutcomeUnknown,
    /// The sidecar is leaving.
    Draining,
    /// The same thing twice.
    Conflict,
    /// Our own fault, or a tripwire's.
    Internal,
    /// The backend ended the stream for good (`end` only).
    UpstreamClosed,
    /// The configuration no longer has the route (`end` only).
    RouteRemoved,
}

impl Code {
    /// All of them.
    pub(crate) const ALL: [Code; 17] = [
        Code::BadFrame,
        Code::Unauthorized,
        Code::TokenExpired,
        Code::Forbidden,
        Code::Legacy,
        Code::NotFound,
        Code::TooManySubs,
        Code::RateLimited,
        Code::PayloadTooLarge,
        Code::UpstreamDown,
        Code::UpstreamTimeout,
        Code::OutcomeUnknown,
        Code::Draining,
        Code::Conflict,
        Code::Internal,
        Code::UpstreamClosed,
        Code::RouteRemoved,
    ];

    /// The word as it stands on the wire.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Code::BadFrame => "bad_frame",
            Code::Unauthorized => "unauthorized",
            Code::TokenExpired => "token_expired",
            Code::Forbidden => "forbidden",
            Code::Legacy => "legacy",
            Code::NotFound => "not_found",
            Code::TooManySubs => "too_many_subs",
            Code::RateLimited => "rate_limited",
            Code::PayloadTooLarge => "payload_too_large",
            Code::UpstreamDown => "upstream_down",
            Code::UpstreamTimeout => "upstream_timeout",
            Code::OutcomeUnknown => "outcome_unknown",
            Code::Draining => "draining",
            Code::Conflict => "conflict",
            Code::Internal => "internal",
            Code::UpstreamClosed => "upstream_closed",
            Code::RouteRemoved => "route_removed",
        }
    }

    /// The HTTP status that says the same.
    pub(crate) fn status(self) -> u16 {
        match self {
            Code::BadFrame => 400,
            Code::Unauthorized | Code::TokenExpired => 401,
            Code::Forbidden | Code::Legacy => 403,
            Code::NotFound | Code::RouteRemoved => 404,
            Code::Conflict => 409,
            Code::PayloadTooLarge => 413,
            Code::TooManySubs | Code::RateLimited => 429,
            Code::Internal => 500,
            Code::UpstreamDown | Code::OutcomeUnknown | Code::UpstreamClosed => 502,
            Code::Draining => 503,
            Code::UpstreamTimeout => 504,
        }
    }
}

/// A policy said no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What it is.
    pub(crate) code: Code,
    /// The HTTP status that goes with it; the backend's own where it refused.
    pub(crate) status: u16,
    /// One sentence for a person.
    pub(crate) detail: Cow<'static, str>,
    /// When to come back, in milliseconds; `None` where that is not known.
    pub(crate) retry_ms: Option<u64>,
}

impl Refusal {
    /// A refusal with the status that its code implies.
    pub(crate) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Refusal {
            code,
            status: code.status(),
            detail: detail.into(),
            retry_ms: None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.detail)
    }
}

/// What broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// No connection could be made: nothing was sent.
    Connect,
    /// The connection was made, and the answer did not begin in time; the request may have been executed.
    Timeout,
    /// The answer broke the protocol or stopped in the middle.
    Broken,
    /// A body above its limit.
    TooLarge,
    /// The other side went away.
    Gone,
    /// No server of the upstream is healthy: nothing was sent.
    NoneHealthy,
    /// The upstream's budget or its connections are used up: nothing was sent.
    Busy,
    /// The credential that it was for does not hold any longer.
    Unauthorized,
    /// Not one of these.
    Other,
}

impl ErrorKind {
    /// The word used in logs and metric labels.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            ErrorKind::Connect => "connect",
            ErrorKind::Timeout => "timeout",
            ErrorKind::Broken => "broken",
            ErrorKind::TooLarge => "too_large",
            ErrorKind::Gone => "gone",
            ErrorKind::NoneHealthy => "none_healthy",
            ErrorKind::Busy => "busy",
            ErrorKind::Unauthorized => "unauthorized",
            ErrorKind::Other => "other",
        }
    }
}

/// Why no connection could be made, where that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Obstacle {
    /// Its name leads to no address.
    NoAddress,
    /// Its certificate's time is over.
    Expired,
    /// Its certificate's time has not come.
    NotYetValid,
    /// No trusted authority issued its certificate.
    UnknownIssuer,
    /// Its certificate is for another name.
    WrongName,
    /// No TLS came about for another reason.
    Handshake,
}

impl Obstacle {
    /// The word used in logs and metric labels.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Obstacle::NoAddress => "dns",
            Obstacle::Expired => "tls_expired",
            Obstacle::NotYetValid => "tls_not_yet_valid",
            Obstacle::UnknownIssuer => "tls_unknown_issuer",
            Obstacle::WrongName => "tls_wrong_name",
            Obstacle::Handshake => "tls",
        }
    }
}

/// Something broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The half that it broke in.
    pub(crate) side: Side,
    /// What broke.
    pub kind: ErrorKind,
    /// What stood in the way, with `Connect`.
    pub obstacle: Option<Obstacle>,
    /// One sentence for a person; never a secret, never a body.
    pub(crate) detail: Cow<'static, str>,
    /// When it may be worth another try, where that is known.
    pub(crate) retry_after: Option<Duration>,
}

impl Error {
    /// An error on the backend's half.
    pub(crate) fn upstream(kind: ErrorKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Error {
            side: Side::Upstream,
            kind,
            obstacle: None,
            detail: detail.into(),
            retry_after: None,
        }
    }

    /// No server of the upstream is healthy.
    pub(crate) fn none_healthy(retry_after: Duration) -> Self {
        Error {
            side: Side::Upstream,
            kind: ErrorKind::NoneHealthy,
            obstacle: None,
            detail: "no server of the upstream is healthy".into(),
            retry_after: Some(retry_after),
        }
    }

    /// The upstream gets as much as it is meant to get.
    pub(crate) fn busy() -> Self {
        Error {
            side: Side::Edge,
            kind: ErrorKind::Busy,
            obstacle: None,
            detail: "the upstream's budget is used up".into(),
            retry_after: Some(Duration::from_secs(1)),
        }
    }

    /// Every stream that a server allows is taken.
    pub(crate) fn no_stream(patience: Duration) -> Self {
        let patience = humantime::format_duration(patience);
        let mut error = Error::upstream(
            ErrorKind::Busy,
            format!(
                "all streams of its HTTP/2 connections are taken, and none became free within {patience}"
            ),
        );
        error.retry_after = Some(Duration::from_secs(1));
        error
    }

    /// The client's credential ended before the exchange did.
    pub(crate) fn unauthorized(detail: impl Into<Cow<'static, str>>) -> Self {
        Error {
            side: Side::Edge,
            kind: ErrorKind::Unauthorized,
            obstacle: None,
            detail: detail.into(),
            retry_after: None,
        }
    }

    /// An error on the client's half.
    pub(crate) fn downstream(kind: ErrorKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Error {
            side: Side::Downstream,
            kind,
            obstacle: None,
            detail: detail.into(),
            retry_after: None,
        }
    }

    /// The backend's half: no connection could be made, and why.
    pub(crate) fn unconnected(obstacle: Obstacle, detail: impl Into<Cow<'static, str>>) -> Self {
        let mut error = Error::upstream(ErrorKind::Connect, detail);
        error.obstacle = Some(obstacle);
        error
    }

    /// The most precise fixed word for it, for logs and metric labels.
    pub(crate) fn reason(&self) -> &'static str {
        self.obstacle.map_or(self.kind.as_str(), Obstacle::as_str)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}: {}",
            self.side.as_str(),
            self.reason(),
            self.detail
        )
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_explained_to_clients() {
        let page = include_str!("../docs/protocol.md");
        for code in Code::ALL {
            let row = format!("| `{}` | {} | ", code.as_str(), code.status());
            assert_eq!(page.matches(&row).count(), 1, "{row}");
        }
    }
}
