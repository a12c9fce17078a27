//! Access checks: `Host` against DNS rebinding, `Origin` against foreign pages, the token.

use std::net::{IpAddr, Ipv6Addr};

use hyper::header::{AUTHORIZATION, HOST, HeaderValue, ORIGIN};
use hyper::{HeaderMap, StatusCode};
use subtle::ConstantTimeEq;

use super::response::Fault;
use crate::config::Admin;

/// Judges everything but the three open paths.
pub(crate) fn admit(headers: &HeaderMap, admin: &Admin) -> Result<(), Fault> {
    check_host(headers, &admin.hosts)?;
    check_origin(headers)?;
    match &admin.token {
        Some(token) => check_token(headers, &token.0),
        None => Ok(()),
    }
}

/// Another party may point a name at this address: such a `Host` is refused.
fn check_host(headers: &HeaderMap, hosts: &[String]) -> Result<(), Fault> {
    let mut values = headers.get_all(HOST).iter();
    let host = match (values.next(), values.next()) {
        (Some(host), None) => name_of(host),
        _ => None,
    };
    match host {
        Some(host) if is_ours(&host, hosts) => Ok(()),
        _ => Err(Fault::new(
            StatusCode::MISDIRECTED_REQUEST,
            "misdirected",
            "Host must be an IP literal, localhost, or listed in admin.hosts",
        )),
    }
}

fn is_ours(host: &str, hosts: &[String]) -> bool {
    host.parse::<IpAddr>().is_ok()
        || host == "localhost"
        || hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
}

/// The host of `host[:port]`, lower case, an IPv6 literal without its brackets.
fn name_of(value: &HeaderValue) -> Option<String> {
    let text = value.to_str().ok()?.to_ascii_lowercase();
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (
                host,
                rest.strip_prefix(':').or(rest.is_empty().then_some(""))?,
            )
        }
        None => text.split_once(':').unwrap_or((&text, "")),
    };
    let plain_port = port.is_empty() || port.parse::<u16>().is_ok();
    (plain_port && !host.is_empty()).then(|| host.to_owned())
}

/// A page of another origin may send simple requests without asking first; it must not change anything here.
fn check_origin(headers: &HeaderMap) -> Result<(), Fault> {
    let Some(origin) = headers.get(ORIGIN) else {
        return Ok(());
    };
    let authority = origin.as_bytes().splitn(2, |byte| *byte == b'/').nth(1);
    let authority = authority.and_then(|rest| rest.strip_prefix(b"/"));
    let host = headers.get(HOST).map(HeaderValue::as_bytes);
    match authority.is_some() && authority == host {
        true => Ok(()),
        false => Err(Fault::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "pages of other origins may not use the admin API",
        )),
    }
}

fn check_token(headers: &HeaderMap, token: &str) -> Result<(), Fault> {
    let sent = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
    let sent = sent.and_then(|value| match value.split_at_checked(7) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(b"Bearer ") => Some(rest),
        _ => None,
    });
    // The time reveals only the token's length.
    match sent.is_some_and(|sent| sent.ct_eq(token.as_bytes()).into()) {
        true => Ok(()),
        false => Err(Fault::unauthorized()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Listen, Secret};

    fn admin(token: Option<&str>) -> Admin {
        Admin {
            listen: Listen::Tcp(([127, 0, 0, 1], 0).into()),
            token: token.map(|token| Secret(token.into())),
            hosts: vec!["ops.example.com".into()],
        }
    }

    fn status(fields: &[(&'static str, &str)], token: Option<&str>) -> u16 {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        match admit(&headers, &admin(token)) {
            Ok(()) => 200,
            Err(fault) => fault.answer("id").status().as_u16(),
        }
    }

    #[test]
    fn hosts_that_no_foreign_name_can_point_here() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:9900",
            "[::1]:9900",
            "[::1]",
            "10.1.2.3:80",
            "localhost",
            "LOCALHOST:9900",
            "ops.example.com",
            "OPS.example.com:9900",
        ] {
            assert_eq!(status(&[("host", host)], None), 200, "{host}");
        }
        for host in [
            "evil.test",
            "evil.test:9900",
            "localhost.evil.test",
            "ops.example.com.",
            "ops.example.com.evil.test",
            "127.0.0.1.nip.io",
            "127.0.0.1@evil.test",
            "[::1",
            "[evil]:9900",
            "[::1]x",
            "localhost:99999",
            "",
        ] {
            assert_eq!(status(&[("host", host)], None), 421, "{host}");
        }
        assert_eq!(status(&[], None), 421);
        let twice = [("host", "localhost"), ("host", "evil.test")];
        assert_eq!(status(&twice, None), 421);
    }

    #[test]
    fn pages_of_other_origins_stay_out() {
        let host = ("host", "127.0.0.1:9900");
        let from = |origin| status(&[host, ("origin", origin)], None);
        assert_eq!(from("http://127.0.0.1:9900"), 200);
        for origin in [
            "null",
            "http://127.0.0.1",
            "http://evil.test",
            "",
            "127.0.0.1:9900",
        ] {
            assert_eq!(from(origin), 403, "{origin}");
        }
    }

    #[test]
    fn the_token_must_be_equal() {
        let with = |value| {
            status(
                &[("host", "localhost"), ("authorization", value)],
                Some("s3cret"),
            )
        };
        assert_eq!(with("Bearer s3cret"), 200);
        assert_eq!(with("bearer s3cret"), 200);
        for value in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer s3cre",
            "Bearer s3crets",
            "Basic s3cret",
            "s3cret",
        ] {
            assert_eq!(with(value), 401, "{value}");
        }
        assert_eq!(status(&[("host", "localhost")], Some("s3cret")), 401);
        assert_eq!(
            status(
                &[("host", "localhost"), ("authorization", "Bearer x")],
                None
            ),
            200
        );
    }
}
