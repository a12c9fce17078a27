//! What a subscriber receives: order, pauses, coalescing.

use std::time::Duration;

use super::FILE;
use super::support::{Client, World, document, event, first_document};
use crate::hub::Publisher;

pub(super) async fn offsets(client: &mut Client, count: usize) -> Vec<u64> {
    let mut offsets = Vec::new();
    for _ in 0..count {
        let frame = client.read().await;
        let position = frame["o"].as_str().unwrap_or_default().to_string();
        let offset = position.split('-').nth(1).unwrap_or_default().parse();
        offsets.push(offset.unwrap_or_else(|_| panic!("no position: {frame}")));
    }
    offsets
}

pub(super) async fn stream(world: &mut World, path: &str) -> (Client, Publisher, u64) {
    let mut client = world.join().await;
    let (feed, ok) = client.subscribe(world, path, |feed| feed.opened()).await;
    (client, feed, ok["ch"].as_u64().expect("a number"))
}

#[tokio::test(start_paused = true)]
async fn many_events_come_once_and_in_order() {
    let mut world = World::new(FILE);
    let (mut client, feed, _) = stream(&mut world, "/stream").await;
    for round in 0..50u64 {
        feed.events((0..20).map(|n| event("", "", &n.to_string())).collect());
        let expected: Vec<u64> = (round * 20 + 1..=round * 20 + 20).collect();
        assert_eq!(offsets(&mut client, 20).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_a_stream_and_loses_nothing() {
    let mut world = World::new(FILE);
    let (mut client, feed, ch) = stream(&mut world, "/stream").await;
    client
        .send(&format!(r#"{{"t":"pause","id":2,"ch":{ch}}}"#))
        .await;
    assert_eq!(client.read_text().await, r#"{"t":"ok","id":2}"#);
    // More than a reader may lag: a pause is no slowness.
    for n in 0..600 {
        feed.events(vec![event("", "", &n.to_string())]);
    }
    client.stays_silent().await;
    assert!(world.shared.sessions.list().await[0].subscriptions[0].paused);
    client
        .send(&format!(r#"{{"t":"resume","id":3,"ch":{ch}}}"#))
        .await;
    assert_eq!(client.read_text().await, r#"{"t":"ok","id":3}"#);
    assert_eq!(
        offsets(&mut client, 600).await,
        (1..=600).collect::<Vec<_>>()
    );
}

#[tokio::test(start_paused = true)]
async fn a_pause_of_a_polled_list_ends_with_the_net_change() {
    let mut world = World::new(FILE);
    let mut client = world.join().await;
    let (feed, ok) = client
        .subscribe(&mut world, "/list", |feed| first_document(feed, "[]"))
        .await;
    assert_eq!(client.read().await["t"], "snap");
    client
        .send(&format!(r#"{{"t":"pause","id":2,"ch":{}}}"#, ok["ch"]))
        .await;
    client.read().await;
    document(&feed, "[]", vec![event("created", "", r#"{"id":1}"#)]);
    document(&feed, "[]", vec![event("created", "", r#"{"id":2}"#)]);
    document(&feed, "[]", vec![event("updated", "", r#"{"id":1,"v":2}"#)]);
    document(&feed, "[]", vec![event("deleted", "", r#"{"id":2}"#)]);
    client
        .send(&format!(r#"{{"t":"resume","id":3,"ch":{}}}"#, ok["ch"]))
        .await;
    client.read().await;
    let change = client.read().await;
    assert_eq!(
        (&change["e"], &change["d"]["v"]),
        (&"created".into(), &2.into())
    );
    document(&feed, "[]", vec![event("updated", "", r#"{"id":1,"v":3}"#)]);
    assert_eq!(client.read().await["d"]["v"], 3);
}

#[tokio::test(start_paused = true)]
async fn the_newest_of_each_name_is_delivered() {
    let mut world = World::new(FILE);
    let (mut client, feed, _) = stream(&mut world, "/latest").await;
    feed.events(vec![event("a", "", "0")]);
    assert_eq!(client.read().await["d"], 0);
    for n in 1..=10 {
        let name = if n % 2 == 0 { "a" } else { "b" };
        feed.events(vec![event(name, "", &n.to_string())]);
    }
    let began = tokio::time::Instant::now();
    assert_eq!(offsets(&mut client, 2).await, [10, 11]);
    assert!(began.elapsed() <= Duration::from_secs(1));
    client.stays_silent().await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_waits_for_its_time_or_its_size() {
    let mut world = World::new(FILE);
    let (mut client, feed, _) = stream(&mut world, "/batch").await;
    feed.events(vec![event("", "", "1")]);
    offsets(&mut client, 1).await;
    let began = tokio::time::Instant::now();
    feed.events(vec![event("", "", "2"), event("", "", "3")]);
    assert_eq!(offsets(&mut client, 2).await, [2, 3]);
    assert_eq!(began.elapsed().as_millis().div_ceil(100), 10);
    let began = tokio::time::Instant::now();
    feed.events((0..5).map(|n| event("", "", &n.to_string())).collect());
    assert_eq!(offsets(&mut client, 5).await, [4, 5, 6, 7, 8]);
    assert!(began.elapsed() < Duration::from_millis(500));
}

#[tokio::test(start_paused = true)]
async fn a_pause_of_what_deliver_holds_back_lets_time_pass() {
    for path in ["/batch", "/latest"] {
        let mut world = World::new(FILE);
        let (mut client, feed, ch) = stream(&mut world, path).await;
        feed.events(vec![event("a", "", "1")]);
        offsets(&mut client, 1).await;
        // Held back when the pause comes.
        feed.events(vec![event("a", "", "2")]);
        client
            .send(&format!(r#"{{"t":"pause","id":2,"ch":{ch}}}"#))
            .await;
        assert_eq!(client.read().await["id"], 2);
        client.stays_silent().await;
        // Published during it.
        feed.events(vec![event("a", "", "3")]);
        client.stays_silent().await;
        client
            .send(&format!(r#"{{"t":"resume","id":3,"ch":{ch}}}"#))
            .await;
        assert_eq!(client.read().await["id"], 3);
        let mut last = 0;
        while last < 3 {
            last = offsets(&mut client, 1).await[0];
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_client_by_its_own_will_is_no_latency() {
    let mut world = World::new(FILE);
    let (mut client, feed, ch) = stream(&mut world, "/stream").await;
    let telemetry = world.shared.telemetry.clone();
    let is_counted = |count: u32| {
        let sample = r#"crossfade_event_latency_seconds_count{cohort="websocket",route="stream"}"#;
        telemetry.render().contains(&format!("{sample} {count}\n"))
    };
    feed.events(vec![event("", "", "1")]);
    offsets(&mut client, 1).await;
    assert!(is_counted(1));
    tokio::time::sleep(Duration::from_secs(10)).await;
    // A replay.
    let mut late = world.join().await;
    let after = world.shared.hub.topics()[0].at.to_string();
    let after = after.replace("-1", "-0");
    late.send(&format!(
        r#"{{"t":"sub","id":1,"path":"/stream","after":"{after}"}}"#
    ))
    .await;
    assert_eq!(late.read().await["recovered"], true);
    offsets(&mut late, 1).await;
    assert!(is_counted(1));
    // A pause.
    let ask = |what: &str| format!(r#"{{"t":"{what}","id":2,"ch":{ch}}}"#);
    client.send(&ask("pause")).await;
    client.read().await;
    feed.events(vec![event("", "", "2")]);
    offsets(&mut late, 1).await;
    assert!(is_counted(2));
    tokio::time::sleep(Duration::from_secs(10)).await;
    client.send(&ask("resume")).await;
    client.read().await;
    offsets(&mut client, 1).await;
    assert!(is_counted(2));
    // What is live counts for both.
    feed.events(vec![event("", "", "3")]);
    offsets(&mut client, 1).await;
    offsets(&mut late, 1).await;
    assert!(is_counted(4));
}

#[tokio::test(start_paused = true)]
async fn an_encoding_counts_once_against_the_budget() {
    let mut world = World::new(FILE);
    let (mut first, feed, _) = stream(&mut world, "/stream").await;
    let mut second = world.join().await;
    second.send(r#"{"t":"sub","id":1,"path":"/stream"}"#).await;
    assert_eq!(second.read().await["t"], "ok");
    feed.events(vec![event("", "", &format!("\"{}\"", "x".repeat(10_000)))]);
    let published = world.shared.hub.held();
    for client in [&mut first, &mut second] {
        assert_eq!(client.read().await["t"], "ev");
    }
    let encoded = world.shared.hub.held() - published;
    assert!((10_000..11_000).contains(&encoded), "{encoded}");
}

#[tokio::test(start_paused = true)]
async fn staleness_is_told_and_taken_back() {
    let mut world = World::new(FILE);
    let (mut client, feed, ch) = stream(&mut world, "/stream").await;
    feed.stale("upstream_down");
    let state = client.read().await;
    assert_eq!((&state["t"], &state["ch"]), (&"state".into(), &ch.into()));
    assert_eq!(
        (&state["live"], &state["why"]),
        (&false.into(), &"upstream_down".into())
    );
    assert!(
        state["since"]
            .as_u64()
            .is_some_and(|since| since > 1_600_000_000)
    );
    feed.live();
    let state = client.read().await;
    assert_eq!(
        (&state["live"], &state["why"]),
        (&true.into(), &serde_json::Value::Null)
    );
}
