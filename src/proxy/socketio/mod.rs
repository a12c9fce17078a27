//! The path of Socket.IO: handshakes of both transports, polls, POSTs, and WebSockets that a polling client tries.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};

use super::context::{Came, RequestContext, Walked, shared_seat};
use super::websocket::{handshake_of, switch};
use super::{error_response, handshake, limits};
use crate::config::SocketIo;
use crate::http::body::{self, Body};
use crate::http::problem::Problem;
use crate::policy::Policies;
use crate::policy::connection_limits::Full;
use crate::protocol::engineio::error::EngineError;
use crate::protocol::engineio::handshake::EngineHandshake;
use crate::protocol::engineio::packet::EnginePacket;
use crate::protocol::engineio::payload::{BadPost, PostedPackets};
use crate::server::client_connection::Connection;
use crate::server::http1_state::Http1State;
use crate::server::request_body::RequestBody;
use crate::server::upgrade::{Granted, Upgrade};
use crate::session::Presented;
use crate::session::credentials::own;
use crate::session::socketio::SocketIoClient;
use crate::transport::Transport;
use crate::transport::engineio::{EngineIo, EngineSettings};
use crate::transport::namespaces::NamespaceConnection;
use crate::transport::outbox::{Framing, Outbox};
use crate::transport::websocket::WebSocketTransport;
use crate::transport::websocket::reader::MessageLimits;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

mod query;
mod recognised;

pub(super) use recognised::recognise;

use query::{EngineTransport, Query};
use recognised::RecognisedClient;

/// Seconds after which a client that meets a draining process retries, spread at random.
const DRAINING_SECONDS: RangeInclusive<u32> = 1..=5;

/// A request that passed the edge, and its client.
pub(super) struct SocketIoRequest {
    pub(super) head: Parts,
    pub(super) body: RequestBody,
    pub(super) came: Came,
    pub(super) client: RecognisedClient,
}

/// What a request wants.
enum Wanted {
    Open(EngineTransport),
    Poll([u8; 16]),
    Post([u8; 16]),
    Probe([u8; 16]),
}

/// Answers a request that passed the edge.
pub(super) fn answer(
    connection: &Arc<Connection>,
    exchange: RequestContext,
    socketio: &Arc<SocketIo>,
    asked: SocketIoRequest,
) -> Result<Walked, Problem> {
    let query = Query::read(exchange.query.as_deref());
    let is_handshake = exchange.is_handshake;
    let sessions = exchange.shared.sessions.engine.clone();
    // A WebSocket for a session that has one already is let in and closed: clients take a refusal for an error.
    let known = |sid: &[u8; 16], way: EngineTransport| match way {
        EngineTransport::Polling => sessions.expect_polling(sid),
        EngineTransport::WebSocket => sessions.expect(sid),
    };
    let wanted = match wanted(&asked.head.method, is_handshake, &query, socketio, known) {
        Ok(wanted) => wanted,
        Err(error) => return Ok(Walked::Answered(refuse(error))),
    };
    if let Some(traffic) = &connection.traffic
        && matches!(
            wanted,
            Wanted::Open(EngineTransport::Polling) | Wanted::Poll(_)
        )
        && asked.body.is_nothing()
    {
        traffic.client_polls();
    }
    match wanted {
        Wanted::Open(EngineTransport::Polling) => {
            open_polling(connection, &exchange, socketio, asked)
        }
        Wanted::Open(EngineTransport::WebSocket) => {
            open_websocket(connection, &exchange, socketio, asked)
        }
        Wanted::Probe(sid) => probe(connection, &exchange, socketio, asked.head, sid),
        Wanted::Poll(sid) => {
            return Ok(Walked::Waits(Box::pin(async move {
                Ok(match sessions.poll(&sid).await {
                    Ok(packets) => text(packets),
                    Err(error) => refuse(error),
                })
            })));
        }
        Wanted::Post(sid) => {
            let traffic = connection.traffic.clone();
            let posted = post(exchange, socketio.max_payload, asked, sid, traffic);
            return Ok(Walked::Waits(Box::pin(posted)));
        }
    }
    .map(Walked::Answered)
}

fn wanted(
    method: &Method,
    is_handshake: bool,
    query: &Query,
    socketio: &SocketIo,
    expect: impl Fn(&[u8; 16], EngineTransport) -> Result<(), EngineError>,
) -> Result<Wanted, EngineError> {
    let way = query.transport.ok_or(EngineError::Transport)?;
    let is_offered = match way {
        EngineTransport::Polling => socketio.polling,
        EngineTransport::WebSocket => socketio.websocket,
    };
    if !is_offered {
        return Err(EngineError::Transport);
    }
    if query.wants_jsonp || is_handshake != (way == EngineTransport::WebSocket) {
        return Err(EngineError::BadRequest);
    }
    let Some(sid) = query.sid else {
        if *method != Method::GET {
            return Err(EngineError::Method);
        }
        return match query.is_version_4 {
            true => Ok(Wanted::Open(way)),
            false => Err(EngineError::Version),
        };
    };
    let sid = sid.ok_or(EngineError::Sid)?;
    expect(&sid, way)?;
    match (way, method) {
        (EngineTransport::WebSocket, _) => Ok(Wanted::Probe(sid)),
        (EngineTransport::Polling, &Method::GET) => Ok(Wanted::Poll(sid)),
        (EngineTransport::Polling, &Method::POST) => Ok(Wanted::Post(sid)),
        (EngineTransport::Polling, _) => Err(EngineError::BadRequest),
    }
}

fn settings(socketio: &SocketIo) -> EngineSettings {
    EngineSettings {
        ping_interval: socketio.ping_interval,
        ping_timeout: socketio.ping_timeout,
    }
}

fn opening(socketio: &SocketIo, sid: &str, may_upgrade: bool) -> EnginePacket {
    EngineHandshake {
        sid,
        may_upgrade,
        ping_interval: socketio.ping_interval,
        ping_timeout: socketio.ping_timeout,
        max_payload: socketio.max_payload,
    }
    .packet()
}

/// A secret of 128 bits.
fn secret() -> Result<[u8; 16], EngineError> {
    let mut sid = [0; 16];
    getrandom::fill(&mut sid).map_err(|_| EngineError::BadRequest)?;
    Ok(sid)
}

fn hex(sid: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(sid))
}

fn open_polling(
    connection: &Arc<Connection>,
    exchange: &RequestContext,
    socketio: &Arc<SocketIo>,
    asked: SocketIoRequest,
) -> Result<Response<Body>, Problem> {
    let sid = match secret() {
        Ok(sid) => sid,
        Err(error) => return Ok(refuse(error)),
    };
    if exchange.shared.draining.load(Ordering::Relaxed) {
        return Err(Problem::draining(fastrand::u32(DRAINING_SECONDS)));
    }
    let may_upgrade = socketio.websocket && !asked.client.is_legacy;
    let (mut client, cookie) = client(connection, exchange, asked);
    // Its session outlives this request's connection, and others may come over it: it counts by itself.
    let limits = &exchange.in_force.config.server.limits;
    let permit = (exchange.shared.connections).admit(exchange.client.address, limits);
    let full = |full: Full| Problem::overloaded(full.reason(), "too many connections", 5);
    client.permit = Arc::new(permit.map_err(full)?);
    let seat = limits::take_seat(exchange, Policies::of_socketio(socketio))?;
    client.seat = seat.map(shared_seat);
    let entry = exchange.shared.sessions.engine.enter(sid);
    let mut engine = EngineIo::over_polling(entry, settings(socketio));
    engine.limit_messages(socketio.max_payload);
    let outbox = Outbox::new(Framing::EngineIo);
    let within = exchange.in_force.config.websocket.hello_timeout;
    let connection = NamespaceConnection::new(engine, outbox, Box::new(client), within);
    tokio::spawn(connection);
    let mut packet = Vec::new();
    opening(socketio, &hex(sid), may_upgrade).write(&mut packet);
    let mut response = text(packet.into());
    if let Some(cookie) = &cookie {
        error_response::add_cookie(response.headers_mut(), cookie);
    }
    Ok(response)
}

fn open_websocket(
    connection: &Arc<Connection>,
    exchange: &RequestContext,
    socketio: &Arc<SocketIo>,
    mut asked: SocketIoRequest,
) -> Result<Response<Body>, Problem> {
    let accept = derive_accept_key(handshake::key(&asked.head.headers)?.as_bytes());
    let upgrade = Upgrade::of(&mut asked.head.extensions, connection.traffic.as_ref());
    let upgrade = upgrade.ok_or_else(cannot_upgrade)?;
    let sid = match secret() {
        Ok(sid) => sid,
        Err(error) => return Ok(refuse(error)),
    };
    let (client, cookie) = client(connection, exchange, asked);
    let (most, settings) = (socketio.max_payload, settings(socketio));
    let within = exchange.in_force.config.websocket.hello_timeout;
    let packet = opening(socketio, &hex(sid), false).frame();
    upgrade.leave_to(move |Granted { socket, ahead }| {
        let transport = WebSocketTransport::new(socket, MessageLimits::of(most), &ahead);
        let mut outbox = Outbox::new(Framing::WebSocket);
        outbox.push(packet);
        let engine = EngineIo::over_websocket(Box::new(transport), settings);
        let connection = NamespaceConnection::new(engine, outbox, Box::new(client), within);
        // A small task of its own: the connection's task has memory reserved for the whole handshake.
        tokio::spawn(connection);
    });
    Ok(switch(&accept, None, cookie.as_ref()))
}

/// A WebSocket that a polling client tries: its session judges it.
fn probe(
    connection: &Arc<Connection>,
    exchange: &RequestContext,
    socketio: &SocketIo,
    mut head: Parts,
    sid: [u8; 16],
) -> Result<Response<Body>, Problem> {
    let accept = derive_accept_key(handshake::key(&head.headers)?.as_bytes());
    let upgrade = Upgrade::of(&mut head.extensions, connection.traffic.as_ref());
    let upgrade = upgrade.ok_or_else(cannot_upgrade)?;
    let sessions = exchange.shared.sessions.engine.clone();
    let most = socketio.max_payload;
    upgrade.leave_to(move |Granted { socket, ahead }| {
        let transport = WebSocketTransport::new(socket, MessageLimits::of(most), &ahead);
        tokio::spawn(async move { sessions.probe(&sid, Box::new(transport)).await });
    });
    Ok(switch(&accept, None, None))
}

fn cannot_upgrade() -> Problem {
    Problem::bad_handshake("this connection cannot be upgraded")
}

async fn post(
    exchange: RequestContext,
    most: usize,
    asked: SocketIoRequest,
    sid: [u8; 16],
    traffic: Option<Http1State>,
) -> Result<Response<Body>, Problem> {
    let length = asked.head.headers.get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > most) {
        return Ok(too_large());
    }
    let body = Limited::new(asked.body.upward(&exchange.in_force), most);
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => return Ok(too_large()),
        Err(_) => return Ok(refuse(EngineError::BadRequest)),
    };
    if let Some(traffic) = &traffic {
        traffic.client_polls();
    }
    let packets = match PostedPackets::of(body, most) {
        Ok(packets) => packets,
        Err(BadPost::TooLarge) => return Ok(too_large()),
        Err(BadPost::NotText) => return Ok(refuse(EngineError::BadRequest)),
    };
    let taken = exchange.shared.sessions.engine.post(&sid, packets).await;
    Ok(match taken {
        Ok(()) => text(Bytes::from_static(b"ok")),
        Err(error) => refuse(error),
    })
}

/// The client behind a handshake, and the cookie that its unit needs.
fn client(
    connection: &Arc<Connection>,
    exchange: &RequestContext,
    asked: SocketIoRequest,
) -> (SocketIoClient, Option<HeaderValue>) {
    let SocketIoRequest {
        mut head,
        came,
        client,
        ..
    } = asked;
    let mut extras = came.entrant.extras;
    extras.ticket = None;
    let auths = exchange.in_force.config.auths.values();
    let presented = Presented::take(&mut head.headers, extras, auths);
    let cookie = client.cookie;
    let mut handshake = handshake_of(exchange, head.headers, client.candidate);
    // One value of a head would keep all of it in memory.
    handshake.host = own(&handshake.host);
    for value in (handshake.headers.values_mut()).chain(&mut handshake.origin) {
        *value = own(value);
    }
    let client = SocketIoClient {
        request_id: exchange.id.to_string(),
        handshake,
        presented,
        admission: client.admission,
        seat: came.entrant.seat.map(shared_seat),
        permit: connection.permit.clone(),
        shared: exchange.shared.clone(),
    };
    (client, cookie)
}

fn text(packets: Bytes) -> Response<Body> {
    let mut response = Response::new(body::full(packets));
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("text/plain; charset=UTF-8");
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// An answer in the words of the reference server.
fn refuse(error: EngineError) -> Response<Body> {
    let mut response = Response::new(body::full(error.body()));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn too_large() -> Response<Body> {
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
    response
}
