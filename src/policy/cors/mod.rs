//! Which other origins may use what is here (CORS). Pure.
//!
//! Over HTTP the browser itself keeps a page from reading an answer that does not allow it. This module says which origins are
//! allowed, answers the preflight, and refuses requests with side effects from all other origins. In a WebSocket handshake a
//! browser sends a page's cookies to any server, and no answer could keep the page from reading what comes: that check belongs
//! before the upgrade, and is made in every mode.
//!
//! Absent by intent: `null` as a listed origin, and grants for private or local networks.

mod origin;
mod preflight;
mod response_headers;

use hyper::header::{COOKIE, HeaderValue};
use hyper::{HeaderMap, Method};

pub(crate) use self::origin::OriginRefused;
pub use self::preflight::preflight_method;
pub(crate) use self::response_headers::{CorsHeaders, strip};

use self::origin::{Standing, is_listed};
use crate::config::{Cors, CorsMode};
use crate::http::host::Host;

/// What becomes of a plain HTTP request by its `Origin`.
#[derive(Clone, Debug)]
pub enum CorsDecision {
    /// It goes on; the marks are put onto whatever answer comes of it, our own errors included.
    Passes(CorsHeaders),
    /// A preflight, answered here: 204 with these headers and no body. The backend never sees it.
    Preflight(HeaderMap),
}

/// A plain HTTP request that may have an effect, from an origin that may not cause it.
#[derive(Clone, Debug)]
pub struct CorsRefused {
    /// Why.
    pub(crate) why: OriginRefused,
    /// Put onto the refusal as onto any other answer.
    pub marks: CorsHeaders,
}

/// Rules on a request that is no WebSocket handshake.
///
/// Without a policy that is enforced, all of it is the backend's own matter. With one, an origin
/// that is not allowed may still send what only reads: the browser shows its page nothing of the
/// answer. The server's own place (`host`, `public_url`; see [`judge`]) may do everything, and needs
/// no grant for it.
///
/// # Errors
/// Methods with an effect, from an origin that is not allowed; anything with two origins.
pub fn rule(
    method: &Method,
    headers: &HeaderMap,
    host: &Host,
    public_url: Option<&str>,
    cors: Option<&Cors>,
) -> Result<CorsDecision, CorsRefused> {
    let Some(cors) = cors.filter(|cors| cors.mode == CorsMode::Enforce) else {
        return Ok(CorsDecision::Passes(CorsHeaders::default()));
    };
    let standing = Standing::of(headers, host, public_url, &cors.origins);
    let marks = || CorsHeaders::of(standing, cors);
    match standing {
        Standing::Refused(why @ OriginRefused::Several) => {
            let marks = marks();
            Err(CorsRefused { why, marks })
        }
        _ if preflight::is_preflight(method, headers) => Ok(CorsDecision::Preflight(
            preflight::answer(headers, standing, cors),
        )),
        Standing::Refused(why) if !only_reads(method) => {
            let marks = marks();
            Err(CorsRefused { why, marks })
        }
        _ => Ok(CorsDecision::Passes(marks())),
    }
}

/// Judges a WebSocket handshake by its `Origin`, in every mode; the answer never bears a mark.
///
/// Allowed: the origin whose host and port are those that the client asked for (`host`; from a
/// trusted proxy its `X-Forwarded-Host`) or of `public_url`; a listed one, unless the policy is off;
/// none at all where no cookie is sent.
///
/// # Errors
/// Everything else.
pub fn judge(
    headers: &HeaderMap,
    host: &Host,
    public_url: Option<&str>,
    cors: Option<&Cors>,
) -> Result<(), OriginRefused> {
    let cors = cors.filter(|cors| cors.mode != CorsMode::Off);
    let listed = cors.map_or(&[][..], |cors| &cors.origins);
    match Standing::of(headers, host, public_url, listed) {
        Standing::Absent if headers.contains_key(COOKIE) => Err(OriginRefused::Missing),
        Standing::Refused(why) => Err(why),
        Standing::Absent | Standing::Listed(_) | Standing::Anybody | Standing::Own => Ok(()),
    }
}

/// Whether a page is of another place than this server: [`judge`] let it in by a list, if at all.
pub(crate) fn is_foreign(headers: &HeaderMap, host: &Host, public_url: Option<&str>) -> bool {
    let standing = Standing::of(headers, host, public_url, &[]);
    matches!(standing, Standing::Refused(_))
}

/// Whether a foreign page that [`judge`] has accepted would be accepted now, when the configuration has changed under it.
pub(crate) fn still_admits(
    origin: &HeaderValue,
    has_cookie: bool,
    public_url: Option<&str>,
    cors: Option<&Cors>,
) -> bool {
    let cors = cors.filter(|cors| cors.mode != CorsMode::Off);
    let listed = cors.map_or(&[][..], |cors| &cors.origins);
    is_listed(origin, has_cookie, public_url, listed)
}

/// The methods by which a page can do nothing but read.
fn only_reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

#[cfg(test)]
mod tests;
