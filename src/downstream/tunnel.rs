//! The backend's own WebSockets: after both sides have agreed, bytes go both ways untouched.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::account::Account;
use super::body::Arriving;
use super::exchange::{Connection, Exchange};
use super::passthrough;
use super::respond::Problem;
use super::upgrade::{Granted, Upgrade};
use super::websocket;
use crate::edge::hygiene::hop;
use crate::error::{Error, Kind};
use crate::route::Match;
use crate::upstream::{self, Body, Hold};

/// How long one half may go on after the other has ended.
const HALF_OPEN: Duration = Duration::from_secs(10);

/// Asks the backend for a WebSocket on behalf of the client.
pub async fn open(
    connection: &Arc<Connection>,
    exchange: &Exchange,
    found: &Match,
    head: Parts,
    body: Arriving,
    account: &mut Account,
) -> Result<Response<Body>, Problem> {
    let key = websocket::key(&head.headers)?;
    let expected = derive_accept_key(key.as_bytes());
    let mut head = head;
    let downstream = Upgrade::of(&mut head.extensions);
    let mut request = passthrough::request(exchange, found, head, body)?;
    ask_for_websocket(request.headers_mut());
    let mut response = passthrough::send(exchange, found, request, account).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(response);
    }
    if !agrees(response.headers(), &expected) {
        let error = Error::upstream(Kind::Broken, "its handshake does not answer ours");
        account.blame(&error);
        return Err(Problem::from(&error));
    }
    let upstream = hyper::upgrade::on(&mut response);
    let Some(downstream) = downstream else {
        return Err(Problem::bad_handshake("this connection cannot be upgraded"));
    };
    let (mut head, _) = response.into_parts();
    let held = head.extensions.remove::<Hold>();
    tokio::spawn(carry((connection.clone(), held), downstream, upstream));
    hop::strip(&mut head.headers);
    ask_for_websocket(&mut head.headers);
    Ok(Response::from_parts(head, upstream::empty()))
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
        && hop::has_token(headers, &CONNECTION, "upgrade")
        && only(&SEC_WEBSOCKET_ACCEPT).is_some_and(|value| value == expected)
}

/// Carries bytes until both halves have ended. What the client sent before the `101` was held
/// back by the wire and goes first.
async fn carry(held: (Arc<Connection>, Option<Hold>), downstream: Upgrade, upstream: OnUpgrade) {
    let Ok(upgraded) = upstream.await else {
        return;
    };
    let upstream = TokioIo::new(upgraded);
    let Ok(Granted { socket, ahead }) = downstream.granted().await else {
        return;
    };
    let (from_client, to_client) = tokio::io::split(socket);
    let (from_backend, mut to_backend) = tokio::io::split(upstream);
    if to_backend.write_all(&ahead).await.is_err() {
        return;
    }
    drop(ahead);
    let up = copy(from_client, to_backend);
    let down = copy(from_backend, to_client);
    tokio::pin!(up, down);
    // Neither half is timed while both live: WebSockets may be silent for hours. TCP's own
    // keep-alive finds those who vanished.
    tokio::select! {
        () = &mut up => drop(tokio::time::timeout(HALF_OPEN, down).await),
        () = &mut down => drop(tokio::time::timeout(HALF_OPEN, up).await),
    }
    // The connection kept its place until here, and so did the backend's half.
    drop(held);
}

/// Copies one half to its end, and passes the end on.
async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    // Either side may break at any time; there is nobody left to tell.
    let _ = tokio::io::copy(&mut from, &mut to).await;
    let _ = to.shutdown().await;
}
