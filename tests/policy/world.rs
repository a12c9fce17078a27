//! A backend with pages, streams and sockets, people with keys, and what an answer says about its origin.

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::harness::{Backend, JSON, Message, Peer, Proxy, Socket, auth::key_field, reply};

/// An allowed page.
pub const APP: &str = "https://app.example.com";
/// A page of somebody else.
pub const EVIL: &str = "https://evil.test";
/// Two exact origins and one label, with credentials.
pub const CORS: &str = "[cors.web]\ncredentials = true\n\
    origins = [\"https://app.example.com\", \"https://*.stage.example.com\", \"http://localhost:3000\"]\n";

/// A route to the backend; `lines` follow in the same table.
pub fn route(path: &str, lines: &str) -> String {
    format!("[[route]]\npath = \"{path}\"\nupstream = \"app\"\n{lines}\n")
}

/// Fields of a backend that thinks for itself about origins.
pub const OWN_CORS: &str = "Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Origin: https://other.test\r\n\
    Access-Control-Allow-Credentials: false\r\nAccess-Control-Expose-Headers: x-backend\r\n\
    Access-Control-Allow-Private-Network: true\r\nVary: Accept-Encoding\r\nETag: \"1\"\r\n\
    Timing-Allow-Origin: *\r\nCross-Origin-Resource-Policy: same-origin\r\nSet-Cookie: s=1\r\n";

/// Streams that say nothing, sockets, and pages: `/304`, `/302`, `/500`, all else 200; each with CORS headers of its own.
pub async fn backend() -> Backend {
    Backend::start(|request, mut peer| async move {
        if request.field("upgrade").is_some() {
            return grant(&request, peer).await;
        }
        if request.field("accept") == Some("text/event-stream") {
            peer.try_send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
                .await;
            peer.rest().await;
            return None;
        }
        match request.target() {
            "/304" => {
                let head = format!("HTTP/1.1 304 Not Modified\r\n{OWN_CORS}\r\n");
                peer.try_send(head).await.then_some(peer)
            }
            "/302" => reply(peer, "302 Found", &format!("Location: /\r\n{OWN_CORS}"), "").await,
            "/500" => reply(peer, "500 Internal Server Error", OWN_CORS, "broken").await,
            _ if request.line.starts_with("HEAD ") => {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n{OWN_CORS}\r\n");
                peer.try_send(head).await.then_some(peer)
            }
            _ => reply(peer, "200 OK", OWN_CORS, "ok").await,
        }
    })
    .await
}

async fn grant(request: &Message, mut peer: Peer) -> Option<Peer> {
    let accept = derive_accept_key(request.field("sec-websocket-key")?.as_bytes());
    peer.try_send(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\nAccess-Control-Allow-Origin: *\r\n\r\n"
    ))
    .await;
    peer.rest().await;
    None
}

/// One request on a connection of its own.
pub async fn ask(proxy: &Proxy, line: &str, fields: &str) -> Message {
    let mut client = proxy.client().await;
    client.ask(line, fields, "").await
}

/// As [`ask`], with a body.
pub async fn write(proxy: &Proxy, line: &str, fields: &str) -> Message {
    let mut client = proxy.client().await;
    client.ask(line, fields, "{}").await
}

/// Opens a WebSocket, which is granted.
pub async fn open(proxy: &Proxy, path: &str, fields: &[&str]) -> Socket {
    let opened = Socket::open(&proxy.handle.public[0], path, fields).await;
    opened.unwrap_or_else(|answer| panic!("{path}: {}", answer.status()))
}

/// Opens one that is not; its status.
pub async fn refused(proxy: &Proxy, path: &str, fields: &[&str]) -> u16 {
    match Socket::open(&proxy.handle.public[0], path, fields).await {
        Ok(_) => 101,
        Err(answer) => answer.status().as_u16(),
    }
}

/// Opens `PREFIX/ws` with a key, and reads its `welcome`.
pub async fn join(proxy: &Proxy, key: &str) -> Socket {
    let mut socket = open(proxy, "/_crossfade/ws", &[JSON, &key_field(key)]).await;
    socket.frame("welcome").await;
    socket
}

/// Names of all that an answer says about origins.
pub fn cors_names(answer: &Message) -> Vec<String> {
    let names = answer.fields.iter().map(|(name, _)| name.to_lowercase());
    names
        .filter(|name| name.starts_with("access-control-"))
        .collect()
}

/// Whether the answer says that it depends on this field.
pub fn varies_by(answer: &Message, name: &str) -> bool {
    let lines = answer.all("vary");
    let mut tokens = lines.iter().flat_map(|line| line.split(','));
    tokens.any(|token| token.trim().eq_ignore_ascii_case(name))
}

/// The page may read it, with credentials: everything is said once, and nothing by the backend.
pub fn assert_granted(row: &str, answer: &Message, origin: &str) {
    let names = cors_names(answer);
    let allowed = answer.all("access-control-allow-origin");
    assert_eq!(allowed, [origin], "row {row}: {answer:?}");
    let credentials = answer.all("access-control-allow-credentials");
    assert_eq!(credentials, ["true"], "row {row}");
    let expose = answer.all("access-control-expose-headers");
    assert_eq!(expose, ["etag, x-request-id"], "row {row}");
    assert_eq!(names.len(), 3, "row {row}: {names:?}");
    assert!(varies_by(answer, "origin"), "row {row}: {answer:?}");
}

/// No page may read it, and caches know on what that depends.
pub fn assert_nothing(row: &str, answer: &Message) {
    assert_eq!(cors_names(answer), [""; 0], "row {row}: {answer:?}");
    assert!(varies_by(answer, "origin"), "row {row}: {answer:?}");
}

/// The code of a problem document.
pub fn code(answer: &Message) -> String {
    let document = answer.json();
    document["code"].as_str().unwrap_or("-").to_owned()
}
