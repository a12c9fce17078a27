//! The form of a WebSocket handshake.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{
    HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION,
};

use super::subprotocol::JSON;
use crate::http::hop_by_hop;
use crate::http::problem::Problem;

/// The protocol that a handshake on a bridged path asks for, as metrics name it.
pub(crate) fn protocol(headers: &HeaderMap) -> &'static str {
    match hop_by_hop::has_token(headers, &SEC_WEBSOCKET_PROTOCOL, JSON) {
        true => "json",
        false => "raw",
    }
}

/// The handshake's key: one, 16 bytes in base64; the version must be 13.
///
/// # Errors
/// 426 for another version, 400 for all else (RFC 6455, section 4.2.1).
pub(crate) fn key(headers: &HeaderMap) -> Result<&HeaderValue, Problem> {
    let version = only(headers, &SEC_WEBSOCKET_VERSION)?;
    if version.as_bytes() != b"13" {
        return Err(Problem::upgrade_required());
    }
    let key = only(headers, &SEC_WEBSOCKET_KEY)?;
    match STANDARD.decode(key.as_bytes()) {
        Ok(bytes) if bytes.len() == 16 => Ok(key),
        _ => Err(Problem::bad_handshake("Sec-WebSocket-Key is no key")),
    }
}

fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<&'h HeaderValue, Problem> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value),
        _ => Err(Problem::bad_handshake(
            "Sec-WebSocket-Key and -Version must be there once",
        )),
    }
}
