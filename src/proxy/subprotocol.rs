//! What a client offers in `Sec-WebSocket-Protocol`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::HeaderMap;
use hyper::header::{HeaderValue, SEC_WEBSOCKET_PROTOCOL};

use crate::http::hop_by_hop;
use crate::http::problem::Problem;

/// The subprotocol with subscriptions, positions and notices.
pub(crate) const JSON: &str = "crossfade.v1.json";
/// The subprotocol of bare data.
pub(crate) const RAW: &str = "crossfade.v1.raw";
/// A subprotocol item that carries a token; never echoed, never logged.
const BEARER: &str = "cf.bearer.";

/// What a client offers.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Subprotocols {
    /// `crossfade.v1.json`.
    pub(crate) json: bool,
    /// `crossfade.v1.raw`.
    pub(crate) raw: bool,
    /// Anything at all.
    pub(crate) any: bool,
    /// The token of a `cf.bearer.` item, decoded.
    pub(crate) bearer: Option<String>,
}

impl Subprotocols {
    /// Reads the field.
    ///
    /// # Errors
    /// 400 where a `cf.bearer.` item holds no token, or there are two.
    pub(crate) fn read(headers: &HeaderMap) -> Result<Subprotocols, Problem> {
        let mut offer = Subprotocols::default();
        for item in hop_by_hop::tokens(headers, &SEC_WEBSOCKET_PROTOCOL) {
            offer.any = true;
            offer.json |= item == JSON;
            offer.raw |= item == RAW;
            if let Some(token) = item.strip_prefix(BEARER) {
                let before = offer.bearer.replace(decode(token)?);
                if before.is_some() {
                    return Err(Problem::bad_handshake("there are two cf.bearer. items"));
                }
            }
        }
        Ok(offer)
    }
}

/// Takes the items with tokens out of a handshake that goes to the backend.
pub(crate) fn strip(headers: &mut HeaderMap) {
    let items = || hop_by_hop::tokens(headers, &SEC_WEBSOCKET_PROTOCOL);
    if !items().any(|item| item.starts_with(BEARER)) {
        return;
    }
    let kept: Vec<&str> = items().filter(|item| !item.starts_with(BEARER)).collect();
    let kept = HeaderValue::from_str(&kept.join(", ")).ok();
    headers.remove(SEC_WEBSOCKET_PROTOCOL);
    if let Some(kept) = kept.filter(|kept| !kept.is_empty()) {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, kept);
    }
}

fn decode(token: &str) -> Result<String, Problem> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .filter(|token| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()))
        .ok_or_else(|| Problem::bad_handshake("the cf.bearer. item holds no token"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_leave_and_all_else_stays() {
        let mut headers = HeaderMap::new();
        for line in ["chat, cf.bearer.dG9rZW4", "cf.bearer.eA,v2"] {
            headers.append(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(line));
        }
        strip(&mut headers);
        assert_eq!(headers[SEC_WEBSOCKET_PROTOCOL], "chat, v2");
        let alone = HeaderValue::from_static("cf.bearer.dG9rZW4");
        headers.insert(SEC_WEBSOCKET_PROTOCOL, alone);
        strip(&mut headers);
        assert!(headers.is_empty());
    }
}
