//! The browser's own question before a request that no form could send: may this page?
//!
//! It bears no credentials, so it is answered before authentication. The answer is what the policy lists, and never an echo: a
//! browser's console then names what is missing.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderName, HeaderValue, ORIGIN, VARY,
};
use hyper::{HeaderMap, Method};

use super::origin::Standing;
use super::response_headers::list;
use crate::config::Cors;

/// What all of it depends on.
const VARIES_BY: &str = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";

/// Bytes of `Access-Control-Request-Headers`; no honest page names that many.
const LONGEST: usize = 4096;

/// The method that a preflight asks for; its route is the one that judges. None where the request
/// is no preflight, or asks for no method that there could be.
pub fn preflight_method(method: &Method, headers: &HeaderMap) -> Option<Method> {
    is_preflight(method, headers).then(|| requested_method(headers))?
}

pub(super) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::OPTIONS
        && headers.contains_key(ORIGIN)
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The headers of the 204.
pub(super) fn answer(asked: &HeaderMap, standing: Standing<'_>, cors: &Cors) -> HeaderMap {
    let mut answer = HeaderMap::new();
    answer.insert(VARY, HeaderValue::from_static(VARIES_BY));
    let is_question = requested_method(asked).is_some() && names_headers(asked);
    let Some(origin) = standing.granted().filter(|_| is_question) else {
        return answer;
    };
    answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    if cors.credentials {
        let yes = HeaderValue::from_static("true");
        answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
    }
    if let Some(methods) = list(cors, cors.methods.iter().map(Method::as_str)) {
        answer.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    }
    if let Some(headers) = list(cors, cors.headers.iter().map(String::as_str)) {
        answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, headers);
    }
    let seconds = HeaderValue::from(cors.max_age.as_secs());
    answer.insert(ACCESS_CONTROL_MAX_AGE, seconds);
    answer
}

fn requested_method(asked: &HeaderMap) -> Option<Method> {
    let mut lines = asked.get_all(ACCESS_CONTROL_REQUEST_METHOD).iter();
    match (lines.next(), lines.next()) {
        (Some(one), None) => Method::from_bytes(one.as_bytes()).ok(),
        _ => None,
    }
}

/// Whether `Access-Control-Request-Headers` is a list of header names, or absent. Blanks, tabs,
/// empty items and either case are no reason to be strict: nothing of it is said again.
fn names_headers(asked: &HeaderMap) -> bool {
    let lines = || {
        let lines = asked.get_all(ACCESS_CONTROL_REQUEST_HEADERS).iter();
        lines.map(HeaderValue::as_bytes)
    };
    let is_name = |item: &[u8]| item.is_empty() || HeaderName::from_bytes(item).is_ok();
    lines().map(<[u8]>::len).sum::<usize>() <= LONGEST
        && lines()
            .flat_map(|line| line.split(|byte| *byte == b','))
            .all(|item| is_name(item.trim_ascii()))
}
