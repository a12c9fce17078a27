//! Every stream has clocks of its own, and one that is cut ends no other.

use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Method;

use crate::harness::{
    Backend, EVERYTHING, Proxy, eventually,
    http2::{Client, whole},
    http2_frames::{DATA, END_HEADERS, END_STREAM, HEADERS, RESET, Raw, asks, frame, get},
};

async fn limited(limits: &str) -> (Backend, Proxy) {
    let backend = Backend::ok().await;
    let server = format!("[server.limits]\n{limits}");
    let proxy = Proxy::before(&backend, &server, EVERYTHING).await;
    (backend, proxy)
}

#[tokio::test]
async fn a_body_that_stands_still_is_answered_with_408() {
    let (backend, proxy) = limited("body_idle_timeout = \"1s\"").await;
    let client = Client::connect(proxy.address).await;
    let request = client.request(Method::POST, "/still");
    let (response, mut to) = client.begin(request, false).await;
    to.send_data(Bytes::from_static(b"begun"), false).unwrap();
    let begun = Instant::now();
    let answer = whole(response).await.unwrap();
    assert_eq!(
        (answer.status(), answer.code().as_str()),
        (408, "request_timeout")
    );
    assert!(begun.elapsed() >= Duration::from_millis(900));
    assert_eq!(client.get("/").await.status(), 200);
    backend.reached(1).await;
    assert!(backend.seen().iter().all(|seen| seen.target() == "/"));
}

#[tokio::test]
async fn a_body_that_drips_is_answered_with_408() {
    let (_backend, proxy) = limited("body_min_rate = \"1KB/s\"").await;
    let client = Client::connect(proxy.address).await;
    let request = client.request(Method::POST, "/drip");
    let (response, mut to) = client.begin(request, false).await;
    let dripping = async {
        loop {
            to.reserve_capacity(10);
            if to
                .send_data(Bytes::from_static(b"0123456789"), false)
                .is_err()
            {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let begun = Instant::now();
    let answer = tokio::select! {
        answer = whole(response) => answer.unwrap(),
        () = dripping => unreachable!(),
    };
    assert_eq!(answer.status(), 408);
    assert!(begun.elapsed() >= Duration::from_secs(9));
    assert_eq!(client.get("/").await.status(), 200);
}

#[tokio::test]
async fn a_slow_line_may_take_its_time_over_one_frame() {
    let (backend, proxy) = limited("body_idle_timeout = \"1s\"").await;
    let mut raw = Raw::connect(proxy.address).await;
    let head = asks("POST", "/", &[("content-length", "12000")]);
    raw.send(&frame(HEADERS, END_HEADERS, 1, &head)).await;
    let data = frame(DATA, END_STREAM, 1, &[b'x'; 12_000]);
    for piece in data.chunks(1500) {
        raw.send(piece).await;
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    let answer = raw.next_of(HEADERS).await.unwrap();
    assert_eq!(answer.payload[0], 0x88);
    assert_eq!(backend.only().body.len(), 12_000);
}

#[tokio::test]
async fn stream_with_closed_window_is_reset_and_others_go_on() {
    let backend = Backend::start(|request, mut peer| async move {
        let large = request.target() == "/large";
        let body = "x".repeat(if large { 200_000 } else { 2 });
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        peer.try_send(head).await.then_some(peer)
    })
    .await;
    let proxy = Proxy::passthrough(&backend).await;
    let mut raw = Raw::connect(proxy.address).await;
    let begun = Instant::now();
    let large = frame(HEADERS, END_HEADERS | END_STREAM, 1, &get("/large"));
    raw.send(&large).await;
    // One window, and then nothing.
    let mut came = 0;
    while came < 65_535 {
        came += raw.next_of(DATA).await.unwrap().payload.len();
    }
    // The connection's own window is used up as well; this opens it, and not the stream's.
    raw.send(&frame(8, 0, 0, &1_000_000_u32.to_be_bytes()))
        .await;
    let mut stream = 3;
    let reset = loop {
        let small = frame(HEADERS, END_HEADERS | END_STREAM, stream, &get("/small"));
        raw.send(&small).await;
        let reset = loop {
            let frame = raw.next().await.expect("open");
            match frame.kind {
                RESET => break Some(frame),
                DATA => {
                    assert_eq!((frame.stream, frame.payload.len()), (stream, 2));
                    break None;
                }
                _ => {}
            }
        };
        if let Some(reset) = reset {
            break reset;
        }
        stream += 2;
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    assert_eq!((reset.stream, reset.payload), (1, vec![0, 0, 0, 8]));
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_secs(29), "{waited:?}");
    assert!(waited < Duration::from_secs(40), "{waited:?}");
    let connections = || proxy.handle.shared().connections.count();
    drop(raw);
    eventually("the place to be given back", async || connections() == 0).await;
}
