//! A request as the server engine parsed it: may it go on, and what does it ask for?

use std::sync::Arc;

use hyper::header::{CONNECTION, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING, UPGRADE};
use hyper::http::request::Parts;
use hyper::{Method, Version};

use super::host::{self, Host};
use super::{RequestViolation, hop_by_hop, path};

/// A request that may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inspected {
    /// The host that it is for.
    pub(crate) host: Host,
    /// Its canonical path.
    pub(crate) path: Arc<str>,
    /// Whether it is a WebSocket handshake. Any other upgrade is ignored, as RFC 9110 allows.
    pub(crate) is_handshake: bool,
}

/// Judges a request by all rules that need no configuration. `proto` is the connection's own scheme.
///
/// # Errors
/// The first rule that it breaks.
pub(crate) fn inspect(head: &Parts, proto: &str) -> Result<Inspected, RequestViolation> {
    if head.method == Method::CONNECT {
        return Err(RequestViolation::Connect);
    }
    if head.method == Method::TRACE {
        return Err(RequestViolation::Trace);
    }
    let mut expected = head.headers.get_all(EXPECT).iter();
    if expected.any(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(RequestViolation::Expect);
    }
    if head.uri.scheme_str().is_some_and(|scheme| scheme != proto) {
        return Err(RequestViolation::Target);
    }
    let host = host::of(head)?;
    let path = path::canonical(head.uri.path())?;
    let is_handshake = asks_for_websocket(head);
    if is_handshake && has_body(head) {
        return Err(RequestViolation::UpgradeBody);
    }
    Ok(Inspected {
        host,
        path: path.into(),
        is_handshake,
    })
}

fn asks_for_websocket(head: &Parts) -> bool {
    names_websocket(head) && hop_by_hop::has_token(&head.headers, &CONNECTION, "upgrade")
}

/// Whether the scan below the engine pauses behind this head: it looks at `Upgrade` alone.
pub(crate) fn names_websocket(head: &Parts) -> bool {
    head.method == Method::GET
        && head.version >= Version::HTTP_11
        && hop_by_hop::has_token(&head.headers, &UPGRADE, "websocket")
}

fn has_body(head: &Parts) -> bool {
    head.headers.contains_key(TRANSFER_ENCODING)
        || head
            .headers
            .get(CONTENT_LENGTH)
            .is_some_and(|length| length != "0")
}

#[cfg(test)]
mod tests {
    use hyper::Request;
    use hyper::http::request::Builder;

    use super::*;

    fn inspected(request: Builder) -> Result<Inspected, RequestViolation> {
        inspect(&request.body(()).unwrap().into_parts().0, "http")
    }

    fn get(target: &str) -> Builder {
        Request::get(target).header("host", "a")
    }

    #[test]
    fn connect_trace_and_other_expectations_are_refused() {
        let trace = Request::builder().method("TRACE").header("host", "a");
        assert_eq!(inspected(trace.uri("/")), Err(RequestViolation::Trace));
        let connect = Request::connect("a:443").header("host", "a:443");
        assert_eq!(inspected(connect), Err(RequestViolation::Connect));
        assert!(inspected(get("/").header("expect", "100-Continue")).is_ok());
        let other = get("/").header("expect", "200-ok");
        assert_eq!(inspected(other), Err(RequestViolation::Expect));
    }

    #[test]
    fn only_http_targets_and_paths_are_served() {
        assert!(inspected(get("http://a/x")).is_ok());
        for target in ["https://a/x", "ftp://a/x", "*"] {
            assert_eq!(
                inspected(get(target)),
                Err(RequestViolation::Target),
                "{target}"
            );
        }
        assert_eq!(inspected(get("/a/../b")), Err(RequestViolation::Path));
        let over_tls = |target: &str| {
            let head = get(target).body(()).unwrap().into_parts().0;
            inspect(&head, "https").map(drop)
        };
        assert_eq!(over_tls("https://a/x"), Ok(()));
        assert_eq!(over_tls("http://a/x"), Err(RequestViolation::Target));
    }

    #[test]
    fn a_handshake_is_a_get_with_both_words_in_any_case() {
        let asks = |connection: &str, upgrade: &str| {
            let request = get("/").header("connection", connection);
            inspected(request.header("upgrade", upgrade))
                .unwrap()
                .is_handshake
        };
        assert!(asks("Upgrade", "websocket"));
        assert!(asks("keep-alive, upgrade", "WebSocket"));
        assert!(asks("keep-alive, Upgrade", "h2c, websocket"));
        assert!(!asks("keep-alive", "websocket"));
        assert!(!asks("upgrade", "h2c"));
        assert!(!asks("upgrade", "websocketx"));
    }

    #[test]
    fn a_handshake_has_no_body() {
        let handshake = || {
            get("/")
                .header("connection", "upgrade")
                .header("upgrade", "websocket")
        };
        assert!(inspected(handshake().header("content-length", "0")).is_ok());
        for (name, value) in [("content-length", "4"), ("transfer-encoding", "chunked")] {
            let with_body = handshake().header(name, value);
            assert_eq!(
                inspected(with_body),
                Err(RequestViolation::UpgradeBody),
                "{name}"
            );
        }
    }
}
