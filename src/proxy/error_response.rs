//! What the proxy refuses, and what breaks on the way, as problem documents: which status, which code, which words.

use std::borrow::Cow;

use hyper::StatusCode;
use hyper::header::{
    ALLOW, CONNECTION, HeaderMap, HeaderName, HeaderValue, SET_COOKIE, UPGRADE, WWW_AUTHENTICATE,
};

use crate::error::{Code, Error, ErrorKind, Obstacle, Refusal, Side};
use crate::http::RequestViolation;
use crate::http::problem::{self, Problem};
use crate::policy::auth::AuthError;
use crate::policy::cors::OriginRefused;
use crate::policy::rate_limit::{Exceeded, TooManyConnections, headers};
use crate::router::{self, Unclear};

/// Seconds after which a user may try whether another of their connections has ended.
const CROWDED_SECONDS: u32 = 10;

impl Problem {
    /// No route fits.
    pub(crate) fn no_route() -> Self {
        let detail = "no route of this server fits the request";
        Problem::new(StatusCode::NOT_FOUND, "no_route", Side::Edge, detail)
    }

    /// A path that is refused as it is written.
    pub(crate) fn of_path(fault: RequestViolation, path: &str) -> Self {
        let mut problem = Problem::from(fault);
        problem.detail = router::path_detail(fault, path);
        problem
    }

    /// A path that a backend may read as one that other policies guard.
    pub(crate) fn unclear_path(unclear: &Unclear) -> Self {
        let mut problem = Problem::from(RequestViolation::Path);
        problem.detail = unclear.detail();
        problem
    }

    /// It has come from here before, more often than a backend that calls back makes it.
    pub(crate) fn loop_detected() -> Self {
        let detail = "the request comes back to this server again and again";
        let status = StatusCode::LOOP_DETECTED;
        Problem::new(status, "loop_detected", Side::Edge, detail)
    }

    /// A method that an endpoint of our own does not know.
    pub(crate) fn method_not_allowed(allowed: &'static str) -> Self {
        let detail = format!("allowed: {allowed}");
        let status = StatusCode::METHOD_NOT_ALLOWED;
        let mut problem = Problem::new(status, "method_not_allowed", Side::Downstream, detail);
        let value = HeaderValue::from_static(allowed);
        problem.headers.insert(ALLOW, value);
        problem
    }

    /// A handshake that is none.
    pub(crate) fn bad_handshake(detail: &'static str) -> Self {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "bad_handshake",
            Side::Downstream,
            detail,
        )
    }

    /// A WebSocket version other than 13, or no handshake where only one is served.
    pub(crate) fn upgrade_required() -> Self {
        let detail = "a WebSocket handshake of version 13 is wanted here";
        let status = StatusCode::UPGRADE_REQUIRED;
        let mut problem = Problem::new(status, "upgrade_required", Side::Downstream, detail);
        let version = HeaderName::from_static("sec-websocket-version");
        problem
            .headers
            .insert(version, HeaderValue::from_static("13"));
        let websocket = HeaderValue::from_static("websocket");
        problem.headers.insert(UPGRADE, websocket);
        let upgrade = HeaderValue::from_static("upgrade");
        problem.headers.insert(CONNECTION, upgrade);
        problem
    }

    /// The sidecar takes no new sessions.
    pub(crate) fn draining(retry_seconds: u32) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let detail = "this server is leaving; come back";
        Problem::new(status, "draining", Side::Edge, detail).retry_after(retry_seconds)
    }

    /// The rollout keeps this client on the legacy transport.
    pub(crate) fn legacy() -> Self {
        let detail = "this client stays on the legacy transport";
        Problem::new(StatusCode::FORBIDDEN, "legacy", Side::Edge, detail)
    }

    /// The credential is missing or not verified. The challenge is sent in any case (RFC 9110, section 15.5.2; RFC 6750,
    /// section 3).
    pub(crate) fn denied(denied: &AuthError) -> Self {
        let mut problem = Problem::from(Refusal::from(denied));
        problem.reason = Some(match denied {
            AuthError::Unavailable(_) => "auth_unavailable",
            _ => "unauthorized",
        });
        let challenge = match denied {
            AuthError::Missing => "Bearer realm=\"crossfade\"",
            AuthError::Unavailable(wait) => {
                problem.code = "auth_unavailable";
                return problem.retry_after(u32::try_from(wait.as_secs()).unwrap_or(1).max(1));
            }
            AuthError::Invalid(_) | AuthError::Expired | AuthError::Revoked => {
                "Bearer realm=\"crossfade\", error=\"invalid_token\""
            }
        };
        let challenge = HeaderValue::from_static(challenge);
        problem.headers.insert(WWW_AUTHENTICATE, challenge);
        problem
    }

    /// The user is known, and has no access.
    pub(crate) fn forbidden(detail: impl Into<Cow<'static, str>>) -> Self {
        Problem::new(StatusCode::FORBIDDEN, "forbidden", Side::Edge, detail)
    }

    /// A write with a cookie that lacks what a foreign page cannot know.
    pub(crate) fn csrf(detail: &'static str) -> Self {
        let mut problem = Problem::forbidden(detail);
        problem.reason = Some("csrf");
        problem
    }

    /// More than this client may ask for.
    pub(crate) fn rate_limited(policy: &str, exceeded: &Exceeded) -> Self {
        let detail = "more than this client may ask for; come back";
        let status = StatusCode::TOO_MANY_REQUESTS;
        let mut problem = Problem::new(status, "rate_limited", Side::Edge, detail);
        let fields = headers::fields(policy, &exceeded.rate, &exceeded.wait, fastrand::f64());
        problem.headers.extend(fields);
        problem
    }

    /// The newest connection of a user, or an address, that has as many as it may have.
    pub(crate) fn crowded(crowded: TooManyConnections) -> Self {
        let detail = match crowded {
            TooManyConnections::User => "more connections than this user may have",
            TooManyConnections::Address => "more connections than this address may have",
        };
        let status = StatusCode::TOO_MANY_REQUESTS;
        let mut problem = Problem::new(status, "rate_limited", Side::Edge, detail);
        problem.reason = Some(crowded.reason());
        problem.retry_after(CROWDED_SECONDS)
    }

    /// Nothing there takes tickets.
    pub(crate) fn no_tickets() -> Self {
        let detail = "nothing there takes tickets: its `auth` has no \"ticket\" in `from`";
        Problem::new(StatusCode::NOT_FOUND, "not_found", Side::Edge, detail)
    }
}

impl From<OriginRefused> for Problem {
    fn from(refused: OriginRefused) -> Self {
        let mut problem = Problem::new(
            StatusCode::FORBIDDEN,
            Code::Forbidden.as_str(),
            Side::Edge,
            refused.detail(),
        );
        problem.reason = Some("origin");
        problem
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = problem::status(refusal.status);
        Problem::new(status, refusal.code.as_str(), Side::Edge, refusal.detail)
    }
}

impl From<&Error> for Problem {
    fn from(error: &Error) -> Self {
        let (status, code, detail) = match (error.side, error.kind) {
            (Side::Upstream, ErrorKind::Timeout) => (
                504,
                "upstream_timeout",
                "the backend did not answer in time",
            ),
            (Side::Upstream, ErrorKind::Connect) => {
                (502, "upstream_down", unreachable(error.obstacle))
            }
            (Side::Upstream, ErrorKind::NoneHealthy) => (
                503,
                "upstream_down",
                "no server of the backend is healthy; come back",
            ),
            (Side::Edge, ErrorKind::Busy) => (
                503,
                "overloaded",
                "the backend gets as much as it may get; come back",
            ),
            (Side::Upstream, ErrorKind::Busy) => (
                503,
                "upstream_down",
                "the backend takes no more requests at once; come back",
            ),
            (Side::Upstream, _) => (502, "upstream_down", "the backend's answer was broken"),
            (Side::Downstream, ErrorKind::Timeout) => (
                408,
                "request_timeout",
                "the request body did not arrive in time",
            ),
            (Side::Downstream, _) => (400, "bad_request", "the request body broke off"),
            (Side::Edge, _) => (500, "internal", "an error of this server"),
        };
        let mut problem = Problem::new(problem::status(status), code, error.side, detail);
        let is_over_budget = (error.side, error.kind) == (Side::Edge, ErrorKind::Busy);
        problem.reason = is_over_budget.then_some("upstream_budget");
        if let Some(wait) = error.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            problem = problem.retry_after(u32::try_from(seconds).unwrap_or(u32::MAX));
        }
        match error.side {
            Side::Downstream => problem.and_close(),
            _ => problem,
        }
    }
}

fn unreachable(obstacle: Option<Obstacle>) -> &'static str {
    match obstacle {
        None => "the backend cannot be reached",
        Some(Obstacle::NoAddress) => "the backend's name leads to no address",
        Some(Obstacle::Expired) => "the backend's certificate has expired",
        Some(Obstacle::NotYetValid) => "the backend's certificate is not valid yet",
        Some(Obstacle::UnknownIssuer) => "the backend's certificate is by an unknown issuer",
        Some(Obstacle::WrongName) => "the backend's certificate is for another name",
        Some(Obstacle::Handshake) => "no TLS with the backend came about",
    }
}

/// Sets a cookie of ours; one at most per answer.
pub(crate) fn add_cookie(headers: &mut HeaderMap, cookie: &HeaderValue) {
    headers.append(SET_COOKIE, cookie.clone());
}
