//! Makes a request over HTTP/2 one that the request path knows: with a `Host`, a path, one `Cookie`.

use hyper::header::{CONTENT_LENGTH, COOKIE, HOST, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Uri};

use super::RequestViolation;
use super::parser::{HeadLimits, TARGET_LIMIT};

/// What every field of a list counts for beside its bytes (RFC 9113, section 6.5.2).
const FIELD: usize = 32;

/// Translates a head whose framing the engine has judged. `protocol` is what `:protocol` said.
/// True where it is a WebSocket handshake (RFC 8441).
///
/// # Errors
/// The first rule that it breaks.
pub(crate) fn translate(
    head: &mut Parts,
    protocol: Option<&str>,
    limits: HeadLimits,
) -> Result<bool, RequestViolation> {
    join_cookies(&mut head.headers)?;
    measure(head, limits)?;
    judge_values(&head.headers)?;
    let is_handshake = match (head.method == Method::CONNECT, protocol) {
        (false, _) => false,
        (true, Some(protocol)) if protocol.eq_ignore_ascii_case("websocket") => true,
        (true, _) => return Err(RequestViolation::Connect),
    };
    if head
        .uri
        .scheme_str()
        .is_some_and(|scheme| !matches!(scheme, "http" | "https"))
    {
        return Err(RequestViolation::Target);
    }
    name_host(head)?;
    head.uri = match head.uri.path_and_query() {
        Some(path) => Uri::from(path.clone()),
        None => return Err(RequestViolation::Target),
    };
    Ok(is_handshake)
}

/// A client may send every cookie in a field of its own (RFC 9113, section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) -> Result<(), RequestViolation> {
    let mut crumbs = headers.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else {
        return Ok(());
    };
    let mut joined = first.as_bytes().to_vec();
    for crumb in std::iter::once(second).chain(crumbs) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(crumb.as_bytes());
    }
    let joined =
        HeaderValue::from_maybe_shared(joined).map_err(|_| RequestViolation::ControlByte)?;
    headers.insert(COOKIE, joined);
    Ok(())
}

fn measure(head: &Parts, limits: HeadLimits) -> Result<(), RequestViolation> {
    let target = head
        .uri
        .path_and_query()
        .map_or(0, |path| path.as_str().len());
    if target > TARGET_LIMIT.min(limits.bytes) {
        return Err(RequestViolation::TargetTooLong);
    }
    if head.headers.len() > limits.fields {
        return Err(RequestViolation::TooManyFields);
    }
    let fields = head.headers.iter();
    let fields: usize = fields
        .map(|(name, value)| name.as_str().len() + value.len() + FIELD)
        .sum();
    let authority = head.uri.authority().map_or(0, |name| name.as_str().len());
    match fields + target + authority > limits.bytes {
        true => Err(RequestViolation::HeadTooLarge),
        false => Ok(()),
    }
}

fn judge_values(headers: &HeaderMap) -> Result<(), RequestViolation> {
    let is_white = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    for value in headers.values().map(HeaderValue::as_bytes) {
        if is_white(value.first()) || is_white(value.last()) {
            return Err(RequestViolation::FieldValue);
        }
    }
    match headers.get_all(CONTENT_LENGTH).iter().nth(1) {
        Some(_) => Err(RequestViolation::ContentLength),
        None => Ok(()),
    }
}

/// `Host` says what `:authority` says, which has the word where both are there.
fn name_host(head: &mut Parts) -> Result<(), RequestViolation> {
    let Some(authority) = head.uri.authority() else {
        // Without either it is refused where `Host` is judged.
        return Ok(());
    };
    let mut hosts = head.headers.get_all(HOST).iter();
    if hosts.any(|host| {
        !host
            .as_bytes()
            .eq_ignore_ascii_case(authority.as_str().as_bytes())
    }) {
        return Err(RequestViolation::Host);
    }
    let host = HeaderValue::from_str(authority.as_str()).map_err(|_| RequestViolation::Host)?;
    head.headers.insert(HOST, host);
    Ok(())
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    const LIMITS: HeadLimits = HeadLimits {
        bytes: 1024,
        fields: 10,
    };

    fn head(method: Method, target: &str, fields: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn get(target: &str, fields: &[(&str, &str)]) -> Result<Parts, RequestViolation> {
        let mut head = head(Method::GET, target, fields);
        translate(&mut head, None, LIMITS)?;
        Ok(head)
    }

    #[test]
    fn the_authority_becomes_the_host_and_the_target_a_path() {
        for target in ["http://a.example:81/x?y=1", "https://a.example:81/x?y=1"] {
            let head = get(target, &[]).unwrap();
            assert_eq!(head.headers[HOST], "a.example:81");
            assert_eq!(head.uri, "/x?y=1");
        }
        assert!(get("http://a/x", &[("host", "A")]).is_ok());
        assert_eq!(get("/x", &[("host", "a")]).unwrap().headers[HOST], "a");
    }

    #[test]
    fn two_hosts_that_differ_are_refused() {
        for hosts in [&[("host", "b")][..], &[("host", "a"), ("host", "b")]] {
            assert_eq!(
                get("http://a/x", hosts).unwrap_err(),
                RequestViolation::Host
            );
        }
        let target = "ftp://a/x";
        assert_eq!(get(target, &[]).unwrap_err(), RequestViolation::Target);
    }

    #[test]
    fn crumbs_become_one_cookie_and_count_as_one_field() {
        let crumbs: Vec<_> = ["a=1", "b=2", "c=3"].map(|crumb| ("cookie", crumb)).into();
        let head = get("http://a/", &crumbs).unwrap();
        let cookies: Vec<_> = head.headers.get_all(COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2; c=3"]);
        assert!(get("http://a/", &[("cookie", "a=1"); 20]).is_ok());
    }

    #[test]
    fn limits_are_those_of_any_head() {
        let long = "x".repeat(1000);
        let refused = |target: &str, fields: &[(&str, &str)]| get(target, fields).unwrap_err();
        assert_eq!(
            refused("http://a/", &[("x-a", &long)]),
            RequestViolation::HeadTooLarge
        );
        assert_eq!(
            refused("http://a/", &[("x-a", "1"); 11]),
            RequestViolation::TooManyFields
        );
        let target = format!("http://a/{}", "x".repeat(8192));
        assert_eq!(refused(&target, &[]), RequestViolation::TargetTooLong);
    }

    #[test]
    fn values_say_exactly_one_thing() {
        for value in [" a", "a ", "\ta", "a\t"] {
            let refused = get("http://a/", &[("x-a", value)]).unwrap_err();
            assert_eq!(refused, RequestViolation::FieldValue, "{value:?}");
        }
        let lengths = [("content-length", "1"), ("content-length", "1")];
        assert_eq!(
            get("http://a/", &lengths).unwrap_err(),
            RequestViolation::ContentLength
        );
    }

    #[test]
    fn connect_is_for_websocket_alone() {
        let connect = |protocol| {
            let mut head = head(Method::CONNECT, "https://a/x", &[]);
            translate(&mut head, protocol, LIMITS)
        };
        assert_eq!(connect(Some("websocket")), Ok(true));
        assert_eq!(connect(Some("connect-udp")), Err(RequestViolation::Connect));
        assert_eq!(connect(None), Err(RequestViolation::Connect));
    }
}
