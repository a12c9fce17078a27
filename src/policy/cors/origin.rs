//! An `Origin`, taken apart, and where it stands to those that a policy lists.

use hyper::HeaderMap;
use hyper::header::{COOKIE, HeaderValue, ORIGIN};

use crate::config::OriginPattern;
use crate::http::host::Host;

/// Why an origin is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginRefused {
    /// It is not among those allowed.
    Foreign,
    /// There is none, and a cookie is sent: only a handshake is refused for it.
    Missing,
    /// Not a value that a browser sends for a page's own origin.
    Malformed,
    /// More than one.
    Several,
}

impl OriginRefused {
    /// One sentence for a person.
    pub(crate) fn detail(self) -> &'static str {
        match self {
            OriginRefused::Foreign => {
                "this origin is not allowed here: it names another host or port than the request, and `cors.origins` does not list it"
            }
            OriginRefused::Missing => {
                "a handshake with a cookie needs an Origin: scheme, host and port of this server (http://127.0.0.1:8080), or one of `cors.origins`"
            }
            OriginRefused::Malformed => "Origin is not one origin",
            OriginRefused::Several => "there is more than one Origin",
        }
    }
}

/// What a request's `Origin` is to this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing<'a> {
    /// There is none: no browser's page sends it, or one of our own that only reads.
    Absent,
    /// Listed by name or by wildcard: exactly these bytes.
    Listed(&'a HeaderValue),
    /// No listed origin, and `"*"` is listed.
    Anybody,
    /// Not listed: the server's own place.
    Own,
    /// None of these.
    Refused(OriginRefused),
}

impl<'a> Standing<'a> {
    /// `"*"` lists no request with a cookie.
    pub(super) fn of(
        headers: &'a HeaderMap,
        host: &Host,
        public_url: Option<&str>,
        listed: &[OriginPattern],
    ) -> Self {
        let mut origins = headers.get_all(ORIGIN).iter();
        let value = match (origins.next(), origins.next()) {
            (None, _) => return Standing::Absent,
            (Some(one), None) => one,
            (Some(_), Some(_)) => return Standing::Refused(OriginRefused::Several),
        };
        let Ok(text) = value.to_str() else {
            return Standing::Refused(OriginRefused::Malformed);
        };
        let is_bare = !headers.contains_key(COOKIE);
        if is_bare && !text.is_empty() && listed.contains(&OriginPattern::Any) {
            return Standing::Anybody;
        }
        if listed.iter().any(|pattern| is_whole(text, pattern)) {
            return Standing::Listed(value);
        }
        let Some(origin) = Origin::parse(text) else {
            return Standing::Refused(OriginRefused::Malformed);
        };
        if listed.iter().any(|pattern| origin.fits(pattern)) {
            return Standing::Listed(value);
        }
        let is_own =
            origin.is_at(&host.name, host.port) || public_url.is_some_and(|url| origin.is_of(url));
        match is_own {
            true => Standing::Own,
            false => Standing::Refused(OriginRefused::Foreign),
        }
    }

    /// What `Access-Control-Allow-Origin` says of it, if anything.
    pub(super) fn granted(self) -> Option<HeaderValue> {
        match self {
            Standing::Listed(origin) => Some(origin.clone()),
            Standing::Anybody => Some(HeaderValue::from_static("*")),
            Standing::Absent | Standing::Own | Standing::Refused(_) => None,
        }
    }
}

/// Whether this origin is in a list, or that of `public_url`.
pub(super) fn is_listed(
    origin: &HeaderValue,
    has_cookie: bool,
    public_url: Option<&str>,
    listed: &[OriginPattern],
) -> bool {
    let Ok(text) = origin.to_str() else {
        return false;
    };
    if !has_cookie && listed.contains(&OriginPattern::Any) {
        return true;
    }
    let is_whole = |pattern| is_whole(text, pattern);
    listed.iter().any(is_whole)
        || Origin::parse(text).is_some_and(|origin| {
            listed.iter().any(|pattern| origin.fits(pattern))
                || public_url.is_some_and(|url| origin.is_of(url))
        })
}

/// Whether this is a listed origin of a scheme that is not the web's.
fn is_whole(text: &str, pattern: &OriginPattern) -> bool {
    matches!(pattern, OriginPattern::Whole(listed) if listed == text)
}

/// An `Origin` as browsers serialise it: `scheme://host[:port]`, all in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin<'a> {
    scheme: &'a str,
    host: &'a str,
    port: Option<u16>,
}

impl<'a> Origin<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let has_port = !rest.ends_with(']') && rest.contains(':');
        let (host, port) = match rest.rsplit_once(':').filter(|_| has_port) {
            None => (rest, None),
            Some((host, port)) => {
                // In its one spelling: `03000` is no browser's.
                let is_plain =
                    port.bytes().all(|byte| byte.is_ascii_digit()) && !port.starts_with('0');
                (host, Some(is_plain.then(|| port.parse().ok())??))
            }
        };
        let is_http = matches!(scheme, "http" | "https");
        (is_http && is_serialised_host(host)).then_some(Origin { scheme, host, port })
    }

    fn effective_port(&self) -> u16 {
        self.port.unwrap_or_else(|| default_port(self.scheme))
    }

    /// Host and port are these; a missing port is the default of the origin's scheme.
    fn is_at(&self, host: &str, port: Option<u16>) -> bool {
        let port = port.unwrap_or_else(|| default_port(self.scheme));
        self.host == host && self.effective_port() == port
    }

    /// Host and port are those of this URL.
    fn is_of(&self, url: &str) -> bool {
        let Ok(url) = url.parse::<hyper::Uri>() else {
            return false;
        };
        let host = url.host().map(str::to_ascii_lowercase);
        let own = url.scheme_str().map(default_port);
        self.is_at(host.as_deref().unwrap_or_default(), url.port_u16().or(own))
    }

    fn fits(&self, pattern: &OriginPattern) -> bool {
        // A browser leaves out the default port: an origin that spells it is not exactly that one.
        let port_fits = |listed: &u16| {
            let expected = (*listed != default_port(self.scheme)).then_some(*listed);
            self.port == expected
        };
        match pattern {
            OriginPattern::Any | OriginPattern::Whole(_) => false,
            OriginPattern::Exact { scheme, host, port } => {
                self.scheme == scheme && self.host == host && port_fits(port)
            }
            OriginPattern::OneLabel {
                scheme,
                suffix,
                port,
            } => {
                let label = self.host.strip_suffix(suffix.as_str()).unwrap_or_default();
                self.scheme == scheme
                    && port_fits(port)
                    && !label.is_empty()
                    && !label.contains(['.', '['])
            }
        }
    }
}

fn default_port(scheme: &str) -> u16 {
    match scheme {
        "https" | "wss" => 443,
        _ => 80,
    }
}

/// A host as it stands in a serialised origin: lower case, nothing to decode.
fn is_serialised_host(host: &str) -> bool {
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    match bracketed {
        Some(address) => {
            let lower = |byte: u8| byte.is_ascii_digit() || b"abcdef:".contains(&byte);
            address.bytes().all(lower) && address.parse::<std::net::Ipv6Addr>().is_ok()
        }
        None => {
            let allowed = |byte: u8| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte)
            };
            !host.is_empty() && host.bytes().all(allowed)
        }
    }
}
