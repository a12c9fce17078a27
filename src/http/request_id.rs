//! The number of a request.

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use crate::http::forwarded::Peer;
use crate::http::header_text::Text;

/// The request's number, on every answer and in every log line about it.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest number that is taken over.
const ID_LIMIT: usize = 128;

/// The id that a trusted proxy gave, or a new one.
pub(crate) fn of(peer: Peer, headers: &HeaderMap) -> Text {
    let given = headers
        .get(REQUEST_ID)
        .filter(|_| peer.is_trusted)
        .map(HeaderValue::as_bytes)
        .filter(|id| (1..=ID_LIMIT).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic));
    let given = given.and_then(|id| Text::new(Bytes::copy_from_slice(id)));
    given.unwrap_or_else(new)
}

/// 128 random bits in hexadecimal.
pub(crate) fn new() -> Text {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let random = fastrand::u128(..);
    let digit = |place: u32| DIGITS[(random >> (4 * place)) as usize % DIGITS.len()];
    // Such digits are always a text.
    Text::new((0..32).map(digit).collect::<Vec<u8>>()).unwrap_or(Text::fixed("-"))
}
