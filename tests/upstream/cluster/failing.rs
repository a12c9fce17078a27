//! Servers that die, answer no more, or say that they cannot; and come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use super::world::{Manner, Server, before, get, health, stream, upstream, who};
use crate::harness::{eventually, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dying_server_fails_only_requests_it_had_begun() {
    let (a, mut b, c) = (
        Server::start("a").await,
        Server::start("b").await,
        Server::start("c").await,
    );
    let proxy = Arc::new(before(&[&a, &b, &c], "").await);
    let (done, stop) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let in_flight_then = 8;
    let clients: Vec<_> = (0..in_flight_then)
        .map(|_| {
            let (proxy, done, stop) = (proxy.clone(), done.clone(), stop.clone());
            tokio::spawn(async move {
                let mut client = proxy.client().await;
                let mut failed = 0;
                while !stop.load(Ordering::SeqCst) {
                    let answer = client.ask("GET /", "", "").await;
                    failed += usize::from(answer.status() != 200);
                    done.fetch_add(1, Ordering::SeqCst);
                }
                failed
            })
        })
        .collect();
    eventually("load", async || done.load(Ordering::SeqCst) > 300).await;
    b.die();
    let then = done.load(Ordering::SeqCst);
    eventually("more load", async || {
        done.load(Ordering::SeqCst) > then + 1000
    })
    .await;
    stop.store(true, Ordering::SeqCst);
    let mut failed = 0;
    for client in clients {
        failed += client.await.unwrap();
    }
    assert!(failed <= in_flight_then, "{failed}");
    let name = format!("server=\"http://{}\"", b.address);
    let metrics = proxy.metrics();
    for line in [
        format!("crossfade_upstream_healthy{{{name},upstream=\"app\"}} 0"),
        format!("crossfade_upstream_ejections_total{{{name},upstream=\"app\"}} 1"),
    ] {
        assert!(metrics.contains(&line), "{line} in\n{metrics}");
    }
    assert_eq!(health(&proxy).await["status"], "degraded");
}

#[tokio::test]
async fn all_servers_dead_says_so_and_finds_the_first_one_back() {
    let (mut a, mut b) = (Server::start("a").await, Server::start("b").await);
    let proxy = before(&[&a, &b], "").await;
    a.die();
    b.die();
    let mut codes = Vec::new();
    for _ in 0..20 {
        let answer = get(&proxy, "/", "").await;
        codes.push(answer.status());
        let problem = answer.json();
        assert_eq!(problem["code"], "upstream_down");
        assert_eq!(problem["side"], "upstream");
        if answer.status() == 503 {
            assert_eq!(answer.field("retry-after"), Some("1"));
        }
    }
    assert!(codes.iter().all(|code| matches!(code, 502 | 503)));
    assert_eq!(codes[10..], [503; 10], "{codes:?}");
    assert_eq!(health(&proxy).await["upstreams"][0]["status"], "down");

    b.come_back().await;
    for _ in 0..20 {
        assert_eq!(who(&proxy, "").await, "b");
    }
    let report = health(&proxy).await;
    assert_eq!(report["upstreams"][0]["status"], "degraded");
    let healthy = |n: usize| report["upstreams"][0]["servers"][n]["healthy"].clone();
    assert_eq!((healthy(0), healthy(1)), (false.into(), true.into()));
}

#[tokio::test]
async fn only_server_that_restarts_locks_no_client_out() {
    let mut a = Server::start("a").await;
    let proxy = before(&[&a], "").await;
    for _ in 0..3 {
        assert_eq!(who(&proxy, "").await, "a");
        a.die();
        for _ in 0..20 {
            assert!(matches!(get(&proxy, "/", "").await.status(), 502 | 503));
        }
        assert_eq!(get(&proxy, "/", "").await.status(), 503);
        a.come_back().await;
    }
    assert_eq!(who(&proxy, "").await, "a");
}

#[tokio::test]
async fn the_only_server_is_left_alone_while_it_lets_clients_wait() {
    let a = Server::start("a").await;
    let proxy = Arc::new(before(&[&a], "response_timeout = \"300ms\"").await);
    a.behave(Manner::Silent);
    for _ in 0..5 {
        assert_eq!(get(&proxy, "/", "").await.status(), 504);
    }
    let (begun, hits) = (Instant::now(), a.hits());
    let asked: Vec<_> = (0..50)
        .map(|_| {
            let proxy = proxy.clone();
            tokio::spawn(async move {
                let answer = get(&proxy, "/", "").await;
                assert!(answer.status() == 504 || answer.field("retry-after").is_some());
                answer.status()
            })
        })
        .collect();
    let mut codes = Vec::new();
    for one in asked {
        codes.push(one.await.unwrap());
    }
    // One probe a second, as long as this took.
    let probes = 1 + begun.elapsed().as_secs() as usize;
    let refused = codes.iter().filter(|code| **code == 503).count();
    assert!(refused >= 50 - probes, "{codes:?}");
    assert!(a.hits() - hits <= probes, "{} probes", a.hits() - hits);
    a.behave(Manner::Well);
    eventually("the server's return", async || {
        get(&proxy, "/", "").await.status() == 200
    })
    .await;
    assert_eq!(who(&proxy, "").await, "a");
}

#[tokio::test]
async fn unready_server_is_avoided_unless_no_other_is_ready() {
    let (a, b) = (Server::start("a").await, Server::start("b").await);
    let proxy = before(&[&a, &b], "").await;
    a.behave(Manner::Status("503 Service Unavailable"));
    let mut codes = Vec::new();
    for _ in 0..20 {
        codes.push(get(&proxy, "/", "").await.status());
    }
    assert_eq!(codes.iter().filter(|code| **code == 503).count(), 5);
    assert_eq!((a.hits(), b.hits()), (5, 15));
    // The last one's own word reaches the client, however long that goes on.
    b.behave(Manner::Status("503 Service Unavailable"));
    for _ in 0..20 {
        let answer = get(&proxy, "/", "").await;
        assert_eq!((answer.status(), answer.text()), (503, "b".into()));
        assert_eq!(answer.field("retry-after"), None);
    }
}

#[tokio::test]
async fn a_stream_stays_where_it_is_when_its_server_is_left_alone() {
    let (a, b) = (Server::start("a").await, Server::start("b").await);
    let proxy = before(&[&a, &b], "").await;
    let mut held = stream(&proxy).await;
    let (holder, other) = match a.hits() {
        1 => (&a, &b),
        _ => (&b, &a),
    };
    holder.behave(Manner::Status("502 Bad Gateway"));
    let before = holder.hits();
    eventually("five failures", async || {
        get(&proxy, "/", "").await;
        holder.hits() == before + 5
    })
    .await;
    for _ in 0..10 {
        assert_eq!(who(&proxy, "").await, other.name);
    }
    for _ in 0..20 {
        assert!(held.chunk().await.is_some());
    }
}

#[tokio::test]
async fn checks_find_out_before_requests_do() {
    let (a, mut b) = (Server::start("a").await, Server::start("b").await);
    let keys = "health = {path = \"/healthz\", interval = \"50ms\"}";
    let proxy = before(&[&a, &b], keys).await;
    b.die();
    eventually("the verdict on b", async || {
        health(&proxy).await["upstreams"][0]["servers"][1]["healthy"] == false
            && proxy.metrics().contains(&format!(
                "crossfade_upstream_healthy{{server=\"http://{}\",upstream=\"app\"}} 0",
                b.address
            ))
    })
    .await;
    for _ in 0..10 {
        assert_eq!(who(&proxy, "").await, "a");
    }
    a.behave(Manner::Status("500 Internal Server Error"));
    eventually("the verdict on a", async || {
        let answer = get(&proxy, "/", "").await;
        answer.status() == 503 && answer.json()["code"] == "upstream_down"
    })
    .await;
    let hits = a.hits();
    let refused = get(&proxy, "/", "").await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.field("retry-after"), Some("1"));
    assert_eq!(a.hits(), hits, "who says it is not well gets no request");
    assert_eq!(health(&proxy).await["status"], "down");

    b.come_back().await;
    eventually("b, by its first good check", async || {
        get(&proxy, "/", "").await.status() == 200
    })
    .await;
    a.behave(Manner::Status("302 Found"));
    eventually("a, by two", async || health(&proxy).await["status"] == "ok").await;
}

#[tokio::test]
async fn good_checks_end_what_answers_had_brought_about() {
    let (mut a, b) = (Server::start("a").await, Server::start("b").await);
    let keys = "health = {path = \"/healthz\", interval = \"100ms\"}";
    let proxy = before(&[&a, &b], keys).await;
    a.die();
    let name = format!("server=\"http://{}\",upstream=\"app\"", a.address);
    let is_out = || {
        let line = format!("crossfade_upstream_healthy{{{name}}} 0");
        proxy.metrics().contains(&line)
    };
    within("its ejection", async {
        while !is_out() {
            assert_eq!(who(&proxy, "").await, "b");
        }
    })
    .await;
    a.come_back().await;
    // By its answers alone it would be left alone for half a minute.
    eventually("a", async || who(&proxy, "").await == "a").await;
}

#[tokio::test]
async fn what_is_known_outlives_a_reload_that_keeps_the_server() {
    let (a, b, c) = (
        Server::start("a").await,
        Server::start("b").await,
        Server::start("c").await,
    );
    let proxy = before(&[&a, &b], "").await;
    a.behave(Manner::Status("503 Service Unavailable"));
    eventually("five failures", async || {
        get(&proxy, "/", "").await;
        a.hits() == 5
    })
    .await;
    proxy
        .reload(&upstream(&[&c, &b, &a], "keepalive = 3"))
        .await;
    let (joined, mut newcomer) = (Instant::now(), 0);
    for _ in 0..100 {
        let answer = who(&proxy, "").await;
        assert_ne!(answer, "a");
        newcomer += usize::from(answer == "c");
    }
    // Half of all would be its share, of which it has a tenth at first and all after ten seconds.
    let grown = (joined.elapsed().as_secs_f64() / 10.0).clamp(0.1, 1.0);
    let most = 5.0 + 1.5 * 100.0 * grown;
    assert!((newcomer as f64) < most, "{newcomer} of {most}");
    eventually("the newcomer", async || who(&proxy, "").await == "c").await;
    assert_eq!(a.hits(), 5);
    proxy.reload(&upstream(&[&b], "")).await;
    let metrics = proxy.metrics();
    for gone in [&a, &c] {
        let name = format!(
            "crossfade_upstream_healthy{{server=\"http://{}\"",
            gone.address
        );
        assert!(!metrics.contains(&name), "{metrics}");
    }
    assert_eq!(who(&proxy, "").await, "b");
}
