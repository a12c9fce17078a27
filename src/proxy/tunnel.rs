//! The backend's own WebSockets: after both sides have agreed, bytes go both ways untouched.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL,
    UPGRADE,
};
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::context::Came;
use super::context::RequestContext;
use super::expiry::Expiry;
use super::request_record::RequestRecord;
use super::{copy, forward, handshake, subprotocol};
use crate::config::{CorsMode, Route};
use crate::error::{Error, ErrorKind, Side};
use crate::http::body::{self, Body};
use crate::http::header_case::Spelling;
use crate::http::header_text::Text;
use crate::http::hop_by_hop;
use crate::http::problem::Problem;
use crate::policy::cors;
use crate::policy::rate_limit::ConnectionPermit;
use crate::router::Match;
use crate::server::client_connection::Connection;
use crate::server::request_body::RequestBody;
use crate::server::upgrade::{Granted, Upgrade};
use crate::telemetry::Tunnel;
use crate::upstream::InFlight;

/// How long one half may go on after the other has ended.
const HALF_OPEN: Duration = Duration::from_secs(10);

/// Asks the backend for a WebSocket on behalf of the client.
pub(crate) async fn open(
    connection: &Arc<Connection>,
    exchange: &RequestContext,
    found: &Match,
    head: Parts,
    body: RequestBody,
    came: Came,
    account: &mut RequestRecord,
) -> Result<Response<Body>, Problem> {
    let key = handshake::key(&head.headers)?;
    let expected = derive_accept_key(key.as_bytes());
    let mut head = head;
    let downstream = Upgrade::of(&mut head.extensions, connection.traffic.as_ref());
    let mut request = forward::request(connection, exchange, found, head, body, &came)?;
    if came.entrant.admission().is_some() {
        subprotocol::strip(request.headers_mut());
        if let Some(spelling) = request.extensions_mut().get_mut::<Spelling>() {
            spelling.forget_name(&SEC_WEBSOCKET_PROTOCOL);
        }
    }
    ask_for_websocket(request.headers_mut());
    account.expiry = Expiry::of(exchange, &came.entrant);
    let mut response = forward::send(exchange, found, request, account).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(response);
    }
    if !agrees(response.headers(), &expected) {
        let error = Error::upstream(ErrorKind::Broken, "its handshake does not answer ours");
        account.blame(&error);
        exchange.refuse_answer(&found.route, &error);
        return Err(Problem::from(&error));
    }
    let upstream = hyper::upgrade::on(&mut response);
    let Some(downstream) = downstream else {
        return Err(Problem::bad_handshake("this connection cannot be upgraded"));
    };
    let (mut head, _) = response.into_parts();
    let held = head.extensions.remove::<InFlight>();
    let journey = Journey {
        id: exchange.id.clone(),
        route: found.route.clone(),
        remote: exchange.client.ip.clone(),
    };
    let expiry = std::mem::take(&mut account.expiry);
    let held = (connection.clone(), held, came.entrant.seat);
    // From before the answer leaves, so that it is not missed.
    let downstream = downstream.granted();
    tokio::spawn(carry(held, downstream, upstream, expiry, journey));
    hop_by_hop::strip(&mut head.headers);
    ask_for_websocket(&mut head.headers);
    let cors = found.route.cors.as_ref();
    if cors.is_some_and(|cors| cors.mode == CorsMode::Enforce) {
        // The origin was checked here; a 101 grants nothing.
        cors::strip(&mut head.headers);
    }
    Ok(Response::from_parts(head, body::empty()))
}

/// What both halves keep until the end.
type Held = (Arc<Connection>, Option<InFlight>, Option<ConnectionPermit>);

/// How the log names a tunnel.
struct Journey {
    id: Text,
    route: Arc<Route>,
    remote: Text,
}

fn ask_for_websocket(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// Whether the backend's `101` is an answer to this very handshake (RFC 6455, section 4.1).
fn agrees(headers: &HeaderMap, expected: &str) -> bool {
    let only = |name: &HeaderName| {
        let mut values = headers.get_all(name).iter();
        values.next().filter(|_| values.next().is_none())
    };
    only(&UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && hop_by_hop::has_token(headers, &CONNECTION, "upgrade")
        && only(&SEC_WEBSOCKET_ACCEPT).is_some_and(|value| value == expected)
}

/// Carries bytes until both halves have ended, or the user is no longer accepted. What the backend speaks there is not ours, so
/// no close code says why, and both connections end. What the client sent before the `101` was held back by the wire and goes
/// first.
async fn carry(
    held: Held,
    downstream: oneshot::Receiver<Granted>,
    upstream: OnUpgrade,
    mut expiry: Expiry,
    journey: Journey,
) {
    let begun = Instant::now();
    let Ok(upgraded) = upstream.await else {
        return;
    };
    let upstream = TokioIo::new(upgraded);
    let Ok(Granted { socket, ahead }) = downstream.await else {
        return;
    };
    let (from_client, to_client) = tokio::io::split(socket);
    let (from_backend, mut to_backend) = tokio::io::split(upstream);
    let (mut bytes_in, mut bytes_out) = (ahead.len() as u64, 0);
    let from_client = Counted(from_client, &mut bytes_in);
    let up = async {
        if to_backend.write_all(&ahead).await.is_ok() {
            drop(ahead);
            copy::carry(from_client, to_backend).await;
        }
    };
    let down = copy::carry(Counted(from_backend, &mut bytes_out), to_client);
    // Neither half is timed while both live: WebSockets may be silent for hours. TCP's own keep-alive finds peers that
    // vanished.
    let ended = async {
        tokio::pin!(up, down);
        tokio::select! {
            () = &mut up => {
                let _ = tokio::time::timeout(HALF_OPEN, down).await;
                Side::Downstream
            }
            () = &mut down => {
                let _ = tokio::time::timeout(HALF_OPEN, up).await;
                Side::Upstream
            }
        }
    };
    let (side, denied) = tokio::select! {
        side = ended => (side, None),
        denied = expiry.over() => (Side::Edge, Some(denied.result())),
    };
    let (connection, _, _) = &held;
    let telemetry = &connection.shared.telemetry;
    if let Some(reason) = denied {
        telemetry.edge.credential_ended("tunnel", reason);
    }
    telemetry.access.tunnel_finished(&Tunnel {
        id: &journey.id,
        route: &journey.route.name,
        upstream: &journey.route.upstream.name,
        remote: &journey.remote,
        side: side.as_str(),
        reason: denied,
        total: begun.elapsed(),
        bytes_in,
        bytes_out,
    });
    // The connection kept its place until here, and so did the backend's half.
    drop(held);
}

/// A reader that counts.
struct Counted<'c, R>(R, &'c mut u64);

impl<R: AsyncRead + Unpin> AsyncRead for Counted<'_, R> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Counted(inner, count) = self.get_mut();
        let before = buffer.filled().len();
        let polled = Pin::new(inner).poll_read(cx, buffer);
        **count += (buffer.filled().len() - before) as u64;
        polled
    }
}
