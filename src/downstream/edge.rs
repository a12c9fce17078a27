//! The edge: the policies of the place that a request is for, in their order. Origin, limits by address, who it is, CSRF,
//! what is required, limits by user. What is refused here reaches no backend.

use std::sync::Arc;

use hyper::http::request::Parts;
use hyper::{HeaderMap, Response};

use super::exchange::Exchange;
use super::offer::Offer;
use super::respond::Problem;
use crate::config::{Auth, Config, Cors, RateLimit, Require, Route};
use crate::edge::auth::credential::{self, Extras};
use crate::edge::auth::{Admission, Check, Denied, Identity, context, csrf};
use crate::edge::cors::{self, Marks, Ruling};
use crate::edge::hygiene::own::Parameters;
use crate::edge::rate_limit::Place;
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
}

/// Somebody who came in.
#[derive(Default)]
pub struct Entrant {
    /// Who it is; `None` where nobody asks, or where a `hello` is awaited.
    pub admission: Option<Arc<Admission>>,
    /// What was presented beside header fields.
    pub extras: Extras,
    /// A `hello` has to tell who it is.
    pub awaits_hello: bool,
    /// A place under a policy's caps, kept as long as the connection.
    pub place: Option<Place>,
    /// Accept, and close with this code: the client knows how to read it.
    pub close: Option<u16>,
}

impl Entrant {
    /// Who it is.
    pub fn identity(&self) -> Option<&Identity> {
        self.admission
            .as_ref()
            .map(|admission| &*admission.identity)
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

/// Finds out who it is, and whether they are what the place wants. `offer` is there for handshakes.
pub async fn admit(
    exchange: &Exchange,
    head: &Parts,
    policies: Policies<'_>,
    parameters: &Parameters,
    offer: Option<&Offer>,
) -> Result<Entrant, Problem> {
    let mut entrant = Entrant {
        extras: Extras {
            subprotocol: offer.and_then(|offer| offer.bearer.clone()),
            message: None,
            query: parameters.tokens.clone(),
            // One handshake each, and nothing else.
            ticket: offer.and_then(|_| parameters.ticket.clone()),
        },
        ..Entrant::default()
    };
    if policies.auth.is_empty() {
        return Ok(entrant);
    }
    match identify(exchange, &head.headers, policies.auth, &entrant.extras).await {
        Ok(admission) => entrant.admission = Some(Arc::new(admission)),
        Err(Denied::Missing) if speaks(offer) && credential::awaits_message(policies.auth) => {
            entrant.awaits_hello = true;
            return Ok(entrant);
        }
        Err(denied) => {
            let is_for_now = matches!(denied, Denied::Unavailable(_));
            if speaks(offer) && !is_for_now {
                entrant.close = Some(denied.close_code());
                return Ok(entrant);
            }
            return Err(Problem::denied(&denied));
        }
    }
    judge_csrf(exchange, head, &entrant)?;
    if let (Some(admission), Some(require)) = (&entrant.admission, policies.require)
        && let Err(unfit) = admission.identity.fits(require)
    {
        match speaks(offer) {
            true => entrant.close = Some(4003),
            false => return Err(Problem::forbidden(unfit.detail())),
        }
    }
    Ok(entrant)
}

/// Who somebody is by what they present.
///
/// # Errors
/// Nobody vouches for them.
pub async fn identify(
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
    let context = || context(&exchange.host.value, client.proto, &client.ip);
    match authenticator.check(found, context) {
        Check::Done(outcome) => outcome,
        Check::Asks(asking) => asking.await,
    }
}

/// A write that a browser may have sent by itself has to bring what a foreign page cannot know.
fn judge_csrf(exchange: &Exchange, head: &Parts, entrant: &Entrant) -> Result<(), Problem> {
    let Some(admission) = entrant.admission.as_ref().filter(|a| a.is_by_cookie()) else {
        return Ok(());
    };
    match &admission.found.auth.csrf {
        Some(csrf) if !exchange.is_handshake => {
            let judged = csrf::judge(&head.method, &head.headers, csrf);
            judged.map_err(|refused| Problem::csrf(refused.detail()))
        }
        _ => Ok(()),
    }
}

/// Whether a refusal may be told by a close code.
fn speaks(offer: Option<&Offer>) -> bool {
    offer.is_some_and(|offer| offer.json)
}
