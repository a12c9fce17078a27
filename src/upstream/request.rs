//! The request as one server gets it.

use hyper::body::Body as _;
use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use hyper::{Method, Request};

use super::pool::replayable_body::ReplayableBody;
use crate::config;
use crate::error::{Error, ErrorKind};
use crate::http::header_case::Spelling;

pub(super) fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// The request as it goes to this server.
pub(super) fn address(
    head: &hyper::http::request::Parts,
    server: &config::Authority,
    body: ReplayableBody,
) -> Result<Request<ReplayableBody>, Error> {
    let mut request = Request::new(body);
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = head.uri.clone();
    *request.headers_mut() = head.headers.clone();
    if let Some(spelling) = head.extensions.get::<Spelling>() {
        request.extensions_mut().insert(spelling.clone());
    }
    if !head.headers.contains_key(HOST) {
        let host = HeaderValue::from_str(server.host_header())
            .map_err(|_| Error::upstream(ErrorKind::Other, "no usable address"))?;
        request.headers_mut().insert(HOST, host);
    }
    frame(&mut request);
    Ok(request)
}

/// Framing is the client engine's to write, from the body's own size, but for two habits of its:
/// it sends no body of unknown size with GET and HEAD, and no length where a POST has no body
/// (RFC 9110, section 8.6).
fn frame(request: &mut Request<ReplayableBody>) {
    let body = request.body();
    let (is_empty, has_length) = (body.is_empty(), body.size_hint().exact().is_some());
    let means_content = matches!(
        *request.method(),
        Method::POST | Method::PUT | Method::PATCH
    );
    let headers = request.headers_mut();
    headers.remove(CONTENT_LENGTH);
    headers.remove(TRANSFER_ENCODING);
    if is_empty && means_content {
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    if !is_empty && !has_length {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if !headers.contains_key(UPGRADE) {
        headers.remove(CONNECTION);
    }
}

/// For what a request goes upstream (metric label `kind`, and which timeouts hold).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A client's own request.
    Passthrough,
    /// A poll.
    Poll,
    /// An SSE stream: no response timeout.
    Sse,
    /// A `req`: no response timeout here, the caller keeps the route's own.
    Call,
    /// A credential check of the edge. The caller keeps the time.
    Auth,
}

impl Purpose {
    /// The word in metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Purpose::Passthrough => "passthrough",
            Purpose::Poll => "poll",
            Purpose::Sse => "sse",
            Purpose::Call => "call",
            Purpose::Auth => "auth",
        }
    }

    /// Whether the request tells that it comes from here. What a source sends is fixed, and tells nothing: where it leads back
    /// here it becomes a passthrough, which does.
    pub(crate) fn is_tagged(self) -> bool {
        match self {
            Purpose::Passthrough | Purpose::Call | Purpose::Auth => true,
            Purpose::Poll | Purpose::Sse => false,
        }
    }
}
