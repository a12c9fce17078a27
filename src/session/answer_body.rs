//! The body of a backend's answer, and what it is.

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::CONTENT_TYPE;

use crate::event::Data;
use crate::protocol::ResBody;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct AnswerBody {
    bytes: Bytes,
    /// The backend calls it bytes, whatever they look like.
    is_opaque: bool,
}

impl AnswerBody {
    /// With the fields of its head.
    pub(crate) fn new(bytes: Bytes, headers: &HeaderMap) -> Self {
        AnswerBody {
            bytes,
            is_opaque: is_opaque(headers),
        }
    }

    /// What it is: as the backend says, else by its bytes.
    pub(crate) fn kind(&self) -> ResBody<'_> {
        let body = &self.bytes;
        match (body.is_empty(), std::str::from_utf8(body)) {
            (true, _) => ResBody::Empty,
            (false, _) if self.is_opaque => ResBody::Binary(body),
            (false, Err(_)) => ResBody::Binary(body),
            (false, Ok(text)) => match Data::classify(body.clone()) {
                Data::Json(_) => ResBody::Json(body),
                Data::Text(_) => ResBody::Text(text),
            },
        }
    }
}

/// Whether a backend calls its answer bytes (RFC 2046, section 4.5.1).
fn is_opaque(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next());
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/octet-stream"))
}
