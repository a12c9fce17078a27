//! Cookies of a request, byte by byte.

use hyper::HeaderMap;
use hyper::header::{COOKIE, HeaderValue};

use crate::config::{Auth, CredentialSource};
use crate::http::reserved_params;
use crate::policy::auth::AuthError;

/// A cookie's value. One that is there twice with different values may have been planted by another host of the domain.
pub(super) fn only_cookie(headers: &HeaderMap, name: &str) -> Result<Option<String>, AuthError> {
    let mut values = pairs(headers).filter_map(|pair| {
        let (found, value) = pair.split_at_checked(end_of_name(pair)?)?;
        (found.trim_ascii() == name.as_bytes()).then(|| value.get(1..).map(<[u8]>::trim_ascii))?
    });
    let Some(first) = values.next() else {
        return Ok(None);
    };
    if !values.all(|value| value == first) {
        return Err(AuthError::Invalid(
            "a cookie is there twice with different values".into(),
        ));
    }
    match std::str::from_utf8(first) {
        Ok(value) if value.is_ascii() => Ok(Some(value.to_owned()).filter(|v| !v.is_empty())),
        _ => Err(AuthError::Invalid(
            "a credential holds bytes beyond ASCII".into(),
        )),
    }
}

/// The one cookie in a line in which a policy has found this token, alone.
pub(in crate::policy::auth) fn cookie_of(
    auth: &Auth,
    token: &str,
    line: &HeaderValue,
) -> Option<HeaderValue> {
    let mut headers = HeaderMap::with_capacity(1);
    headers.insert(COOKIE, line.clone());
    let mut names = auth.from.iter().filter_map(|source| match source {
        CredentialSource::Cookie(name) => Some(name),
        _ => None,
    });
    let holds = |name: &&String| {
        let found = only_cookie(&headers, name);
        found.is_ok_and(|value| value.as_deref() == Some(token))
    };
    let name = names.find(holds)?;
    cookies(&headers, Some(std::slice::from_ref(name)))
}

/// The `Cookie` field with these cookies alone, in the order in which they came; ours are left out.
pub(super) fn cookies(headers: &HeaderMap, names: Option<&[String]>) -> Option<HeaderValue> {
    let is_wanted = |pair: &&[u8]| {
        let name = pair.get(..end_of_name(pair).unwrap_or(pair.len()));
        let name = name.unwrap_or_default().trim_ascii();
        let named = |names: &[String]| names.iter().any(|wanted| wanted.as_bytes() == name);
        names.is_none_or(named)
    };
    let wanted: Vec<&[u8]> = pairs(headers).filter(is_wanted).collect();
    let line = wanted.join(&b"; "[..]);
    let mut value = (!line.is_empty()).then(|| HeaderValue::from_bytes(&line).ok())??;
    value.set_sensitive(true);
    Some(value)
}

/// All cookies but ours, byte by byte: what is no text hides none of its neighbours. Backends take spaces around a name
/// for nothing, so here they are none either.
fn pairs(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    lines
        .flat_map(|line| line.split(|byte| *byte == b';'))
        .map(<[u8]>::trim_ascii)
        .filter(|pair| !pair.is_empty() && !reserved_params::is_own_cookie(pair))
}

fn end_of_name(pair: &[u8]) -> Option<usize> {
    pair.iter().position(|byte| *byte == b'=')
}
