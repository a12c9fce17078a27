//! What an answer says about the origin that asked.

use hyper::HeaderMap;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
    HeaderName, HeaderValue, VARY,
};

use super::origin::Standing;
use crate::config::{Cors, OriginPattern};
use crate::http::hop_by_hop;

/// What all of the backend's own CORS headers begin with.
const FAMILY: &str = "access-control-";

/// The headers of an answer that concern its origin. The default leaves every answer as it is.
#[derive(Clone, Debug, Default)]
pub struct CorsHeaders(Option<Enforced>);

#[derive(Clone, Debug)]
struct Enforced {
    granted: Option<Granted>,
    /// The `Vary` that caches need, also where no origin was granted anything.
    vary: Option<&'static str>,
}

#[derive(Clone, Debug)]
struct Granted {
    /// This one origin, or `*`.
    origin: HeaderValue,
    with_credentials: bool,
    expose: Option<HeaderValue>,
}

impl CorsHeaders {
    pub(super) fn of(standing: Standing<'_>, cors: &Cors) -> Self {
        let granted = standing.granted().map(|origin| Granted {
            origin,
            with_credentials: cors.credentials,
            expose: list(cors, cors.expose.iter().map(String::as_str)),
        });
        let vary = match standing {
            Standing::Anybody => None,
            // Without its cookie the same origin might have matched `"*"`.
            Standing::Refused(_) if cors.origins.contains(&OriginPattern::Any) => {
                Some("Origin, Cookie")
            }
            _ => Some("Origin"),
        };
        CorsHeaders(Some(Enforced { granted, vary }))
    }

    /// Whether a field of this name is written here.
    pub(crate) fn write(&self, name: &[u8]) -> bool {
        let starts = |name: &[u8]| name.eq_ignore_ascii_case(FAMILY.as_bytes());
        let is_of_family = name.get(..FAMILY.len()).is_some_and(starts);
        self.0.is_some() && (is_of_family || name.eq_ignore_ascii_case(b"vary"))
    }

    /// Puts them onto an answer, from a backend or not: nothing of the backend's own CORS stays, and everything else does.
    pub fn put(&self, headers: &mut HeaderMap) {
        let Some(Enforced { granted, vary }) = &self.0 else {
            return;
        };
        strip(headers);
        if let Some(vary) = vary {
            vary_by(headers, vary);
        }
        let Some(granted) = granted else { return };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, granted.origin.clone());
        if granted.with_credentials {
            let yes = HeaderValue::from_static("true");
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        }
        if let Some(expose) = &granted.expose {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
    }
}

/// The configured words as one value. With credentials `*` is no wildcard, and is left out.
pub(super) fn list<'a>(cors: &Cors, words: impl Iterator<Item = &'a str>) -> Option<HeaderValue> {
    let words: Vec<_> = words
        .filter(|word| *word != "*" || !cors.credentials)
        .collect();
    let value = HeaderValue::try_from(words.join(", ")).ok()?;
    (!words.is_empty()).then_some(value)
}

/// Takes away all that a backend says about origins by itself.
pub(crate) fn strip(headers: &mut HeaderMap) {
    let is_cors = |name: &&HeaderName| name.as_str().starts_with(FAMILY);
    let found: Vec<_> = headers.keys().filter(is_cors).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

/// Merges names into `Vary`, as one line.
fn vary_by(headers: &mut HeaderMap, names: &'static str) {
    if !headers.contains_key(VARY) {
        headers.insert(VARY, HeaderValue::from_static(names));
        return;
    }
    if hop_by_hop::has_token(headers, &VARY, "*") {
        return;
    }
    let mut missing = names
        .split(", ")
        .filter(|name| !hop_by_hop::has_token(headers, &VARY, name))
        .peekable();
    if missing.peek().is_none() {
        return;
    }
    let present = headers.get_all(VARY).iter().map(HeaderValue::as_bytes);
    let all: Vec<_> = present
        .filter(|line| !line.trim_ascii().is_empty())
        .chain(missing.map(str::as_bytes))
        .collect();
    if let Ok(merged) = HeaderValue::from_bytes(&all.join(&b", "[..])) {
        headers.insert(VARY, merged);
    }
}
