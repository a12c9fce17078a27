//! Requests over HTTP/2 go the same road, and come back whole.

use bytes::Bytes;
use futures_util::future::join_all;
use hyper::http::{HeaderMap, HeaderValue, Method};

use crate::harness::{
    Backend, EVERYTHING, Proxy,
    http2::{Client, next, whole},
    http2_frames::{
        END_HEADERS, END_STREAM, HEADERS, PING, PREFACE, RESET, Raw, asks, block, frame, get,
    },
    reply, within,
};

async fn world(backend: &Backend) -> (Proxy, Client) {
    let proxy = Proxy::passthrough(backend).await;
    let client = Client::connect(proxy.address).await;
    (proxy, client)
}

/// Says what it was asked: the body, or its target.
async fn echo() -> Backend {
    Backend::start(|request, peer| async move {
        let body = match request.body.is_empty() {
            true => request.target().to_owned(),
            false => request.text(),
        };
        reply(
            peer,
            "200 OK",
            "Keep-Alive: timeout=5\r\nX-One: 1\r\n",
            &body,
        )
        .await
    })
    .await
}

#[tokio::test]
async fn a_request_reaches_the_backend_as_one_of_http_1() {
    let backend = echo().await;
    let (proxy, client) = world(&backend).await;
    let request = client
        .request(Method::GET, "/a%7Eb?c=1")
        .header("accept", "*/*")
        .header("te", "trailers")
        .header("x_forwarded_for", "10.0.0.1")
        .header("cookie", "a=1")
        .header("cookie", "b=2");
    let answer = client.ask(request, b"").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.text(), "/a~b?c=1");
    assert_eq!(answer.field("x-one"), Some("1"));
    assert_eq!(answer.field("keep-alive"), None);
    assert_eq!(answer.field("connection"), None);
    assert!(answer.field("date").is_some());
    let seen = backend.only();
    assert_eq!(seen.line, "GET /a~b?c=1 HTTP/1.1");
    let host = proxy.address.to_string();
    assert_eq!(seen.field("host"), Some(host.as_str()));
    assert_eq!(seen.field("cookie"), Some("a=1; b=2"));
    assert_eq!(seen.field("x_forwarded_for"), None);
    assert_eq!(seen.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.field("x-request-id"), answer.field("x-request-id"));
}

#[tokio::test]
async fn what_no_url_may_hold_is_escaped_as_over_http_1() {
    let backend = echo().await;
    let (proxy, client) = world(&backend).await;
    for (target, expected) in [
        ("/s?q={a:1}|^`", "/s?q=%7Ba:1%7D%7C%5E%60"),
        ("/\u{e4}?q=\u{e4}", "/%C3%A4?q=%C3%A4"),
        ("/%c0%bd.txt", "/%C0%BD.txt"),
    ] {
        let answer = client.ask(client.request(Method::GET, target), b"").await;
        assert_eq!((answer.status(), answer.text().as_str()), (200, expected));
    }
    // The engine resets what it does not parse.
    let mut raw = Raw::connect(proxy.address).await;
    let asked = asks("GET", "/?q=\"", &[]);
    raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &asked))
        .await;
    while raw.next().await.expect("a reset").kind != RESET {}
    let metrics = proxy.metrics();
    assert!(
        metrics.contains("refused_total{reason=\"malformed\"} 1"),
        "{metrics}"
    );
}

#[tokio::test]
async fn large_bodies_go_both_ways_on_many_streams_at_once() {
    let backend = echo().await;
    let (_sidecar, client) = world(&backend).await;
    let asked = (0..32_u8).map(|number| {
        let client = &client;
        async move {
            let body = vec![b'a' + number % 26; 300_000 + usize::from(number)];
            let request = client.request(Method::POST, "/echo");
            let answer = client.ask(request, &body).await;
            assert_eq!(answer.status(), 200);
            assert!(answer.body == body, "stream {number}");
        }
    });
    join_all(asked).await;
}

#[tokio::test]
async fn a_body_of_unknown_length_and_its_trailers_arrive() {
    let backend = Backend::start(|request, mut peer| async move {
        let said = request.text();
        peer.send(format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n\
             {:x}\r\n{said}\r\n0\r\nx-sum: 7\r\nx-forwarded-for: 1\r\n\r\n",
            said.len()
        ))
        .await;
        Some(peer)
    })
    .await;
    let (_sidecar, client) = world(&backend).await;
    let request = client
        .request(Method::POST, "/")
        .header("trailer", "x-sum, x-real-ip");
    let (response, mut to) = client.begin(request, false).await;
    to.send_data(Bytes::from_static(b"one "), false).unwrap();
    to.send_data(Bytes::from_static(b"two"), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("6"));
    trailers.insert("x-real-ip", HeaderValue::from_static("10.0.0.1"));
    to.send_trailers(trailers).unwrap();
    let answer = whole(response).await.unwrap();
    assert_eq!(answer.text(), "one two");
    let trailers = answer.trailers.expect("trailers");
    assert_eq!(trailers["x-sum"], "7");
    assert!(!trailers.contains_key("x-forwarded-for"));
    let seen = backend.only();
    assert_eq!(seen.field("transfer-encoding"), Some("chunked"));
    assert_eq!(seen.trailers, [("X-Sum".to_owned(), "6".to_owned())]);
}

#[tokio::test]
async fn answers_without_a_body_end_with_their_head() {
    let backend = Backend::start(|request, mut peer| async move {
        let head = match request.target() {
            "/none" => "HTTP/1.1 204 No Content\r\n\r\n",
            "/same" => "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n",
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
        };
        peer.send(head).await;
        Some(peer)
    })
    .await;
    let (_sidecar, client) = world(&backend).await;
    for (method, path, status, length) in [
        (Method::GET, "/none", 204, None),
        (Method::GET, "/same", 304, None),
        (Method::HEAD, "/", 200, Some("1000")),
    ] {
        let request = client.request(method, path);
        let answer = client.ask(request, b"").await;
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(answer.field("content-length"), length, "{path}");
        assert!(answer.body.is_empty());
    }
    let head = client.request(Method::HEAD, "/_crossfade/transport");
    let head = client.ask(head, b"").await;
    assert_eq!(head.status(), 200);
    assert!(head.field("content-length").is_some());
}

#[tokio::test]
async fn an_event_stream_flows_while_it_is_open() {
    let backend = Backend::start(|_, mut peer| async move {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
        peer.send(head).await;
        peer.send("data: 1\n\n").await;
        peer.rest().await;
        None
    })
    .await;
    let route = format!(
        "[[route]]\npath = \"/events\"\nupstream = \"app\"\nsource = \"sse\"\n{EVERYTHING}"
    );
    let proxy = Proxy::before(&backend, "", &route).await;
    let client = Client::connect(proxy.address).await;
    let request = client
        .request(Method::GET, "/events")
        .header("accept", "text/event-stream");
    let (response, _) = client.begin(request, true).await;
    let response = within("a head", response).await.unwrap();
    assert_eq!(response.headers()["crossfade-transport"], "websocket");
    let mut body = response.into_body();
    assert_eq!(next(&mut body).await.unwrap().unwrap(), "data: 1\n\n");
    backend.has_open(1).await;
    // The client loses interest in this stream alone, and the backend learns of it.
    drop(body);
    backend.has_open(0).await;
    assert!(!client.has_ended());
}

#[tokio::test]
async fn an_early_answer_needs_no_whole_request() {
    let backend = Backend::by_hand(|mut peer, _| async move {
        peer.try_head().await;
        peer.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\n\r\nmuch")
            .await;
        peer.rest().await;
    })
    .await;
    let (_sidecar, client) = world(&backend).await;
    let request = client.request(Method::POST, "/");
    let (response, mut to) = client.begin(request, false).await;
    to.send_data(Bytes::from_static(b"begun"), false).unwrap();
    let answer = whole(response).await.unwrap();
    assert_eq!((answer.status(), answer.text().as_str()), (413, "much"));
    let reset = std::future::poll_fn(|cx| to.poll_reset(cx));
    let reset = within("a reset", reset).await.unwrap();
    assert_eq!(reset, h2::Reason::NO_ERROR);
    assert!(!client.has_ended());
}

#[tokio::test]
async fn a_client_that_expects_to_be_asked_is_asked() {
    let backend = echo().await;
    let proxy = Proxy::passthrough(&backend).await;
    let mut raw = Raw::connect(proxy.address).await;
    let fields = [("expect", "100-continue"), ("content-length", "3")];
    let head = asks("POST", "/", &fields);
    raw.send(&frame(HEADERS, END_HEADERS, 1, &head)).await;
    let asked = raw.next_of(HEADERS).await.unwrap();
    assert_eq!(asked.flags & END_STREAM, 0);
    // `:status 100`, the name from the static table.
    assert!(
        asked.payload.ends_with(b"100") || asked.payload.len() < 8,
        "{asked:?}"
    );
    raw.send(&frame(0, END_STREAM, 1, b"abc")).await;
    let answer = raw.next_of(HEADERS).await.unwrap();
    // `:status 200` is number 8 of the static table.
    assert_eq!(answer.payload[0], 0x88);
    assert_eq!(backend.only().text(), "abc");
    assert_eq!(backend.only().field("expect"), None);
}

#[tokio::test]
async fn what_breaks_a_rule_is_answered_as_over_http_1() {
    let backend = Backend::ok().await;
    let (proxy, client) = world(&backend).await;
    let long = "x".repeat(33_000);
    let large = "x".repeat(40_000);
    let get = |path: &str| client.request(Method::GET, path);
    let mut many = get("/");
    for number in 0..101 {
        many = many.header(format!("x-{number}"), "1");
    }
    for (request, status, code) in [
        (get("/").header("host", "other"), 400, "bad_request"),
        (get("/a/../b"), 400, "bad_request"),
        (get(&format!("/{long}")), 414, "uri_too_long"),
        (get("/").header("x-a", &large), 431, "headers_too_large"),
        (many, 431, "headers_too_large"),
        (
            get("/").header("expect", "200-ok"),
            417,
            "expectation_failed",
        ),
        (get("/_crossfade/nothing"), 404, "no_route"),
    ] {
        let answer = client.ask(request, b"").await;
        assert_eq!((answer.status(), answer.code().as_str()), (status, code));
        assert!(answer.field("x-request-id").is_some());
        assert_eq!(answer.field("connection"), None);
    }
    let cookies = (0..200).fold(get("/"), |request, n| {
        request.header("cookie", format!("c{n}=1"))
    });
    assert_eq!(client.ask(cookies, b"").await.status(), 200);
    assert_eq!(backend.seen().len(), 1);
    let metrics = proxy.metrics();
    for reason in [
        "host",
        "path",
        "target_too_long",
        "head_too_large",
        "too_many_fields",
    ] {
        let line = format!("refused_total{{reason=\"{reason}\"}} 1");
        assert!(metrics.contains(&line), "{reason}");
    }
}

#[tokio::test]
async fn odd_heads_never_reach_the_backend() {
    let backend = Backend::ok().await;
    let proxy = Proxy::passthrough(&backend).await;
    let path = (":path", "/");
    let scheme = (":scheme", "http");
    let authority = (":authority", "a.example");
    let method = (":method", "GET");
    let usual = [method, scheme, authority, path];
    let with = |more: &[(&'static str, &'static str)]| [&usual[..], more].concat();
    let connect = (":method", "CONNECT");
    let cases: Vec<(&str, Vec<(&str, &str)>)> = vec![
        ("connection", with(&[("connection", "close")])),
        ("keep-alive", with(&[("keep-alive", "timeout=5")])),
        (
            "transfer-encoding",
            with(&[("transfer-encoding", "chunked")]),
        ),
        ("upgrade", with(&[("upgrade", "h2c")])),
        ("te", with(&[("te", "gzip")])),
        ("upper case", with(&[("X-Upper", "1")])),
        (
            "lengths",
            with(&[("content-length", "1"), ("content-length", "2")]),
        ),
        (
            "equal lengths",
            with(&[("content-length", "0"), ("content-length", "0")]),
        ),
        ("length", with(&[("content-length", "+1")])),
        ("length of nothing", with(&[("content-length", "5")])),
        ("white space", with(&[("x-a", " 1")])),
        ("line end", with(&[("x-a", "1\r\nx-b: 2")])),
        ("NUL", with(&[("x-a", "1\0")])),
        ("empty name", with(&[("", "1")])),
        ("name", with(&[("x a", "1")])),
        ("late pseudo", with(&[("x-a", "1"), (":path", "/b")])),
        ("unknown pseudo", with(&[(":x", "1")])),
        ("status", with(&[(":status", "200")])),
        ("two paths", with(&[path])),
        ("no path", vec![method, scheme, authority]),
        ("no method", vec![scheme, authority, path]),
        ("no scheme", vec![method, authority, path]),
        ("no host", vec![method, scheme, path]),
        (
            "empty authority",
            vec![method, scheme, (":authority", ""), path],
        ),
        ("user", vec![method, scheme, (":authority", "u@a"), path]),
        (
            "two hosts",
            vec![method, scheme, path, ("host", "a"), ("host", "a")],
        ),
        ("other host", with(&[("host", "b")])),
        ("scheme", vec![method, (":scheme", "ftp"), authority, path]),
        ("empty path", vec![method, scheme, authority, (":path", "")]),
        ("no slash", vec![method, scheme, authority, (":path", "x")]),
        ("star", vec![method, scheme, authority, (":path", "*")]),
        (
            "URL",
            vec![method, scheme, authority, (":path", "http://b/")],
        ),
        ("space", vec![method, scheme, authority, (":path", "/a b")]),
        (
            "path",
            vec![method, scheme, authority, (":path", "/a\r\nx: 1")],
        ),
        (
            "method",
            vec![(":method", "GET /x"), scheme, authority, path],
        ),
        ("connect", vec![connect, authority]),
        (
            "protocol",
            vec![connect, (":protocol", "h3"), scheme, authority, path],
        ),
        ("protocol of a GET", with(&[(":protocol", "websocket")])),
    ];
    for (name, fields) in cases {
        let mut raw = Raw::connect(proxy.address).await;
        let head = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&fields));
        raw.send(&head).await;
        loop {
            let Some(frame) = raw.next().await else {
                break;
            };
            match frame.kind {
                RESET => break,
                HEADERS => {
                    // `:status 400` is number 12 of the static table.
                    assert_eq!(frame.payload[0], 0x8c, "{name}");
                    break;
                }
                _ => {}
            }
        }
    }
    assert_eq!(backend.seen().len(), 0, "{:?}", backend.seen());
    let refused = proxy.metrics();
    assert!(
        refused.contains("refused_total{reason=\"malformed\"}"),
        "{refused}"
    );
}

#[tokio::test]
async fn other_ways_to_http_2_are_not_taken() {
    let backend = Backend::ok().await;
    let proxy = Proxy::passthrough(&backend).await;
    let mut client = proxy.client().await;
    let fields = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n";
    let answer = client.ask("GET /", fields, "").await;
    assert_eq!(answer.status(), 200);
    let seen = backend.only();
    for name in ["upgrade", "http2-settings", "connection"] {
        assert_eq!(seen.field(name), None);
    }
}

#[tokio::test]
async fn what_begins_like_the_preface_and_is_none_is_http_1() {
    let backend = Backend::ok().await;
    let proxy = Proxy::passthrough(&backend).await;
    for begun in [1, 4, 14, 16, 18, 23] {
        let mut client = proxy.client().await;
        client.send(&PREFACE[..begun]).await;
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        client.try_send(b"X / HTTP/1.1\r\n\r\n").await;
        let answer = client.response().await;
        assert_eq!(answer.status(), 400, "after {begun} bytes");
    }
    // Byte by byte.
    let mut client = proxy.client().await;
    for byte in b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" {
        client.send([*byte]).await;
    }
    assert_eq!(client.response().await.status(), 200);
    let mut raw = Raw::connect(proxy.address).await;
    raw.send(&frame(
        HEADERS,
        END_HEADERS | END_STREAM,
        1,
        &asks("GET", "/", &[]),
    ))
    .await;
    assert_eq!(raw.next_of(HEADERS).await.unwrap().payload[0], 0x88);
}

#[tokio::test]
async fn an_error_of_one_stream_ends_no_other() {
    let backend = Backend::start(|request, mut peer| async move {
        if request.target() == "/breaks" {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
                .await;
            return None;
        }
        reply(peer, "200 OK", "", "ok").await
    })
    .await;
    let (_sidecar, client) = world(&backend).await;
    let broken = client.request(Method::GET, "/breaks");
    let (response, _) = client.begin(broken, true).await;
    let error = whole(response).await.err().expect("a reset");
    assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR));
    assert_eq!(client.get("/").await.text(), "ok");
}

#[tokio::test]
async fn a_client_may_give_up_all_its_streams_at_once() {
    let backend = Backend::start(|_, mut peer| async move {
        peer.rest().await;
        None
    })
    .await;
    let proxy = Proxy::passthrough(&backend).await;
    let mut raw = Raw::connect(proxy.address).await;
    let mut all = Vec::new();
    for number in 0..100 {
        let head = frame(HEADERS, END_HEADERS | END_STREAM, number * 2 + 1, &get("/"));
        all.extend(head);
    }
    for number in 0..100 {
        all.extend(frame(RESET, 0, number * 2 + 1, &8_u32.to_be_bytes()));
    }
    raw.send(&all).await;
    raw.send(&frame(PING, 0, 0, b"are you?")).await;
    let pong = raw.next_of(PING).await.expect("still open");
    assert_eq!(pong.payload, b"are you?");
    backend.has_open(0).await;
}

#[tokio::test]
async fn leaving_lets_streams_finish_and_takes_no_new_ones() {
    let (tell, told) = tokio::sync::watch::channel(false);
    let backend = Backend::start(move |_, mut peer| {
        let mut told = told.clone();
        async move {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nbeg")
                .await;
            told.wait_for(|told| *told).await.unwrap();
            peer.send("un!").await;
            Some(peer)
        }
    })
    .await;
    let server = "drain_timeout = \"5s\"";
    let mut proxy = Proxy::before(&backend, server, EVERYTHING).await;
    let client = Client::connect(proxy.address).await;
    let (response, _) = client.begin(client.request(Method::GET, "/"), true).await;
    let mut body = within("a head", response).await.unwrap().into_body();
    assert_eq!(next(&mut body).await.unwrap().unwrap(), "beg");
    let idle = Client::connect(proxy.address).await;
    let drained = proxy.handle.drain();
    let others = async {
        idle.ended().await.unwrap();
        tell.send_replace(true);
        assert_eq!(next(&mut body).await.unwrap().unwrap(), "un!");
        assert!(next(&mut body).await.unwrap().is_none());
        client.ended().await.unwrap();
    };
    tokio::join!(drained, others);
}
