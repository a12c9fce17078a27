//! THE ROAD: what happens to a request, in order.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::header::{CONNECTION, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode, Version};

use super::account::Account;
use super::body::Arriving;
use super::endpoints::{self, Own};
use super::exchange::{self, Connection, Exchange};
use super::respond::{Problem, REQUEST_ID};
use super::{passthrough, tunnel, websocket};
use crate::edge::cors;
use crate::edge::hygiene::forwarded::Peer;
use crate::edge::hygiene::{Fault, names, request};
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
    let outcome = walk(&connection, in_force, peer, head, body, &mut account).await;
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
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, account.id.value());
    let is_granted = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if is_reusable && connection.shared.draining.load(Ordering::Relaxed) && !is_granted {
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
) -> Result<Response<Body>, Problem> {
    let server = &in_force.config.server;

    // Hygiene. What broke a rule below the engine arrives here as a mark.
    if let Some(fault) = head.extensions.remove::<Fault>() {
        return Err(fault.into());
    }
    let inspected = request::inspect(&head, connection.remote.proto)
        .and_then(|inspected| {
            names::disambiguate(&mut head.headers, server.underscore_headers)?;
            Ok(inspected)
        })
        .inspect_err(|fault| {
            if let Some(traffic) = &connection.traffic {
                traffic.set_fault(*fault);
            }
        })?;
    let id = account.id.clone();
    let exchange = Exchange::new(connection, in_force.clone(), peer, id, inspected, &head);
    account.remote.clone_from(&exchange.client.ip);
    account.path.clone_from(&exchange.path);

    // Edge: connection caps were kept at the door; memory that runs short.
    let level = connection.shared.pressure.level();
    if level >= Level::Full || exchange.is_handshake && level >= Level::Tight {
        let retry = fastrand::u32(RETRY_SECONDS);
        return Err(Problem::overloaded("memory", "memory runs short", retry));
    }

    // Our own endpoints.
    let own = endpoints::find(&server.prefix, &exchange.path)?;
    if let Some(Own::Transport) = own {
        account.action = "own";
        return endpoints::transport(&exchange, &head);
    }

    // Route.
    let found = match own {
        Some(_) => None,
        None => Some(
            in_force
                .routes
                .find(&exchange.host.name, &head.method, &exchange.path)
                .ok_or_else(Problem::no_route)?,
        ),
    };
    account.route = found.as_ref().map(|found| found.route.name.clone());

    // Edge: the Origin of every handshake.
    if exchange.is_handshake {
        account.asked_for = match &found {
            Some(found) if !found.bridged => None,
            Some(_) => Some(websocket::protocol(&head.headers)),
            None => Some("json"),
        };
        let cors = match &found {
            Some(found) => found.route.cors.as_deref(),
            None => in_force.config.websocket.cors.as_deref(),
        };
        let public_url = server.public_url.as_deref();
        cors::judge(&head.headers, &exchange.client.host, public_url, cors)?;
    }

    // Decide: who gets WebSocket. Then bridge, tunnel, or pass through.
    match found {
        None => {
            account.action = "websocket";
            websocket::multiplex(connection, &exchange, head)
        }
        Some(found) if exchange.is_handshake && found.bridged => {
            account.action = "websocket";
            websocket::single(connection, &exchange, &found.route, head)
        }
        Some(found) if exchange.is_handshake => {
            account.action = "tunnel";
            tunnel::open(connection, &exchange, &found, head, body, account).await
        }
        Some(found) => {
            account.action = "passthrough";
            passthrough::pass(&exchange, &found, head, body, account).await
        }
    }
}
