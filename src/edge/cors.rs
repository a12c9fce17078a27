//! Which origins may open a WebSocket. Pure.
//!
//! A browser sends a page's cookies with a WebSocket handshake to anybody, and no answer of ours
//! could keep the page from reading what comes: the check belongs before the upgrade.

use hyper::HeaderMap;
use hyper::header::{COOKIE, ORIGIN};

use super::hygiene::host::Host;
use crate::config::{Cors, OriginPattern};

/// An `Origin` as browsers serialise it: `scheme://host[:port]`, all in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin<'a> {
    scheme: &'a str,
    host: &'a str,
    port: Option<u16>,
}

/// Why a handshake is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginRefused {
    /// It is not among those allowed.
    Foreign,
    /// There is none, and a cookie is sent.
    Missing,
    /// More than one, or none that a browser would send.
    Malformed,
}

impl OriginRefused {
    /// One sentence for a person.
    pub fn detail(self) -> &'static str {
        match self {
            OriginRefused::Foreign => "this origin may not open a WebSocket here",
            OriginRefused::Missing => "a handshake with a cookie needs an Origin",
            OriginRefused::Malformed => "Origin is not one origin",
        }
    }
}

/// Judges a WebSocket handshake by its `Origin`.
///
/// Allowed: the origin whose host and port are those that the client asked for (`host`; from a
/// trusted proxy its `X-Forwarded-Host`) or of `public_url`; a listed one; none at all where no
/// cookie is sent.
///
/// # Errors
/// Everything else.
pub fn judge(
    headers: &HeaderMap,
    host: &Host,
    public_url: Option<&str>,
    cors: Option<&Cors>,
) -> Result<(), OriginRefused> {
    let sends_cookie = headers.contains_key(COOKIE);
    let mut origins = headers.get_all(ORIGIN).iter();
    let text = match (origins.next(), origins.next()) {
        (None, _) if sends_cookie => return Err(OriginRefused::Missing),
        (None, _) => return Ok(()),
        (Some(one), None) => one.to_str().map_err(|_| OriginRefused::Malformed)?,
        (Some(_), Some(_)) => return Err(OriginRefused::Malformed),
    };
    let listed = cors.map_or(&[][..], |cors| &cors.origins);
    if !sends_cookie && !text.is_empty() && listed.contains(&OriginPattern::Any) {
        return Ok(());
    }
    let origin = Origin::parse(text).ok_or(OriginRefused::Malformed)?;
    let allowed = origin.is_at(&host.name, host.port)
        || public_url.is_some_and(|url| origin.is_of(url))
        || listed.iter().any(|pattern| origin.fits(pattern));
    allowed.then_some(()).ok_or(OriginRefused::Foreign)
}

impl<'a> Origin<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let has_port = !rest.ends_with(']') && rest.contains(':');
        let (host, port) = match rest.rsplit_once(':').filter(|_| has_port) {
            None => (rest, None),
            Some((host, port)) => {
                let plain = port.bytes().all(|byte| byte.is_ascii_digit());
                (host, Some(plain.then(|| port.parse().ok())??))
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
            OriginPattern::Any => false,
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

#[cfg(test)]
mod tests;
