//! `[auth.NAME]`: how it is found out who somebody is.

mod api_key;
mod forward;
mod jwt;

use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderName;

pub use api_key::ApiKey;
pub use forward::Forward;
pub use jwt::{Jwt, KeySource, PublicKey};

/// `[auth.NAME]`: how it is found out who somebody is, before anything of theirs goes upstream.
#[derive(Clone, Debug, PartialEq)]
pub struct Auth {
    /// NAME.
    pub name: Arc<str>,
    /// Who vouches.
    pub kind: AuthKind,
    /// Where a credential is looked for, in this order; the first place that holds one decides.
    pub from: Vec<CredentialSource>,
    /// What a write with a cookie has to bring besides.
    pub csrf: Option<Csrf>,
    /// How the backend is told.
    pub identity: IdentityHeaders,
}

/// Who vouches for somebody.
#[derive(Clone, Debug, PartialEq)]
pub enum AuthKind {
    /// The signature of a token.
    Jwt(Jwt),
    /// The backend, asked by a request of our own.
    Forward(Forward),
    /// The file: keys by their id.
    ApiKey(Vec<ApiKey>),
}

/// A place of a request that may hold a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialSource {
    /// `Authorization: Bearer`; of API keys also `X-Api-Key`.
    Header,
    /// This cookie.
    Cookie(String),
    /// The `cf.bearer.` item of `Sec-WebSocket-Protocol`.
    Subprotocol,
    /// `hello` and its like.
    Message,
    /// This query parameter; it never goes upstream.
    Query(String),
    /// `?ticket=` of a handshake.
    Ticket,
}

/// `csrf`: a double submit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Csrf {
    /// The header that has to repeat the cookie's value.
    pub header: HeaderName,
    /// The cookie.
    pub cookie: String,
}

/// `identity`: headers that tell the backend who somebody is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentityHeaders {
    /// The user.
    pub user: Option<HeaderName>,
    /// The tenant.
    pub tenant: Option<HeaderName>,
    /// The roles, separated by commas.
    pub roles: Option<HeaderName>,
}

impl IdentityHeaders {
    /// Those that are named.
    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        [&self.user, &self.tenant, &self.roles]
            .into_iter()
            .flatten()
    }
}

impl Auth {
    /// How often live connections are checked again; `None` where a token says how long it holds.
    pub fn recheck(&self) -> Option<Duration> {
        match &self.kind {
            AuthKind::Forward(forward) => Some(forward.recheck),
            AuthKind::Jwt(_) | AuthKind::ApiKey(_) => None,
        }
    }
}
