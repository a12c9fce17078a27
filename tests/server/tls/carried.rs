//! What is carried over TLS is what is carried without: streams, sessions, tunnels, and how they end.

use futures_util::{SinkExt, StreamExt};
use hyper::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{accept_async, client_async};

use crate::harness::{
    Backend, EVERYTHING, Peer, Proxy, handshake, quiet_stream, reply, request, routes,
    tls::{Authority, connect, shake_hands},
    within,
};

#[tokio::test]
async fn a_bridged_route_is_a_websocket_over_tls() {
    let backend = Backend::start(|request, mut peer| async move {
        if request.field("accept") != Some("text/event-stream") {
            return reply(peer, "200 OK", "", "plain").await;
        }
        assert_eq!(request.field("x-forwarded-proto"), Some("https"));
        peer.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
            .await;
        for number in 0..2000 {
            // More than any buffer on the way, in the end.
            let padding = "x".repeat(number);
            peer.send(format!("data: {{\"n\":{number},\"x\":\"{padding}\"}}\n\n"))
                .await;
        }
        peer.rest().await;
        None
    })
    .await;
    let authority = Authority::new();
    let routes = routes("percent = 100\nby = \"ip\"").replace(
        "source = \"sse\"",
        "source = \"sse\"\nreplay = {events = 10000, bytes = \"16MiB\"}",
    );
    let server = authority.server("");
    let websocket = "[websocket]\nqueue = {messages = 10000, bytes = \"16MiB\"}\n";
    let proxy = Proxy::before(&backend, &server, &format!("{websocket}{routes}")).await;
    let stream = connect(proxy.address, "app.example", authority.client(None))
        .await
        .unwrap();
    let mut asked = "wss://app.example/api/stream/1"
        .into_client_request()
        .unwrap();
    asked
        .headers_mut()
        .insert("origin", "https://app.example".parse().unwrap());
    let (mut socket, answer) = client_async(asked, stream).await.unwrap();
    let cookie = answer.headers().get("set-cookie");
    assert!(cookie.is_none_or(|cookie| cookie.to_str().unwrap().contains("Secure")));
    for number in 0..2000 {
        let frame = within("a frame", socket.next()).await.unwrap().unwrap();
        let event: serde_json::Value = serde_json::from_str(frame.to_text().unwrap()).unwrap();
        assert_eq!(event["n"], number);
        assert_eq!(event["x"].as_str().unwrap().len(), number);
    }
    socket.close(None).await.unwrap();
    while let Some(Ok(_)) = within("the end", socket.next()).await {}
}

#[tokio::test]
async fn the_discovery_document_names_wss_and_cookies_are_secure() {
    let backend = quiet_stream().await;
    let authority = Authority::new();
    let server = authority.server("");
    let proxy = Proxy::before(&backend, &server, &routes("percent = 50\nby = \"cookie\"")).await;
    let mut client = authority.connect(proxy.address).await;
    let answer = client
        .ask("GET /_crossfade/transport?path=/api/stream/1", "", "")
        .await;
    assert_eq!(
        answer.json()["websocket_url"],
        "wss://a.example/api/stream/1"
    );
    assert!(answer.field("set-cookie").unwrap().contains("; Secure"));

    // A missing port in Origin is the scheme's own: 443 here.
    for (origin, status) in [
        ("https://a.example", 101),
        ("https://a.example:8443", 403),
        ("https://evil.example", 403),
    ] {
        let backend = quiet_stream().await;
        let server = authority.table(&["tls"], "");
        let proxy = Proxy::before(&backend, &server, &routes("percent = 100\nby = \"ip\"")).await;
        let mut client = authority.connect(proxy.address).await;
        client
            .send(handshake("/api/stream/1", &format!("Origin: {origin}\r\n")))
            .await;
        assert_eq!(client.response().await.status(), status, "{origin}");
    }
}

#[tokio::test]
async fn a_tunnel_over_tls_carries_frames_both_ways_to_the_end() {
    let backend = Backend::by_hand(|peer, _| async move {
        let (stream, _) = peer.into_parts();
        let mut socket = accept_async(stream).await.unwrap();
        while let Some(Ok(frame)) = socket.next().await {
            if frame.is_binary() {
                socket.send(frame).await.unwrap();
            }
        }
    })
    .await;
    let authority = Authority::new();
    let proxy = Proxy::before(&backend, &authority.server(""), EVERYTHING).await;
    let stream = connect(proxy.address, "app.example", authority.client(None))
        .await
        .unwrap();
    let asked = "wss://app.example/chat".into_client_request().unwrap();
    let (mut socket, _) = client_async(asked, stream).await.unwrap();
    for size in [0, 1, 16_384, 65_536, 4 << 20] {
        let frame = Frame::Binary(vec![7; size].into());
        let (mut sink, mut source) = (&mut socket).split();
        let (sent, echoed) = tokio::join!(sink.send(frame.clone()), source.next());
        sent.unwrap();
        assert_eq!(echoed.unwrap().unwrap(), frame);
    }
    socket.close(None).await.unwrap();
    while socket.next().await.is_some() {}
    backend.has_open(0).await;
}

#[tokio::test]
async fn the_proxy_protocol_stands_before_tls() {
    let backend = Backend::ok().await;
    let authority = Authority::new();
    let before = "proxy_protocol = \"require\"\ntrusted_proxies = [\"127.0.0.1\"]\n";
    let server = format!("{before}{}", authority.server(""));
    let proxy = Proxy::before(&backend, &server, EVERYTHING).await;
    for is_apart in [true, false] {
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        // Not apart, the kernel may give header and handshake in one piece.
        stream.set_nodelay(is_apart).unwrap();
        let header = b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 443\r\n";
        stream.write_all(header).await.unwrap();
        let stream = shake_hands(stream, "app.example", authority.client(None)).await;
        let mut client = Peer::new(stream.unwrap());
        assert_eq!(client.ask("GET /", "", "").await.status(), 200);
    }
    for seen in backend.seen() {
        assert_eq!(seen.field("x-real-ip"), Some("192.0.2.7"));
        assert_eq!(seen.field("x-forwarded-proto"), Some("https"));
    }
    assert_eq!(backend.seen().len(), 2);
}

#[tokio::test]
async fn client_that_offers_http2_gets_it() {
    let authority = Authority::new();
    let (backend, proxy) = crate::harness::tls::passthrough(&authority).await;
    let mut config = authority.client(None);
    config.alpn_protocols = vec![b"http/1.1".to_vec(), b"h2".to_vec()];
    let stream = connect(proxy.address, "app.example", config).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut send, driver) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(driver);
    for _ in 0..2 {
        let asked = Request::get("https://app.example/a").body(()).unwrap();
        let (answer, _) = send.send_request(asked, true).unwrap();
        let (head, mut body) = within("an answer", answer).await.unwrap().into_parts();
        assert_eq!(head.status, 200);
        assert_eq!(
            within("its body", body.data()).await.unwrap().unwrap(),
            "ok"
        );
    }
    let seen = &backend.seen()[1];
    assert_eq!(seen.field("x-forwarded-proto"), Some("https"));
    assert_eq!(seen.field("x-forwarded-host"), Some("app.example"));
}

#[tokio::test]
async fn a_target_may_be_a_whole_url_of_the_connections_own_scheme() {
    let authority = Authority::new();
    let (_backend, proxy) = crate::harness::tls::passthrough(&authority).await;
    for (scheme, status) in [("https", 200), ("http", 400)] {
        let mut client = authority.connect(proxy.address).await;
        let line = format!("GET {scheme}://a.example/x");
        assert_eq!(client.ask(&line, "", "").await.status(), status);
    }
}

/// As without TLS: `close_notify` ends one half, and who ends it while a backend is waited for has left.
#[tokio::test]
async fn a_client_may_end_its_half() {
    let authority = Authority::new();
    let backend = quiet_stream().await;
    let proxy = Proxy::before(&backend, &authority.server(""), EVERYTHING).await;
    let mut client = authority.connect(proxy.address).await;
    let own = request("GET /_crossfade/transport", "", "");
    client.send(own.repeat(3)).await;
    client.end_sending().await;
    for _ in 0..3 {
        assert_eq!(client.response().await.status(), 200);
    }
    assert_eq!(client.rest().await, b"");

    let mut client = authority.connect(proxy.address).await;
    let stream = request("GET /", "Accept: text/event-stream\r\n", "");
    client.send(stream).await;
    assert_eq!(client.head().await.status(), 200);
    client.end_sending().await;
    backend.has_open(0).await;
}

#[tokio::test]
async fn connection_ends_with_close_notify_after_a_refusal() {
    let authority = Authority::new();
    let (backend, proxy) = crate::harness::tls::passthrough(&authority).await;
    let config = authority.client(None);
    let mut stream = connect(proxy.address, "app.example", config).await.unwrap();
    // A body follows that nobody wants: it must not destroy the answer on its way.
    let refused = request("POST /", "Content-Length: 1\r\n", &"a".repeat(100_000));
    stream.write_all(refused.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // Without close_notify this is an error.
    within("the end", stream.read_to_end(&mut answer))
        .await
        .unwrap();
    assert!(
        answer.starts_with(b"HTTP/1.1 400"),
        "{}",
        answer.escape_ascii()
    );
    assert_eq!(backend.seen().len(), 0);
}
