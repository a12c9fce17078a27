//! `Host`: one, well formed, and the same as the target's.

use hyper::Version;
use hyper::header::{HOST, HeaderValue};
use hyper::http::request::Parts;

use super::RequestViolation;

/// A `host[:port]`, taken apart; of an HTTP/1.0 request that names none, all of it is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Lower case, without port and without the dot that ends a full name; an IPv6 address with its
    /// brackets.
    pub name: String,
    /// Where one was written.
    pub port: Option<u16>,
    /// As it was sent.
    pub(crate) value: HeaderValue,
}

impl Host {
    /// Takes a `Host` or `X-Forwarded-Host` value apart.
    pub fn parse(value: &HeaderValue) -> Option<Host> {
        let (name, port) = split(value)?;
        Some(Host {
            name: name.to_ascii_lowercase(),
            port,
            value: value.clone(),
        })
    }

    /// Whether both name the same place over plain HTTP.
    fn is_at(&self, other: &Host) -> bool {
        const HTTP: u16 = 80;
        let port = |host: &Host| host.port.unwrap_or(HTTP);
        self.name == other.name && port(self) == port(other)
    }
}

/// The name alone, as [`Host::name`] has it.
pub(crate) fn name(value: &HeaderValue) -> Option<String> {
    split(value).map(|(name, _)| name.to_ascii_lowercase())
}

fn split(value: &HeaderValue) -> Option<(&str, Option<u16>)> {
    let text = value.to_str().ok()?;
    let (name, port) = match text.rfind(':') {
        Some(colon) if !text.ends_with(']') => {
            let (name, port) = text.split_at(colon);
            (name, Some(parse_port(&port[1..])?))
        }
        _ => (text, None),
    };
    // `a.example.` is the same place, and has to reach the same route.
    let name = name.strip_suffix('.').unwrap_or(name);
    is_host(name).then_some((name, port))
}

/// The request's host.
///
/// # Errors
/// [`RequestViolation::Host`] where there is none (but for HTTP/1.0), more than one, one that is no `host[:port]`, or one that
/// a target in absolute form contradicts.
pub fn of(head: &Parts) -> Result<Host, RequestViolation> {
    let mut values = head.headers.get_all(HOST).iter();
    let value = match (values.next(), values.next()) {
        (Some(value), None) => value,
        (None, _) if head.version == Version::HTTP_10 => return of_http10(head),
        _ => return Err(RequestViolation::Host),
    };
    let host = Host::parse(value).ok_or(RequestViolation::Host)?;
    let Some(authority) = head.uri.authority() else {
        return Ok(host);
    };
    let target = HeaderValue::from_str(authority.as_str()).map_err(|_| RequestViolation::Host)?;
    match Host::parse(&target) {
        Some(target) if target.is_at(&host) => Ok(host),
        _ => Err(RequestViolation::Host),
    }
}

/// HTTP/1.0 knows no `Host`, and health checkers of load balancers send none.
fn of_http10(head: &Parts) -> Result<Host, RequestViolation> {
    let Some(authority) = head.uri.authority() else {
        return Ok(Host {
            name: String::new(),
            port: None,
            value: HeaderValue::from_static(""),
        });
    };
    let target = HeaderValue::from_str(authority.as_str()).ok();
    target
        .and_then(|target| Host::parse(&target))
        .ok_or(RequestViolation::Host)
}

/// A port in its only spelling: digits without a zero before them.
fn parse_port(digits: &str) -> Option<u16> {
    let plain = !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok())?
}

/// A name of labels of letters, digits, `-`, `_`, or an IPv6 address in brackets.
fn is_host(name: &str) -> bool {
    let bracketed = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    match bracketed {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            name.split('.')
                .all(|label| !label.is_empty() && label.bytes().all(allowed))
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn of_request(target: &str, hosts: &[&str]) -> Result<(String, Option<u16>), RequestViolation> {
        let mut request = Request::get(target);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        of(&head).map(|host| (host.name, host.port))
    }

    #[test]
    fn one_host_with_or_without_a_port() {
        for (host, name, port) in [
            ("a.example", "a.example", None),
            ("A.Example:8080", "a.example", Some(8080)),
            ("[::1]", "[::1]", None),
            ("[2001:DB8::1]:80", "[2001:db8::1]", Some(80)),
            ("my_app", "my_app", None),
            ("a.example.", "a.example", None),
            ("a.example.:81", "a.example", Some(81)),
            ("127.0.0.1:5000", "127.0.0.1", Some(5000)),
        ] {
            assert_eq!(of_request("/", &[host]), Ok((name.into(), port)), "{host}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for hosts in [
            &[][..],
            &["a", "a"],
            &["a", "b"],
            &[""],
            &["a:"],
            &["a:b"],
            &["a:99999"],
            &["a:+1"],
            &["a:0"],
            &["a:080"],
            &["."],
            &[".a"],
            &["a..b"],
            &["a.."],
            &["a b"],
            &["user@a"],
            &["a/b"],
            &["a,b"],
            &["http://a"],
            &["a%41"],
            &["::1"],
            &["[::1"],
            &["[x]"],
            &["ä"],
        ] {
            assert_eq!(
                of_request("/", hosts),
                Err(RequestViolation::Host),
                "{hosts:?}"
            );
        }
    }

    #[test]
    fn http_1_0_may_name_none() {
        for (target, host) in [
            ("/", Ok("")),
            ("http://A/", Ok("a")),
            ("http://u@a/", Err(RequestViolation::Host)),
        ] {
            let request = Request::get(target).version(Version::HTTP_10);
            let (head, ()) = request.body(()).unwrap().into_parts();
            let name = of(&head).map(|host| host.name);
            assert_eq!(name, host.map(str::to_owned), "{target}");
        }
    }

    #[test]
    fn an_absolute_target_names_the_same_host() {
        for target in ["http://A.example/x", "http://a.example:80/x"] {
            assert!(of_request(target, &["a.example"]).is_ok(), "{target}");
        }
        for (target, host) in [
            ("http://a.example/x", "b.example"),
            ("http://a.example:81/x", "a.example"),
            ("http://u@a.example/x", "a.example"),
        ] {
            assert_eq!(
                of_request(target, &[host]),
                Err(RequestViolation::Host),
                "{target}"
            );
        }
    }
}
