//! Fields that end at the next hop (RFC 9110, section 7.6.1).

use hyper::header::{CONNECTION, HeaderName, HeaderValue, UPGRADE};
use hyper::{HeaderMap, StatusCode};

use super::header_names;

/// Names that concern only one connection. `proxy` is no field of HTTP: CGI hands it on as
/// `HTTP_PROXY`, which HTTP clients take for their settings.
const ENDS_HERE: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "upgrade",
    "http2-settings",
    "proxy",
];

/// Removes what concerns only the connection it came over, and what `Connection` nominates.
///
/// A nomination of what the next hop relies on is ignored: names about framing, routing and
/// identity, and forwarded ones. Framing fields stay for the engine, which rebuilds them.
pub fn strip(headers: &mut HeaderMap) {
    let nominated: Vec<HeaderName> = tokens(headers, &CONNECTION)
        .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
        .filter(|name| !is_protected(name.as_str()))
        .collect();
    let ended: Vec<HeaderName> = headers
        .keys()
        .filter(|name| ENDS_HERE.contains(&name.as_str()))
        .cloned()
        .collect();
    for name in ended.iter().chain(&nominated) {
        headers.remove(name);
    }
}

/// The same for an answer: a 426 names in `Upgrade` what is wanted instead (RFC 9110, section 15.5.22), which is what it says.
pub(crate) fn strip_answer(status: StatusCode, headers: &mut HeaderMap) {
    let wanted = match status {
        StatusCode::UPGRADE_REQUIRED => headers.get(UPGRADE).cloned(),
        _ => None,
    };
    strip(headers);
    if let Some(wanted) = wanted {
        headers.insert(UPGRADE, wanted);
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
}

/// Whether a comma-separated field holds this token, in any case.
pub(crate) fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    tokens(headers, name).any(|item| item.eq_ignore_ascii_case(token))
}

/// The items of a comma-separated field, over all its lines.
pub(crate) fn tokens<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'h str> + use<'h> {
    let lines = headers.get_all(name).iter().map(HeaderValue::as_bytes);
    lines
        .flat_map(|line| line.split(|byte| *byte == b','))
        .filter_map(|item| std::str::from_utf8(item.trim_ascii()).ok())
        .filter(|item| !item.is_empty())
}

fn is_protected(name: &str) -> bool {
    header_names::is_forwarded(name) || header_names::is_precious(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripped(fields: &[(&'static str, &'static str)]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        strip(&mut headers);
        let mut left: Vec<String> = headers.keys().map(|name| name.to_string()).collect();
        left.sort();
        left
    }

    #[test]
    fn fields_of_the_connection_end_here() {
        let fields = [
            ("connection", "close"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic x"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABkAAQAoAAAAAIAAAAA"),
            ("proxy", "http://evil.example"),
            ("accept", "*/*"),
            ("trailer", "x-sum"),
        ];
        assert_eq!(stripped(&fields), ["accept", "trailer"]);
    }

    #[test]
    fn what_a_426_wants_instead_stays() {
        for (status, names) in [(426, &["connection", "upgrade"][..]), (400, &[])] {
            let mut headers = HeaderMap::new();
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade, x-hop"));
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert("x-hop", HeaderValue::from_static("1"));
            strip_answer(StatusCode::from_u16(status).unwrap(), &mut headers);
            let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
            left.sort();
            assert_eq!(left, names, "{status}");
        }
    }

    #[test]
    fn what_connection_nominates_ends_here_too() {
        let fields = [
            ("connection", "X-One, x-two"),
            ("connection", "x-three,,"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("x-three", "3"),
            ("x-four", "4"),
        ];
        assert_eq!(stripped(&fields), ["x-four"]);
    }

    #[test]
    fn a_nomination_takes_away_nothing_that_the_next_hop_relies_on() {
        let fields = [
            (
                "connection",
                "host, content-length, transfer-encoding, x-forwarded-for, forwarded, x-real-ip",
            ),
            (
                "connection",
                "cookie, Authorization,origin,content-type,X-Request-Id,x-forwarded-any",
            ),
            ("cookie", "a=1"),
            ("authorization", "Bearer x"),
            ("origin", "http://a"),
            ("content-type", "text/plain"),
            ("x-request-id", "1"),
            ("x-forwarded-any", "1"),
            ("host", "a"),
            ("content-length", "0"),
            ("transfer-encoding", "chunked"),
            ("x-forwarded-for", "10.0.0.1"),
            ("forwarded", "for=10.0.0.1"),
            ("x-real-ip", "10.0.0.1"),
        ];
        assert_eq!(stripped(&fields).len(), 12);
    }
}
