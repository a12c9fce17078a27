//! What a client does to get a WebSocket from a bridged route, by hand.

use super::backend::reply;
use super::peer::request;
use super::sidecar::EVERYTHING;
use super::{Backend, Message, Peer, Sidecar};

/// The key of the standard's own example.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A bridged stream, its rollout `web`, and all the rest.
pub fn routes(rollout: &str) -> String {
    format!(
        "[[route]]\npath = \"/api/stream/{{id}}\"\nupstream = \"app\"\nsource = \"sse\"\n\
         rollout = \"web\"\n[rollout.web]\n{rollout}\n{EVERYTHING}"
    )
}

pub fn handshake(target: &str, extra: &str) -> String {
    let fields = format!(
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {KEY}\r\n{extra}"
    );
    request(&format!("GET {target}"), &fields, "")
}

pub async fn asked(sidecar: &Sidecar, request: String) -> (Message, Peer) {
    let mut client = sidecar.client().await;
    client.send(request).await;
    let answer = client.response().await;
    (answer, client)
}

/// An event stream that says nothing.
pub async fn quiet_stream() -> Backend {
    Backend::start(|request, mut peer| async move {
        if request.field("accept") != Some("text/event-stream") {
            return reply(peer, "200 OK", "", "plain").await;
        }
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
        peer.send(head).await;
        peer.rest().await;
        None
    })
    .await
}
