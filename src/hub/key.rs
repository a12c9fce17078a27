//! What makes two subscriptions share one upstream: route, request and whose credentials.

use std::sync::Arc;

use hyper::Method;
use hyper::header::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::config::{Route, Source};
use crate::event::Epoch;

/// Whose a topic is: the SHA-256 over exactly the credentials that a source takes from a client; on routes with authentication
/// over the subject, or over the claims that all its users have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Principal(pub [u8; 32]);

/// The client against whose number of topics a topic counts: a user that an `[auth]` has verified, or an address. A client
/// cannot become another owner by what it only says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Owner(pub [u64; 2]);

impl Owner {
    /// A client that cannot be distinguished from others: only the node's own cap holds for it.
    pub(crate) const UNKNOWN: Owner = Owner([0; 2]);
}

impl Default for Owner {
    fn default() -> Self {
        Owner::UNKNOWN
    }
}

/// The credentials that go upstream for a client; never logged.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// `Cookie`, without crossfade's own cookies.
    pub cookie: Option<HeaderValue>,
    /// `Authorization`, from the handshake or made from a token.
    pub authorization: Option<HeaderValue>,
    /// The identity headers that this sidecar sends to the backend.
    pub identity: Vec<(HeaderName, HeaderValue)>,
}

impl Credentials {
    /// Their principal where no policy verifies them: the credentials themselves. All clients without credentials are one principal.
    pub(crate) fn principal(&self) -> Principal {
        let mut hash = Sha256::new();
        for part in [&self.cookie, &self.authorization] {
            let bytes = part.as_ref().map(HeaderValue::as_bytes);
            hash.update([bytes.is_some() as u8]);
            hash.update((bytes.map_or(0, <[u8]>::len) as u64).to_be_bytes());
            hash.update(bytes.unwrap_or_default());
        }
        Principal(hash.finalize().into())
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("cookie", &self.cookie.as_ref().map(|_| "***"))
            .field("authorization", &self.authorization.as_ref().map(|_| "***"))
            .finish()
    }
}

/// The longest id that goes upstream.
const LONGEST_ID: usize = 16 * 1024;

/// An event id as the value of `Last-Event-ID`; `None` where it cannot be one.
pub(crate) fn last_event_id(id: &str) -> Option<HeaderValue> {
    let is_possible = !id.is_empty() && id.len() <= LONGEST_ID;
    is_possible.then(|| HeaderValue::from_bytes(id.as_bytes()).ok())?
}

/// Whose credentials a topic is read with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// No client's.
    Public,
    /// One principal's.
    User(Principal),
    /// One connection's, by its number.
    Connection(u64),
    /// Anyone's among those with the same claims.
    Claims(Principal),
    /// Any user's, of all that one policy admits.
    Authenticated(Principal),
}

impl Scope {
    /// Whether several principals read one answer: what looks private in it is for none of them.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self, Scope::Public) || self.is_pooled()
    }

    /// Whether one of several principals reads for all of them: what is refused to it may be granted to another.
    pub(crate) fn is_pooled(&self) -> bool {
        matches!(self, Scope::Claims(_) | Scope::Authenticated(_))
    }

    /// The word in the admin API.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Scope::Public => "public",
            Scope::User(_) => "user",
            Scope::Connection(_) => "connection",
            Scope::Claims(_) => "claims",
            Scope::Authenticated(_) => "authenticated",
        }
    }
}

/// One upstream request in the making: all that a source needs but the credentials.
#[derive(Clone, Debug)]
pub struct Target {
    /// The bridged route.
    pub route: Arc<Route>,
    /// Parameters of the route's path template, decoded, by name.
    pub params: Vec<(String, String)>,
    /// Canonical path and query, crossfade's own parameters stripped.
    pub url: String,
    /// The client's Host, as it goes upstream under `host = "preserve"`.
    pub host: HeaderValue,
    /// `http` or `https` as the client sees it (`X-Forwarded-Proto`).
    pub proto: &'static str,
    /// The values of the route's `vary` headers, in its order, as they were sent.
    pub vary: Vec<(HeaderName, HeaderValue)>,
    /// Whose credentials.
    pub scope: Scope,
    /// Against whose number of topics it counts where it makes a new one; no part of the key.
    pub owner: Owner,
}

/// A topic's identity. Pace and limits of the route are no part of it, so that a reload which
/// changes those keeps topic and epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicKey {
    /// What clients name, and whose it is.
    pub(super) place: Arc<Place>,
    /// What the route reads there, as [`Route::reads`] writes it.
    pub(super) reads: Arc<str>,
}

/// A [`TopicKey`] without what is read: topics that follow each other at one place over a reload
/// bear the same channel number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    route: Arc<str>,
    method: Method,
    url: String,
    /// Also under a fixed upstream `host`: the client's goes upstream as `X-Forwarded-Host`.
    host: Vec<u8>,
    /// Goes upstream as `X-Forwarded-Proto`, and one client's redirect to https is not another's.
    proto: &'static str,
    vary: Vec<(HeaderName, Vec<u8>)>,
    scope: Scope,
    /// The number of one subscriber's own read; `None` where it is shared.
    own: Option<u64>,
}

impl Place {
    /// The same with another path and query.
    pub(crate) fn at(&self, url: String) -> Place {
        Place {
            url,
            ..self.clone()
        }
    }
}

impl TopicKey {
    /// The key of the topic that this target is read by.
    pub(crate) fn of(target: &Target) -> Self {
        let method = match &target.route.source {
            Some(Source::Poll(poll)) => poll.method.clone(),
            Some(Source::Sse(_)) | None => Method::GET,
        };
        let vary = target.vary.iter();
        let place = Place {
            route: target.route.name.clone(),
            method,
            url: target.url.clone(),
            host: target.host.as_bytes().to_ascii_lowercase(),
            proto: target.proto,
            vary: vary
                .map(|(name, value)| (name.clone(), value.as_bytes().to_vec()))
                .collect(),
            scope: target.scope,
            own: None,
        };
        TopicKey {
            place: Arc::new(place),
            reads: target.route.reads(),
        }
    }

    /// The key of one subscriber's own read there; the number differs from all others.
    pub(super) fn of_own_read(&self, number: u64) -> TopicKey {
        let place = Place {
            own: Some(number),
            ..(*self.place).clone()
        };
        TopicKey {
            place: Arc::new(place),
            reads: self.reads.clone(),
        }
    }

    /// Whether it is one subscriber's own read.
    pub(super) fn is_own_read(&self) -> bool {
        self.place.own.is_some()
    }
}

/// A topic that has begun in another process, and what it is read with until a subscriber comes.
pub(super) struct Identity {
    pub(crate) key: TopicKey,
    pub(crate) target: Arc<Target>,
    pub(crate) credentials: Credentials,
    pub(crate) epoch: Epoch,
}
