//! What the head of an answer means to a source. Pure: the time is an argument.

use std::time::{Duration, SystemTime};

use hyper::header::{
    AsHeaderName, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, LOCATION,
    RETRY_AFTER, SET_COOKIE, VARY,
};
use hyper::{HeaderMap, StatusCode, Uri};

use crate::config::{Route, Share, Tripwire};
use crate::error::{Code, Error, ErrorKind};
use crate::event::End;

/// `state.why` where the backend cannot be reached, broke off, or answered that it failed.
pub(crate) const DOWN: &str = "upstream_down";
/// `state.why` where the backend was silent for too long.
pub(crate) const TIMEOUT: &str = "upstream_timeout";
/// `state.why` where the answer is not what the route's source reads.
pub(crate) const INVALID: &str = "upstream_invalid";

/// Characters of an answer's head that are logged.
const LONGEST_TOLD: usize = 300;

/// The longest pause that a backend may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Why an answer brought nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AnswerFailure {
    /// The word for `state.why`.
    pub(crate) why: &'static str,
    /// How long the backend asked to be left alone, at most 300 s.
    pub(crate) retry_after: Option<Duration>,
}

impl AnswerFailure {
    /// A failure of which the backend said no more.
    pub(crate) fn new(why: &'static str) -> Self {
        AnswerFailure {
            why,
            retry_after: None,
        }
    }

    /// The pause that the backend asked for, up to a twentieth longer so that not all come back
    /// at once; `roll` is from 0 to 1. A pause of 0 asks for nothing.
    pub(crate) fn asked_pause(&self, roll: f64) -> Option<Duration> {
        self.retry_after
            .filter(|pause| !pause.is_zero())
            .map(|pause| pause.mul_f64(1.0 + 0.05 * roll))
    }
}

impl From<&Error> for AnswerFailure {
    fn from(error: &Error) -> Self {
        AnswerFailure::new(match error.kind {
            ErrorKind::Timeout => TIMEOUT,
            ErrorKind::TooLarge | ErrorKind::Unauthorized | ErrorKind::Other => INVALID,
            ErrorKind::Connect
            | ErrorKind::Broken
            | ErrorKind::Gone
            | ErrorKind::NoneHealthy
            | ErrorKind::Busy => DOWN,
        })
    }
}

/// What comes of an answer's status and of the signs that it is not for all clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AnswerVerdict {
    /// A success or a 304.
    Good,
    /// A shared topic's answer looks private, and what comes of it.
    Tripped(Trip, End),
    /// The backend refused, which no repetition will change.
    Refused(End),
    /// Something that may pass.
    Failed(AnswerFailure),
}

/// Signs that an answer is not for all clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trip {
    /// 401 or 403.
    Refusal(StatusCode),
    /// The first sign, and what else stands beside it.
    Wires(Tripwire, Vec<Tripwire>),
}

impl Trip {
    /// The word in metrics and logs.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Trip::Refusal(StatusCode::UNAUTHORIZED) => "401",
            Trip::Refusal(_) => "403",
            Trip::Wires(first, _) => first.as_str(),
        }
    }

    /// What the operator can write so that this does not come again.
    pub(crate) fn fix(&self, route: &Route) -> String {
        let Trip::Wires(first, others) = self else {
            return refusal_fix(route).to_owned();
        };
        let kind = match &route.share {
            Share::Claims(claims) => format!("claims = {claims:?}"),
            Share::Authenticated => "authenticated = true".to_owned(),
            Share::Public | Share::User | Share::Connection => "public = true".to_owned(),
        };
        let accepted = route.accept.iter().chain([first]).chain(others);
        let accepted: Vec<_> = accepted.map(|wire| wire.as_str()).collect();
        format!(
            "in this route write `share = {{{kind}, accept = {accepted:?}}}` where the answer is the same for all of these clients, else `share = \"user\"`"
        )
    }
}

/// What the operator can write where the backend refuses what a shared source sends, or sends it to a login.
pub(crate) fn refusal_fix(route: &Route) -> &'static str {
    match (&route.share, route.auth.is_empty()) {
        (Share::Claims(_) | Share::Authenticated, _) => {
            "let `require` admit only users that the backend lets in, or write `share = \"user\"` in this route: a refusal is its own user's then"
        }
        (_, true) => {
            "a public source sends no credentials: write `share = \"user\"` in this route, or let the backend answer without any"
        }
        (_, false) => {
            "a public source sends no credentials: write `share = \"authenticated\"` in this route where the answer is the same for all users that `auth` admits, else `share = \"user\"`"
        }
    }
}

/// The status of a way to a login.
pub(crate) fn sent_away(status: StatusCode) -> Option<&'static str> {
    match status {
        StatusCode::FOUND => Some("302"),
        StatusCode::SEE_OTHER => Some("303"),
        _ => None,
    }
}

/// When a client may look whether the operator has done something about a tripwire.
const TRIPPED: Duration = Duration::from_secs(60);

/// Judges status and tripwires; `accepted` names the silenced ones, and is `None` where the
/// topic is not shared between principals.
pub(crate) fn judge(
    status: StatusCode,
    headers: &HeaderMap,
    accepted: Option<&[Tripwire]>,
    now: SystemTime,
) -> AnswerVerdict {
    if let Some(accepted) = accepted
        && let Some(trip) = tripwire(status, headers, accepted)
    {
        let end = match trip {
            // Coming back heals no refusal.
            Trip::Refusal(status) => ended(Code::Forbidden, status.as_u16()),
            Trip::Wires(..) => End {
                retry_ms: Some(TRIPPED.as_millis() as u64),
                ..ended(Code::Internal, Code::Internal.status())
            },
        };
        return AnswerVerdict::Tripped(trip, end);
    }
    let code = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FOUND | StatusCode::SEE_OTHER => Code::Unauthorized,
        StatusCode::FORBIDDEN => Code::Forbidden,
        StatusCode::NOT_FOUND | StatusCode::GONE => Code::NotFound,
        StatusCode::NOT_MODIFIED => return AnswerVerdict::Good,
        _ if status.is_success() => return AnswerVerdict::Good,
        // The backend is well, and what it has is elsewhere: crossfade does not follow it there.
        _ if status.is_redirection() => return AnswerVerdict::Failed(AnswerFailure::new(INVALID)),
        _ => {
            return AnswerVerdict::Failed(AnswerFailure {
                why: DOWN,
                retry_after: retry_after(status, headers, now),
            });
        }
    };
    let status = match status.is_redirection() {
        true => code.status(), // a way to the login page: for a client the same as 401
        false => status.as_u16(),
    };
    AnswerVerdict::Refused(ended(code, status))
}

fn ended(code: Code, status: u16) -> End {
    End {
        code,
        status,
        retry_ms: None,
        is_final: false,
    }
}

/// Whether an answer to `Last-Event-ID` may be about that id, so that the same request without it is another one.
pub(crate) fn may_refuse_id(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        400 | 404 | 409 | 410 | 412..=416 | 422 | 431 | 500 | 501
    )
}

/// What came, for a log line: the status, and the headers that say why the source cannot use it. Nothing of a query or a body.
pub(crate) fn described(status: StatusCode, headers: &HeaderMap) -> String {
    let text = |name| {
        headers
            .get(name)
            .map(|value: &HeaderValue| value.to_str().unwrap_or("?"))
    };
    let code = status.as_u16();
    let told = match (text(LOCATION), text(CONTENT_ENCODING), text(CONTENT_TYPE)) {
        (Some(location), _, _) if status.is_redirection() => format!(
            "{code} to {}: sources follow no redirect, let the route's path name it",
            path_of(location)
        ),
        (_, Some(coding), _) if status.is_success() => {
            format!("{code} with content encoded as {coding}")
        }
        (_, _, Some(media_type)) if status.is_success() => format!("{code} with {media_type}"),
        (_, _, None) if status.is_success() => format!("{code} without a content type"),
        _ => code.to_string(),
    };
    told.chars().take(LONGEST_TOLD).collect()
}

/// A redirect's place, with neither host nor query.
fn path_of(location: &str) -> String {
    let uri: Option<Uri> = location.parse().ok();
    match uri.and_then(|uri| Some(uri.into_parts().path_and_query?.path().to_owned())) {
        Some(path) => path,
        // A relative one is no URI.
        None => location
            .split(['?', '#'])
            .next()
            .unwrap_or_default()
            .to_owned(),
    }
}

/// Whether the body is this media type (without parameters), by the head, and in no coding that is left.
pub(crate) fn has_type(headers: &HeaderMap, is_type: impl Fn(&str) -> bool) -> bool {
    let plain = !headers.contains_key(CONTENT_ENCODING);
    let essence = match headers.get(CONTENT_TYPE).map(|value| value.to_str()) {
        Some(Ok(text)) => text.split(';').next().unwrap_or_default().trim(),
        Some(Err(_)) => return false,
        None => "",
    };
    plain && is_type(&essence.to_ascii_lowercase())
}

/// How long the answer may be used again by its own word (`Cache-Control: max-age`).
pub(crate) fn max_age(headers: &HeaderMap) -> Option<Duration> {
    words(headers, CACHE_CONTROL)
        .find_map(|word| Some(word.strip_prefix("max-age=")?.trim().to_owned()))
        .and_then(|seconds| seconds.parse().ok())
        .map(Duration::from_secs)
}

fn tripwire(status: StatusCode, headers: &HeaderMap, accepted: &[Tripwire]) -> Option<Trip> {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Some(Trip::Refusal(status)),
        // Nothing of these is delivered to a client.
        _ if status.is_client_error() || status.is_server_error() => return None,
        _ => {}
    }
    let controls =
        |name: &str| words(headers, CACHE_CONTROL).any(|word| word.split('=').next() == Some(name));
    let varies =
        || words(headers, VARY).any(|name| matches!(&*name, "*" | "cookie" | "authorization"));
    let is_there = |wire: &Tripwire| match wire {
        Tripwire::SetCookie => headers.contains_key(SET_COOKIE),
        Tripwire::NoStore => controls("no-store"),
        Tripwire::Private => controls("private"),
        Tripwire::Vary => varies(),
    };
    let wires = [
        Tripwire::SetCookie,
        Tripwire::NoStore,
        Tripwire::Private,
        Tripwire::Vary,
    ];
    let mut tripped = wires
        .into_iter()
        .filter(|wire| !accepted.contains(wire) && is_there(wire));
    let first = tripped.next()?;
    Some(Trip::Wires(first, tripped.collect()))
}

/// What `Retry-After` of a 429 or 503 asks for, in seconds or as a date.
fn retry_after(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    if !matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    ) {
        return None;
    }
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let pause = match text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
        true => Duration::from_secs(text.parse().unwrap_or(u64::MAX)),
        false => httpdate::parse_http_date(text)
            .ok()?
            .duration_since(now)
            .unwrap_or_default(),
    };
    Some(pause.min(LONGEST_PAUSE))
}

/// The comma-separated words of all headers of this name, lower case.
fn words(headers: &HeaderMap, name: impl AsHeaderName) -> impl Iterator<Item = String> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|b| *b == b','))
        .map(|word| String::from_utf8_lossy(word.trim_ascii()).to_ascii_lowercase())
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests;
