//! One poll: a request, its answer judged, its body read whole.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body as _;
use hyper::header::{
    CONTENT_TYPE, DATE, ETAG, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};
use hyper::{HeaderMap, Method, Request, StatusCode};
use tokio::time::timeout;

use crate::config::{Poll, Route};
use crate::error::{Error, ErrorKind};
use crate::event::End;
use crate::http::body::{self, Body};
use crate::hub::{Publisher, Reserved};
use crate::source::answer::{self, AnswerVerdict};
use crate::source::request::request;
use crate::telemetry::Span;
use crate::upstream::{Purpose, Upstreams};

/// What a poll asks for.
pub(crate) const ACCEPTED: &str = "application/json, */*;q=0.5";
/// `Last-Modified` counts whole seconds: a document that changed in the second in which it was
/// sent may change once more and keep it. (RFC 9110, section 8.8.2.2.)
const SETTLED: Duration = Duration::from_secs(2);

/// What asks the backend for the document only if it changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Validators {
    etag: Option<HeaderValue>,
    modified: Option<HeaderValue>,
}

/// What a poll brought.
#[derive(Debug)]
pub(crate) enum Fetched {
    /// The document is as it was; so it stays for `max_age`.
    NotModified {
        /// `Cache-Control: max-age`.
        max_age: Option<Duration>,
    },
    /// The backend has nothing to say: no document, and none that would be another.
    Nothing,
    /// A whole body.
    Body {
        /// Its bytes.
        body: Bytes,
        /// For the next poll.
        validators: Validators,
        /// `Cache-Control: max-age`.
        max_age: Option<Duration>,
        /// Its bytes are counted as long as this is there.
        reserved: Reserved,
    },
    /// Refused for good.
    Refused(End),
}

/// What became of a poll that brought nothing.
#[derive(Debug)]
pub(crate) enum Miss {
    /// The backend said so itself, or the way to it broke; counted already.
    Failed(answer::AnswerFailure, Cow<'static, str>),
    /// The answer is not one; not counted yet.
    Unusable(Error),
}

impl Miss {
    fn of(error: Error) -> Self {
        Miss::Failed((&error).into(), error.detail)
    }
}

impl From<Error> for Miss {
    fn from(error: Error) -> Self {
        Miss::Unusable(error)
    }
}

/// Polls once. Calls `begun` when the head of a document arrived.
///
/// # Errors
/// [`Miss`]; nothing of the body is kept then.
pub(crate) async fn fetch(
    upstreams: &Upstreams,
    topic: &Publisher,
    (route, poll, span): (&Route, &Poll, &Span),
    validators: Option<&Validators>,
    begun: impl FnOnce(),
) -> Result<Fetched, Miss> {
    let (mut request, is_conditional) = conditional(topic, poll, validators)?;
    span.mark(request.extensions_mut());
    let sending = upstreams.send(&route.upstream, &route.name, Purpose::Poll, request);
    let answer = sending.await.map_err(Miss::of)?;
    let (status, headers) = (answer.status(), answer.headers());
    let is_shared = topic.target().scope.is_shared();
    let accepted = is_shared.then_some(&*route.accept);
    match answer::judge(status, headers, accepted, SystemTime::now()) {
        AnswerVerdict::Good => topic.granted(),
        AnswerVerdict::Failed(failure) => {
            let detail = answer::described(status, headers);
            return Err(Miss::Failed(failure, detail.into()));
        }
        AnswerVerdict::Refused(end) => {
            if let Some(reason) = answer::sent_away(status).filter(|_| is_shared) {
                topic.alarm(reason, answer::refusal_fix(route));
            }
            return Ok(Fetched::Refused(end));
        }
        AnswerVerdict::Tripped(trip, end) => {
            topic.tripped(trip.reason(), &trip.fix(route));
            return Ok(Fetched::Refused(end));
        }
    }
    let max_age = answer::max_age(headers);
    if status == StatusCode::NOT_MODIFIED {
        return match is_conditional {
            true => Ok(Fetched::NotModified { max_age }),
            false => Err(broken("a 304 that was not asked for").into()),
        };
    }
    if matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT) {
        begun();
        return Ok(Fetched::Nothing);
    }
    if !is_document(status, headers) {
        let what = answer::described(status, headers);
        return Err(broken(format!("no JSON document: {what}")).into());
    }
    begun();
    let may_be_empty = !means_content(status);
    let validators = Validators::of(headers);
    let mut reserved = topic.reserve();
    let reading = read(answer.into_body(), poll.max_body, &mut reserved);
    let body = match timeout(route.upstream.response_timeout, reading).await {
        Ok(body) => body?,
        Err(_) => {
            return Err(Error::upstream(ErrorKind::Timeout, "the body did not end in time").into());
        }
    };
    if body.is_empty() && may_be_empty {
        return Ok(Fetched::Nothing);
    }
    Ok(Fetched::Body {
        body,
        validators,
        max_age,
        reserved,
    })
}

impl Validators {
    fn of(headers: &HeaderMap) -> Self {
        let date = |name| {
            let text = headers.get(name)?.to_str().ok()?;
            httpdate::parse_http_date(text).ok()
        };
        let age = |modified| date(DATE)?.duration_since(modified).ok();
        let is_settled = date(LAST_MODIFIED)
            .and_then(age)
            .is_some_and(|age| age >= SETTLED);
        Validators {
            etag: headers.get(ETAG).cloned(),
            modified: headers.get(LAST_MODIFIED).filter(|_| is_settled).cloned(),
        }
    }
}

/// The request, and whether a 304 may answer it.
fn conditional(
    topic: &Publisher,
    poll: &Poll,
    validators: Option<&Validators>,
) -> Result<(Request<Body>, bool), Error> {
    let credentials = topic.credentials();
    let mut request = request(topic.target(), &credentials, poll.method.clone(), ACCEPTED)?;
    let mut is_conditional = false;
    if let Some(validators) = validators.filter(|_| poll.method == Method::GET) {
        for (name, value) in [
            (IF_NONE_MATCH, &validators.etag),
            (IF_MODIFIED_SINCE, &validators.modified),
        ] {
            if let Some(value) = value {
                request.headers_mut().insert(name, value.clone());
                is_conditional = true;
            }
        }
    }
    if let Some((body, content_type)) = &poll.body {
        request
            .headers_mut()
            .insert(CONTENT_TYPE, content_type.clone());
        *request.body_mut() = body::full(body.clone());
    }
    Ok((request, is_conditional))
}

/// Whether a body may be a document by its head. Some servers call JSON plain text or script, or
/// nothing at all; the body has to parse in any case. HTML it is not: that is a login page.
pub(crate) fn is_document(status: StatusCode, headers: &HeaderMap) -> bool {
    let is_json = |essence: &str| {
        essence.ends_with("json")
            || essence.ends_with("javascript")
            || matches!(essence, "" | "text/plain" | "application/octet-stream")
    };
    let is_whole = !matches!(status, StatusCode::PARTIAL_CONTENT | StatusCode::IM_USED);
    status.is_success() && is_whole && answer::has_type(headers, is_json)
}

/// Whether a success without a body is none: those beside these may well have nothing to show yet.
fn means_content(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION
    )
}

/// The whole body, in one piece of memory that is counted; an error where it is longer than `most`, stops before its end, or
/// does not fit into the budget.
async fn read(mut body: Body, most: usize, reserved: &mut Reserved) -> Result<Bytes, Miss> {
    let too_large = |what: String| Miss::from(Error::upstream(ErrorKind::TooLarge, what));
    let above = || too_large(format!("a body above {most} bytes"));
    let expected = body.size_hint().lower();
    if expected > most as u64 {
        return Err(above());
    }
    let mut whole = Vec::with_capacity(expected as usize);
    while let Some(frame) = body.frame().await {
        let chunk = frame.map_err(Miss::of)?.into_data().unwrap_or_default();
        if whole.len() + chunk.len() > most {
            return Err(above());
        }
        whole.extend_from_slice(&chunk);
        if !reserved.grow_to(whole.capacity()) {
            let what = "a body for which `server.limits.memory` has no room";
            return Err(too_large(what.into()));
        }
    }
    whole.shrink_to_fit();
    Ok(Bytes::from(whole))
}

fn broken(detail: impl Into<Cow<'static, str>>) -> Error {
    Error::upstream(ErrorKind::Broken, detail)
}
