//! Somebody who was let in: who it is, by what, and since when.

use std::fmt;
use std::sync::Arc;

use hyper::header::{HeaderName, HeaderValue};
use tokio::time::Instant;

use super::credential::{self, Credential, Found};
use super::identity::Identity;

/// Somebody who was let in.
#[derive(Clone)]
pub struct Admission {
    /// What they presented, and the policy that judged it.
    pub found: Found,
    /// Who they are.
    pub identity: Arc<Identity>,
    /// When the authority said so.
    pub vouched_at: Instant,
    /// The same in Unix seconds.
    pub vouched_unix: u64,
    /// What the request that a ticket was given for came with.
    pub ticketed: Option<Box<Ticketed>>,
}

/// The credentials of the request that a ticket stands for: the backend gets them in its place.
#[derive(Clone, Default)]
pub struct Ticketed {
    /// `Cookie`, without crossfade's own.
    pub cookie: Option<HeaderValue>,
    /// `Authorization`.
    pub authorization: Option<HeaderValue>,
}

impl Admission {
    /// Whether a browser may have sent the credential by itself.
    pub fn is_by_cookie(&self) -> bool {
        self.found.is_ambient()
    }

    /// `Authorization` for the backend, where it would not see the token in the place where it stood.
    pub fn authorization(&self) -> Option<HeaderValue> {
        match &self.found.credential {
            Credential::Token(token) if self.found.place.is_ours_alone() => {
                credential::as_bearer(token).ok()
            }
            Credential::Inputs(inputs) if self.found.place.is_ours_alone() => {
                let mut fields = inputs.fields.iter();
                let found = fields.find(|(name, _)| *name == hyper::header::AUTHORIZATION);
                found.map(|(_, value)| value.clone())
            }
            _ => None,
        }
    }

    /// The fields that tell the backend who this is; where `claims` is given, only what those claims say.
    pub fn fields(&self, claims: Option<&[String]>) -> Vec<(HeaderName, HeaderValue)> {
        let (identity, names) = (&self.identity, &self.found.auth.identity);
        let is_told = |mapped: &str| claims.is_none_or(|claims| claims.iter().any(|c| c == mapped));
        let mapping = self.found.auth.mapping();
        // One with a comma in it would be two at the backend.
        let roles = identity.roles.iter().filter(|role| !role.contains(','));
        let roles = roles.map(String::as_str).collect::<Vec<_>>().join(",");
        let told = [
            (&names.user, Some(identity.user.as_str()), mapping.user),
            (&names.tenant, identity.tenant.as_deref(), mapping.tenant),
            (
                &names.roles,
                Some(roles.as_str()).filter(|roles| !roles.is_empty()),
                mapping.roles,
            ),
        ];
        let told = told.into_iter().filter(|(_, _, mapped)| is_told(mapped));
        // What cannot stand in a field is not told: half of it might be somebody else.
        let field = |(name, value, _): (&Option<HeaderName>, Option<&str>, &str)| {
            Some((name.clone()?, HeaderValue::from_str(value?).ok()?))
        };
        told.filter_map(field).collect()
    }
}

/// Credentials are nobody else's.
impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.identity.fmt(f)
    }
}
