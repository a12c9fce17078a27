//! Who is at the other end, as the handshake told, and what that makes of a path.

use hyper::header::{HeaderName, HeaderValue};
use hyper::http::uri::PathAndQuery;
use hyper::{HeaderMap, Method};

use super::opening::Opening;
use crate::config::Share;
use crate::edge::hygiene::host::Host;
use crate::edge::hygiene::own::{join, take_parameters};
use crate::edge::hygiene::path::canonical;
use crate::error::{Code, Refusal};
use crate::hub::{Credentials, Scope, Target};
use crate::rollout::{self, Candidate, Decision, Stages};
use crate::route::{InForce, Match, RouteTable};

/// What does not change during a connection.
#[derive(Debug)]
pub(super) struct Client {
    pub remote: String,
    pub host: HeaderValue,
    pub proto: &'static str,
    pub origin: Option<HeaderValue>,
    pub candidate: Candidate,
    /// The handshake's header fields that a route's `vary` named at that time.
    vary: Vec<(HeaderName, HeaderValue)>,
}

impl Client {
    /// Keeps what a session needs, in memory of its own: a value taken over from the handshake
    /// would keep the whole request head alive.
    pub fn new(opening: &Opening, routes: &RouteTable) -> Self {
        let mut candidate = opening.candidate.clone();
        candidate.overrides.shrink_to_fit();
        Client {
            remote: opening.remote.clone(),
            host: own(&opening.host),
            proto: opening.proto,
            origin: opening.origin.as_ref().map(own),
            candidate,
            vary: varied(&opening.headers, routes),
        }
    }

    /// What to read for a subscription to `path`, path and query as on the public address.
    ///
    /// # Errors
    /// `bad_frame` where the path is none, `not_found` where no bridged route is there.
    pub fn target(
        &self,
        in_force: &InForce,
        path: &str,
        connection: u64,
        credentials: &Credentials,
    ) -> Result<Target, Refusal> {
        let (found, url) = self.find(in_force, &Method::GET, path)?;
        if !found.bridged {
            return Err(Refusal::new(Code::NotFound, "no bridged route is there"));
        }
        let scope = match found.route.share {
            Share::Public => Scope::Public,
            Share::User => Scope::User(credentials.principal()),
            Share::Connection => Scope::Connection(connection),
            Share::Claims(_) => return Err(Refusal::new(Code::Forbidden, "nobody is known here")),
        };
        let vary = found.route.vary.iter().flat_map(|name| {
            let values = self.vary.iter().filter(move |(field, _)| field == name);
            values.cloned()
        });
        Ok(Target {
            vary: vary.collect(),
            route: found.route,
            params: found.params,
            url,
            host: self.host.clone(),
            proto: self.proto,
            scope,
        })
    }

    /// The route of a request on this connection, with its canonical path and query, crossfade's own
    /// parameters stripped.
    ///
    /// # Errors
    /// `bad_frame` where the path is none, `not_found` where there is no route.
    pub fn find(
        &self,
        in_force: &InForce,
        method: &Method,
        path: &str,
    ) -> Result<(Match, String), Refusal> {
        let bad = |detail| Refusal::new(Code::BadFrame, detail);
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path, None),
        };
        let path = canonical(path).map_err(|fault| bad(fault.detail()))?.path;
        let host = Host::parse(&self.host).map_or_else(String::new, |host| host.name);
        let found = in_force
            .routes
            .find(&host, method, &path)
            .ok_or_else(|| Refusal::new(Code::NotFound, "no route is there"))?;
        let url = match found.route.source {
            Some(_) => join(&path, take_parameters(query).query.as_deref()),
            None => join(&path, query),
        };
        // A fragment would be dropped silently.
        match url.parse::<PathAndQuery>() {
            Ok(_) if !url.contains('#') => Ok((found, url)),
            _ => Err(bad("the path holds what no URL may")),
        }
    }

    /// What this client's rollout says of a route.
    pub fn decide(&self, route: &crate::config::Route, stages: &Stages) -> Decision {
        rollout::decide(route.rollout.as_deref(), stages, &self.candidate)
    }
}

/// A copy that shares no memory with the handshake.
pub(super) fn own(value: &HeaderValue) -> HeaderValue {
    HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone())
}

/// Credentials of their own memory; a token from the subprotocol replaces `Authorization`.
pub(super) fn own_credentials(opening: &Opening) -> Credentials {
    let mut credentials = Credentials {
        cookie: opening.credentials.cookie.as_ref().map(own),
        authorization: opening.credentials.authorization.as_ref().map(own),
        identity: Vec::new(),
    };
    // A token that is no header value names nobody.
    if let Some(bearer) = opening.bearer.as_deref().and_then(bearer) {
        credentials.authorization = Some(bearer);
    }
    credentials
}

/// `Authorization: Bearer` with this token; `None` where it cannot stand in a header.
pub(super) fn bearer(token: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn varied(headers: &HeaderMap, routes: &RouteTable) -> Vec<(HeaderName, HeaderValue)> {
    let mut kept: Vec<(HeaderName, HeaderValue)> = Vec::new();
    for name in routes.bridged().flat_map(|route| &route.vary) {
        if kept.iter().any(|(known, _)| known == name) {
            continue;
        }
        let values = headers.get_all(name).iter();
        kept.extend(values.map(|value| (name.clone(), own(value))));
    }
    kept.shrink_to_fit();
    kept
}

/// A client as tests make them.
#[cfg(test)]
pub(super) fn example() -> Opening {
    Opening {
        request_id: "f00d".into(),
        remote: "192.0.2.7".into(),
        host: HeaderValue::from_static("app.example"),
        proto: "http",
        origin: None,
        credentials: Credentials::default(),
        bearer: None,
        candidate: Candidate::default(),
        headers: HeaderMap::new(),
        mode: super::opening::Mode::Multiplex,
        refuse_with: None,
        leftover: bytes::Bytes::new(),
        permit: None,
    }
}
