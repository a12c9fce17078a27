//! The backend's own WebSockets pass through untouched, and nothing else that asks for an upgrade.

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::{accept_async, client_async};

use crate::harness::{Backend, Message, Peer, Proxy, eventually, reply, request, within};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

fn handshake(extra: &str) -> String {
    let fields = format!(
        "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {KEY}\r\n{extra}"
    );
    request("GET /socket?a=1", &fields, "")
}

/// Answers every handshake as the standard says, then sends back what comes.
async fn echo() -> Backend {
    Backend::start(|request, mut peer| async move {
        let key = request.field("sec-websocket-key").unwrap();
        let accept = derive_accept_key(key.as_bytes());
        peer.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
        ))
        .await;
        echo_bytes(&mut peer).await;
        None
    })
    .await
}

async fn echo_bytes(peer: &mut Peer) {
    while let Some(byte) = peer.byte().await {
        if byte == b'!' || !peer.try_send([byte]).await {
            return;
        }
    }
}

#[tokio::test]
async fn a_real_client_and_a_real_server_talk_through_it() {
    let backend = Backend::by_hand(|peer, _| async move {
        let (stream, _) = peer.into_parts();
        let mut socket = accept_async(stream).await.unwrap();
        while let Some(Ok(frame)) = socket.next().await {
            if frame.is_text() || frame.is_binary() {
                socket.send(frame).await.unwrap();
            }
        }
    })
    .await;
    let proxy = Proxy::passthrough(&backend).await;
    let url = format!("ws://{}/chat", proxy.address);
    let stream = tokio::net::TcpStream::connect(proxy.address).await.unwrap();
    let request = url.into_client_request().unwrap();
    let (mut socket, _) = client_async(request, stream).await.unwrap();
    for size in [0, 1, 125, 126, 65_536, 1 << 20] {
        let frame = Frame::Binary(vec![7; size].into());
        socket.send(frame.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), frame);
    }
    socket.close(None).await.unwrap();
    while socket.next().await.is_some() {}
    backend.has_open(0).await;
}

#[tokio::test]
async fn the_handshake_passes_and_bytes_go_both_ways() {
    let backend = echo().await;
    let proxy = Proxy::passthrough(&backend).await;
    let mut client = proxy.client().await;
    let extra = "Sec-WebSocket-Protocol: chat, other\r\nSec-WebSocket-Extensions: x\r\n\
                 HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\nX-Forwarded-For: 1.2.3.4\r\n";
    client.send(handshake(extra)).await;
    let answer = client.head().await;
    assert_eq!(answer.status(), 101);
    assert_eq!(
        answer.field("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    assert_eq!(answer.field("sec-websocket-protocol"), Some("chat"));
    assert_eq!(answer.field("upgrade"), Some("websocket"));
    client.send("hello").await;
    assert_eq!(client.exactly(5).await, b"hello");
    let seen = backend.only();
    assert_eq!(seen.line, "GET /socket?a=1 HTTP/1.1");
    assert_eq!(seen.field("upgrade"), Some("websocket"));
    assert_eq!(seen.field("sec-websocket-extensions"), Some("x"));
    assert_eq!(seen.field("http2-settings"), None);
    assert_eq!(seen.field("x-forwarded-for"), Some("127.0.0.1"));
    client.send("!").await;
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn either_end_ends_the_other() {
    let backend = echo().await;
    let proxy = Proxy::passthrough(&backend).await;
    let mut client = proxy.client().await;
    client.send(handshake("")).await;
    client.head().await;
    backend.has_open(1).await;
    drop(client);
    backend.has_open(0).await;
    let connections = || proxy.handle.shared().connections.count();
    eventually("the place to be given back", async || connections() == 0).await;
}

#[tokio::test]
async fn bytes_behind_the_head_wait_for_the_101() {
    let (go, wait) = tokio::sync::oneshot::channel();
    let wait = std::sync::Mutex::new(Some(wait));
    let backend = Backend::by_hand(move |mut peer, seen| {
        let wait = wait.lock().unwrap().take();
        async move {
            let head = peer.head().await;
            let accept = derive_accept_key(KEY.as_bytes());
            seen.lock().unwrap().push(head);
            let (stream, early) = peer.into_parts();
            assert!(early.is_empty());
            wait.unwrap().await.unwrap();
            let mut nothing = [0];
            let sent = stream.try_read(&mut nothing);
            assert!(sent.is_err(), "something came before the 101");
            let mut peer = Peer::new(stream);
            peer.send(format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n\r\nfirst"
            ))
            .await;
            echo_bytes(&mut peer).await;
        }
    })
    .await;
    let proxy = Proxy::passthrough(&backend).await;
    let mut client = proxy.client().await;
    client.send(handshake("") + "early").await;
    backend.reached(1).await;
    go.send(()).unwrap();
    assert_eq!(client.head().await.status(), 101);
    assert_eq!(client.exactly(10).await, b"firstearly");
}

#[tokio::test]
async fn a_refusal_of_the_backend_is_an_answer_and_http_goes_on() {
    let backend = Backend::start(|request, peer| async move {
        match request.target() {
            "/after" => reply(peer, "200 OK", "", "after").await,
            _ => reply(peer, "403 Forbidden", "X-Why: no\r\n", "no").await,
        }
    })
    .await;
    let proxy = Proxy::passthrough(&backend).await;
    let mut client = proxy.client().await;
    client
        .send(handshake("") + &request("GET /after", "", ""))
        .await;
    let refused = client.response().await;
    assert_eq!(
        (refused.status(), refused.field("x-why")),
        (403, Some("no"))
    );
    let after = within("what was sent ahead", client.response()).await;
    assert_eq!(after.text(), "after");
}

#[tokio::test]
async fn a_101_that_answers_another_handshake_is_a_broken_answer() {
    let answers = [
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n",
        "Upgrade: websocket\r\nConnection: Upgrade\r\n",
        "Upgrade: h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
        "Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
    ];
    for fields in answers {
        let backend = Backend::start(move |_, mut peer| async move {
            peer.send(format!(
                "HTTP/1.1 101 Switching Protocols\r\n{fields}\r\nsecret"
            ))
            .await;
            Some(peer)
        })
        .await;
        let proxy = Proxy::passthrough(&backend).await;
        let mut client = proxy.client().await;
        client.send(handshake("")).await;
        let answer = client.response().await;
        assert_eq!(answer.status(), 502, "{fields}");
        assert_eq!(answer.json()["side"], "upstream");
        assert!(!answer.text().contains("secret"));
    }
}

async fn asked(proxy: &Proxy, request: String) -> Message {
    let mut client = proxy.client().await;
    client.send(request).await;
    client.response().await
}

#[tokio::test]
async fn only_a_whole_websocket_handshake_asks_for_an_upgrade() {
    let backend = Backend::ok().await;
    let proxy = Proxy::passthrough(&backend).await;
    let one_of = |fields: &str| request("GET /", fields, "");
    for plain in [
        one_of(
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
        ),
        one_of("Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n"),
        one_of("Upgrade: websocket\r\n"),
        one_of("Connection: keep-alive\r\nUpgrade: websocket\r\n"),
        request(
            "POST /",
            "Connection: upgrade\r\nUpgrade: websocket\r\n",
            "abc",
        ),
    ] {
        let before = backend.seen().len();
        assert_eq!(asked(&proxy, plain.clone()).await.status(), 200, "{plain}");
        let seen = backend.seen().split_off(before);
        assert_eq!(seen[0].field("upgrade"), None, "{plain}");
        assert_eq!(seen[0].field("connection"), None, "{plain}");
        assert_eq!(seen[0].field("http2-settings"), None, "{plain}");
    }
    let before = backend.seen().len();
    for (fields, status) in [
        ("Content-Length: 3\r\n", 400),
        ("Transfer-Encoding: chunked\r\n", 400),
        ("Sec-WebSocket-Key: AAAA\r\n", 400),
    ] {
        assert_eq!(
            asked(&proxy, handshake(fields) + "abc").await.status(),
            status,
            "{fields}"
        );
    }
    let old = handshake("").replace("Version: 13", "Version: 8");
    assert_eq!(asked(&proxy, old).await.status(), 426);
    assert_eq!(backend.seen().len(), before, "none of these reached it");
}

#[tokio::test]
async fn the_rule_of_origins_holds_for_tunnels_too() {
    let backend = echo().await;
    let proxy = Proxy::passthrough(&backend).await;
    for (fields, status) in [
        ("Origin: https://evil.test\r\n", 403),
        ("Origin: null\r\nCookie: a=1\r\n", 403),
        ("Cookie: a=1\r\n", 403),
        (
            "Origin: http://a.example\r\nOrigin: http://a.example\r\n",
            403,
        ),
        ("Origin: http://a.example.evil.test\r\n", 403),
    ] {
        let answer = asked(&proxy, handshake(fields)).await;
        assert_eq!(
            (answer.status(), &answer.json()["code"]),
            (status, &"forbidden".into())
        );
        assert!(
            !format!("{answer:?}")
                .to_lowercase()
                .contains("access-control")
        );
    }
    assert!(backend.seen().is_empty());
    for fields in ["", "Origin: http://a.example\r\nCookie: a=1\r\n"] {
        let mut client = proxy.client().await;
        client.send(handshake(fields)).await;
        assert_eq!(client.head().await.status(), 101, "{fields}");
    }
}
