//! WebSocket over streams of HTTP/2 (RFC 8441): bridged, multiplexed, and the backend's own.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use hyper::Method;
use hyper::http::request::Builder;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Error, Message as Frame};

use crate::harness::{
    Backend, EVERYTHING, Proxy, eventually,
    http2::{Answer, Client, whole},
    quiet_stream, reply, within,
};

/// A client's end of a stream.
struct Ends {
    to: SendStream<Bytes>,
    from: RecvStream,
    held: Bytes,
}

impl AsyncRead for Ends {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        while self.held.is_empty() {
            let Some(data) = ready!(self.from.poll_data(cx)) else {
                return Poll::Ready(Ok(()));
            };
            self.held = data.map_err(std::io::Error::other)?;
            let count = self.held.len();
            self.from.flow_control().release_capacity(count).unwrap();
        }
        let count = self.held.len().min(buf.remaining());
        buf.put_slice(&self.held.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Ends {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let data = Bytes::copy_from_slice(buf);
        let sent = self.to.send_data(data, false);
        Poll::Ready(sent.map(|()| buf.len()).map_err(std::io::Error::other))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        // Whoever has ended already ends again.
        let _ = self.to.send_data(Bytes::new(), true);
        Poll::Ready(Ok(()))
    }
}

struct Socket {
    socket: WebSocketStream<Ends>,
    head: hyper::Response<()>,
}

impl Socket {
    async fn next(&mut self) -> Option<Result<Frame, Error>> {
        within("a message", self.socket.next()).await
    }

    /// The next text message, as JSON where it is some.
    async fn text(&mut self) -> String {
        loop {
            match self.next().await {
                Some(Ok(Frame::Text(text))) => return text.to_string(),
                Some(Ok(Frame::Ping(_))) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn frame(&mut self) -> Value {
        let text = self.text().await;
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"))
    }

    async fn event(&mut self) -> Value {
        loop {
            let frame = self.frame().await;
            if frame["t"] == "ev" {
                return frame;
            }
        }
    }

    async fn say(&mut self, text: impl ToString) {
        let frame = Frame::text(text.to_string());
        self.socket.send(frame).await.expect("open");
    }

    /// The code of the close frame.
    async fn closed(&mut self) -> u16 {
        loop {
            match self.next().await {
                Some(Ok(Frame::Close(Some(frame)))) => return frame.code.into(),
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

/// A handshake as the standard wants it.
fn handshake(client: &Client, path: &str) -> Builder {
    client
        .request(Method::CONNECT, path)
        .extension(Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13")
}

/// Shakes hands; the answer where that was refused.
async fn open(client: &Client, request: Builder) -> Result<Socket, Answer> {
    let (response, to) = client.begin(request, false).await;
    let response = within("an answer", response).await.expect("an answer");
    if response.status() != 200 {
        let (head, mut from) = response.into_parts();
        let body = crate::harness::http2::next(&mut from)
            .await
            .unwrap_or_default();
        return Err(Answer {
            head: hyper::Response::from_parts(head, ()),
            body: body.unwrap_or_default().to_vec(),
            trailers: None,
        });
    }
    let (head, from) = response.into_parts();
    let held = Bytes::new();
    let ends = Ends { to, from, held };
    Ok(Socket {
        socket: WebSocketStream::from_raw_socket(ends, Role::Client, None).await,
        head: hyper::Response::from_parts(head, ()),
    })
}

async fn opened(client: &Client, request: Builder) -> Socket {
    open(client, request)
        .await
        .unwrap_or_else(|answer| panic!("{} {}", answer.status(), answer.text()))
}

/// A stream whose events the test publishes, by their number; all else is told what it said.
async fn events() -> (Backend, watch::Sender<u64>) {
    let published = watch::Sender::new(0);
    let numbers = published.clone();
    let backend = Backend::start(move |request, mut peer| {
        let mut numbers = numbers.subscribe();
        async move {
            if request.field("accept") != Some("text/event-stream") {
                return reply(peer, "200 OK", "", &request.text()).await;
            }
            peer.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
                .await;
            let mut shown = 0;
            loop {
                let number = *numbers.borrow_and_update();
                while shown < number {
                    shown += 1;
                    let event = format!("id: {shown}\ndata: {{\"n\":{shown}}}\n\n");
                    if !peer.try_send(event).await {
                        return None;
                    }
                }
                tokio::select! {
                    _ = numbers.changed() => {}
                    _ = peer.byte() => return None,
                }
            }
        }
    });
    (backend.await, published)
}

const STREAM: &str =
    "[[route]]\npath = \"/events/{id}\"\nname = \"events\"\nupstream = \"app\"\nsource = \"sse\"\n";

async fn bridged(backend: &Backend) -> (Proxy, Client) {
    let routes = format!("{STREAM}{EVERYTHING}");
    let proxy = Proxy::before(backend, "", &routes).await;
    let client = Client::connect(proxy.address).await;
    // The settings that allow it come with the first answer at the latest.
    client.get("/").await;
    (proxy, client)
}

#[tokio::test]
async fn a_bridged_route_is_served_beside_plain_requests() {
    let (backend, published) = events().await;
    let (proxy, client) = bridged(&backend).await;
    published.send_replace(3);
    for (path, protocol) in [("/events/1", None), ("/events/2", Some("crossfade.v1.raw"))] {
        let mut request = handshake(&client, path);
        if let Some(protocol) = protocol {
            request = request.header("sec-websocket-protocol", protocol);
        }
        let mut socket = opened(&client, request).await;
        let chosen = socket.head.headers().get("sec-websocket-protocol");
        assert_eq!(chosen.map(|value| value.to_str().unwrap()), protocol);
        for name in ["sec-websocket-accept", "upgrade", "connection"] {
            assert!(!socket.head.headers().contains_key(name), "{name}");
        }
        assert!(socket.head.headers().contains_key("x-request-id"));
        for number in 1..=3 {
            assert_eq!(socket.text().await, format!("{{\"n\":{number}}}"));
        }
        assert_eq!(client.get("/x").await.status(), 200);
        socket.socket.close(None).await.unwrap();
        while socket.next().await.is_some() {}
    }
    let sessions = || proxy.handle.shared().sessions.count();
    eventually("the sessions to end", async || sessions() == 0).await;
    assert_eq!(client.get("/x").await.status(), 200);
}

#[tokio::test]
async fn many_sessions_share_one_connection() {
    let (backend, published) = events().await;
    let (proxy, client) = bridged(&backend).await;
    let mut sockets = Vec::new();
    for _ in 0..20 {
        let request = handshake(&client, "/_crossfade/ws")
            .header("sec-websocket-protocol", "crossfade.v1.json");
        let mut socket = opened(&client, request).await;
        assert_eq!(socket.frame().await["t"], "welcome");
        socket
            .say(json!({"t": "sub", "id": 1, "path": "/events/1"}))
            .await;
        assert_eq!(socket.frame().await["t"], "ok");
        sockets.push(socket);
    }
    published.send_replace(3);
    for socket in &mut sockets {
        for number in 1..=3 {
            let event = socket.event().await;
            assert_eq!(event["d"]["n"], number, "{event}");
        }
    }
    assert_eq!(proxy.handle.shared().sessions.count(), 20);
    assert_eq!(proxy.handle.shared().connections.count(), 1);
    // A session whose stream is reset has vanished, and no other with it.
    drop(sockets.pop());
    let sessions = || proxy.handle.shared().sessions.count();
    eventually("one session to end", async || sessions() == 19).await;
    let first = &mut sockets[0];
    first.say(json!({"t": "ping", "id": 9})).await;
    assert_eq!(first.frame().await["t"], "pong");
    // A connection that is lost takes all with it.
    drop(sockets);
    drop(client);
    eventually("all sessions to end", async || sessions() == 0).await;
}

#[tokio::test]
async fn large_messages_wait_for_the_window_and_arrive_whole() {
    const SIZE: usize = 200_000;
    let backend = Backend::start(|request, mut peer| async move {
        if request.field("accept") != Some("text/event-stream") {
            return reply(peer, "200 OK", "", "").await;
        }
        peer.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
            .await;
        for number in 0..5 {
            let text = number.to_string().repeat(SIZE);
            peer.send(format!("data: {text}\n\n")).await;
        }
        peer.rest().await;
        None
    })
    .await;
    let (_sidecar, client) = bridged(&backend).await;
    let mut socket = opened(&client, handshake(&client, "/events/1")).await;
    for number in 0..5 {
        let text = socket.text().await;
        assert!(text == number.to_string().repeat(SIZE), "message {number}");
    }
}

#[tokio::test]
async fn leaving_closes_sessions_in_order_and_then_their_connection() {
    let (backend, _published) = events().await;
    let routes = format!("{STREAM}{EVERYTHING}");
    let server = "drain_timeout = \"5s\"";
    let mut proxy = Proxy::before(&backend, server, &routes).await;
    let client = Client::connect(proxy.address).await;
    client.get("/").await;
    let request =
        handshake(&client, "/_crossfade/ws").header("sec-websocket-protocol", "crossfade.v1.json");
    let mut socket = opened(&client, request).await;
    assert_eq!(socket.frame().await["t"], "welcome");
    let told = async {
        assert_eq!(socket.frame().await["t"], "drain");
        let code = socket.closed().await;
        // The client's own close frame goes out with the next look.
        while socket.next().await.is_some() {}
        drop(socket);
        client.ended().await.unwrap();
        code
    };
    let ((), code) = tokio::join!(proxy.handle.drain(), told);
    assert_eq!(code, 4200);
}

#[tokio::test]
async fn what_is_refused_is_refused_with_an_answer() {
    let backend = quiet_stream().await;
    let routes = format!(
        "[rollout.web]\npercent = 0\nby = \"ip\"\n[[route]]\npath = \"/legacy\"\nupstream = \"app\"\n\
         source = \"sse\"\nrollout = \"web\"\n{STREAM}{EVERYTHING}"
    );
    let proxy = Proxy::before(&backend, "", &routes).await;
    let client = Client::connect(proxy.address).await;
    client.get("/").await;
    let connect = |path: &str| {
        client
            .request(Method::CONNECT, path)
            .extension(Protocol::from_static("websocket"))
    };
    let cases = [
        (connect("/events/1"), 400, "bad_handshake"),
        (
            connect("/events/1").header("sec-websocket-version", "12"),
            426,
            "upgrade_required",
        ),
        (
            handshake(&client, "/events/1").header("origin", "https://evil.test"),
            403,
            "forbidden",
        ),
        (handshake(&client, "/legacy"), 403, "legacy"),
        (
            handshake(&client, "/events/1").header("sec-websocket-protocol", "chat"),
            400,
            "bad_handshake",
        ),
        (
            handshake(&client, "/events/1").header("content-length", "5"),
            400,
            "bad_request",
        ),
        (handshake(&client, "/events/../x"), 400, "bad_request"),
        (
            client
                .request(Method::CONNECT, "/events/1")
                .extension(Protocol::from_static("connect-udp")),
            400,
            "bad_request",
        ),
        (
            client.request(Method::GET, "/_crossfade/ws"),
            426,
            "upgrade_required",
        ),
    ];
    for (request, status, code) in cases {
        let refused = match open(&client, request).await {
            Err(answer) => answer,
            Ok(_) => panic!("{status} {code} was granted"),
        };
        assert_eq!((refused.status(), refused.code().as_str()), (status, code));
        assert_eq!(refused.field("upgrade"), None);
        assert_eq!(refused.field("connection"), None);
    }
    assert_eq!(client.get("/").await.status(), 200);
}

#[tokio::test]
async fn a_tunnel_shakes_hands_with_the_backend_by_a_key_of_its_own() {
    let backend = Backend::start(|request, mut peer| async move {
        let Some(key) = request.field("sec-websocket-key") else {
            return reply(peer, "200 OK", "", "plain").await;
        };
        let accept = match request.target() {
            "/wrong" => "AAAAAAAAAAAAAAAAAAAAAAAAAAA=".to_owned(),
            _ => derive_accept_key(key.as_bytes()),
        };
        if request.target() == "/no" {
            return reply(peer, "403 Forbidden", "", "no").await;
        }
        peer.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
        ))
        .await;
        let (stream, _) = peer.into_parts();
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        while let Some(Ok(frame)) = socket.next().await {
            if frame.is_text() || frame.is_binary() {
                socket.send(frame).await.unwrap();
            }
        }
        None
    })
    .await;
    let proxy = Proxy::passthrough(&backend).await;
    let client = Client::connect(proxy.address).await;
    client.get("/").await;
    let request = handshake(&client, "/chat?a=1")
        .header("sec-websocket-protocol", "chat, other")
        .header("sec-websocket-key", "not a key of ours");
    let mut socket = opened(&client, request).await;
    assert_eq!(socket.head.headers()["sec-websocket-protocol"], "chat");
    assert!(!socket.head.headers().contains_key("sec-websocket-accept"));
    for size in [1, 1000, 300_000] {
        let text = "x".repeat(size);
        socket.say(&text).await;
        assert!(socket.text().await == text, "{size}");
    }
    let seen = backend.seen().pop().unwrap();
    assert_eq!(seen.line, "GET /chat?a=1 HTTP/1.1");
    assert_eq!(seen.field("upgrade"), Some("websocket"));
    assert_eq!(seen.field("sec-websocket-version"), Some("13"));
    assert_ne!(seen.field("sec-websocket-key"), Some("not a key of ours"));
    assert_eq!(seen.field(":protocol"), None);
    for (path, status) in [("/no", 403), ("/wrong", 502)] {
        let refused = open(&client, handshake(&client, path)).await.err().unwrap();
        assert_eq!(refused.status(), status);
    }
    // The client leaves without a word, and the backend learns of it.
    drop(socket);
    backend.has_open(0).await;
    assert_eq!(client.get("/").await.text(), "plain");
}

#[tokio::test]
async fn without_a_protocol_connect_is_not_served() {
    let backend = Backend::ok().await;
    let proxy = Proxy::passthrough(&backend).await;
    let client = Client::connect(proxy.address).await;
    let request = hyper::Request::builder()
        .method(Method::CONNECT)
        .uri(proxy.address.to_string());
    let (response, _to) = client.begin(request, false).await;
    let answer = whole(response).await.unwrap();
    assert_eq!(
        (answer.status(), answer.code().as_str()),
        (400, "bad_request")
    );
    assert_eq!(backend.seen().len(), 0);
}
