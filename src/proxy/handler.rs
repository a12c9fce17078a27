//! The request path: what happens to a request, in order.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::header::{CONNECTION, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode, Version};

use super::context::{RequestContext, Walked};
use super::enforce::{self, Checked};
use super::request_record::RequestRecord;
use super::socketio::SocketIoRequest;
use super::target::Destination;
use super::{endpoints, error_response, forward, socketio, tunnel, websocket};
use crate::error::Side;
use crate::http::body::Body;
use crate::http::forwarded::{self, Peer};
use crate::http::header_case::Spelling;
use crate::http::problem::Problem;
use crate::http::request_id::{self, REQUEST_ID};
use crate::http::{RequestViolation, cdn_loop, header_names, validate};
use crate::policy::Ask;
use crate::policy::cors::CorsHeaders;
use crate::policy::load_shedding::Level;
use crate::router::InForce;
use crate::server::client_connection::Connection;
use crate::server::handler::Handler;
use crate::server::http1_state::Http1State;
use crate::server::request_body::RequestBody;
use crate::telemetry::LoggedRequest;

/// Seconds after which a client that met an overload may try again, spread at random.
const RETRY_SECONDS: RangeInclusive<u32> = 5..=15;

/// The request path as the server's handler.
#[derive(Clone, Copy)]
pub(crate) struct ProxyHandler;

impl Handler for ProxyHandler {
    fn handle(
        self,
        connection: Arc<Connection>,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Response<Body>> + Send {
        dispatch(connection, request)
    }
}

/// Answers one request. Every answer bears its number, and its account is followed to the end.
async fn dispatch(connection: Arc<Connection>, request: Request<RequestBody>) -> Response<Body> {
    let in_force = connection.shared.in_force.load_full();
    let trusted = &in_force.config.server.trusted_proxies;
    let peer = connection.remote.peer(trusted);
    let telemetry = &connection.shared.telemetry;
    let mut account = RequestRecord::open(
        LoggedRequest {
            id: request_id::of(peer, request.headers()),
            method: request.method().clone(),
            path: Arc::default(),
            version: request.version(),
            remote: connection.peer.clone(),
        },
        telemetry
            .traces
            .trace_request(request.method(), request.headers(), peer.is_trusted),
        connection.traffic.clone(),
        telemetry.clone(),
    );
    let is_reusable = request.version() <= Version::HTTP_11;
    let (head, body) = request.into_parts();
    let is_waited_for = validate::names_websocket(&head) && body.is_nothing();
    let mut marks = CorsHeaders::default();
    // Boxed: while an answer is waited for, nothing of the way there is kept.
    let walked = Box::pin(walk(
        &connection,
        in_force,
        peer,
        head,
        body,
        &mut account,
        &mut marks,
    ));
    let outcome = match walked.await {
        Ok(Walked::Waits(answer)) => answer.await,
        Ok(Walked::Answered(answer)) => Ok(answer),
        Err(problem) => Err(problem),
    };
    // What is missing of a body that we refuse is not waited for: the connection ends behind the answer.
    let is_cut_off =
        outcome.is_err() && (connection.traffic.as_ref()).is_some_and(Http1State::is_in_body);
    let mut response = outcome.unwrap_or_else(|problem| {
        // A body that broke a rule is known by the exchange that it broke.
        let broken = || Some(connection.traffic.as_ref()?.fault()?.reason());
        let reason = match problem.side {
            Side::Downstream => problem.reason.or_else(broken),
            _ => problem.reason,
        };
        if let Some(reason) = reason {
            let telemetry = &connection.shared.telemetry;
            telemetry.downstream.request_refused(
                reason,
                &problem.detail,
                &account.request.id,
                &account.request.remote,
            );
            if let Some(protocol) = account.asked_for {
                let route = account.route.as_deref().unwrap_or("-");
                telemetry
                    .downstream
                    .handshake_refused(route, protocol, reason);
            }
        }
        account.side.get_or_insert(problem.side);
        problem.into_response(&account.request.id)
    });
    let is_granted = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, account.request.id.value());
    if !is_granted {
        marks.put(headers);
        if let Some(spelling) = response.extensions_mut().get_mut::<Spelling>() {
            spelling.forget(|name| marks.write(name));
        }
    }
    let is_last = is_cut_off || connection.shared.draining.load(Ordering::Relaxed);
    if is_reusable && is_last && !is_granted {
        // No client should send its next request into a connection that is being closed.
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
    body: RequestBody,
    account: &mut RequestRecord,
    marks: &mut CorsHeaders,
) -> Result<Walked, Problem> {
    let server = &in_force.config.server;

    // Hygiene. What broke a rule below the engine arrives here as a mark.
    if let Some(fault) = head.extensions.remove::<RequestViolation>() {
        return Err(fault.into());
    }
    let mut dropped = Vec::new();
    let inspected = validate::inspect(&head, connection.remote.proto)
        .and_then(|inspected| {
            dropped = header_names::disambiguate(&mut head.headers, server.underscore_headers)?;
            Ok(inspected)
        })
        .inspect_err(|fault| {
            if let Some(traffic) = &connection.traffic {
                traffic.set_fault(*fault);
            }
        })
        .map_err(|fault| Problem::of_path(fault, head.uri.path()))?;
    if let Some(name) = dropped.first() {
        let telemetry = &connection.shared.telemetry;
        telemetry.edge.fields_dropped(dropped.len(), name.as_str());
    }
    let id = account.request.id.clone();
    let mut exchange =
        RequestContext::new(connection, in_force.clone(), peer, id, inspected, &head);
    account.request.remote.clone_from(&exchange.client.ip);
    account.request.path.clone_from(&exchange.path);

    // Edge: connection caps were checked at accept; here it is memory that runs short.
    let level = connection.shared.pressure.level();
    if level >= Level::Full || exchange.is_handshake && level >= Level::Tight {
        let retry = fastrand::u32(RETRY_SECONDS);
        return Err(Problem::overloaded("memory", "memory runs short", retry));
    }

    // Route: an endpoint of ours, or a route of the file; and the policies that hold there.
    let destination = Destination::find(exchange.address(), &head, body.is_nothing());
    let destination =
        destination.inspect_err(|_| *marks = enforce::marks_of_nowhere(&exchange, &head))?;
    account.route = destination.route().map(|route| route.name.clone());
    if exchange.way.rounds >= cdn_loop::MOST {
        let route = destination.route();
        let (route, upstream) = route.map_or(("-", "-"), |r| (&r.name, &r.upstream.name));
        connection
            .shared
            .telemetry
            .downstream
            .loop_detected(route, upstream);
        return Err(Problem::loop_detected());
    }
    // The sessions of all clients behind such a proxy would count as those of one address: this is reported.
    if destination.is_bridged()
        && forwarded::is_disbelieved(&head.headers, peer)
        && let Some(ip) = peer.ip
    {
        connection.shared.telemetry.edge.forwarded_disbelieved(ip);
    }
    // What we answer by ourselves under the prefix is no socket, whatever it asks for.
    exchange.is_handshake &= destination.takes_handshakes();
    if exchange.is_handshake {
        account.asked_for = destination.asked_for(&head);
    }

    // Edge: the place's policies, in the one order of `policy::check`.
    let ask = match account.asked_for {
        _ if !exchange.is_handshake => Ask::Request,
        Some(_) => Ask::Session { json: false },
        None => Ask::Tunnel,
    };
    let checked = enforce::enforce(&mut exchange, &in_force, &head, &destination, ask, marks);
    let came = match checked.await? {
        Checked::Passed(came) => came,
        Checked::Answered(answer) => {
            account.action = "preflight";
            return Ok(Walked::Answered(answer));
        }
    };

    // Decide: which clients get WebSocket. Then bridge, tunnel, or pass through.
    let answer = match destination {
        Destination::Transport(about) => {
            account.action = "own";
            endpoints::transport(&exchange, &head, about.as_ref(), came.entrant.identity())
        }
        Destination::Ticket(_) => {
            account.action = "own";
            endpoints::ticket(&exchange, &head, &came.entrant)
        }
        Destination::SocketIo(socketio) => {
            account.action = "socketio";
            let client = socketio::recognise(&exchange, &socketio, &head, &came).await;
            let Some(found) = client.leaves_for(&socketio) else {
                let asked = SocketIoRequest {
                    head,
                    body,
                    came,
                    client,
                };
                return socketio::answer(connection, exchange, &socketio, asked);
            };
            let cookie = client.cookie();
            let answer = match exchange.is_handshake {
                true => {
                    tunnel::open(connection, &exchange, &found, head, body, came, account).await
                }
                false => {
                    forward::pass(connection, &exchange, &found, head, body, &came, account).await
                }
            };
            answer.map(|mut response| {
                if let Some(cookie) = &cookie {
                    error_response::add_cookie(response.headers_mut(), cookie);
                }
                response
            })
        }
        Destination::Multiplex => {
            account.action = "websocket";
            websocket::multiplex(connection, &exchange, head, came)
        }
        Destination::Route(found, _) if exchange.is_handshake && found.bridged => {
            account.action = "websocket";
            websocket::single(connection, &exchange, found, head, came)
        }
        Destination::Route(found, _) if exchange.is_handshake => {
            account.action = "tunnel";
            tunnel::open(connection, &exchange, &found, head, body, came, account).await
        }
        Destination::Route(found, _) => {
            account.action = "passthrough";
            forward::pass(connection, &exchange, &found, head, body, &came, account).await
        }
    };
    answer.map(Walked::Answered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room<A, B, F>(_: impl Fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_poll_that_hangs_keeps_little_of_its_request() {
        let room = room(dispatch);
        assert!(room <= 1720, "{room} bytes");
    }
}
