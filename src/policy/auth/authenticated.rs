//! An authenticated subject: its identity, its credential, and since when it is accepted.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use tokio::time::Instant;

use super::credential::{self, Credential, CredentialPlace, Found};
use super::expiry::Word;
use super::identity::Identity;

/// An authenticated subject.
#[derive(Clone)]
pub struct Authenticated {
    /// What they presented, and the policy that judged it.
    pub(crate) found: Found,
    /// Its identity.
    pub identity: Arc<Identity>,
    /// When the authority said so.
    pub(crate) vouched_at: Instant,
    /// The same in Unix seconds.
    pub(crate) vouched_unix: u64,
    /// What the request that a ticket was given for came with.
    pub(crate) ticketed: Option<Box<Ticketed>>,
}

/// The credentials of the request that a ticket stands for: the backend gets them in its place.
#[derive(Clone, Default)]
pub(crate) struct Ticketed {
    /// `Cookie`, without crossfade's own.
    pub(crate) cookie: Option<HeaderValue>,
    /// `Authorization`.
    pub(crate) authorization: Option<HeaderValue>,
}

impl Authenticated {
    /// What this newer word on a credential says to one that is `known`.
    pub(crate) fn word(&self, known: &Authenticated) -> Word {
        Word {
            is_same_subject: self.identity.is_same_subject(&known.identity),
            vouched_at: self.vouched_at.into_std(),
            good_for: self.found.auth.good_for(),
        }
    }

    /// The same under a policy that a reload has changed: its authority is asked again at a random instant within its recheck,
    /// where it is not overdue; all at once would be a storm. `part` is in 0..1.
    pub(crate) fn adopted(&self, found: Found, every: Duration, part: f64) -> Authenticated {
        let is_overdue = self.vouched_at.elapsed() >= every;
        let dated = Instant::now().checked_sub(every.mul_f64(part));
        let vouched_at = dated.filter(|_| !is_overdue).unwrap_or(self.vouched_at);
        Authenticated {
            found,
            vouched_at,
            ..self.clone()
        }
    }

    /// Whether a browser may have sent the credential by itself.
    pub(crate) fn is_by_cookie(&self) -> bool {
        self.ticketed.is_none() && self.found.is_ambient()
    }

    /// Whether a write by it has to bring what a foreign page cannot know.
    pub(crate) fn needs_csrf(&self) -> bool {
        self.found.auth.csrf.is_some() && self.is_by_cookie()
    }

    /// `Authorization` for the backend, where it would not see the token in the place where it stood.
    pub(crate) fn authorization(&self) -> Option<HeaderValue> {
        match &self.found.credential {
            Credential::Token(token) if self.found.place.is_ours_alone() => {
                credential::as_bearer(token).ok()
            }
            Credential::Inputs(inputs) if self.found.place.is_ours_alone() => {
                inputs.authorization()
            }
            _ => None,
        }
    }

    /// Of `Cookie` and `Authorization` as they came what was judged, and nothing beside it.
    pub(crate) fn judged(
        &self,
        cookie: Option<HeaderValue>,
        authorization: Option<HeaderValue>,
    ) -> (Option<HeaderValue>, Option<HeaderValue>) {
        let token = match &self.found.credential {
            Credential::Token(token) => token,
            Credential::Inputs(inputs) => return (inputs.cookie.clone(), inputs.authorization()),
            Credential::Ticket(_) => return (None, None),
        };
        match self.found.place {
            CredentialPlace::Cookie => {
                let line = cookie.as_ref();
                let judged =
                    line.and_then(|line| credential::cookie_of(&self.found.auth, token, line));
                (judged, None)
            }
            CredentialPlace::Header => {
                let is_it = |sent: &HeaderValue| credential::is_bearer(sent, token);
                (None, authorization.filter(is_it))
            }
            _ => (None, credential::as_bearer(token).ok()),
        }
    }

    /// The header fields that name the subject to the backend. Where `claims` is given, only those claims are sent.
    pub(crate) fn fields(&self, claims: Option<&[String]>) -> Vec<(HeaderName, HeaderValue)> {
        let (identity, fields) = (&self.identity, &self.found.auth.identity);
        // By the place where it stands, or by the word that stands for it.
        let names = |claim: &str, word: &str, mapped: &str| {
            claim == mapped || claim == word && matches!(identity.claim(word), Some(Cow::Owned(_)))
        };
        let is_told = |word: &str, mapped: &str| {
            claims.is_none_or(|claims| claims.iter().any(|claim| names(claim, word, mapped)))
        };
        let mapping = self.found.auth.mapping();
        // One with a comma in it would be two at the backend.
        let is_one = |role: &&String| !role.contains(',') && as_value(role).is_some();
        let roles = identity.roles.iter().filter(is_one);
        let roles = roles.map(String::as_str).collect::<Vec<_>>().join(",");
        let told = [
            (
                &fields.user,
                Some(identity.user.as_str()),
                is_told("user", mapping.user),
            ),
            (
                &fields.tenant,
                identity.tenant.as_deref(),
                is_told("tenant", mapping.tenant),
            ),
            (
                &fields.roles,
                Some(roles.as_str()).filter(|roles| !roles.is_empty()),
                is_told("roles", mapping.roles),
            ),
        ];
        let told = told.into_iter().filter(|(_, _, is_told)| *is_told);
        // A value that does not fit a field is left out: a part of it might name another user.
        let field = |(name, value, _): (&Option<HeaderName>, Option<&str>, bool)| {
            Some((name.clone()?, as_value(value?)?))
        };
        told.filter_map(field).collect()
    }
}

/// A name as the value of a field, in UTF-8.
fn as_value(name: &str) -> Option<HeaderValue> {
    HeaderValue::from_bytes(name.as_bytes()).ok()
}

/// Never prints credentials.
impl fmt::Debug for Authenticated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.identity.fmt(f)
    }
}
