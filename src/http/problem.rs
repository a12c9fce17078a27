//! A problem document (RFC 9457), the form of every refusal and error that crossfade answers by itself:
//! `{"type":"urn:crossfade:<code>","title","status","detail","code","side","request_id"}`.

use std::borrow::Cow;

use hyper::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER,
};
use hyper::{Response, StatusCode};
use serde_json::json;

use super::RequestViolation;
use super::body::{self, Body};
use super::header_case::spelled;
use super::request_id::REQUEST_ID;
use crate::error::Side;

/// An answer that says no, or that something broke.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    /// HTTP status.
    pub(crate) status: StatusCode,
    /// What programs look at.
    pub(crate) code: &'static str,
    /// One sentence for a person.
    pub(crate) detail: Cow<'static, str>,
    /// Whose side it is on.
    pub(crate) side: Side,
    /// The word in `refused_total{reason}`; `None` for what broke.
    pub(crate) reason: Option<&'static str>,
    /// Fields beside the usual ones.
    pub(crate) headers: HeaderMap,
}

impl Problem {
    /// Caused by a policy of crossfade, or by the client itself.
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        side: Side,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Problem {
            status,
            code,
            detail: detail.into(),
            side,
            reason: Some(code),
            headers: HeaderMap::new(),
        }
    }

    /// HTTP without TLS where TLS is spoken.
    pub(crate) fn plain_http() -> Self {
        let detail = "this address speaks TLS: ask it by https";
        let status = StatusCode::BAD_REQUEST;
        Problem::new(status, "bad_request", Side::Downstream, detail)
    }

    /// Overload: a cap on connections is reached, or descriptors or memory run out.
    pub(crate) fn overloaded(
        reason: &'static str,
        detail: &'static str,
        retry_seconds: u32,
    ) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let mut problem =
            Problem::new(status, "overloaded", Side::Edge, detail).retry_after(retry_seconds);
        problem.reason = Some(reason);
        problem
    }

    /// A client that breaks a rule of form is not trusted with a second request.
    pub(crate) fn and_close(mut self) -> Self {
        let close = HeaderValue::from_static("close");
        self.headers.insert(CONNECTION, close);
        self
    }

    /// With the seconds after which the client may try again.
    pub(crate) fn retry_after(mut self, seconds: u32) -> Self {
        self.headers.insert(RETRY_AFTER, seconds.into());
        self
    }

    /// The answer itself.
    pub(crate) fn into_response(self, request_id: &str) -> Response<Body> {
        let document = self.document(request_id);
        let mut response = Response::new(body::full(document));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        *headers = self.headers;
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(CONTENT_TYPE, kind);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    /// The same as bytes on a connection that has seen no request; the connection ends with it.
    pub(crate) fn into_last_words(self, request_id: &str) -> Vec<u8> {
        let document = self.document(request_id);
        let mut words = format!("HTTP/1.1 {}\r\n", self.status);
        let fields = self.headers.iter();
        for (name, value) in fields.filter_map(|(name, value)| Some((name, value.to_str().ok()?))) {
            words += &format!("{}: {value}\r\n", spelled(name));
        }
        words += &format!(
            "Content-Type: application/problem+json\r\nCache-Control: no-store\r\nConnection: close\r\n\
             {}: {request_id}\r\nContent-Length: {}\r\n\r\n{document}",
            spelled(&REQUEST_ID),
            document.len(),
        );
        words.into_bytes()
    }

    fn document(&self, request_id: &str) -> String {
        json!({
            "type": format!("urn:crossfade:{}", self.code),
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": self.code,
            "side": self.side.as_str(),
            "request_id": request_id,
        })
        .to_string()
    }
}

impl From<RequestViolation> for Problem {
    fn from(fault: RequestViolation) -> Self {
        let status = status(fault.status());
        let mut problem = Problem::new(status, fault.code(), Side::Downstream, fault.detail());
        problem.reason = Some(fault.reason());
        if fault == RequestViolation::Trace {
            let served = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
            let value = HeaderValue::from_static(served);
            problem.headers.insert(ALLOW, value);
        }
        problem.and_close()
    }
}

/// Such a status; 500 where the number is none.
pub(crate) fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
