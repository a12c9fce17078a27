//! Bodies that are quiet for a while, and which side is blamed where one is for too long.

use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use tokio::time::sleep;

use crate::harness::{
    Backend, EVERYTHING, Proxy,
    http2::{self, Client},
    within,
};

const HEAD: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Begins its answer at once, sends `pieces` of it, one every 500 ms, and then says back what comes, chunk by chunk.
async fn conversation(pieces: usize) -> Backend {
    Backend::by_hand(move |mut peer, _| async move {
        let Some(_) = peer.try_head().await else {
            return;
        };
        peer.send(HEAD).await;
        for _ in 0..pieces {
            sleep(Duration::from_millis(500)).await;
            peer.try_send("4\r\nthis\r\n").await;
        }
        while let Some(chunk) = peer.chunk().await {
            let said = String::from_utf8(chunk).unwrap();
            let said = format!("{:x}\r\n{said}\r\n", said.len());
            peer.try_send(said).await;
        }
        peer.try_send("0\r\n\r\n").await;
    })
    .await
}

async fn limited(backend: &Backend, limits: &str) -> Proxy {
    let server = format!("[server.limits]\n{limits}");
    Proxy::before(backend, &server, EVERYTHING).await
}

/// Whether the backend is told to have failed.
fn is_backend_blamed(proxy: &Proxy) -> bool {
    let metrics = proxy.metrics();
    metrics.contains("crossfade_upstream_errors_total{")
        || metrics
            .contains("crossfade_errors_total{kind=\"broken\",namespace=\"\",side=\"upstream\"}")
}

#[tokio::test]
async fn a_body_quiet_for_longer_than_the_rate_window_passes() {
    let backend = Backend::ok().await;
    let proxy = Proxy::passthrough(&backend).await;
    let mut client = proxy.client().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nth")
        .await;
    sleep(Duration::from_secs(12)).await;
    client.send("is").await;
    assert_eq!(client.response().await.status(), 200);
    assert_eq!(backend.only().text(), "this");
}

#[tokio::test]
async fn an_answer_that_goes_on_keeps_a_quiet_body() {
    let backend = conversation(5).await;
    let proxy = limited(&backend, "body_idle_timeout = \"1s\"").await;
    let mut client = proxy.client().await;
    client.send(CHUNKED).await;
    assert_eq!(client.head().await.status(), 200);
    for _ in 0..5 {
        assert_eq!(client.chunk().await.unwrap(), b"this");
    }
    client.send("4\r\nthat\r\n0\r\n\r\n").await;
    assert_eq!(client.chunk().await.unwrap(), b"that");
    assert_eq!(client.chunk().await, None);
}

#[tokio::test]
async fn where_both_are_silent_the_client_is_blamed() {
    let backend = conversation(0).await;
    let proxy = limited(&backend, "body_idle_timeout = \"1s\"").await;
    let mut client = proxy.client().await;
    client.send(CHUNKED).await;
    assert_eq!(client.head().await.status(), 200);
    assert_eq!(within("the end", client.rest()).await, b"");
    assert!(!is_backend_blamed(&proxy), "{}", proxy.metrics());
}

#[tokio::test]
async fn without_limits_a_body_may_be_quiet() {
    let backend = conversation(0).await;
    let limits = "body_idle_timeout = \"0\"\nbody_min_rate = \"0\"";
    let proxy = limited(&backend, limits).await;
    let mut client = proxy.client().await;
    client.send(CHUNKED).await;
    assert_eq!(client.head().await.status(), 200);
    for _ in 0..2 {
        sleep(Duration::from_secs(6)).await;
        client.send("4\r\nthat\r\n").await;
        assert_eq!(client.chunk().await.unwrap(), b"that");
    }
}

#[tokio::test]
async fn http2_an_answer_that_goes_on_keeps_a_quiet_body() {
    let backend = conversation(5).await;
    let proxy = limited(&backend, "body_idle_timeout = \"1s\"").await;
    let client = Client::connect(proxy.address).await;
    let request = client.request(Method::POST, "/");
    let (response, mut to) = client.begin(request, false).await;
    let mut body = within("a head", response).await.unwrap().into_body();
    for _ in 0..5 {
        assert_eq!(http2::next(&mut body).await.unwrap().unwrap(), "this");
    }
    to.send_data(Bytes::from_static(b"that"), true).unwrap();
    assert_eq!(http2::next(&mut body).await.unwrap().unwrap(), "that");
    while let Some(rest) = http2::next(&mut body).await.unwrap() {
        assert_eq!(rest, "");
    }
}

#[tokio::test]
async fn http2_where_both_are_silent_the_client_is_blamed() {
    let backend = conversation(0).await;
    let proxy = limited(&backend, "body_idle_timeout = \"1s\"").await;
    let client = Client::connect(proxy.address).await;
    let request = client.request(Method::POST, "/");
    let (response, _to) = client.begin(request, false).await;
    let mut body = within("a head", response).await.unwrap().into_body();
    assert!(http2::next(&mut body).await.is_err());
    assert!(!is_backend_blamed(&proxy), "{}", proxy.metrics());
}
