//! Hosts, authorities, origins. Pure.

use hyper::header::HeaderValue;

use super::problem::Wrong;

/// Scheme, host and port of a URL without anything behind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Origin<'t> {
    /// `http` or `https`.
    pub(crate) scheme: &'t str,
    /// As in a URL.
    pub(crate) host: &'t str,
    /// Explicit, or the scheme's default.
    pub(crate) port: u16,
}

/// `http://host[:port]` or `https://host[:port]`, in lower case.
pub(crate) fn origin(text: &str) -> Result<Origin<'_>, Wrong> {
    let wrong = |fix: String| Wrong::new("is not scheme, host and port", fix);
    let plain = || {
        wrong("write scheme, host and port alone, such as \"https://app.example.com\"".to_owned())
    };
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(match authority(text) {
            Ok(_) => wrong(format!(
                "write the scheme too: \"https://{text}\" or \"http://{text}\""
            )),
            Err(()) => plain(),
        });
    };
    let default = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return Err(wrong("begin with http:// or https://".to_owned())),
    };
    let bare = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match authority(bare) {
        Ok(_) if bare.len() < rest.len() => Err(wrong(format!(
            "leave out what stands behind: \"{scheme}://{bare}\""
        ))),
        Ok((host, port)) => Ok(Origin {
            scheme,
            host,
            port: port.unwrap_or(default),
        }),
        Err(()) => Err(plain()),
    }
}

/// `host` or `host:port` as it stands in a `Host` header, in lower case.
pub(crate) fn host_header(text: &str) -> Result<HeaderValue, Wrong> {
    let wrong = || {
        Wrong::new(
            "is no host",
            "write a name such as \"app.internal\", with `:port` where there is one",
        )
    };
    let lower = text.to_ascii_lowercase();
    authority(&lower).map_err(|()| wrong())?;
    HeaderValue::from_str(&lower).map_err(|_| wrong())
}

/// Splits `host[:port]`; the host is a name, an IPv4 address or `[IPv6]`.
pub(crate) fn authority(text: &str) -> Result<(&str, Option<u16>), ()> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port = match port {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse().map_err(|_| ())?)
        }
        Some(_) => return Err(()),
        None => None,
    };
    let is_v6 = || {
        let inside = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        inside.is_some_and(|inside| inside.parse::<std::net::Ipv6Addr>().is_ok())
    };
    match is_host_name(host) || is_v6() {
        true => Ok((host, port)),
        false => Err(()),
    }
}

/// Letters, digits, `-`, `_` in labels of 1 to 63; an IPv4 address looks the same.
pub(crate) fn is_host_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(plain);
    text.len() <= 253 && text.split('.').all(label)
}
