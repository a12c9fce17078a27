//! The one table of the admin API's answers: JSON, text, problem documents (RFC 9457).

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// A finished answer.
pub type Answer = Response<Full<Bytes>>;

/// Says which request an answer or a log line is about.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A refusal in the making.
#[derive(Debug)]
pub struct Fault {
    status: StatusCode,
    code: &'static str,
    detail: String,
    /// What few have.
    more: Box<More>,
}

#[derive(Debug, Default)]
struct More {
    /// Members beside the standard ones.
    members: Map<String, Value>,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Fault {
    /// A refusal with this status and machine-readable word, and one sentence that says what to do.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Fault {
            status,
            code,
            detail: detail.into(),
            more: Box::default(),
        }
    }

    /// 400.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Fault::new(StatusCode::BAD_REQUEST, "bad_request", detail)
    }

    /// 422.
    pub fn unprocessable(detail: impl Into<String>) -> Self {
        Fault::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail)
    }

    /// 404.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Fault::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// 412, with what holds now.
    pub fn stale(generation: u64) -> Self {
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
    pub fn method(allowed: &'static str) -> Self {
        let detail = format!("this resource knows {allowed}");
        let mut fault = Fault::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail);
        fault.more.header = Some((ALLOW, HeaderValue::from_static(allowed)));
        fault
    }

    /// 401.
    pub fn unauthorized() -> Self {
        let detail = "send `Authorization: Bearer <admin.token>`";
        let mut fault = Fault::new(StatusCode::UNAUTHORIZED, "unauthorized", detail);
        fault.more.header = Some((
            WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer realm=\"crossfade admin\""),
        ));
        fault
    }

    /// Adds a member to the problem document.
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.more.members.insert(name.to_owned(), value);
        self
    }

    /// The problem document.
    pub fn answer(self, request_id: &str) -> Answer {
        let mut document = json!({
            "type": format!("urn:crossfade:{}", self.code),
            "title": self.status.canonical_reason().unwrap_or_default(),
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": self.code,
            "side": "edge",
            "request_id": request_id,
        });
        if let Value::Object(members) = &mut document {
            members.extend(self.more.members);
        }
        let mut answer = body(
            self.status,
            "application/problem+json",
            format!("{document}\n"),
        );
        if let Some((name, value)) = self.more.header {
            answer.headers_mut().insert(name, value);
        }
        answer
    }
}

/// 200 with a JSON document.
pub fn json(document: &impl Serialize) -> Answer {
    json_with(StatusCode::OK, document)
}

/// A JSON document with another status.
pub fn json_with(status: StatusCode, document: &impl Serialize) -> Answer {
    // Our documents are trees of strings and numbers with string keys: they always serialise.
    let text = serde_json::to_string(document).unwrap_or_default();
    // A line of its own on a terminal, and `--json` need not add anything to what came.
    body(status, "application/json", text + "\n")
}

/// Text of some type.
pub fn body(status: StatusCode, content_type: &'static str, text: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(text.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// The same answer with an `ETag` made of a generation.
pub fn tagged(mut answer: Answer, generation: u64) -> Answer {
    answer.headers_mut().insert(ETAG, etag(generation));
    answer
}

fn etag(generation: u64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{generation}\"")).unwrap_or(HeaderValue::from_static("\"0\""))
}
