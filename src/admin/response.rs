//! The one table of the admin API's answers: JSON, text, problem documents (RFC 9457).

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;

use crate::config;
use crate::error::Side;

/// A finished answer.
pub(crate) type Answer = Response<Full<Bytes>>;

/// Says which request an answer or a log line is about.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// A refusal in the making.
#[derive(Debug)]
pub(crate) struct Fault {
    status: StatusCode,
    code: &'static str,
    detail: String,
    /// What few have.
    more: Box<More>,
}

#[derive(Debug, Default)]
struct More {
    members: Members,
    header: Option<(HeaderName, HeaderValue)>,
}

/// A refusal or an error (RFC 9457).
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(crate) struct ProblemDocument {
    /// `urn:crossfade:` and the code.
    r#type: String,
    /// The reason phrase of the status.
    title: &'static str,
    /// The answer's status.
    status: u16,
    /// What is wrong, and what to do.
    detail: String,
    /// What programs look at.
    code: &'static str,
    /// Where the fault lies.
    side: Side,
    /// As in `X-Request-Id`.
    request_id: String,
    #[serde(flatten)]
    members: Members,
}

/// Members of a problem document that few have.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(crate) struct Members {
    /// Of an invalid configuration: each thing to fix, in the order of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<config::Problem>")]
    pub(crate) problems: Option<Vec<config::Problem>>,
    /// Of a change that needs a restart: the keys that need it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<String>")]
    pub(crate) keys: Option<Vec<String>>,
    /// Of a failed upgrade: the end of what the new process wrote to stderr.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(crate) stderr: Option<String>,
}

impl Fault {
    /// A refusal with this status and machine-readable word, and one sentence that says what to do.
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Fault {
            status,
            code,
            detail: detail.into(),
            more: Box::default(),
        }
    }

    /// 400.
    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Fault::new(StatusCode::BAD_REQUEST, "bad_request", detail)
    }

    /// 422.
    pub(crate) fn unprocessable(detail: impl Into<String>) -> Self {
        Fault::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail)
    }

    /// 404.
    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Fault::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// 412, with what holds now.
    pub(crate) fn stale(generation: u64) -> Self {
        let detail = format!(
            "it changed since you read it: the generation is {generation} now; read it again, then decide"
        );
        let mut fault = Fault::new(
            StatusCode::PRECONDITION_FAILED,
            "precondition_failed",
            detail,
        );
        fault.more.header = Some((ETAG, etag(generation)));
        fault
    }

    /// 405 with what is allowed.
    pub(crate) fn method(allowed: &str) -> Self {
        let detail = format!("this resource knows {allowed}");
        let mut fault = Fault::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail);
        let allowed = HeaderValue::from_str(allowed);
        fault.more.header = allowed.ok().map(|allowed| (ALLOW, allowed));
        fault
    }

    /// 401.
    pub(crate) fn unauthorized() -> Self {
        let detail = "send `Authorization: Bearer <admin.token>`";
        let mut fault = Fault::new(StatusCode::UNAUTHORIZED, "unauthorized", detail);
        fault.more.header = Some((
            WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer realm=\"crossfade admin\""),
        ));
        fault
    }

    /// With members beside the usual ones in the problem document.
    pub(crate) fn with(mut self, members: Members) -> Self {
        self.more.members = members;
        self
    }

    /// The problem document.
    pub(crate) fn answer(self, request_id: &str) -> Answer {
        let document = ProblemDocument {
            r#type: format!("urn:crossfade:{}", self.code),
            title: self.status.canonical_reason().unwrap_or_default(),
            status: self.status.as_u16(),
            detail: self.detail,
            code: self.code,
            side: Side::Edge,
            request_id: request_id.to_owned(),
            members: self.more.members,
        };
        let mut answer = json(&document);
        *answer.status_mut() = self.status;
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, PROBLEM);
        headers.extend(self.more.header);
        answer
    }
}

/// 200 with a JSON document.
pub(crate) fn json(document: &impl Serialize) -> Answer {
    // Our documents are trees of strings and numbers with string keys: they always serialise.
    let text = serde_json::to_string(document).unwrap_or_default();
    // A line of its own on a terminal, and `--json` need not add anything to what came.
    body(StatusCode::OK, "application/json", text + "\n")
}

/// Text of some type.
pub(crate) fn body(
    status: StatusCode,
    content_type: &'static str,
    text: impl Into<Bytes>,
) -> Answer {
    let mut answer = Response::new(Full::new(text.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// The entity tag of a generation.
pub(crate) fn etag(generation: u64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{generation}\"")).unwrap_or(HeaderValue::from_static("\"0\""))
}
