//! Which connections are kept, and what it costs when the backend has closed one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Semaphore;

use crate::harness::{Backend, EVERYTHING, Peer, Proxy, eventually, reply};

async fn before(backend: &Backend, more: &str) -> Proxy {
    let address = backend.address;
    let upstream = format!("[upstream.app]\nservers = [\"http://{address}\"]\n{more}\n");
    Proxy::start("", &(upstream + EVERYTHING)).await
}

/// Answers and says nothing about closing; then closes when it likes.
async fn fickle() -> Backend {
    Backend::by_hand(|mut peer, seen| async move {
        while let Some(request) = peer.request().await {
            seen.lock().unwrap().push(request);
            match reply(peer, "200 OK", "", "ok").await {
                Some(kept) => peer = kept,
                None => return,
            }
            match fastrand::u32(..8) {
                0 => return,
                1 => tokio::time::sleep(Duration::from_micros(fastrand::u64(..2000))).await,
                _ => continue,
            }
            if fastrand::bool() {
                return;
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn randomly_closed_connections_fail_no_client() {
    const REQUESTS: usize = 10_000;
    const CLIENTS: usize = 16;
    let backend = fickle().await;
    let proxy = before(&backend, "").await;
    let client = || async {
        let mut client = proxy.client().await;
        let mut failed = Vec::new();
        for _ in 0..REQUESTS / CLIENTS {
            let answer = client.ask("GET /", "", "").await;
            if answer.status() != 200 {
                failed.push(answer.text());
            }
        }
        failed
    };
    let failed = join_all((0..CLIENTS).map(|_| client())).await.concat();
    assert_eq!(failed, [""; 0]);
}

#[tokio::test]
async fn connection_closed_while_idle_is_skipped_for_any_method() {
    let backend = Backend::start(|_, peer| async move {
        reply(peer, "200 OK", "", "ok").await;
        None
    })
    .await;
    let proxy = before(&backend, "").await;
    let mut client = proxy.client().await;
    for _ in 0..50 {
        assert_eq!(client.ask("POST /", "", "abc").await.status(), 200);
        backend.has_open(0).await;
    }
    assert_eq!(backend.seen().len(), 50);
}

#[tokio::test]
async fn unasked_bytes_on_an_idle_connection_answer_no_request() {
    let backend = Backend::start(|_, mut peer: Peer| async move {
        let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        peer.send(ok).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        peer.send("HTTP/1.1 408 Request Timeout\r\ncontent-length: 4\r\n\r\nevil")
            .await;
        peer.rest().await;
        None
    })
    .await;
    let proxy = before(&backend, "").await;
    let mut client = proxy.client().await;
    for _ in 0..5 {
        assert_eq!(client.ask("POST /", "", "abc").await.text(), "ok");
        // A sweep finds it as well.
        backend.has_open(0).await;
    }
}

/// Answers when the gate has permits.
async fn gated() -> (Backend, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let backend = Backend::start(move |_, peer| {
        let held = held.clone();
        async move {
            held.acquire().await.unwrap().forget();
            reply(peer, "200 OK", "", "ok").await
        }
    })
    .await;
    (backend, gate)
}

#[tokio::test]
async fn idle_connections_stay_within_keepalive_and_idle_timeout() {
    let (backend, gate) = gated().await;
    let proxy = before(&backend, "keepalive = 2\nidle_timeout = \"1s\"").await;
    let asking = join_all((0..5).map(|_| async {
        let mut client = proxy.client().await;
        client.ask("GET /", "", "").await.status()
    }));
    let opening = async {
        backend.reached(5).await;
        gate.add_permits(5);
    };
    let (statuses, ()) = tokio::join!(asking, opening);
    assert_eq!(statuses, [200; 5]);
    backend.has_open(2).await;
    backend.has_open(0).await;
}

#[tokio::test]
async fn the_newest_connection_goes_first() {
    let (backend, gate) = gated().await;
    let proxy = before(&backend, "").await;
    let count = AtomicUsize::new(0);
    let both = join_all((0..2).map(|_| async {
        let mut client = proxy.client().await;
        client.ask("GET /", "", "").await;
        count.fetch_add(1, Ordering::SeqCst);
    }));
    let opening = async {
        backend.reached(2).await;
        gate.add_permits(2);
    };
    tokio::join!(both, opening);
    eventually("both answers", async || count.load(Ordering::SeqCst) == 2).await;
    // One after the other, they share one connection and leave the other to its end.
    gate.add_permits(10);
    let mut client = proxy.client().await;
    for _ in 0..10 {
        client.ask("GET /", "", "").await;
    }
    backend.has_open(2).await;
}
