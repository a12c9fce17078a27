//! THE ROAD: what happens to a request, in order.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::header::{CONNECTION, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode, Version};

use super::account::Account;
use super::body::Arriving;
use super::destination::Destination;
use super::edge::{self, Policies, Teller};
use super::endpoints;
use super::exchange::{self, Connection, Exchange};
use super::offer::Offer;
use super::respond::{Problem, REQUEST_ID};
use super::websocket::Came;
use super::wire::Traffic;
use super::{limits, passthrough, tunnel, websocket};
use crate::edge::auth::credential::Extras;
use crate::edge::cors::Marks;
use crate::edge::hygiene::forwarded::{self, Peer};
use crate::edge::hygiene::own::{self, Parameters, Taken};
use crate::edge::hygiene::spelling::Spelling;
use crate::edge::hygiene::{Fault, names, request, rounds};
use crate::edge::pressure::Level;
use crate::error::Side;
use crate::route::InForce;
use crate::upstream::Body;

/// Seconds after which somebody who found no room may try again, spread at random.
const RETRY_SECONDS: RangeInclusive<u32> = 5..=15;

/// Answers one request. Every answer bears its number, and its account is followed to the end.
pub async fn dispatch(connection: Arc<Connection>, request: Request<Arriving>) -> Response<Body> {
    let in_force = connection.shared.in_force.load_full();
    let trusted = &in_force.config.server.trusted_proxies;
    let peer = connection.remote.peer(trusted);
    let mut account = Account::open(
        request.method().clone(),
        exchange::request_id(peer, request.headers()),
        connection.peer.clone(),
        connection.traffic.clone(),
        connection.shared.telemetry.clone(),
    );
    let telemetry = &connection.shared.telemetry;
    account.span = telemetry.trace_request(request.method(), request.headers(), peer.is_trusted);
    let is_reusable = request.version() <= Version::HTTP_11;
    account.version = request.version();
    let (head, body) = request.into_parts();
    let is_waited_for = request::names_websocket(&head) && body.is_nothing();
    let mut marks = Marks::default();
    let outcome = walk(
        &connection,
        in_force,
        peer,
        head,
        body,
        &mut account,
        &mut marks,
    )
    .await;
    // What is missing of a body that we refuse is not waited for: the connection ends behind the answer.
    let is_cut_off =
        outcome.is_err() && (connection.traffic.as_ref()).is_some_and(Traffic::is_in_body);
    let mut response = outcome.unwrap_or_else(|problem| {
        // A body that broke a rule is known by the exchange that it broke.
        let broken = || Some(connection.traffic.as_ref()?.fault()?.reason());
        let reason = match problem.side {
            Side::Downstream => problem.reason.or_else(broken),
            _ => problem.reason,
        };
        if let Some(reason) = reason {
            let telemetry = &connection.shared.telemetry;
            telemetry.request_refused(reason, &account.id, &account.remote);
            if let Some(protocol) = account.asked_for {
                let route = account.route.as_deref().unwrap_or("-");
                telemetry.handshake_refused(route, protocol, reason);
            }
        }
        account.side.get_or_insert(problem.side);
        problem.into_response(&account.id)
    });
    let is_granted = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, account.id.value());
    if !is_granted {
        marks.put(headers);
        if let Some(spelling) = response.extensions_mut().get_mut::<Spelling>() {
            spelling.forget(|name| marks.write(name));
        }
    }
    let is_last = is_cut_off || connection.shared.draining.load(Ordering::Relaxed);
    if is_reusable && is_last && !is_granted {
        // Nobody's next request should meet a connection that is being closed.
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    if let Some(traffic) = connection
        .traffic
        .as_ref()
        .filter(|_| is_waited_for && !is_granted)
    {
        traffic.decline_handshake();
    }
    account.follow(response)
}

async fn walk(
    connection: &Arc<Connection>,
    in_force: Arc<InForce>,
    peer: Peer,
    mut head: Parts,
    body: Arriving,
    account: &mut Account,
    marks: &mut Marks,
) -> Result<Response<Body>, Problem> {
    let server = &in_force.config.server;

    // Hygiene. What broke a rule below the engine arrives here as a mark.
    if let Some(fault) = head.extensions.remove::<Fault>() {
        return Err(fault.into());
    }
    let mut dropped = Vec::new();
    let inspected = request::inspect(&head, connection.remote.proto)
        .and_then(|inspected| {
            dropped = names::disambiguate(&mut head.headers, server.underscore_headers)?;
            Ok(inspected)
        })
        .inspect_err(|fault| {
            if let Some(traffic) = &connection.traffic {
                traffic.set_fault(*fault);
            }
        })?;
    if let Some(name) = dropped.first() {
        let telemetry = &connection.shared.telemetry;
        telemetry.fields_dropped(dropped.len(), name.as_str());
    }
    let id = account.id.clone();
    let mut exchange = Exchange::new(connection, in_force.clone(), peer, id, inspected, &head);
    account.remote.clone_from(&exchange.client.ip);
    account.path.clone_from(&exchange.path);

    // Edge: connection caps were kept at the door; memory that runs short.
    let level = connection.shared.pressure.level();
    if level >= Level::Full || exchange.is_handshake && level >= Level::Tight {
        let retry = fastrand::u32(RETRY_SECONDS);
        return Err(Problem::overloaded("memory", "memory runs short", retry));
    }

    // Route: an endpoint of ours, or a route of the file; and the policies that hold there.
    let destination = Destination::find(&exchange, &head, body.is_nothing());
    let destination =
        destination.inspect_err(|_| *marks = edge::marks_of_nowhere(&exchange, &head))?;
    account.route = destination.route().map(|route| route.name.clone());
    if exchange.way.rounds >= rounds::MOST {
        let route = destination.route();
        let (route, upstream) = route.map_or(("-", "-"), |r| (&r.name, &r.upstream.name));
        connection.shared.telemetry.loop_detected(route, upstream);
        return Err(Problem::loop_detected());
    }
    // Where sockets are ours, what is not believed decides whose they are.
    if destination.is_bridged()
        && forwarded::is_disbelieved(&head.headers, peer)
        && let Some(ip) = peer.ip
    {
        connection.shared.telemetry.forwarded_disbelieved(ip);
    }
    // What we answer by ourselves under the prefix is no socket, whatever it asks for.
    exchange.is_handshake &= destination.takes_handshakes();
    if exchange.is_handshake {
        account.asked_for = destination.asked_for(&head);
    }

    // Edge: origin and preflight, limits by address, who it is, CSRF, what is required, limits by user.
    let policies = destination.policies(&in_force);
    if let Some(answer) = edge::judge_origin(&exchange, &head, policies.cors, marks)? {
        account.action = "preflight";
        return Ok(answer);
    }
    let offer = destination.expect_handshake(&exchange, &head)?;
    limits::by_place(&exchange, policies)?;
    if offer.is_some() && account.asked_for.is_some() {
        limits::handshake(&exchange).await?;
    }
    let taken = Taken {
        positions: destination
            .route()
            .is_some_and(|route| route.source.is_some()),
        // A preflight names the same tokens, though nobody judges them.
        auths: match destination.route() {
            Some(route) => &route.auth,
            None => policies.auth,
        },
    };
    let parameters = own::take_parameters(exchange.query.as_deref(), taken);
    exchange.query.clone_from(&parameters.query);
    let teller = match &offer {
        Some(offer) if offer.json && destination.is_bridged() => Teller::Close,
        _ => Teller::Status,
    };
    let seat = limits::take_seat(&exchange, policies)?;
    let extras = extras(offer.as_ref(), &parameters);
    let mut entrant = edge::admit(&exchange, &head, policies, extras, teller).await?;
    for other in destination.others() {
        let (policies, extras) = (Policies::of_route(other), entrant.extras.clone());
        edge::admit(&exchange, &head, policies, extras, Teller::Status).await?;
    }
    entrant.seat = seat;
    limits::by_user(&exchange, policies, teller, &mut entrant)?;
    let came = Came {
        offer: offer.unwrap_or_default(),
        parameters,
        entrant,
    };

    // Decide: who gets WebSocket. Then bridge, tunnel, or pass through.
    match &destination {
        Destination::Transport(about) => {
            account.action = "own";
            endpoints::transport(&exchange, &head, about.as_ref(), came.entrant.identity())
        }
        Destination::Ticket(_) => {
            account.action = "own";
            endpoints::ticket(&exchange, &head, &came.entrant)
        }
        Destination::Multiplex => {
            account.action = "websocket";
            websocket::multiplex(connection, &exchange, head, came)
        }
        Destination::Route(found, _) if exchange.is_handshake && found.bridged => {
            account.action = "websocket";
            websocket::single(connection, &exchange, &found.route, head, came)
        }
        Destination::Route(found, _) if exchange.is_handshake => {
            account.action = "tunnel";
            tunnel::open(connection, &exchange, found, head, body, came, account).await
        }
        Destination::Route(found, _) => {
            account.action = "passthrough";
            passthrough::pass(connection, &exchange, found, head, body, &came, account).await
        }
    }
}

/// What was presented beside header fields; a ticket is for one handshake, and nothing else.
fn extras(offer: Option<&Offer>, parameters: &Parameters) -> Extras {
    Extras {
        subprotocol: offer.and_then(|offer| offer.bearer.clone()),
        message: None,
        query: parameters.tokens.clone(),
        ticket: offer.and_then(|_| parameters.ticket.clone()),
    }
}
