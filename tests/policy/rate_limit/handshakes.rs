//! A storm of handshakes: a burst comes in, some wait a moment, and the rest hears when to come back.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;

use crate::harness::{
    Backend, JSON, Proxy, Socket,
    auth::{ALICE, by, keys},
};
use crate::policy::world::{backend, open, refused, route};

async fn world(handshakes: &str) -> (Backend, Proxy) {
    let backend = backend().await;
    let server = format!("[server.limits]\nhandshakes = \"{handshakes}\"");
    let routes = format!(
        "{}{}{}",
        keys(""),
        route("/feed", "source = \"sse\""),
        route("/{*path}", "")
    );
    let proxy = Proxy::before(&backend, &server, &routes).await;
    (backend, proxy)
}

#[tokio::test]
async fn handshake_burst_is_admitted_queued_or_spread_over_time() {
    let (backend, proxy) = world("2/s burst 20").await;
    let public = &proxy.handle.public[0];
    let all = (0..120).map(|_| Socket::open(public, "/_crossfade/ws", &[JSON]));
    let all = join_all(all).await;
    let (come, gone): (Vec<_>, Vec<_>) = all.into_iter().partition(Result::is_ok);
    // Twenty at once, those who waited their two seconds, and who found the line shorter again.
    assert!(come.len() > 20, "{}", come.len());
    assert!(gone.len() >= 30, "{}", gone.len());
    let mut times = BTreeSet::new();
    for answer in gone.iter().filter_map(|one| one.as_ref().err()) {
        assert_eq!(answer.status().as_u16(), 503);
        let after = answer.headers()["retry-after"].to_str().unwrap();
        times.insert(after.parse::<u32>().unwrap());
        let body = answer.body().clone().unwrap_or_default();
        assert!(String::from_utf8_lossy(&body).contains("overloaded"));
    }
    assert!(times.len() > 3, "{times:?}");
    assert!(
        times.iter().all(|time| (1..=30).contains(time)),
        "{times:?}"
    );
    assert!(backend.seen().is_empty());
    let metrics = proxy.metrics();
    let counted = "crossfade_refused_total{reason=\"handshakes\"}";
    assert!(metrics.contains(counted), "{metrics}");
    // Who is here is no worse off.
    let first = come.into_iter().find_map(Result::ok);
    first.unwrap().frame("welcome").await;
}

#[tokio::test]
async fn only_sockets_of_our_own_stand_in_line() {
    let (backend, proxy) = world("1/h").await;
    open(&proxy, "/feed", &[]).await;
    for path in ["/feed", "/_crossfade/ws"] {
        assert_eq!(refused(&proxy, path, &[]).await, 503, "{path}");
    }
    for _ in 0..3 {
        open(&proxy, "/tunnel", &[]).await;
        let answer = crate::policy::world::ask(&proxy, "GET /page", &by(ALICE)).await;
        assert_eq!(answer.status(), 200);
    }
    assert!(backend.seen().len() >= 6);
}

#[tokio::test]
async fn in_a_storm_an_authority_is_asked_once_for_each_session() {
    let asked = std::sync::Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let backend = Backend::start(move |request, mut peer| {
        let count = count.clone();
        async move {
            match request.target() {
                "/me" => {
                    count.fetch_add(1, Ordering::SeqCst);
                    let json = "Content-Type: application/json\r\n";
                    let body = r#"{"id":"carol"}"#;
                    crate::harness::reply(peer, "200 OK", json, body).await
                }
                _ => {
                    peer.try_send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
                        .await;
                    peer.rest().await;
                    None
                }
            }
        }
    })
    .await;
    let routes = format!(
        "[auth.session]\nkind = \"forward\"\nupstream = \"app\"\npath = \"/me\"\nuser = \"id\"\n{}",
        route("/feed", "source = \"sse\"\nauth = \"session\"")
    );
    let proxy = Proxy::before(&backend, "", &routes).await;
    let public = proxy.handle.public[0].clone();
    let origin = format!("origin: {public}");
    let one = |n: usize| {
        let (public, origin) = (public.clone(), origin.clone());
        async move {
            let cookie = format!("cookie: sid={}", n % 4);
            let socket = Socket::open(&public, "/feed", &[&origin, &cookie]).await;
            socket.unwrap_or_else(|answer| panic!("{}", answer.status()))
        }
    };
    let sockets = join_all((0..80).map(one)).await;
    assert_eq!(sockets.len(), 80);
    assert_eq!(asked.load(Ordering::SeqCst), 4);
}
