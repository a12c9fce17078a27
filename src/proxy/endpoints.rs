//! What crossfade answers by itself under its prefix.

use std::sync::Arc;

use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, VARY};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::json;

use super::context::AuthContext;
use super::context::{Address, RequestContext};
use super::error_response;
use super::transport_choice::{Cohort, decide_for_all};
use crate::config::Rollout;
use crate::http::body::{self, Body};
use crate::http::problem::Problem;
use crate::http::{RequestViolation, path, reserved_params};
use crate::policy::auth::credential::Extras;
use crate::policy::auth::ticket::LIFE;
use crate::policy::auth::{Authenticated, Identity, Ticketed};
use crate::rollout::{self, Decision, Reason, TransportKind};
use crate::router::Match;
use crate::session::Presented;

/// How long a client may use the answer, milliseconds.
const TTL_MS: u64 = 30_000;

/// An endpoint of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwnEndpoint {
    /// `PREFIX/ws`.
    WebSocket,
    /// `PREFIX/transport`.
    Transport,
    /// `PREFIX/ticket`.
    Ticket,
}

/// The endpoint that a canonical path names; `None` where the path is not under the prefix.
///
/// # Errors
/// Nothing else is there: the prefix is ours alone, whatever the routes say.
pub(crate) fn find(prefix: &str, path: &str) -> Result<Option<OwnEndpoint>, Problem> {
    let Some(rest) = path.strip_prefix(prefix) else {
        return Ok(None);
    };
    match rest {
        "/ws" => Ok(Some(OwnEndpoint::WebSocket)),
        "/transport" => Ok(Some(OwnEndpoint::Transport)),
        "/ticket" => Ok(Some(OwnEndpoint::Ticket)),
        rest if rest.is_empty() || rest.starts_with('/') => Err(Problem::no_route()),
        _ => Ok(None),
    }
}

/// The place that an endpoint of ours is asked about: its path and query, and the route there; `None` where it is asked
/// about `PREFIX/ws`.
///
/// # Errors
/// `?path=` names nothing.
pub(crate) fn about(address: Address<'_>) -> Result<Option<About>, Problem> {
    let Some(url) = asked_path(address.query) else {
        return Ok(None);
    };
    let (raw, query) = match url.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (url.as_str(), None),
    };
    let path = path::canonical(raw).map_err(|fault| Problem::of_path(fault, raw))?;
    let address = Address {
        path: &path,
        ..address
    };
    let found = address.find(&Method::GET)?;
    Ok(Some(About {
        url: reserved_params::join(&path, query.map(path::query).as_deref()),
        found,
    }))
}

/// What `?path=` names.
pub(crate) struct About {
    /// Canonical path, and query.
    url: String,
    /// The route there.
    pub(crate) found: Match,
}

/// `PREFIX/transport[?path=…]`: which transport this client is to use, and where.
pub(crate) fn transport(
    exchange: &RequestContext,
    head: &Parts,
    about: Option<&About>,
    identity: Option<&Identity>,
) -> Result<Response<Body>, Problem> {
    if !matches!(head.method, Method::GET | Method::HEAD) {
        return Err(Problem::method_not_allowed("GET, HEAD"));
    }
    let has_name = !exchange.client.host.value.is_empty();
    if !has_name && exchange.in_force.config.server.public_url.is_none() {
        // HTTP/1.0 without `Host`: there is no URL to report.
        return Err(RequestViolation::Host.into());
    }
    let answer = match about {
        Some(about) => for_path(exchange, &head.headers, about, identity),
        None => for_all(exchange, &head.headers, identity),
    };
    let mut response = json(document(exchange, &answer));
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("cookie"));
    if let Some(cookie) = &answer.cohort.cookie {
        error_response::add_cookie(headers, cookie);
    }
    Ok(response)
}

/// `POST PREFIX/ticket[?path=…]`: a ticket for one handshake there, for a client with credentials.
pub(crate) fn ticket(
    exchange: &RequestContext,
    head: &Parts,
    entrant: &AuthContext,
) -> Result<Response<Body>, Problem> {
    if head.method != Method::POST {
        return Err(Problem::method_not_allowed("POST"));
    }
    let Some(admission) = entrant.admission() else {
        return Err(Problem::no_tickets());
    };
    if !admission.found.auth.takes_tickets() {
        return Err(Problem::no_tickets());
    }
    let mut headers = head.headers.clone();
    let presented = Presented::take(&mut headers, Extras::default(), std::iter::empty());
    let ticketed = Ticketed {
        cookie: presented.cookie(),
        authorization: admission.authorization().or(presented.authorization()),
    };
    let authenticator = &exchange.shared.authenticator;
    let ticket = authenticator.give_ticket(Authenticated::clone(admission), ticketed);
    let ticket = ticket.ok_or_else(|| Problem::overloaded("tickets", "no randomness", 1))?;
    let document = json!({"ticket": ticket, "expires_in_ms": LIFE.as_millis() as u64});
    let mut response = json(document.to_string());
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

fn json(document: String) -> Response<Body> {
    let mut response = Response::new(body::full(document));
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("application/json");
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

struct Answer {
    cohort: Cohort,
    decision: Decision,
    rollout: Option<Arc<Rollout>>,
    /// Path and query of the WebSocket.
    url: String,
}

fn for_path(
    exchange: &RequestContext,
    headers: &HeaderMap,
    about: &About,
    identity: Option<&Identity>,
) -> Answer {
    let About { url, found } = about;
    let rollout = found.route.rollout.clone();
    let rollouts = rollout.iter().chain(of_namespaces(exchange));
    let cohort = Cohort::recognise(exchange, headers, identity, rollouts);
    let decision = match found.bridged {
        true => cohort.decide(exchange, &found.route),
        // Nothing but the legacy transport is there.
        false => Decision {
            transport: TransportKind::Legacy,
            reason: Reason::None,
            unit: None,
            bucket: None,
        },
    };
    Answer {
        cohort,
        decision,
        rollout,
        url: url.clone(),
    }
}

fn for_all(exchange: &RequestContext, headers: &HeaderMap, identity: Option<&Identity>) -> Answer {
    let routes = exchange.in_force.routes.bridged();
    let rollouts = routes.filter_map(|route| route.rollout.as_ref());
    let rollouts = rollouts.chain(of_namespaces(exchange));
    let cohort = Cohort::recognise(exchange, headers, identity, rollouts);
    let (routes, stages) = (&exchange.in_force.routes, exchange.shared.stages.load());
    let (decision, route) = decide_for_all(routes, &stages, &cohort.candidate);
    Answer {
        cohort,
        decision,
        rollout: route.and_then(|route| route.rollout.clone()),
        url: format!("{}/ws", exchange.in_force.config.server.prefix),
    }
}

fn document(exchange: &RequestContext, answer: &Answer) -> String {
    let is_websocket = answer.decision.transport == TransportKind::WebSocket;
    let rollout = answer.rollout.as_deref();
    json!({
        "transport": answer.decision.transport.as_str(),
        "websocket_available": is_websocket,
        "websocket_url": websocket_url(exchange, &answer.url),
        "websocket_namespaces": websocket_namespaces(exchange, &answer.cohort),
        "fallback_mode": !is_websocket,
        "fallback_allowed": rollout.is_none_or(|rollout| rollout.fallback),
        "reason": answer.decision.reason.as_str(),
        "percent": percent(exchange, rollout, answer.decision.transport),
        "ttl_ms": TTL_MS,
    })
    .to_string()
}

/// The namespaces that this client may join over a WebSocket, by their configured names; without a `[socketio]` the one that every
/// client of Socket.IO knows.
fn websocket_namespaces(exchange: &RequestContext, cohort: &Cohort) -> Vec<String> {
    let Some(socketio) = &exchange.in_force.config.socketio else {
        return vec!["/".to_owned()];
    };
    let stages = exchange.shared.stages.load();
    let is_in = |rollout: Option<&Rollout>| {
        let decision = rollout::decide(rollout, &stages, &cohort.candidate);
        socketio.websocket && decision.transport == TransportKind::WebSocket
    };
    let namespaces = socketio.namespaces.iter();
    let namespaces = namespaces.filter(|namespace| is_in(namespace.rollout.as_deref()));
    namespaces
        .map(|namespace| namespace.name.as_str().to_owned())
        .collect()
}

/// The rollouts of all namespaces.
fn of_namespaces(exchange: &RequestContext) -> impl Iterator<Item = &Arc<Rollout>> {
    let socketio = exchange.in_force.config.socketio.iter();
    let namespaces = socketio.flat_map(|socketio| &socketio.namespaces);
    namespaces.filter_map(|namespace| namespace.rollout.as_ref())
}

/// The percentage set last; without a rollout all or none.
fn percent(
    exchange: &RequestContext,
    rollout: Option<&Rollout>,
    transport: TransportKind,
) -> rollout::Percent {
    let everybody = u32::from(transport == TransportKind::WebSocket) * rollout::EVERYBODY;
    let stages = exchange.shared.stages.load();
    let set = rollout.map(|rollout| {
        stages
            .get(&rollout.name)
            .map_or(rollout.percent, |stage| stage.percent)
    });
    rollout::Percent::new(set.unwrap_or(everybody))
}

fn websocket_url(exchange: &RequestContext, url: &str) -> String {
    let server = &exchange.in_force.config.server;
    let base = match &server.public_url {
        Some(public) => public.clone(),
        None => {
            let host = exchange.client.host.value.to_str().unwrap_or_default();
            format!("{}://{host}", exchange.client.proto)
        }
    };
    // `http` becomes `ws`, `https` becomes `wss`.
    let base = base.strip_prefix("http").unwrap_or(&base);
    format!("ws{base}{url}")
}

fn asked_path(query: Option<&str>) -> Option<String> {
    let mut pairs = query?.split('&');
    let value = pairs.find_map(|pair| pair.strip_prefix("path="))?;
    let decoded = percent_decode_str(value).decode_utf8_lossy();
    Some(decoded.into_owned())
}
