//! Finds the credential of a request, and where it stands. Pure.
//!
//! Cookie lines, `Authorization` and their like are read here and nowhere else: the first place of a policy's `from` that
//! holds a credential decides, and one that is there twice is none.

mod cookies;

use std::sync::Arc;

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

use super::AuthError;
use crate::config::{Auth, AuthKind, CredentialSource, Forward};
pub(super) use cookies::cookie_of;
use cookies::{cookies, only_cookie};

/// Where API keys are sent besides `Authorization`.
pub(crate) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Longest token, bytes.
pub const LONGEST_TOKEN: usize = 8 << 10;

/// What is presented beside header fields.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Extras {
    /// Of the `cf.bearer.` item of a handshake.
    pub subprotocol: Option<String>,
    /// Of a `hello`, or its like.
    pub message: Option<String>,
    /// Query parameters that some policy's `from` names, decoded.
    pub query: Vec<(String, String)>,
    /// Of a handshake's `?ticket=`.
    pub ticket: Option<String>,
}

/// A credential, and by which policy it is judged.
#[derive(Clone)]
pub struct Found {
    /// The policy.
    pub(crate) auth: Arc<Auth>,
    /// The credential.
    pub credential: Credential,
    /// Where it stood.
    pub(crate) place: CredentialPlace,
}

/// A credential, as its kind of authority wants it.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A token, or an API key.
    Token(String),
    /// What an authority is asked with.
    Inputs(Inputs),
    /// A ticket of ours.
    Ticket(String),
}

/// The fields that go to an authority.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Inputs {
    /// `Cookie`.
    pub cookie: Option<HeaderValue>,
    /// All others, in the order of the policy.
    pub fields: Vec<(HeaderName, HeaderValue)>,
}

/// The kind of place that a credential stood in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CredentialPlace {
    /// A header field that no foreign page can set unasked.
    Header,
    /// A cookie, which browsers send by themselves.
    Cookie,
    /// A subprotocol item.
    Subprotocol,
    /// A message.
    Message,
    /// A query parameter.
    Query,
    /// A ticket.
    Ticket,
}

impl Found {
    /// Whether a page of another site could have made a browser send all of it: it contains a cookie or the answer to a login
    /// window, and neither a token nor an API key in a header beside it.
    pub fn is_ambient(&self) -> bool {
        match (&self.credential, self.place) {
            (_, CredentialPlace::Cookie) => true,
            (Credential::Inputs(inputs), CredentialPlace::Query) => inputs.cookie.is_some(),
            _ => false,
        }
    }
}

impl CredentialPlace {
    /// Whether the backend would not see the credential where it stood: it is given to it as `Authorization: Bearer`.
    pub(crate) fn is_ours_alone(self) -> bool {
        matches!(
            self,
            CredentialPlace::Subprotocol | CredentialPlace::Message | CredentialPlace::Query
        )
    }
}

impl Credential {
    /// SHA-256 of everything that it is made of.
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        match self {
            Credential::Token(token) => part(token.as_bytes()),
            Credential::Ticket(ticket) => {
                part(b"ticket");
                part(ticket.as_bytes());
            }
            Credential::Inputs(inputs) => {
                part(b"inputs");
                part(
                    inputs
                        .cookie
                        .as_ref()
                        .map_or(&b""[..], HeaderValue::as_bytes),
                );
                for (name, value) in &inputs.fields {
                    part(name.as_str().as_bytes());
                    part(value.as_bytes());
                }
            }
        }
        hash.finalize().into()
    }
}

/// The credential that decides; `None` where there is none in any place of any of these policies.
///
/// # Errors
/// [`AuthError::Invalid`] where a place holds more than one, or something that can be none.
pub fn find(
    auths: &[Arc<Auth>],
    headers: &HeaderMap,
    extras: &Extras,
) -> Result<Option<Found>, AuthError> {
    for auth in auths {
        for source in &auth.from {
            if let Some((credential, place)) = look(auth, source, headers, extras)? {
                return Ok(Some(Found {
                    auth: auth.clone(),
                    credential,
                    place,
                }));
            }
        }
        // The cookies of an authority that is asked are named by its own keys.
        if let AuthKind::Forward(forward) = &auth.kind
            && let Some(inputs) = inputs(headers, forward, None)?
        {
            return Ok(Some(Found {
                auth: auth.clone(),
                place: inputs.place(),
                credential: Credential::Inputs(inputs),
            }));
        }
    }
    Ok(None)
}

/// As [`find`], on a connection that may have sent newer credentials since its handshake: what came in a message decides, where
/// a policy takes messages at all.
///
/// # Errors
/// As [`find`].
pub(crate) fn find_newest(
    auths: &[Arc<Auth>],
    headers: &HeaderMap,
    extras: &Extras,
) -> Result<Option<Found>, AuthError> {
    let source = CredentialSource::Message;
    for auth in auths.iter().filter(|auth| auth.from.contains(&source)) {
        if let Some((credential, place)) = look(auth, &source, headers, extras)? {
            return Ok(Some(Found {
                auth: auth.clone(),
                credential,
                place,
            }));
        }
    }
    find(auths, headers, extras)
}

/// Whether a credential may still come in a message.
pub(crate) fn awaits_message(auths: &[Arc<Auth>]) -> bool {
    auths
        .iter()
        .any(|auth| auth.from.contains(&CredentialSource::Message))
}

fn look(
    auth: &Arc<Auth>,
    source: &CredentialSource,
    headers: &HeaderMap,
    extras: &Extras,
) -> Result<Option<(Credential, CredentialPlace)>, AuthError> {
    let (token, place) = match source {
        CredentialSource::Header => match &auth.kind {
            // A credential that the page has set decides. Cookies, and what a browser sends by itself, count only after all
            // other places.
            AuthKind::Forward(forward) => {
                let found = inputs(headers, forward, None)?.filter(Inputs::is_told);
                return Ok(found.map(|found| (Credential::Inputs(found), CredentialPlace::Header)));
            }
            AuthKind::ApiKey(_) => match one(headers, &API_KEY)? {
                Some(key) => (Some(text(key)?.to_owned()), CredentialPlace::Header),
                None => (bearer(headers)?, CredentialPlace::Header),
            },
            AuthKind::Jwt(_) => (bearer(headers)?, CredentialPlace::Header),
        },
        CredentialSource::Cookie(name) => (only_cookie(headers, name)?, CredentialPlace::Cookie),
        CredentialSource::Subprotocol => (extras.subprotocol.clone(), CredentialPlace::Subprotocol),
        CredentialSource::Message => (extras.message.clone(), CredentialPlace::Message),
        CredentialSource::Query(name) => (only_parameter(extras, name)?, CredentialPlace::Query),
        CredentialSource::Ticket => {
            let ticket = extras.ticket.clone().map(Credential::Ticket);
            return Ok(ticket.map(|ticket| (ticket, CredentialPlace::Ticket)));
        }
    };
    let Some(token) = token else {
        return Ok(None);
    };
    if token.is_empty() {
        return Err(AuthError::Invalid("the token is empty".into()));
    }
    if token.len() > LONGEST_TOKEN {
        return Err(AuthError::Invalid("the token is longer than 8 KiB".into()));
    }
    if let AuthKind::Forward(forward) = &auth.kind {
        let found = inputs(headers, forward, Some(&token))?;
        return Ok(found.map(|found| (Credential::Inputs(found), place)));
    }
    Ok(Some((Credential::Token(token), place)))
}

/// What an authority is asked with; a token from elsewhere stands in for `Authorization`.
fn inputs(
    headers: &HeaderMap,
    forward: &Forward,
    token: Option<&str>,
) -> Result<Option<Inputs>, AuthError> {
    let mut fields = Vec::new();
    for name in &forward.headers {
        let value = match token {
            Some(token) if *name == AUTHORIZATION => Some(as_bearer(token)?),
            _ => one(headers, name)?.cloned(),
        };
        fields.extend(value.map(|value| (name.clone(), value)));
    }
    let cookie = cookies(headers, forward.cookies.as_deref());
    let is_there = cookie.is_some() || !fields.is_empty();
    Ok(is_there.then_some(Inputs { cookie, fields }))
}

impl Inputs {
    /// `Authorization`.
    pub(crate) fn authorization(&self) -> Option<HeaderValue> {
        let mut fields = self.fields.iter();
        let found = fields.find(|(name, _)| *name == AUTHORIZATION);
        found.map(|(_, value)| value.clone())
    }

    /// Whether there is a field that no foreign page can make a browser send, and no proxy adds by itself.
    fn is_told(&self) -> bool {
        let is_told = |(name, value): &(HeaderName, HeaderValue)| match name.as_str() {
            "authorization" => !is_from_a_login_window(value),
            name => name == API_KEY.as_str(),
        };
        self.fields.iter().any(is_told)
    }

    /// Where they stood, all together.
    fn place(&self) -> CredentialPlace {
        let mut fields = self.fields.iter();
        let is_ambient = |(name, value): &(HeaderName, HeaderValue)| {
            *name == AUTHORIZATION && is_from_a_login_window(value)
        };
        match (self.cookie.is_some() || fields.any(is_ambient)) && !self.is_told() {
            true => CredentialPlace::Cookie,
            false => CredentialPlace::Header,
        }
    }
}

/// A browser repeats by itself what its user entered in a login window, like a cookie.
fn is_from_a_login_window(authorization: &HeaderValue) -> bool {
    let scheme = authorization.as_bytes().split(|byte| *byte == b' ').next();
    let scheme = scheme.unwrap_or_default().to_ascii_lowercase();
    matches!(&*scheme, b"basic" | b"digest" | b"negotiate" | b"ntlm")
}

/// The token of `Authorization: Bearer`; `None` for another scheme.
fn bearer(headers: &HeaderMap) -> Result<Option<String>, AuthError> {
    let Some(value) = one(headers, &AUTHORIZATION)? else {
        return Ok(None);
    };
    let (scheme, token) = match text(value)?.split_once(' ') {
        Some((scheme, token)) => (scheme, token.trim_matches(' ')),
        None => (text(value)?, ""),
    };
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return Ok(None);
    }
    match is_one_word(token) {
        true => Ok(Some(token.to_owned())),
        false => Err(AuthError::Invalid(
            "Authorization holds no token behind Bearer".into(),
        )),
    }
}

/// Whether a line of `Authorization` is this token, and nothing else.
pub(super) fn is_bearer(authorization: &HeaderValue, token: &str) -> bool {
    let line = authorization.to_str().ok();
    line.and_then(|line| line.split_once(' '))
        .is_some_and(|(scheme, sent)| {
            scheme.eq_ignore_ascii_case("Bearer") && sent.trim_matches(' ') == token
        })
}

/// `Authorization: Bearer` with this token.
///
/// # Errors
/// It cannot stand in a header.
pub(crate) fn as_bearer(token: &str) -> Result<HeaderValue, AuthError> {
    let value = is_one_word(token).then(|| HeaderValue::from_str(&format!("Bearer {token}")));
    let Some(Ok(mut value)) = value else {
        return Err(AuthError::Invalid(
            "the token cannot stand in a header".into(),
        ));
    };
    value.set_sensitive(true);
    Ok(value)
}

/// Spaces and commas would begin something else behind it.
fn is_one_word(token: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b',';
    !token.is_empty() && token.bytes().all(is_plain)
}

/// Readers differ about which of several lines counts: none does.
fn one<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'h HeaderValue>, AuthError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (first, None) => Ok(first),
        _ => Err(AuthError::Invalid(
            format!("{name} is there more than once").into(),
        )),
    }
}

fn text(value: &HeaderValue) -> Result<&str, AuthError> {
    let text = value.to_str();
    text.map_err(|_| AuthError::Invalid("a credential holds bytes beyond ASCII".into()))
}

fn only_parameter(extras: &Extras, name: &str) -> Result<Option<String>, AuthError> {
    let mut values = extras.query.iter().filter(|(found, _)| found == name);
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some((_, value)), None) => Ok(Some(value.clone()).filter(|value| !value.is_empty())),
        _ => Err(AuthError::Invalid(
            "a query parameter with a token is there twice".into(),
        )),
    }
}

#[cfg(test)]
mod tests;
