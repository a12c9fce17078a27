//! Turns, the fewest in flight, and the same key to the same server.

use std::collections::BTreeMap;

use super::world::{Server, before, get, stream, upstream, who};
use crate::harness::eventually;

async fn three() -> (Server, Server, Server) {
    (
        Server::start("a").await,
        Server::start("b").await,
        Server::start("c").await,
    )
}

#[tokio::test]
async fn servers_take_turns() {
    let (a, b, c) = three().await;
    let proxy = before(&[&a, &b, &c], "").await;
    for _ in 0..30 {
        who(&proxy, "").await;
    }
    assert_eq!((a.hits(), b.hits(), c.hits()), (10, 10, 10));
}

#[tokio::test]
async fn least_requests_counts_streams_and_outlives_a_reload() {
    let (a, b, c) = three().await;
    let keys = "balance = \"least_requests\"";
    let proxy = before(&[&a, &b], keys).await;
    let mut held = stream(&proxy).await;
    let (busy, free) = match a.hits() {
        1 => (&a, &b),
        _ => (&b, &a),
    };
    for _ in 0..10 {
        assert_eq!(who(&proxy, "").await, free.name);
    }
    proxy.reload(&upstream(&[&a, &b, &c], keys)).await;
    for _ in 0..30 {
        assert_ne!(who(&proxy, "").await, busy.name);
    }
    assert!(held.chunk().await.is_some());
    drop(held);
    eventually("its turn", async || who(&proxy, "").await == busy.name).await;
}

#[tokio::test]
async fn a_key_keeps_its_server_and_only_those_of_a_dead_one_move() {
    let (a, mut b, c) = three().await;
    let keys = "balance = {hash = \"header:X-Tenant\"}";
    let proxy = before(&[&a, &b, &c], keys).await;
    let homes = async || {
        let mut homes = BTreeMap::new();
        for tenant in 0..60 {
            let field = format!("X-Tenant: tenant-{tenant}\r\n");
            homes.insert(tenant, who(&proxy, &field).await);
        }
        homes
    };
    let first = homes().await;
    assert_eq!(homes().await, first);
    for name in ["a", "b", "c"] {
        let count = first.values().filter(|home| *home == name).count();
        assert!((5..40).contains(&count), "{name}: {count}");
    }
    b.die();
    let without = homes().await;
    for (tenant, home) in &first {
        match home.as_str() {
            "b" => assert_ne!(without[tenant], "b"),
            _ => assert_eq!(&without[tenant], home),
        }
    }
    // Without the key they take turns.
    let others = [who(&proxy, "").await, who(&proxy, "").await];
    assert_ne!(others[0], others[1]);
}

#[tokio::test]
async fn cookies_paths_and_addresses_are_keys_too() {
    let (a, b, c) = three().await;
    let proxy = before(&[&a, &b, &c], "balance = {hash = \"cookie:sid\"}").await;
    let mut seen = BTreeMap::new();
    for n in 0..40 {
        let field = format!("Cookie: x=1; sid={n}\r\n");
        let home = who(&proxy, &field).await;
        assert_eq!(who(&proxy, &field).await, home);
        *seen.entry(home).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 3, "{seen:?}");

    proxy
        .reload(&upstream(&[&a, &b, &c], "balance = {hash = \"path\"}"))
        .await;
    let mut seen = BTreeMap::new();
    for n in 0..40 {
        let home = get(&proxy, &format!("/{n}?a"), "").await.text();
        assert_eq!(get(&proxy, &format!("/{n}?b"), "").await.text(), home);
        *seen.entry(home).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 3, "{seen:?}");

    proxy
        .reload(&upstream(&[&a, &b, &c], "balance = {hash = \"ip\"}"))
        .await;
    let home = who(&proxy, "").await;
    for _ in 0..10 {
        assert_eq!(who(&proxy, "X-Forwarded-For: 192.0.2.7\r\n").await, home);
    }
}
