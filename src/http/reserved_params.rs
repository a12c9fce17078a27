//! What of a request is addressed to crossfade itself and never goes upstream.

use std::borrow::Cow;
use std::sync::Arc;

use hyper::HeaderMap;
use hyper::header::{COOKIE, HeaderValue};

use super::path;
use crate::config::query::decode;
use crate::config::{Auth, CredentialSource};

/// Cookies that crossfade sets begin with this.
const COOKIES: &str = "crossfade_";

/// What of a query is crossfade's own, and the query without it.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct ReservedParameters {
    /// What is left of the query, as it goes upstream; `None` where nothing is.
    pub(crate) query: Option<String>,
    /// `cf_after`.
    pub(crate) after: Option<String>,
    /// `cf_last_event_id`.
    pub(crate) last_event_id: Option<String>,
    /// `cf_wrap=1`.
    pub(crate) wrap: bool,
    /// Tokens, by the parameter's name.
    pub(crate) tokens: Vec<(String, String)>,
    /// `ticket`.
    pub(crate) ticket: Option<String>,
}

/// Which parameters are ours at some place.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Taken<'a> {
    /// `cf_after`, `cf_last_event_id`, `cf_wrap`: on bridged paths.
    pub(crate) positions: bool,
    /// Those that these policies' `from` names.
    pub(crate) auths: &'a [Arc<Auth>],
}

impl Taken<'_> {
    fn is_token(&self, name: &str) -> bool {
        let mut sources = self.auths.iter().flat_map(|auth| &auth.from);
        sources.any(|source| matches!(source, CredentialSource::Query(known) if known == name))
    }

    fn is_ticket(&self, name: &str) -> bool {
        let mut auths = self.auths.iter();
        name == "ticket" && auths.any(|auth| auth.takes_tickets())
    }
}

/// Takes crossfade's own parameters out of a query. The last of several counts; of tokens each is returned.
pub(crate) fn take_parameters(query: Option<&str>, taken: Taken<'_>) -> ReservedParameters {
    let mut own = ReservedParameters::default();
    let Some(query) = query else {
        return own;
    };
    let left: Vec<&str> = query
        .split('&')
        .filter(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = || decode(value).into_owned();
            match decode(name).as_ref() {
                "cf_after" if taken.positions => own.after = Some(decoded()),
                "cf_last_event_id" if taken.positions => own.last_event_id = Some(decoded()),
                "cf_wrap" if taken.positions => own.wrap = value == "1",
                name if taken.is_token(name) => own.tokens.push((name.to_owned(), decoded())),
                name if taken.is_ticket(name) => own.ticket = Some(decoded()),
                _ => return true,
            }
            false
        })
        .collect();
    if !left.is_empty() {
        let left = left.join("&");
        let escaped = match path::query(&left) {
            Cow::Owned(escaped) => Some(escaped),
            Cow::Borrowed(_) => None,
        };
        own.query = Some(escaped.unwrap_or(left));
    }
    own
}

/// A path and a query as one URL.
pub(crate) fn join(path: &str, query: Option<&str>) -> String {
    match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    }
}

/// Takes crossfade's own cookies out of `Cookie`; other bytes stay as they were. Whether there were any.
pub(crate) fn strip_cookies(headers: &mut HeaderMap) -> bool {
    let pairs = |line: &HeaderValue| -> bool {
        let mut pairs = line.as_bytes().split(|byte| *byte == b';');
        pairs.any(is_own_cookie)
    };
    if !headers.get_all(COOKIE).iter().any(pairs) {
        return false;
    }
    let lines: Vec<HeaderValue> = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|line| {
            let pairs = line.as_bytes().split(|byte| *byte == b';');
            let left: Vec<&[u8]> = pairs
                .filter(|pair| !is_own_cookie(pair))
                .map(<[u8]>::trim_ascii)
                .collect();
            let left = left.join(&b"; "[..]);
            (!left.is_empty()).then(|| HeaderValue::from_bytes(&left).ok())?
        })
        .collect();
    headers.remove(COOKIE);
    for line in lines {
        headers.append(COOKIE, line);
    }
    true
}

/// Whether a pair of `Cookie` is crossfade's own.
pub(crate) fn is_own_cookie(pair: &[u8]) -> bool {
    pair.trim_ascii().starts_with(COOKIES.as_bytes())
}

/// The value of a cookie by its name; the first of several.
pub(crate) fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    cookies(headers).find_map(|(found, value)| (found == name).then_some(value))
}

/// The same for a name that was configured as a header's: those have no case.
pub(crate) fn cookie_in_any_case<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    cookies(headers).find_map(|(found, value)| found.eq_ignore_ascii_case(name).then_some(value))
}

/// All cookies, in the order in which they came; those that are no text are left out.
pub(crate) fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let lines = headers.get_all(COOKIE).iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BRIDGED: Taken<'_> = Taken {
        positions: true,
        auths: &[],
    };

    #[test]
    fn own_parameters_leave_and_the_rest_stays_as_it_was() {
        let own = take_parameters(
            Some("a=%41&cf_after=k3-41&&b&cf_wrap=1&cf_last_event_id=x%20y+z&token=t"),
            BRIDGED,
        );
        assert_eq!(own.query.as_deref(), Some("a=%41&&b&token=t"));
        assert_eq!(own.after.as_deref(), Some("k3-41"));
        assert_eq!(own.last_event_id.as_deref(), Some("x y z"));
        assert!(own.wrap);
        let encoded = take_parameters(Some("cf%5Fafter=1"), BRIDGED);
        assert_eq!((encoded.query, encoded.after.as_deref()), (None, Some("1")));
        assert!(!take_parameters(Some("cf_wrap=0"), BRIDGED).wrap);
        assert!(take_parameters(None, BRIDGED) == ReservedParameters::default());
        let elsewhere = take_parameters(Some("cf_after=1"), Taken::default());
        assert_eq!(elsewhere.query.as_deref(), Some("cf_after=1"));
    }

    #[test]
    fn credentials_of_a_query_leave_in_every_spelling() {
        let from = |sources: &[CredentialSource]| {
            vec![Arc::new(Auth {
                name: "a".into(),
                kind: crate::config::AuthKind::ApiKey(Vec::new()),
                from: sources.to_vec(),
                csrf: None,
                identity: Default::default(),
            })]
        };
        let both = from(&[
            CredentialSource::Query("token".into()),
            CredentialSource::Ticket,
        ]);
        let taken = Taken {
            positions: false,
            auths: &both,
        };
        let query = Some("a=1&%74oken=x%2By&ticket=t&Token=kept&token=z");
        let own = take_parameters(query, taken);
        assert_eq!(own.query.as_deref(), Some("a=1&Token=kept"));
        let tokens = ["x+y", "z"].map(|token| ("token".to_owned(), token.to_owned()));
        assert_eq!(own.tokens, tokens);
        assert_eq!(own.ticket.as_deref(), Some("t"));
        let neither = from(&[CredentialSource::Header]);
        let taken = Taken {
            positions: false,
            auths: &neither,
        };
        assert_eq!(take_parameters(query, taken).query.as_deref(), query);
    }

    fn cookies(lines: &[&'static str]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_static(line));
        }
        strip_cookies(&mut headers);
        let left = headers.get_all(COOKIE).iter();
        left.map(|line| line.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn own_cookies_leave() {
        assert_eq!(cookies(&["a=1; crossfade_unit=x.y;b=2"]), ["a=1; b=2"]);
        assert_eq!(cookies(&["crossfade_unit=x"]), [""; 0]);
        assert_eq!(cookies(&["a=1;  b=2"]), ["a=1;  b=2"], "untouched");
        assert_eq!(cookies(&["crossfade_unit=x", "c=3"]), ["c=3"]);
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_static("xa=0; a=1; a=2"));
        assert_eq!(cookie(&headers, "a"), Some("1"));
        assert_eq!(cookie(&headers, "b"), None);
    }
}
