//! The edge: the policies of the place that a request is for, in their order. Origin, limits by address, who it is, CSRF,
//! what is required, limits by user. What is refused here reaches no backend.

use std::sync::Arc;

use hyper::http::request::Parts;
use hyper::{HeaderMap, Response};

use super::exchange::Exchange;
use super::limits;
use super::respond::Problem;
use crate::config::{Auth, Config, Cors, RateLimit, Require, Route};
use crate::edge::auth::credential::{self, Extras};
use crate::edge::auth::forward::Context;
use crate::edge::auth::identity::Unfit;
use crate::edge::auth::{Admission, Check, Denied, Identity, context, csrf};
use crate::edge::cors::{self, Marks, Ruling};
use crate::edge::rate_limit::Seat;
use crate::upstream::{self, Body};

/// The policies of a place.
#[derive(Clone, Copy)]
pub struct Policies<'a> {
    /// Who may come from where.
    pub cors: Option<&'a Cors>,
    /// How it is found out who it is.
    pub auth: &'a [Arc<Auth>],
    /// What they have to be.
    pub require: Option<&'a Require>,
    /// How much they may ask for.
    pub rate_limit: Option<&'a RateLimit>,
    /// The route, where it is one's.
    pub route: Option<&'a Route>,
}

/// Whoever asks for something, as far as the edge has got with them.
#[derive(Default)]
pub struct Entrant {
    /// How they stand.
    pub entry: Entry,
    /// What was presented beside header fields.
    pub extras: Extras,
    /// A seat under a policy's caps, kept as long as the connection.
    pub seat: Option<Seat>,
}

/// How somebody stands with the policies of a place.
#[derive(Default)]
pub enum Entry {
    /// None asks who it is.
    #[default]
    Unasked,
    /// They are let in.
    Admitted(Arc<Admission>),
    /// A `hello` has to tell who it is: only a socket of our own waits for one.
    Awaited,
    /// Accept, and close with this code: only a socket of our own can, and its client knows how to read it.
    TurnedAway(u16),
}

impl Entrant {
    /// Whom a policy has let in, and by what.
    pub fn admission(&self) -> Option<&Arc<Admission>> {
        match &self.entry {
            Entry::Admitted(admission) => Some(admission),
            Entry::Unasked | Entry::Awaited | Entry::TurnedAway(_) => None,
        }
    }

    /// Who it is.
    pub fn identity(&self) -> Option<&Identity> {
        self.admission().map(|admission| &*admission.identity)
    }

    /// Whether a backend may see this: nothing is still to be told, by them or to them.
    pub fn is_let_in(&self) -> bool {
        matches!(self.entry, Entry::Unasked | Entry::Admitted(_))
    }
}

impl<'a> Policies<'a> {
    /// Those of a route.
    pub fn of_route(route: &'a Route) -> Self {
        Policies {
            cors: route.cors.as_deref(),
            auth: &route.auth,
            require: route.require.as_ref(),
            rate_limit: route.rate_limit.as_deref(),
            route: Some(route),
        }
    }

    /// Those of `PREFIX/ws`, and of endpoints that are asked about no route.
    pub fn of_websocket(config: &'a Config) -> Self {
        let websocket = &config.websocket;
        Policies {
            cors: websocket.cors.as_deref(),
            auth: &websocket.auth,
            require: None,
            rate_limit: websocket.rate_limit.as_deref(),
            route: None,
        }
    }
}

/// Judges the `Origin`: of a handshake in any case, of all else where a policy is enforced. Breaks off with the answer to a
/// preflight.
pub fn judge_origin(
    exchange: &Exchange,
    head: &Parts,
    cors: Option<&Cors>,
    marks: &mut Marks,
) -> Result<Option<Response<Body>>, Problem> {
    let public_url = exchange.in_force.config.server.public_url.as_deref();
    let host = &exchange.client.host;
    if exchange.is_handshake {
        cors::judge(&head.headers, host, public_url, cors)?;
        return Ok(None);
    }
    match cors::rule(&head.method, &head.headers, host, public_url, cors) {
        Ok(Ruling::Passes(granted)) => {
            *marks = granted;
            Ok(None)
        }
        Ok(Ruling::Preflight(headers)) => {
            let mut response = Response::new(upstream::empty());
            *response.status_mut() = hyper::StatusCode::NO_CONTENT;
            *response.headers_mut() = headers;
            Ok(Some(response))
        }
        Err(refused) => {
            *marks = refused.marks;
            Err(refused.why.into())
        }
    }
}

/// What is put onto the answer where there is no place whose policy could say so: by `[cors.default]`, so that a page may read
/// what was wrong.
pub fn marks_of_nowhere(exchange: &Exchange, head: &Parts) -> Marks {
    let config = &exchange.in_force.config;
    let default = config.cors.get("default").map(|cors| &**cors);
    let (host, public_url) = (&exchange.client.host, config.server.public_url.as_deref());
    match cors::rule(&head.method, &head.headers, host, public_url, default) {
        Ok(Ruling::Passes(marks)) => marks,
        Ok(Ruling::Preflight(_)) => Marks::default(),
        Err(refused) => refused.marks,
    }
}

/// How a request may be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Teller {
    /// By a status: nothing is ours to accept, or the client knows no better.
    Status,
    /// By a close code, on a socket of our own.
    Close,
}

/// Finds out who it is, and whether they are what the place wants.
pub async fn admit(
    exchange: &Exchange,
    head: &Parts,
    policies: Policies<'_>,
    extras: Extras,
    teller: Teller,
) -> Result<Entrant, Problem> {
    if policies.auth.is_empty() {
        return Ok(Entrant {
            extras,
            ..Entrant::default()
        });
    }
    let entry = match identify(exchange, &head.headers, policies.auth, &extras).await {
        Ok(admission) => {
            judge_csrf(exchange, head, &admission)?;
            match (judge_person(exchange, policies, &admission), teller) {
                (Ok(()), _) => Entry::Admitted(Arc::new(admission)),
                (Err(_), Teller::Close) => Entry::TurnedAway(4003),
                (Err(unfit), Teller::Status) => return Err(Problem::forbidden(unfit.detail())),
            }
        }
        Err(denied) => {
            let may_say = teller == Teller::Close && credential::awaits_message(policies.auth);
            match denied {
                Denied::Missing if may_say => Entry::Awaited,
                denied => {
                    limits::of_denied(exchange, policies, &denied)?;
                    match (teller, &denied) {
                        (Teller::Close, Denied::Unavailable(_)) | (Teller::Status, _) => {
                            return Err(Problem::denied(&denied));
                        }
                        (Teller::Close, _) => Entry::TurnedAway(denied.close_code()),
                    }
                }
            }
        }
    };
    Ok(Entrant {
        entry,
        extras,
        seat: None,
    })
}

/// Whether somebody may have what the place gives: a handshake has to have all that its topic will want.
fn judge_person(
    exchange: &Exchange,
    policies: Policies<'_>,
    admission: &Admission,
) -> Result<(), Unfit> {
    let identity = &admission.identity;
    match policies.route.filter(|_| exchange.is_handshake) {
        Some(route) => identity.may_follow(route),
        None => match policies.require {
            Some(require) => identity.fits(require),
            None => Ok(()),
        },
    }
}

/// Who somebody is by what they present.
///
/// # Errors
/// Nobody vouches for them.
async fn identify(
    exchange: &Exchange,
    headers: &HeaderMap,
    auths: &[Arc<Auth>],
    extras: &Extras,
) -> Result<Admission, Denied> {
    let authenticator = &exchange.shared.authenticator;
    let Some(found) = credential::find(auths, headers, extras)? else {
        let first = auths.first().map_or("", |auth| &auth.name);
        return Err(authenticator.missed(first));
    };
    let client = &exchange.client;
    let context = || Context {
        way: exchange.way.clone(),
        ..context(&exchange.host.value, client.proto, &client.ip)
    };
    match authenticator.check(auths, found, context) {
        Check::Done(outcome) => outcome,
        Check::Asks(asking) => asking.await,
    }
}

/// A write that a browser may have sent by itself has to bring what a foreign page cannot know.
fn judge_csrf(exchange: &Exchange, head: &Parts, admission: &Admission) -> Result<(), Problem> {
    match &admission.found.auth.csrf {
        Some(csrf) if admission.is_by_cookie() && !exchange.is_handshake => {
            let judged = csrf::judge(&head.method, &head.headers, csrf);
            judged.map_err(|refused| Problem::csrf(refused.detail()))
        }
        _ => Ok(()),
    }
}
