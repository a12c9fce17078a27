//! WebSocket handshakes that crossfade itself answers: a bridged route's own path, and `PREFIX/ws`.

use std::sync::Arc;

use hyper::header::{
    AUTHORIZATION, CONNECTION, COOKIE, HeaderMap, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::context::RequestContext;
use super::context::{AuthContext, AuthOutcome, Came, shared_seat};
use super::subprotocol::{JSON, RAW, Subprotocols};
use super::transport_choice::{Cohort, decide_for_all};
use super::{error_response, handshake};
use crate::http::body::{self, Body};
use crate::http::problem::Problem;
use crate::http::{hop_by_hop, reserved_params};
use crate::policy::cors;
use crate::rollout::{Candidate, Decision, Reason, TransportKind};
use crate::router::{Match, RouteTable};
use crate::server::client_connection::Connection;
use crate::server::upgrade::{Granted, Upgrade};
use crate::session::{self, Accepted, Handshake, Mode, Presented, SingleForm};
use crate::transport::websocket::WebSocketTransport;
use crate::transport::websocket::reader::MessageLimits;

/// A handshake on a bridged route's own path.
pub(crate) fn single(
    connection: &Arc<Connection>,
    exchange: &RequestContext,
    found: Match,
    head: Parts,
    came: Came,
) -> Result<Response<Body>, Problem> {
    let route = found.route.clone();
    let Came {
        offer,
        parameters,
        entrant,
    } = came;
    expect_known(&offer, true)?;
    let protocol = match offer.json {
        true => Some(JSON),
        false => offer.raw.then_some(RAW),
    };
    let form = match offer.json {
        true => SingleForm::Json,
        false => SingleForm::Raw {
            wrap: parameters.wrap,
        },
    };
    let mode = Mode::Single {
        found,
        url: reserved_params::join(&exchange.path, exchange.query.as_deref()),
        after: parameters.after,
        last_event_id: parameters.last_event_id,
        form,
    };
    let identity = entrant.identity();
    let cohort = Cohort::recognise(exchange, &head.headers, identity, route.rollout.iter());
    let decision = cohort.decide(exchange, &route);
    let asked = Asked {
        route: &route.name,
        offer,
        protocol,
        mode,
        cohort,
        decision,
        entrant,
    };
    answer(connection, exchange, head, asked)
}

/// A handshake on `PREFIX/ws`.
pub(crate) fn multiplex(
    connection: &Arc<Connection>,
    exchange: &RequestContext,
    head: Parts,
    came: Came,
) -> Result<Response<Body>, Problem> {
    let Came { offer, entrant, .. } = came;
    expect_known(&offer, false)?;
    let routes = exchange.in_force.routes.bridged();
    let rollouts = routes.filter_map(|route| route.rollout.as_ref());
    let cohort = Cohort::recognise(exchange, &head.headers, entrant.identity(), rollouts);
    let (routes, stages) = (&exchange.in_force.routes, exchange.shared.stages.load());
    let (decision, _) = decide_for_all(routes, &stages, &cohort.candidate);
    let asked = Asked {
        route: "-",
        protocol: offer.json.then_some(JSON),
        offer,
        mode: Mode::Multiplex,
        cohort,
        decision,
        entrant,
    };
    answer(connection, exchange, head, asked)
}

/// Only subprotocols that are not ours are no handshake for us; `raw` is served on a route's own path.
pub(super) fn expect_known(offer: &Subprotocols, is_single: bool) -> Result<(), Problem> {
    match offer.any && !offer.json && !(is_single && offer.raw) {
        true => Err(Problem::bad_handshake("no subprotocol is known")),
        false => Ok(()),
    }
}

/// A handshake taken apart.
struct Asked<'a> {
    route: &'a str,
    offer: Subprotocols,
    /// The subprotocol to name in the answer.
    protocol: Option<&'static str>,
    mode: Mode,
    cohort: Cohort,
    decision: Decision,
    entrant: AuthContext,
}

impl Asked<'_> {
    /// The metric label.
    fn protocol_label(&self) -> &'static str {
        match self.mode {
            Mode::Multiplex
            | Mode::Single {
                form: SingleForm::Json,
                ..
            } => "json",
            Mode::Single { .. } => "raw",
            Mode::Namespace(_) => "socketio",
        }
    }
}

fn answer(
    connection: &Arc<Connection>,
    exchange: &RequestContext,
    mut head: Parts,
    asked: Asked<'_>,
) -> Result<Response<Body>, Problem> {
    let accept = derive_accept_key(handshake::key(&head.headers)?.as_bytes());
    let telemetry = &exchange.shared.telemetry;
    let label = asked.protocol_label();
    // A client that still has to authenticate is judged by its rollout then.
    let refuse_with = match asked.entrant.entry {
        AuthOutcome::TurnedAway(code) => Some(code),
        AuthOutcome::Awaited => None,
        AuthOutcome::Unasked | AuthOutcome::Admitted(_) => close_code(&asked.decision),
    };
    if refuse_with.is_some() && !asked.offer.json {
        let mut problem = Problem::legacy();
        if let Some(cookie) = &asked.cohort.cookie {
            error_response::add_cookie(&mut problem.headers, cookie);
        }
        return Err(problem);
    }
    let Some(upgrade) = Upgrade::of(&mut head.extensions, connection.traffic.as_ref()) else {
        return Err(Problem::bad_handshake("this connection cannot be upgraded"));
    };
    match refuse_with {
        Some(_) => {
            let reason = match asked.entrant.entry {
                AuthOutcome::TurnedAway(code) => refused_by(code),
                _ => "legacy",
            };
            telemetry
                .downstream
                .handshake_refused(asked.route, label, reason);
        }
        None => {
            let reason = asked.decision.reason.as_str();
            telemetry
                .downstream
                .handshake_accepted(asked.route, label, reason);
        }
    }
    let AuthContext {
        entry,
        mut extras,
        seat,
        // The session asks for them itself: its stream is one of its subscriptions.
        others: _,
    } = asked.entrant;
    // It was valid for this handshake.
    extras.ticket = None;
    let awaits_hello = matches!(entry, AuthOutcome::Awaited);
    let admission = match entry {
        AuthOutcome::Admitted(admission) => Some(admission),
        AuthOutcome::Unasked | AuthOutcome::Awaited | AuthOutcome::TurnedAway(_) => None,
    };
    let response = switch(&accept, asked.protocol, asked.cohort.cookie.as_ref());
    let presented = Presented::take(
        &mut head.headers,
        extras,
        exchange.in_force.config.auths.values(),
    );
    let handshake = handshake_of(exchange, head.headers, asked.cohort.candidate);
    let opening = Accepted {
        request_id: exchange.id.to_string(),
        handshake,
        presented,
        admission,
        awaits_hello,
        seat: seat.map(shared_seat),
        mode: asked.mode,
        refuse_with,
        permit: Some(connection.permit.clone()),
    };
    let in_force = exchange.in_force.clone();
    let shared = exchange.shared.clone();
    upgrade.leave_to(move |Granted { socket, ahead }| {
        let limits = MessageLimits::of(in_force.config.websocket.max_message);
        let transport = Box::new(WebSocketTransport::new(socket, limits, &ahead));
        // A small task of its own: the connection's task has memory reserved for the whole handshake.
        tokio::spawn(session::run(transport, opening, in_force, shared));
    });
    Ok(response)
}

/// What a handshake says of its client.
pub(super) fn handshake_of(
    exchange: &RequestContext,
    headers: HeaderMap,
    candidate: Candidate,
) -> Handshake {
    let public_url = exchange.in_force.config.server.public_url.as_deref();
    Handshake {
        remote: exchange.client.ip.to_string(),
        address: exchange.client.address,
        host: exchange.host.value.clone(),
        proto: exchange.client.proto,
        origin: headers.get(ORIGIN).cloned(),
        is_foreign: cors::is_foreign(&headers, &exchange.client.host, public_url),
        candidate,
        headers: kept(headers, &exchange.in_force.routes),
    }
}

/// The code to close with for a client on the legacy side.
pub(super) fn close_code(decision: &Decision) -> Option<u16> {
    match (decision.transport, decision.reason) {
        (TransportKind::WebSocket, _) => None,
        (TransportKind::Legacy, Reason::Killed) => Some(4302),
        (TransportKind::Legacy, Reason::RolledBack) => Some(4301),
        (TransportKind::Legacy, _) => Some(4300),
    }
}

/// Fields of a `101`, with the request id that is added to it: memory for them is reserved at once.
const SWITCH_FIELDS: usize = 6;

pub(super) fn switch(
    accept: &str,
    protocol: Option<&'static str>,
    cookie: Option<&HeaderValue>,
) -> Response<Body> {
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.reserve(SWITCH_FIELDS);
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    // Base64 is always a field value.
    if let Ok(accept) = HeaderValue::from_str(accept) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(protocol) = protocol {
        let protocol = HeaderValue::from_static(protocol);
        headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    if let Some(cookie) = cookie {
        error_response::add_cookie(headers, cookie);
    }
    response
}

/// The word for a close code that the edge refuses with.
pub(super) fn refused_by(code: u16) -> &'static str {
    match code {
        4003 => "forbidden",
        4029 => "connections_per_user",
        4401 => "token_expired",
        _ => "unauthorized",
    }
}

/// What a route's `vary` may name: no credentials, nothing of the connection.
fn kept(mut headers: HeaderMap, routes: &RouteTable) -> HeaderMap {
    if routes.bridged().all(|route| route.vary.is_empty()) {
        return HeaderMap::new();
    }
    hop_by_hop::strip(&mut headers);
    for name in [
        COOKIE,
        AUTHORIZATION,
        SEC_WEBSOCKET_PROTOCOL,
        SEC_WEBSOCKET_KEY,
    ] {
        headers.remove(name);
    }
    headers
}
