//! Every kind of credential at every entrance, on live connections, and what a backend hears of it.
//! Where a request is refused, the backend's requests are counted.

mod api_keys;
mod authority;
mod csrf;
mod doors;
mod example;
mod identity;
mod keys;
mod live;
mod passed;
mod places;
mod rechecks;
mod require;
mod revoke;
mod tickets;
mod tokens;
mod topics;

pub use require::SPELLINGS;

use std::time::Duration;

use crate::harness::{Message, Peer, auth::Policy, builder::Builder, proxy};

const WS: &str = "/_crossfade/ws";

/// The origin of a handshake by hand's own page.
const OWN: &str = "origin: http://a.example";

/// A path that nothing guards as it is written, and that a backend may read as one that the login guards.
const GATE: &str = r#"
[[route]]
path = "/gate/{id}"
upstream = "app"
encoded = ["%2F"]

[[route]]
path = "/gate/{id}/keys"
upstream = "app"
auth = "login"
"#;

/// Streams, a document, a command, pages and native WebSockets.
fn routes() -> Builder {
    proxy()
        .sse("/stream")
        .sse("/other")
        .poll("/document")
        .line("source = {kind = \"poll\", every = \"50ms\", jitter = 0}")
        .sse("/editors")
        .route("/tasks/{id}")
        .line("name = \"tasks\"")
        .line("calls = [\"POST\", \"GET\"]")
        .route("/app/{*rest}")
        .line("name = \"app\"")
        .on("/app/export", |_, peer| export(peer))
        .on("/app/late", |_, peer| late(peer))
}

/// A file that takes long.
async fn export(mut peer: Peer) -> Option<Peer> {
    peer.try_send("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")
        .await;
    while peer.try_send([b'x'; 1000]).await {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    None
}

/// No answer, as long as it is waited for.
async fn late(mut peer: Peer) -> Option<Peer> {
    peer.rest().await;
    None
}

/// The same by this policy, one of the streams for editors alone; and what is open.
fn guarded(policy: Policy) -> Builder {
    routes()
        .at("/editors")
        .line("require = {roles = [\"editor\"]}")
        .auth(policy)
        .sse("/news")
        .route("/open/{*rest}")
        .line("name = \"open\"")
}

/// The status and the sentence of a problem document.
fn problem(answer: &Message) -> (u16, String, String) {
    let document = answer.json();
    let text = |member: &str| document[member].as_str().unwrap_or_default().to_owned();
    (answer.status(), text("code"), text("detail"))
}

#[test]
fn example_stands_in_contributing_as_it_is() {
    let page = include_str!("../../../CONTRIBUTING.md");
    assert!(page.contains(include_str!("example.rs")));
}
