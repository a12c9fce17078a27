//! The client, as its handshake described it, and what that makes of a path.

use std::borrow::Cow;

use hyper::header::{HeaderName, HeaderValue};
use hyper::http::uri::PathAndQuery;
use hyper::{HeaderMap, Method};

use super::accepted::Handshake;
use super::credentials::own;
use crate::config::{Rollout, Route, Share};
use crate::error::{Code, Refusal};
use crate::http::host;
use crate::http::path::canonical;
use crate::http::reserved_params::{Taken, join, take_parameters};
use crate::hub::{Credentials, Owner, Principal, Scope, Target};
use crate::policy::auth::Identity;
use crate::policy::auth::identity::Unfit;
use crate::policy::rate_limit::Key;
use crate::rollout::{self, Candidate, Decision, Stages};
use crate::router::{InForce, Match, RouteTable, path_detail};

/// A route that fits, and the canonical path and query that are read there.
pub(super) type Located = (Match, String);

/// A user, as far as a route's policy knows.
#[derive(Clone, Copy)]
pub(super) enum Person<'a> {
    /// Its policy has let them in.
    Known(&'a Identity),
    /// It has none: they are all that they send.
    Unknown(&'a Credentials),
}

/// What does not change during a connection.
#[derive(Debug)]
pub(super) struct Client {
    pub(crate) remote: String,
    pub(crate) host: HeaderValue,
    pub(crate) proto: &'static str,
    pub(crate) origin: Option<HeaderValue>,
    /// Its page is of another place: a list has let it in.
    pub(crate) is_foreign: bool,
    candidate: Candidate,
    /// The owner against whose number its topics count where no policy has verified its user.
    owner: Owner,
    /// The handshake's header fields that a route's `vary` named at that time.
    vary: Vec<(HeaderName, HeaderValue)>,
}

impl Client {
    /// Keeps what a session needs, in memory of its own: a value taken over from the handshake
    /// would keep the whole request head alive.
    pub(crate) fn new(handshake: Handshake, routes: &RouteTable) -> Self {
        let mut candidate = handshake.candidate;
        candidate.overrides.shrink_to_fit();
        Client {
            remote: handshake.remote,
            host: own(&handshake.host),
            proto: handshake.proto,
            origin: handshake.origin.as_ref().map(own),
            is_foreign: handshake.is_foreign,
            candidate,
            owner: Owner(
                handshake
                    .address
                    .map_or(Key::EVERYBODY, Key::address)
                    .bits(),
            ),
            vary: varied(&handshake.headers, routes),
        }
    }

    /// What to read for a subscription to `url` on a route, on behalf of a user that its policy has admitted. `verified` is
    /// the user that some policy knows here, be it the connection's own.
    ///
    /// # Errors
    /// `not_found` where the route is not bridged, `forbidden` for a user that lacks a claim that it shares by.
    pub(crate) fn target(
        &self,
        found: Match,
        url: String,
        connection: u64,
        person: Person<'_>,
        verified: Option<&Identity>,
    ) -> Result<Target, Refusal> {
        if !found.bridged {
            return Err(Refusal::new(Code::NotFound, "no bridged route is there"));
        }
        let scope = match (&found.route.share, person) {
            (Share::Public, _) => Scope::Public,
            (Share::Connection, _) => Scope::Connection(connection),
            (Share::User, Person::Known(identity)) => Scope::User(Principal(identity.principal())),
            (Share::User, Person::Unknown(credentials)) => Scope::User(credentials.principal()),
            (Share::Claims(claims), Person::Known(identity)) => {
                let pool = identity.pool(claims);
                let lacks = |unfit: Unfit| Refusal::new(Code::Forbidden, unfit.detail());
                Scope::Claims(Principal(pool.map_err(lacks)?))
            }
            (Share::Authenticated, Person::Known(identity)) => {
                Scope::Authenticated(Principal(identity.admitted()))
            }
            (Share::Claims(_) | Share::Authenticated, Person::Unknown(_)) => {
                let detail = "no user is known here, and this route shares among known users";
                return Err(Refusal::new(Code::Forbidden, detail));
            }
        };
        let vary = found.route.vary.iter().flat_map(|name| {
            let values = self.vary.iter().filter(move |(field, _)| field == name);
            values.cloned()
        });
        Ok(Target {
            vary: vary.collect(),
            url: found.route.read_url(&url).into_owned(),
            route: found.route,
            params: found.params,
            host: self.host.clone(),
            proto: self.proto,
            scope,
            owner: verified.map_or(self.owner, |user| {
                Owner(Key::user(&user.principal()).bits())
            }),
        })
    }

    /// The route of a request on this connection, with its canonical path and query, crossfade's own
    /// parameters stripped.
    ///
    /// # Errors
    /// `bad_frame` where the path is none, `not_found` where there is no route.
    pub(crate) fn find(
        &self,
        in_force: &InForce,
        method: &Method,
        path: &str,
    ) -> Result<Located, Refusal> {
        let bad = |detail: Cow<'static, str>| Refusal::new(Code::BadFrame, detail);
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path, None),
        };
        let path = canonical(path).map_err(|fault| bad(path_detail(fault, path)))?;
        let own = path.strip_prefix(&*in_force.config.server.prefix);
        if own.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            return Err(Refusal::new(Code::NotFound, "no route is there"));
        }
        let host = host::name(&self.host).unwrap_or_default();
        let routes = &in_force.routes;
        let mut found = routes
            .find(&host, method, &path)
            .ok_or_else(|| Refusal::new(Code::NotFound, "no route is there"))?;
        found.others = routes
            .read_otherwise(&host, method, &path, &found.route)
            .map_err(|unclear| bad(unclear.detail()))?;
        let taken = Taken {
            positions: found.route.source.is_some(),
            auths: &found.route.auth,
        };
        let url = join(&path, take_parameters(query, taken).query.as_deref());
        // A fragment would be dropped silently.
        match url.parse::<PathAndQuery>() {
            Ok(_) if !url.contains('#') => Ok((found, url)),
            _ => Err(bad("the path holds what no URL may".into())),
        }
    }

    /// What a route's rollout says of this client; where its policy knows a user, that user is judged.
    pub(crate) fn decide(
        &self,
        route: &Route,
        stages: &Stages,
        identity: Option<&Identity>,
    ) -> Decision {
        self.decide_by(route.rollout.as_deref(), stages, identity)
    }

    /// As [`Client::decide`], by a rollout.
    pub(crate) fn decide_by(
        &self,
        rollout: Option<&Rollout>,
        stages: &Stages,
        identity: Option<&Identity>,
    ) -> Decision {
        rollout::decide(rollout, stages, &self.candidate(identity))
    }

    /// This client as rollouts see it, where its user is known or not.
    pub(crate) fn candidate(&self, identity: Option<&Identity>) -> Cow<'_, Candidate> {
        match identity {
            None => Cow::Borrowed(&self.candidate),
            Some(identity) => Cow::Owned(Candidate {
                user: Some(identity.user.clone()),
                tenant: identity.tenant.clone(),
                ..self.candidate.clone()
            }),
        }
    }
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
