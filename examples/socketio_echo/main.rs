//! Echoes messages of Engine.IO at `/engine.io/` and events of Socket.IO at `/socket.io/`, over the transports that crossfade's
//! sessions use: the system under test of both protocols' own suites (`tests/interop/protocol_suites.sh`).
//!
//! `cargo run --example socketio_echo [ADDRESS]` prints `listening 127.0.0.1:PORT`.

mod echo;

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use crossfade::packet::Payload;
use crossfade::protocol::engineio::error::EngineError;
use crossfade::protocol::engineio::handshake::EngineHandshake;
use crossfade::protocol::engineio::payload::PostedPackets;
use crossfade::transport::engineio::registry::EngineSessions;
use crossfade::transport::engineio::{EngineIo, EngineSettings};
use crossfade::transport::namespaces::NamespaceConnection;
use crossfade::transport::outbox::{Framing, Outbox};
use crossfade::transport::websocket::WebSocketTransport;
use crossfade::transport::websocket::reader::MessageLimits;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming as Body;
use hyper::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// What both suites expect.
const SETTINGS: EngineSettings = EngineSettings {
    ping_interval: Duration::from_millis(300),
    ping_timeout: Duration::from_millis(200),
};
const MAX_PAYLOAD: usize = 1_000_000;
const LIMITS: MessageLimits = MessageLimits {
    message: MAX_PAYLOAD as u32,
    fragments: 1_000,
};

/// A client has so long to join a namespace.
const JOIN_WITHIN: Duration = Duration::from_secs(1);

type Answer = Response<Full<Bytes>>;

// The suites send requests over two connections at once and expect them to be judged in that order.
#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let address = std::env::args().nth(1);
    let listener = TcpListener::bind(address.unwrap_or_else(|| "127.0.0.1:0".into())).await?;
    println!("listening {}", listener.local_addr()?);
    let sessions = EngineSessions::default();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let sessions = sessions.clone();
        let service = service_fn(move |request| {
            let sessions = sessions.clone();
            async move { Ok::<_, Infallible>(answer(request, sessions).await) }
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        // A client may break off its connection.
        tokio::spawn(connection.with_upgrades());
    }
}

async fn answer(request: Request<Body>, sessions: EngineSessions) -> Answer {
    let answered = match parameter(&request, "transport") {
        Some("polling") => poll(request, &sessions).await.map(Response::new),
        Some("websocket") => switch(request, sessions),
        _ => Err(EngineError::Transport),
    };
    answered.unwrap_or_else(|error| {
        let mut response = Response::new(Full::new(error.body()));
        *response.status_mut() = StatusCode::BAD_REQUEST;
        response
    })
}

/// A handshake over polling, a poll, or a POST.
async fn poll(
    request: Request<Body>,
    sessions: &EngineSessions,
) -> Result<Full<Bytes>, EngineError> {
    let Some(sid) = sid(&request)? else {
        if request.method() != Method::GET {
            return Err(EngineError::Method);
        }
        let sid = new_sid(&request)?;
        let engine = EngineIo::over_polling(sessions.enter(sid), SETTINGS);
        begin(
            is_socketio(&request),
            engine,
            Outbox::new(Framing::EngineIo),
        );
        return Ok(Full::new(handshake(sid, true).into()));
    };
    sessions.expect_polling(&sid)?;
    if request.method() == Method::GET {
        return sessions.poll(&sid).await.map(Full::new);
    }
    let body = Limited::new(request.into_body(), MAX_PAYLOAD);
    let body = body.collect().await.map_err(|_| EngineError::BadRequest)?;
    let packets = PostedPackets::of(body.to_bytes(), MAX_PAYLOAD);
    let packets = packets.map_err(|_| EngineError::BadRequest)?;
    sessions.post(&sid, packets).await?;
    Ok(Full::new(Bytes::from_static(b"ok")))
}

/// A handshake over a WebSocket, or one that a polling client tries.
fn switch(mut request: Request<Body>, sessions: EngineSessions) -> Result<Answer, EngineError> {
    let tried = sid(&request)?;
    let sid = match tried {
        Some(sid) => sessions.expect(&sid).map(|()| sid)?,
        None => new_sid(&request)?,
    };
    let key = request.headers().get(SEC_WEBSOCKET_KEY);
    let accept = derive_accept_key(key.ok_or(EngineError::BadRequest)?.as_bytes());
    tokio::spawn(async move {
        let Ok(socket) = hyper::upgrade::on(&mut request).await else {
            return;
        };
        let transport = Box::new(WebSocketTransport::new(TokioIo::new(socket), LIMITS, b""));
        if tried.is_some() {
            return sessions.probe(&sid, transport).await;
        }
        let engine = EngineIo::over_websocket(transport, SETTINGS);
        let mut outbox = Outbox::new(Framing::WebSocket);
        outbox.answer(Payload::copy_of(&handshake(sid, false)).into());
        begin(is_socketio(&request), engine, outbox);
    });
    let mut response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
    for (name, value) in [
        (CONNECTION, "Upgrade"),
        (UPGRADE, "websocket"),
        (SEC_WEBSOCKET_ACCEPT, &accept),
    ] {
        response = response.header(name, value);
    }
    let response = response.body(Full::default());
    response.map_err(|_| EngineError::BadRequest)
}

fn begin(is_socketio: bool, engine: EngineIo, outbox: Outbox) {
    if is_socketio {
        let namespaces = Box::new(echo::EchoNamespaces);
        tokio::spawn(NamespaceConnection::new(
            engine,
            outbox,
            namespaces,
            JOIN_WITHIN,
        ));
    } else {
        tokio::spawn(echo::messages(engine, outbox));
    }
}

fn handshake(sid: [u8; 16], may_upgrade: bool) -> Vec<u8> {
    let handshake = EngineHandshake {
        sid: &format!("{:032x}", u128::from_be_bytes(sid)),
        may_upgrade,
        ping_interval: SETTINGS.ping_interval,
        ping_timeout: SETTINGS.ping_timeout,
        max_payload: MAX_PAYLOAD,
    };
    let mut text = Vec::new();
    handshake.packet().write(&mut text);
    text
}

fn is_socketio(request: &Request<Body>) -> bool {
    request.uri().path().starts_with("/socket.io")
}

/// For a client that speaks version 4.
fn new_sid(request: &Request<Body>) -> Result<[u8; 16], EngineError> {
    match parameter(request, "EIO") {
        Some("4") => Ok(fastrand::u128(..).to_be_bytes()),
        _ => Err(EngineError::Version),
    }
}

fn sid(request: &Request<Body>) -> Result<Option<[u8; 16]>, EngineError> {
    let sid = parameter(request, "sid").map(|sid| u128::from_str_radix(sid, 16));
    let sid = sid.transpose().map_err(|_| EngineError::Sid)?;
    Ok(sid.map(u128::to_be_bytes))
}

fn parameter<'a>(request: &'a Request<Body>, name: &str) -> Option<&'a str> {
    let mut pairs = request.uri().query()?.split('&');
    let value = |pair: &'a str| pair.split_once('=').filter(|(found, _)| *found == name);
    Some(pairs.find_map(value)?.1)
}
