//! What the client has presented, kept as long as its connection: each subscription and request is judged by its own route's
//! policy, which may look at any of it.

use std::sync::Arc;

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, COOKIE, HeaderName, HeaderValue};

use crate::config::{Auth, AuthKind};
use crate::http::reserved_params::strip_cookies;
use crate::hub::Credentials;
use crate::policy::auth::credential::{API_KEY, Extras, as_bearer};
use crate::policy::auth::{AuthError, Authenticated, Credential, CredentialPlace};

/// See the module. Nothing is allocated for a client that presents nothing.
#[derive(Clone, Default)]
pub(crate) struct Presented {
    /// `Cookie` without crossfade's own, `Authorization`, and what policies ask for.
    fields: Vec<(HeaderName, HeaderValue)>,
    /// What did not stand in fields.
    pub(crate) extras: Extras,
}

impl Presented {
    /// Takes what may be a credential out of a handshake, in memory of its own.
    pub(crate) fn take<'a>(
        headers: &mut HeaderMap,
        extras: Extras,
        auths: impl Iterator<Item = &'a Arc<Auth>>,
    ) -> Self {
        strip_cookies(headers);
        let mut names = vec![COOKIE, AUTHORIZATION];
        for name in auths.flat_map(|auth| asked_by(auth)) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        let mut fields = Vec::new();
        for name in names {
            let values = headers.get_all(&name).iter();
            fields.extend(values.map(|value| (name.clone(), own(value))));
        }
        fields.shrink_to_fit();
        Presented { fields, extras }
    }

    /// The fields, as policies look at them.
    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(self.fields.len());
        for (name, value) in &self.fields {
            headers.append(name.clone(), value.clone());
        }
        headers
    }

    /// All of it, as policies look at it.
    pub(crate) fn as_came(&self) -> (HeaderMap, &Extras) {
        (self.headers(), &self.extras)
    }

    /// All cookies in one line.
    pub(crate) fn cookie(&self) -> Option<HeaderValue> {
        let mut lines = self.fields.iter().filter(|(name, _)| *name == COOKIE);
        let (_, first) = lines.next()?;
        let rest: Vec<&[u8]> = lines.map(|(_, value)| value.as_bytes()).collect();
        if rest.is_empty() {
            return Some(first.clone());
        }
        let line = [&[first.as_bytes()], &rest[..]].concat().join(&b"; "[..]);
        HeaderValue::from_bytes(&line).ok()
    }

    /// `Authorization` as it came.
    pub(crate) fn authorization(&self) -> Option<HeaderValue> {
        let mut fields = self.fields.iter();
        let found = fields.find(|(name, _)| *name == AUTHORIZATION);
        found.map(|(_, value)| value.clone())
    }

    /// A token that came in a message, for what comes after it.
    ///
    /// # Errors
    /// It can stand in no header, so it is no token.
    pub(crate) fn take_token(&mut self, token: String) -> Result<(), AuthError> {
        as_bearer(&token)?;
        self.extras.message = Some(token);
        Ok(())
    }

    /// What goes upstream on a route that asks for nothing: all of it, and a token in place of `Authorization`.
    pub(crate) fn unverified(&self) -> Credentials {
        let token = self
            .extras
            .message
            .as_ref()
            .or(self.extras.subprotocol.as_ref());
        // A token that is no header value names no user.
        let token = token.and_then(|token| as_bearer(token).ok());
        Credentials {
            cookie: self.cookie(),
            authorization: token.or_else(|| self.authorization()),
            identity: Vec::new(),
        }
    }

    /// What goes upstream for an admitted user.
    ///
    /// Of users that share by claims only these claims are sent, and of their credentials only the judged one: with
    /// another cookie beside it the backend might answer all of them as another user.
    pub(crate) fn verified(
        &self,
        admission: &Authenticated,
        claims: Option<&[String]>,
    ) -> Credentials {
        let identity = admission.fields(claims);
        let (cookie, authorization) = match &admission.ticketed {
            Some(ticketed) => (ticketed.cookie.clone(), ticketed.authorization.clone()),
            None => (self.cookie(), self.authorization()),
        };
        let (cookie, authorization) = match (claims, &admission.ticketed) {
            (Some(_), _) => admission.judged(cookie, authorization),
            (None, Some(_)) => (cookie, authorization),
            (None, None) => {
                // Beside a cookie that names the user, another `Authorization` might name a different one.
                let is_by_cookie = matches!(admission.found.credential, Credential::Token(_))
                    && admission.found.place == CredentialPlace::Cookie;
                let sent = authorization.filter(|_| !is_by_cookie);
                (cookie, admission.authorization().or(sent))
            }
        };
        Credentials {
            cookie,
            authorization,
            identity,
        }
    }
}

static API_KEYS: [HeaderName; 1] = [API_KEY];

/// The fields in which a policy looks for credentials, besides those that are kept in any case.
fn asked_by(auth: &Auth) -> &[HeaderName] {
    match &auth.kind {
        AuthKind::Jwt(_) => &[],
        AuthKind::ApiKey(_) => &API_KEYS,
        AuthKind::Forward(forward) => &forward.headers,
    }
}

/// A copy that shares no memory with the handshake.
pub(crate) fn own(value: &HeaderValue) -> HeaderValue {
    HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone())
}
