//! How many connections somebody may have at a time: the newest is refused, and a place that is left is free.

use serde_json::json;

use crate::harness::{
    Backend, JSON, Proxy, Socket,
    auth::{ALICE, BOB, key_field, keys},
    within,
};
use crate::policy::world::{backend, open, refused, route};

/// `PREFIX/ws`, a stream and tunnels under `[rate_limit.few]` with these lines.
async fn world(lines: &str, server: &str) -> (Backend, Proxy) {
    let backend = backend().await;
    let rules = "auth = \"keys\"\nrate_limit = \"few\"";
    let routes = format!(
        "[rate_limit.few]\n{lines}\n[websocket]\n{rules}\n{}{}{}",
        keys(""),
        route("/feed/{id}", &format!("source = \"sse\"\n{rules}")),
        route("/{*path}", rules),
    );
    let proxy = Proxy::before(&backend, server, &routes).await;
    (backend, proxy)
}

/// Whether a socket under this key is let in at last: a place is free as soon as its connection has ended.
async fn comes_in(proxy: &Proxy, path: &str, fields: &[&str]) -> Socket {
    within("a place", async {
        loop {
            match Socket::open(&proxy.handle.public[0], path, fields).await {
                Ok(socket) => return socket,
                Err(answer) => assert_eq!(answer.status().as_u16(), 429),
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await
}

#[tokio::test]
async fn users_newest_connection_is_refused_in_its_own_protocol() {
    let (backend, proxy) = world("connections_per_user = 2", "").await;
    let (alice, bob) = (key_field(ALICE), key_field(BOB));
    // One policy, whatever the way in: the multiplexed connection and a stream count together.
    let mut first = open(&proxy, "/_crossfade/ws", &[JSON, &alice]).await;
    first.frame("welcome").await;
    let second = open(&proxy, "/feed/1", &[&alice]).await;
    backend.reached(1).await;
    for path in ["/feed/1", "/feed/2", "/_crossfade/ws", "/tunnel"] {
        assert_eq!(refused(&proxy, path, &[&alice]).await, 429, "{path}");
    }
    for path in ["/feed/1", "/_crossfade/ws"] {
        let mut socket = open(&proxy, path, &[JSON, &alice]).await;
        assert_eq!(socket.closed().await, 4029, "{path}");
    }
    // Somebody else has their own, and who is here stays.
    let mut other = open(&proxy, "/_crossfade/ws", &[JSON, &bob]).await;
    other.frame("welcome").await;
    first.send(json!({"t": "ping"})).await;
    first.frame("pong").await;
    assert_eq!(backend.seen().len(), 1, "{:?}", backend.seen());
    let metrics = proxy.metrics();
    let counted = "crossfade_rate_limited_total{policy=\"few\"} 6";
    assert!(metrics.contains(counted), "{metrics}");
    // One leaves, and one comes.
    second.say_goodbye(1000, "").await;
    let third = comes_in(&proxy, "/feed/3", &[&alice]).await;
    assert_eq!(refused(&proxy, "/feed/4", &[&alice]).await, 429);
    // Also without a word.
    drop(third);
    let tunnel = comes_in(&proxy, "/tunnel", &[&alice]).await;
    assert_eq!(refused(&proxy, "/feed/4", &[&alice]).await, 429);
    drop(tunnel);
    comes_in(&proxy, "/feed/5", &[&alice]).await;
}

#[tokio::test]
async fn user_known_by_hello_counts_from_then_on() {
    let (_backend, proxy) = world("connections_per_user = 1", "").await;
    let hello = |key: &str| json!({"t": "hello", "token": key});
    let mut first = open(&proxy, "/_crossfade/ws", &[JSON]).await;
    first.send(hello(ALICE)).await;
    first.frame("welcome").await;
    for path in ["/_crossfade/ws", "/feed/1"] {
        let mut socket = open(&proxy, path, &[JSON]).await;
        socket.send(hello(ALICE)).await;
        assert_eq!(socket.closed().await, 4029, "{path}");
    }
    let alice = key_field(ALICE);
    assert_eq!(refused(&proxy, "/feed/1", &[&alice]).await, 429);
    let mut bob = open(&proxy, "/feed/1", &[JSON]).await;
    bob.send(hello(BOB)).await;
    bob.frame("welcome").await;
    first.say_goodbye(1000, "").await;
    comes_in(&proxy, "/feed/1", &[&alice]).await;
}

#[tokio::test]
async fn connections_at_once_are_admitted_up_to_the_limit() {
    let (_backend, proxy) = world("connections_per_user = 3", "").await;
    let alice = key_field(ALICE);
    let fields = [alice.as_str()];
    let all = (0..20).map(|_| Socket::open(&proxy.handle.public[0], "/feed/1", &fields));
    let all = futures_util::future::join_all(all).await;
    let (come, gone): (Vec<_>, Vec<_>) = all.into_iter().partition(Result::is_ok);
    assert_eq!((come.len(), gone.len()), (3, 17));
    for answer in gone.into_iter().filter_map(Result::err) {
        assert_eq!(answer.status().as_u16(), 429);
        assert!(answer.headers().contains_key("retry-after"));
    }
}

#[tokio::test]
async fn address_limit_counts_clients_behind_a_trusted_proxy() {
    let (_backend, proxy) = world(
        "connections_per_ip = 2",
        "trusted_proxies = [\"127.0.0.1\"]",
    )
    .await;
    let (alice, bob) = (key_field(ALICE), key_field(BOB));
    let from = |n: u8| format!("x-forwarded-for: 203.0.113.{n}");
    let (here, there) = (from(1), from(2));
    let first = open(&proxy, "/feed/1", &[&alice, &here]).await;
    let _second = open(&proxy, "/_crossfade/ws", &[JSON, &bob, &here]).await;
    for (path, extra) in [
        ("/feed/1", JSON),
        ("/feed/1", "x-nothing: 1"),
        ("/_crossfade/ws", JSON),
    ] {
        // Whoever it is: an address is told before the upgrade.
        let status = refused(&proxy, path, &[&alice, &here, extra]).await;
        assert_eq!(status, 429, "{path} {extra}");
    }
    let _elsewhere = open(&proxy, "/feed/1", &[&alice, &there]).await;
    first.say_goodbye(1000, "").await;
    comes_in(&proxy, "/feed/1", &[&bob, &here]).await;
}
