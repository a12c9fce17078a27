//! What crossfade may ask of an upstream at all.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::world::{Manner, Server, before, get, stream};
use crate::harness::{eventually, handshake};

#[tokio::test]
async fn no_more_at_once_than_the_budget_allows() {
    let a = Server::start("a").await;
    a.behave(Manner::Slow(Duration::from_millis(50)));
    let proxy = before(&[&a], "budget = {concurrency = 3}").await;
    let asked = (0..20).map(|_| async { get(&proxy, "/", "").await.status() });
    let codes = join_all(asked).await;
    assert_eq!(codes, [200; 20]);
    assert_eq!(a.most_busy(), 3);
    let metrics = proxy.metrics();
    let waited = "crossfade_upstream_waits_total{kind=\"passthrough\",upstream=\"app\"} 1";
    assert!(metrics.contains(waited), "{metrics}");
}

#[tokio::test]
async fn request_that_would_wait_too_long_is_refused() {
    let a = Server::start("a").await;
    let proxy = before(&[&a], "budget = {concurrency = 1}").await;
    let held = stream(&proxy).await;
    let begun = Instant::now();
    let answer = get(&proxy, "/", "").await;
    assert!(begun.elapsed() >= Duration::from_millis(900));
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.field("retry-after"), Some("1"));
    let problem = answer.json();
    assert_eq!(
        (&problem["code"], &problem["side"]),
        (&"overloaded".into(), &"edge".into())
    );
    assert!(
        proxy
            .metrics()
            .contains("crossfade_refused_total{reason=\"upstream_budget\"} 1")
    );
    drop(held);
    eventually("its place", async || {
        get(&proxy, "/", "").await.status() == 200
    })
    .await;
}

#[tokio::test]
async fn a_tunnel_keeps_its_place_while_it_lives() {
    let a = Server::start("a").await;
    let proxy = before(&[&a], "budget = {concurrency = 1}").await;
    let mut tunnel = proxy.client().await;
    tunnel.send(handshake("/socket", "")).await;
    assert_eq!(tunnel.head().await.status(), 101);
    assert_eq!(get(&proxy, "/", "").await.status(), 503);
    drop(tunnel);
    eventually("its place", async || {
        get(&proxy, "/", "").await.status() == 200
    })
    .await;
}

#[tokio::test]
async fn no_more_a_second_than_the_budget_allows_polls_included() {
    let a = Server::start("a").await;
    let keys = "budget = {requests_per_second = 20}\n[[route]]\npath = \"/list/{n}\"\n\
                upstream = \"app\"\nsource = {kind = \"poll\", every = \"20ms\"}\nshare = \"public\"";
    let proxy = before(&[&a], keys).await;
    let mut sockets = Vec::new();
    for n in 0..5 {
        let url = format!("ws://{}/list/{n}", proxy.address);
        let (socket, _) = tokio_tungstenite::client_async(
            url,
            tokio::net::TcpStream::connect(proxy.address).await.unwrap(),
        )
        .await
        .unwrap();
        sockets.push(socket);
    }
    eventually("polls", async || a.hits() > 5).await;
    let (begun, hits) = (Instant::now(), a.hits());
    // People get through all the while.
    let mut people = 0;
    while begun.elapsed() < Duration::from_secs(2) {
        assert_eq!(get(&proxy, "/", "").await.status(), 200);
        people += 1;
    }
    let sent = a.hits() - hits;
    let most = (begun.elapsed().as_secs_f64() * 20.0) as usize + 3;
    assert!(sent <= most, "{sent} of {most}");
    assert!(sent > people, "polls stand still: {people} of {sent}");
    assert!(people >= 10, "{people}");
}
