use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::ACCEPT;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::http::body::{empty, full};

/// A backend that answers the n-th connection's requests with the n-th text, and closes.
async fn backend(answers: &'static [&'static str]) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = seen.clone();
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_head(&mut stream).await;
            counter.fetch_add(1, Ordering::SeqCst);
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        std::future::pending::<()>().await
    });
    (address, seen)
}

async fn read_head(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = Vec::new();
    while !head.windows(4).any(|w| w == b"\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut head).await.unwrap(), 0, "no head");
    }
    head
}

fn upstream(servers: &[&str]) -> config::Upstream {
    config::Upstream {
        name: "app".into(),
        servers: servers
            .iter()
            .map(|server| config::Authority {
                address: (*server).into(),
                is_https: false,
            })
            .collect(),
        host: None,
        connect_timeout: Duration::from_secs(3),
        response_timeout: Duration::from_millis(100),
        idle_timeout: Duration::from_secs(60),
        keepalive: 8,
        http2: false,
        tls: config::Trust::default(),
        balance: Default::default(),
        health: None,
        budget: Default::default(),
        connection_auth: Default::default(),
    }
}

fn get() -> Request<Body> {
    Request::get("/a?b")
        .header(HOST, "h")
        .body(empty())
        .unwrap()
}

async fn send(servers: &[&str], request: Request<Body>) -> Result<Response<Body>, Error> {
    let upstreams = Upstreams::new(Arc::default());
    upstreams
        .send(&upstream(servers), "r", Purpose::Passthrough, request)
        .await
}

/// An address without a listener.
async fn closed_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

#[tokio::test]
async fn a_server_out_of_reach_is_passed_over_with_the_body_intact() {
    let closed = closed_port().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let open = listener.local_addr().unwrap().to_string();
    let reading = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut all = Vec::new();
        while !all.ends_with(b"four") {
            assert_ne!(stream.read_buf(&mut all).await.unwrap(), 0);
        }
        let ok = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(ok).await.unwrap();
        String::from_utf8(all).unwrap()
    });
    let request = Request::post("/a")
        .header(HOST, "h")
        .body(full("four"))
        .unwrap();
    let answer = send(&[&closed, &open], request).await.unwrap();
    assert_eq!(answer.status(), 200);
    let seen = reading.await.unwrap();
    assert!(
        seen.starts_with("POST /a HTTP/1.1\r\nHost: h\r\n"),
        "{seen}"
    );
    assert!(seen.contains("Content-Length: 4\r\n"), "{seen}");
}

#[tokio::test]
async fn no_server_to_connect_to_is_a_connect_error() {
    let error = send(&[&closed_port().await], get()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Connect);
}

#[tokio::test]
async fn silence_is_a_timeout_but_not_for_streams() {
    let (address, _) = backend(&[]).await;
    let error = send(&[&address], get()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Timeout);

    let mut headers = HeaderMap::new();
    let app = upstream(&[]);
    assert!(patience(&app, Purpose::Passthrough, &headers).is_some());
    assert!(patience(&app, Purpose::Sse, &headers).is_none());
    headers.insert(
        ACCEPT,
        "text/HTML, Text/Event-Stream;q=0.9".parse().unwrap(),
    );
    assert!(patience(&app, Purpose::Passthrough, &headers).is_none());
    assert!(patience(&app, Purpose::Poll, &headers).is_some());
}

#[tokio::test]
async fn malformed_answer_is_an_error_and_is_not_retried() {
    for answer in ["nonsense\r\n\r\n", ""] {
        let (address, seen) = backend(Box::leak(Box::new([answer, answer, answer]))).await;
        let error = send(&[&address], get()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Broken);
        assert_eq!(seen.load(Ordering::SeqCst), 1, "{answer:?}");
    }
}

/// A backend that answers the first request of every connection and reads the second to close then, as one does that had
/// decided to close while the request was under way.
async fn backend_that_closes() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = seen.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let counter = counter.clone();
            tokio::spawn(async move {
                let ok = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                let mut head = Vec::new();
                for answer in [&ok[..], b""] {
                    head.clear();
                    while !head.windows(4).any(|w| w == b"\r\n\r\n") {
                        if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    counter.fetch_add(1, Ordering::SeqCst);
                    stream.write_all(answer).await.unwrap();
                }
            });
        }
    });
    (address, seen)
}

#[tokio::test]
async fn safe_request_on_a_closed_kept_connection_is_retried_once() {
    let (address, seen) = backend_that_closes().await;
    let upstreams = Upstreams::new(Arc::default());
    let app = upstream(&[&address]);
    let send = |request| upstreams.send(&app, "r", Purpose::Passthrough, request);
    for n in 1..=20 {
        assert_eq!(send(get()).await.unwrap().status(), 200, "{n}");
    }
    let post = Request::post("/").header(HOST, "h").body(full("x"));
    assert_eq!(
        send(post.unwrap()).await.unwrap_err().kind,
        ErrorKind::Broken
    );
    // The server did not fail: no side can see such an end coming.
    assert!(upstreams.report(&app).await[0].is_healthy);
    let line = r#"upstream_retries_total{reason="broken",upstream="app"} 19"#;
    assert!(upstreams.telemetry.render().contains(line));
    assert_eq!(seen.load(Ordering::SeqCst), 20 + 19 + 1);
}

#[tokio::test]
async fn repetitions_stay_within_their_budget() {
    let (address, seen) = backend_that_closes().await;
    let upstreams = Upstreams::new(Arc::default());
    let app = upstream(&[&address]);
    let (mut good, mut bad) = (0, 0);
    for _ in 0..1000 {
        let answer = upstreams.send(&app, "r", Purpose::Passthrough, get());
        match answer.await {
            Ok(_) => good += 1,
            Err(error) => {
                assert_eq!(error.kind, ErrorKind::Broken);
                bad += 1;
            }
        }
    }
    // Nine hundred of a thousand would have been sent again. On a slow machine the budget is that of two windows.
    let extra = seen.load(Ordering::SeqCst) - 1000;
    assert!((290..=500).contains(&extra), "{extra}");
    assert!(bad > 0 && good + bad == 1000, "{good} {bad}");
    let refused = format!(r#"upstream_retries_refused_total{{upstream="app"}} {bad}"#);
    assert!(upstreams.telemetry.render().contains(&refused));
}

#[tokio::test]
async fn a_body_that_stops_early_is_broken_and_never_just_short() {
    let short: &[&str] = &[
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ];
    for answer in short {
        let (address, _) = backend(Box::leak(Box::new([*answer]))).await;
        let answer = send(&[&address], get()).await.unwrap();
        let error = answer.into_body().collect().await.unwrap_err();
        assert_eq!(
            (error.side, error.kind),
            (crate::error::Side::Upstream, ErrorKind::Broken)
        );
    }
}

#[tokio::test]
async fn early_answer_closes_the_connection_without_the_rest() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let connections = tokio::spawn(async move {
        let ok = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        let (mut first, _) = listener.accept().await.unwrap();
        read_head(&mut first).await;
        first.write_all(ok).await.unwrap();
        let mut rest = Vec::new();
        let _ = first.read_to_end(&mut rest).await;
        assert!(rest.is_empty(), "{rest:?}");
        let (mut second, _) = listener.accept().await.unwrap();
        read_head(&mut second).await;
        second.write_all(ok).await.unwrap();
    });
    let upstreams = Upstreams::new(Arc::default());
    let app = upstream(&[&address]);
    let (feed, body) = tokio::sync::mpsc::channel::<Bytes>(1);
    let body = http_body_util::StreamBody::new(futures_util::stream::unfold(
        body,
        |mut body| async move {
            let piece = body.recv().await?;
            Some((Ok(hyper::body::Frame::data(piece)), body))
        },
    ));
    let request = Request::post("/")
        .header(HOST, "h")
        .body(body.boxed_unsync());
    let send = |request| upstreams.send(&app, "r", Purpose::Passthrough, request);
    let early = send(request.unwrap()).await.unwrap();
    assert_eq!(early.status(), 200);
    // Whether the backend still takes it or not.
    let _ = feed.send(Bytes::from_static(b"late")).await;
    drop(feed);
    assert_eq!(send(get()).await.unwrap().status(), 200);
    connections.await.unwrap();
}

#[tokio::test]
async fn servers_take_turns_and_a_fixed_host_replaces_the_clients() {
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let (one, seen_one) = backend(Box::leak(Box::new([ok, ok]))).await;
    let (two, seen_two) = backend(Box::leak(Box::new([ok, ok]))).await;
    let telemetry = Arc::<Telemetry>::default();
    let upstreams = Upstreams::new(telemetry.clone());
    let mut app = upstream(&[&one, &two]);
    app.host = Some("fixed.example".parse().unwrap());
    for _ in 0..4 {
        let answer = upstreams.send(&app, "r", Purpose::Poll, get()).await;
        assert_eq!(answer.unwrap().status(), 200);
    }
    assert_eq!(seen_one.load(Ordering::SeqCst), 2);
    assert_eq!(seen_two.load(Ordering::SeqCst), 2);
    let line = r#"upstream_requests_total{kind="poll",route="r",status="200",upstream="app"} 4"#;
    assert!(telemetry.render().contains(line));
}
