//! What the head of an answer means to a source. Pure: the time is an argument.

use std::time::{Duration, SystemTime};

use hyper::header::{
    AsHeaderName, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, LOCATION,
    RETRY_AFTER, SET_COOKIE, VARY,
};
use hyper::{HeaderMap, StatusCode, Uri};

use crate::config::Tripwire;
use crate::error::{Code, Error, Kind};
use crate::event::End;

/// `state.why` where the backend cannot be reached, broke off, or answered that it failed.
pub const DOWN: &str = "upstream_down";
/// `state.why` where the backend was silent for too long.
pub const TIMEOUT: &str = "upstream_timeout";
/// `state.why` where the answer is not what the route's source reads.
pub const INVALID: &str = "upstream_invalid";

/// Characters of an answer's head that are logged.
const LONGEST_TOLD: usize = 300;

/// The longest pause that a backend may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Why an answer brought nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The word for `state.why`.
    pub why: &'static str,
    /// How long the backend asked to be left alone, at most 300 s.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A failure of which the backend said no more.
    pub fn new(why: &'static str) -> Self {
        Failure {
            why,
            retry_after: None,
        }
    }

    /// The pause that the backend asked for, up to a twentieth longer so that not all come back
    /// at once; `roll` is from 0 to 1. A pause of 0 asks for nothing.
    pub fn asked_pause(&self, roll: f64) -> Option<Duration> {
        self.retry_after
            .filter(|pause| !pause.is_zero())
            .map(|pause| pause.mul_f64(1.0 + 0.05 * roll))
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        Failure::new(match error.kind {
            Kind::Timeout => TIMEOUT,
            Kind::TooLarge | Kind::Other => INVALID,
            Kind::Connect | Kind::Broken | Kind::Gone | Kind::NoneHealthy | Kind::Busy => DOWN,
        })
    }
}

/// What comes of an answer's status and of the signs that it is not for everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A success or a 304.
    Good,
    /// A shared topic's answer looks private: the tripwire's name, and what comes of it.
    Tripped(&'static str, End),
    /// The backend refused, which no repetition will change.
    Refused(End),
    /// Something that may pass.
    Failed(Failure),
}

/// Judges status and tripwires; `accepted` names the silenced ones, and is `None` where the
/// topic is not shared between principals.
pub fn judge(
    status: StatusCode,
    headers: &HeaderMap,
    accepted: Option<&[Tripwire]>,
    now: SystemTime,
) -> Verdict {
    if let Some(accepted) = accepted
        && let Some(reason) = tripwire(status, headers, accepted)
    {
        // Coming back heals no refusal.
        let (code, status) = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => (Code::Forbidden, status.as_u16()),
            _ => (Code::Internal, Code::Internal.status()),
        };
        return Verdict::Tripped(reason, ended(code, status));
    }
    let code = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FOUND | StatusCode::SEE_OTHER => Code::Unauthorized,
        StatusCode::FORBIDDEN => Code::Forbidden,
        StatusCode::NOT_FOUND | StatusCode::GONE => Code::NotFound,
        StatusCode::NOT_MODIFIED => return Verdict::Good,
        _ if status.is_success() => return Verdict::Good,
        // The backend is well, and what it has is elsewhere: crossfade does not follow it there.
        _ if status.is_redirection() => return Verdict::Failed(Failure::new(INVALID)),
        _ => {
            return Verdict::Failed(Failure {
                why: DOWN,
                retry_after: retry_after(status, headers, now),
            });
        }
    };
    let status = match status.is_redirection() {
        true => code.status(), // a way to the login page: for a client the same as 401
        false => status.as_u16(),
    };
    Verdict::Refused(ended(code, status))
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
pub fn may_refuse_id(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        400 | 404 | 409 | 410 | 412..=416 | 422 | 431 | 500 | 501
    )
}

/// What came, for a log line: the status, and what tells why the source cannot use it. Nothing of a query or a body.
pub fn described(status: StatusCode, headers: &HeaderMap) -> String {
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
pub fn has_type(headers: &HeaderMap, is_type: impl Fn(&str) -> bool) -> bool {
    let plain = !headers.contains_key(CONTENT_ENCODING);
    let essence = match headers.get(CONTENT_TYPE).map(|value| value.to_str()) {
        Some(Ok(text)) => text.split(';').next().unwrap_or_default().trim(),
        Some(Err(_)) => return false,
        None => "",
    };
    plain && is_type(&essence.to_ascii_lowercase())
}

/// How long the answer may be used again by its own word (`Cache-Control: max-age`).
pub fn max_age(headers: &HeaderMap) -> Option<Duration> {
    words(headers, CACHE_CONTROL)
        .find_map(|word| Some(word.strip_prefix("max-age=")?.trim().to_owned()))
        .and_then(|seconds| seconds.parse().ok())
        .map(Duration::from_secs)
}

fn tripwire(
    status: StatusCode,
    headers: &HeaderMap,
    accepted: &[Tripwire],
) -> Option<&'static str> {
    match status {
        StatusCode::UNAUTHORIZED => return Some("401"),
        StatusCode::FORBIDDEN => return Some("403"),
        // Nothing of these is delivered to anybody.
        _ if status.is_client_error() || status.is_server_error() => return None,
        _ => {}
    }
    let controls =
        |name: &str| words(headers, CACHE_CONTROL).any(|word| word.split('=').next() == Some(name));
    let varies =
        || words(headers, VARY).any(|name| matches!(&*name, "*" | "cookie" | "authorization"));
    let is_armed = |wire: Tripwire| !accepted.contains(&wire);
    if is_armed(Tripwire::SetCookie) && headers.contains_key(SET_COOKIE) {
        Some("set-cookie")
    } else if is_armed(Tripwire::NoStore) && controls("no-store") {
        Some("no-store")
    } else if is_armed(Tripwire::Private) && controls("private") {
        Some("private")
    } else if is_armed(Tripwire::Vary) && varies() {
        Some("vary")
    } else {
        None
    }
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
mod tests {
    use super::*;
    use hyper::header::HeaderName;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let parse = |(name, value): &(&str, &str)| {
            let name: HeaderName = name.parse().unwrap();
            (name, HeaderValue::from_str(value).unwrap())
        };
        lines.iter().map(parse).collect()
    }

    fn verdict(status: u16, lines: &[(&str, &str)], accepted: Option<&[Tripwire]>) -> Verdict {
        let status = StatusCode::from_u16(status).unwrap();
        judge(status, &headers(lines), accepted, SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn a_refusal_ends_and_a_failure_may_pass() {
        let refused = |code, status| {
            Verdict::Refused(End {
                code,
                status,
                retry_ms: None,
                is_final: false,
            })
        };
        for (status, expected) in [
            (200, Verdict::Good),
            (304, Verdict::Good),
            (401, refused(Code::Unauthorized, 401)),
            (302, refused(Code::Unauthorized, 401)),
            (303, refused(Code::Unauthorized, 401)),
            (403, refused(Code::Forbidden, 403)),
            (404, refused(Code::NotFound, 404)),
            (410, refused(Code::NotFound, 410)),
            (301, Verdict::Failed(Failure::new(INVALID))),
            (308, Verdict::Failed(Failure::new(INVALID))),
            (429, Verdict::Failed(Failure::new(DOWN))),
            (500, Verdict::Failed(Failure::new(DOWN))),
        ] {
            assert_eq!(verdict(status, &[], None), expected, "{status}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_capped() {
        let pause = |status, text| match verdict(status, &[("retry-after", text)], None) {
            Verdict::Failed(failure) => failure.retry_after.map(|pause| pause.as_secs()),
            other => panic!("{other:?}"),
        };
        assert_eq!(pause(503, "7"), Some(7));
        assert_eq!(pause(429, "0"), Some(0));
        assert_eq!(pause(503, "301"), Some(300));
        assert_eq!(pause(503, "99999999999999999999999"), Some(300));
        assert_eq!(pause(503, "Thu, 01 Jan 1970 00:00:42 GMT"), Some(42));
        assert_eq!(pause(503, "soon"), None);
        assert_eq!(pause(503, "-1"), None);
        assert_eq!(pause(503, ""), None);
        assert_eq!(pause(500, "7"), None);
    }

    #[test]
    fn tripwires_hold_for_shared_topics_only() {
        type Line = (&'static str, &'static str);
        let private: &[(&[Line], &str, Tripwire)] = &[
            (&[("set-cookie", "a=b")], "set-cookie", Tripwire::SetCookie),
            (
                &[("cache-control", "max-age=0, No-Store")],
                "no-store",
                Tripwire::NoStore,
            ),
            (
                &[("cache-control", "no-cache"), ("cache-control", "private")],
                "private",
                Tripwire::Private,
            ),
            (
                &[("cache-control", "private=\"x-a\"")],
                "private",
                Tripwire::Private,
            ),
            (
                &[("vary", "Accept-Encoding, Cookie")],
                "vary",
                Tripwire::Vary,
            ),
            (&[("vary", "authorization")], "vary", Tripwire::Vary),
            (&[("vary", "*")], "vary", Tripwire::Vary),
        ];
        for (lines, reason, wire) in private {
            for status in [200, 304] {
                assert_eq!(
                    verdict(status, lines, Some(&[])),
                    Verdict::Tripped(reason, ended(Code::Internal, 500)),
                    "{lines:?}"
                );
                assert_eq!(verdict(status, lines, Some(&[*wire])), Verdict::Good);
                assert_eq!(verdict(status, lines, None), Verdict::Good);
            }
            assert!(matches!(verdict(500, lines, Some(&[])), Verdict::Failed(_)));
        }
        for (status, reason) in [(401, "401"), (403, "403")] {
            let tripped = Verdict::Tripped(reason, ended(Code::Forbidden, status));
            assert_eq!(verdict(status, private[0].0, Some(&[])), tripped);
        }
        let harmless = [
            ("vary", "accept, origin"),
            ("cache-control", "no-cache, must-revalidate, x-private"),
        ];
        assert_eq!(verdict(200, &harmless, Some(&[])), Verdict::Good);
    }

    #[test]
    fn a_type_is_read_without_its_parameters() {
        let is_stream = |lines: &[(&str, &str)]| {
            has_type(&headers(lines), |essence| essence == "text/event-stream")
        };
        assert!(is_stream(&[(
            "content-type",
            "Text/Event-Stream ; charset=utf-8"
        )]));
        assert!(!is_stream(&[("content-type", "text/html")]));
        assert!(!is_stream(&[]));
        // What could be decoded has lost the field by now.
        assert!(!is_stream(&[
            ("content-type", "text/event-stream"),
            ("content-encoding", "zstd"),
        ]));
    }

    #[test]
    fn what_came_is_described_without_a_query() {
        let described = |status, lines: &[(&str, &str)]| {
            described(StatusCode::from_u16(status).unwrap(), &headers(lines))
        };
        let html = ("content-type", "text/html; charset=utf-8");
        assert_eq!(described(200, &[html]), "200 with text/html; charset=utf-8");
        assert_eq!(described(200, &[]), "200 without a content type");
        assert_eq!(
            described(200, &[html, ("content-encoding", "zstd")]),
            "200 with content encoded as zstd"
        );
        assert_eq!(described(500, &[html]), "500");
        for (location, path) in [
            ("/new?token=secret", "/new"),
            ("https://other.example/new/?token=secret#a", "/new/"),
            ("../new?token=secret", "../new"),
            ("//other.example/new?token=secret", "//other.example/new"),
            ("https://user:pass@host?token=secret", "/"),
        ] {
            let told = described(308, &[html, ("location", location)]);
            assert!(told.starts_with(&format!("308 to {path}:")), "{told}");
        }
        let long = "x".repeat(1000);
        assert_eq!(
            described(200, &[("content-type", &long)]).len(),
            LONGEST_TOLD
        );
    }

    #[test]
    fn max_age_is_found_among_directives() {
        let age = |text| max_age(&headers(&[("cache-control", text)]));
        assert_eq!(age("public, Max-Age=5"), Some(Duration::from_secs(5)));
        assert_eq!(age("s-maxage=5"), None);
        assert_eq!(age("max-age=x"), None);
    }
}
