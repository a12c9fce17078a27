//! A client that does not read costs its neighbours nothing, and is told what it lost.

use std::time::Duration;

use serde_json::json;

use crate::harness::{Backend, Proxy, proxy, within};

/// Large enough to fill what the kernel keeps for a socket.
const PADDING: usize = 64 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_get_every_event_beside_stalled_clients() {
    let proxy = proxy()
        .sse("/ids")
        .sse("/plain")
        .line("slow = \"gap\"")
        .padding(PADDING)
        .start()
        .await;
    let (mut closed, mut skipped, mut readers) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..5 {
        let mut socket = proxy.join(&[]).await;
        socket.subscribe(1, "/ids").await;
        closed.push(socket);
        let mut socket = proxy.join(&[]).await;
        socket.subscribe(1, "/plain").await;
        skipped.push(socket);
        let mut socket = proxy.join(&[]).await;
        socket.subscribe(1, "/ids").await;
        readers.push(socket);
    }
    for n in 1..=400u64 {
        proxy.app().publish();
        for reader in &mut readers {
            assert_eq!(reader.frame_unless("ev", "gap").await["d"]["n"], n);
        }
    }
    // They are given ten seconds in which they take nothing.
    let slow = || proxy.metrics();
    while !slow().contains(r#"crossfade_slow_closes_total{route="ids"} 5"#) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    for n in 401..=500u64 {
        proxy.app().publish();
        for reader in &mut readers {
            assert_eq!(reader.frame_unless("ev", "gap").await["d"]["n"], n);
        }
    }
    // By default a slow reader is closed, with a code that says: come back where you were.
    for socket in &mut closed {
        assert_eq!(socket.closed().await, 4113);
    }
    // Where the route says so, it skips with one gap.
    for socket in &mut skipped {
        let (mut n, mut gaps) = (0, 0);
        while n < 500 {
            let frame = socket.either("ev", "gap").await;
            if frame["t"] == "gap" {
                gaps += 1;
                assert_eq!(frame["why"], "slow");
                continue;
            }
            let next = frame["d"]["n"].as_u64().unwrap();
            assert!(next == n + 1 || gaps == 1, "{n} {next}");
            n = next;
        }
        assert_eq!(gaps, 1);
    }
}

#[tokio::test]
async fn a_client_that_takes_no_answers_holds_nothing_upstream() {
    let backend = Backend::by_hand(|mut peer, seen| async move {
        let Some(request) = peer.request().await else {
            return;
        };
        let is_answered = request.target() == "/answered";
        seen.lock().unwrap().push(request);
        if is_answered {
            let body = "x".repeat(1_000_000);
            let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1000000\r\n\r\n";
            peer.try_send(format!("{head}{body}")).await;
        }
        peer.rest().await;
    })
    .await;
    let routes = r#"
[[route]]
path = "/{*path}"
upstream = "app"
calls = {methods = ["GET"], timeout = "2s"}
"#;
    let proxy = Proxy::before(&backend, "", routes).await;
    let mut socket = proxy.join(&[]).await;
    for id in 0..8 {
        let path = ["/held", "/answered"][usize::from(id > 1)];
        let request = json!({"t": "req", "id": id, "method": "GET", "path": path});
        socket.send(request).await;
    }
    backend.reached(8).await;
    // Its requests end with their answers or in time, though it takes nothing.
    backend.has_open(0).await;
    let is_closed = || {
        let slow = r#"crossfade_slow_closes_total{route="-"} 1"#;
        proxy.metrics().contains(slow)
    };
    assert!(!is_closed());
    // That it speaks does not keep it.
    within("the end of its session", async {
        while !is_closed() {
            socket.send(json!({"t": "pong"})).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    assert_eq!(socket.closed().await, 4113);
}

#[tokio::test]
async fn a_pong_that_is_held_back_adds_a_quarter_of_a_second() {
    let proxy = proxy()
        .sse("/ids")
        .toml("[websocket]\nping_interval = \"4s\"")
        .start()
        .await;
    let mut socket = proxy.join(&[]).await;
    socket.subscribe(1, "/ids").await;
    // The first ping comes after two to four seconds, and is answered when it is read.
    tokio::time::sleep(Duration::from_secs(5)).await;
    socket.frame("ping").await;
    socket.send(json!({"t": "ping"})).await;
    socket.frame("pong").await;
    proxy.app().publish();
    socket.frame("ev").await;
    let sample = r#"crossfade_event_latency_seconds_sum{cohort="websocket",route="ids"} "#;
    let metrics = proxy.metrics();
    let mut lines = metrics.lines();
    let seconds = lines.find_map(|line| line.strip_prefix(sample)).unwrap();
    let seconds: f64 = seconds.parse().unwrap();
    assert!((0.25..0.5).contains(&seconds), "{seconds}");
}
