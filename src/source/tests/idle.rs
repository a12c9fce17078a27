//! Polled topics without subscribers: left alone, and asked for once when a client comes.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::support::*;
use crate::event::Position;
use crate::hub::Start;

const FAST: &str = r#"source = {kind = "poll", every = "50ms"}"#;
const HOURLY: &str = r#"source = {kind = "poll", every = "1h"}"#;
const CHANGES: &str = r#"source = {kind = "poll", every = "50ms", emit = "changes"}"#;

/// Longer than several intervals.
const WHILE: Duration = Duration::from_millis(400);

/// The first client of a topic, which has this document.
async fn first(world: &World, document: &str) -> Listener {
    let mut listener = world.join(Start::Live);
    world.answer_json("ETag: \"a\"\r\n", document).await;
    assert_eq!(listener.next().await, format!("snap {document}"));
    listener.state_is_live().await;
    listener
}

/// A topic of this route that has this document and has lost its last listener, and the position that this one had.
async fn idle(keys: &str, document: &str) -> (World, Position) {
    let world = World::new(keys).await;
    let position = first(&world, document).await.position();
    assert!(world.is_quiet(WHILE).await);
    (world, position)
}

#[tokio::test]
async fn a_topic_without_listeners_is_not_polled() {
    let (world, _) = idle(FAST, "1").await;
    // A client that comes costs one poll, and that a conditional one.
    let mut listener = world.join(Start::Live);
    assert_eq!(listener.next().await, "snap 1");
    let head = world.answer_status("304 Not Modified").await;
    assert_eq!(header(&head, "if-none-match").as_deref(), Some("\"a\""));
    listener.opened().await;
    assert!(listener.is_steady());
    // And it goes on as long as a client is there.
    world.answer_json("", "2").await;
    assert_eq!(listener.next().await, "message||2");
}

#[tokio::test]
async fn an_idle_topic_goes_with_its_replay_window() {
    let world = World::new(&format!("{FAST}\nreplay = {{age = \"1s\"}}")).await;
    first(&world, "1").await;
    let gone = async {
        while !world.hub.topics().is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(20), gone).await.unwrap();
    assert!(world.is_quiet(Duration::from_millis(100)).await);
}

#[tokio::test]
async fn a_client_that_comes_back_gets_the_difference() {
    let (world, position) = idle(CHANGES, r#"[{"id":1},{"id":2}]"#).await;
    let mut listener = world.join(Start::After(position));
    world.answer_json("", r#"[{"id":2,"n":1}]"#).await;
    assert_eq!(listener.next().await, r#"deleted||{"id":1}"#);
    assert_eq!(listener.next().await, r#"updated||{"id":2,"n":1}"#);
}

#[tokio::test]
async fn a_new_client_waits_for_the_poll_a_second_at_most() {
    let (world, _) = idle(FAST, "1").await;
    let come = Instant::now();
    let mut listener = world.join(Start::Live);
    let mut hanging = world.request().await;
    assert_eq!(listener.state().await, "stale connecting");
    let waited = come.elapsed();
    assert!(waited >= Duration::from_millis(850), "{waited:?}");
    hanging
        .send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n2")
        .await;
    assert_eq!(listener.state().await, "live");
}

#[tokio::test]
async fn a_poll_that_fails_is_told_to_a_new_client_at_once() {
    let (world, _) = idle(FAST, "1").await;
    let mut listener = world.join(Start::Live);
    world.answer_status("500 Oh").await;
    assert_eq!(listener.state().await, "stale upstream_down");
    world.answer_json("", "2").await;
    assert_eq!(listener.state().await, "live");
    assert_eq!(listener.next().await, "snap 1");
    assert_eq!(listener.next().await, "message||2");
}

#[tokio::test]
async fn coming_and_going_costs_no_more_polls_than_staying() {
    let world = World::new(r#"source = {kind = "poll", every = "500ms"}"#).await;
    first(&world, "1").await;
    let begun = Instant::now();
    let mut polls = 0;
    let visits = async {
        for _ in 0..60 {
            let mut listener = world.join(Start::Live);
            listener.opened().await;
            sleep(Duration::from_millis(20)).await;
            drop(listener);
            sleep(Duration::from_millis(20)).await;
        }
    };
    let answers = async {
        loop {
            world.answer_json("", "1").await;
            polls += 1;
        }
    };
    tokio::select! {
        () = visits => {}
        () = answers => {}
    }
    let most = begun.elapsed().as_millis() / 450 + 1;
    assert!(polls >= 2 && polls <= most, "{polls} polls, {most} at most");
}

#[tokio::test]
async fn a_paused_client_counts_as_none() {
    let world = World::new(FAST).await;
    let mut listener = first(&world, "1").await;
    listener.pause();
    assert!(world.is_quiet(WHILE).await);
    assert!(listener.is_steady());
    listener.resume();
    world.answer_json("", "2").await;
    assert_eq!(listener.next().await, "message||2");
    assert!(listener.is_steady());
}

#[tokio::test]
async fn a_write_is_remembered_until_a_client_comes() {
    let world = World::new(HOURLY).await;
    first(&world, "1").await;
    world.hub.refresh(|_| true);
    assert!(world.is_quiet(WHILE).await);
    let mut listener = world.join(Start::Live);
    assert_eq!(listener.next().await, "snap 1");
    world.answer_json("", "2").await;
    assert_eq!(listener.next().await, "message||2");
    drop(listener);
    // Younger than the interval, and nothing was written since.
    let mut listener = world.join(Start::Live);
    assert_eq!(listener.next().await, "snap 2");
    listener.opened().await;
    assert!(world.is_quiet(WHILE).await);
}

#[tokio::test]
async fn a_new_pace_reaches_an_idle_topic() {
    let world = World::new(HOURLY).await;
    first(&world, "1").await;
    world.reload(FAST);
    assert!(world.is_quiet(Duration::from_millis(1200)).await);
    let mut listener = world.join(Start::Live);
    assert_eq!(listener.next().await, "snap 1");
    world.answer_json("", "2").await;
    assert_eq!(listener.next().await, "message||2");
}

#[tokio::test]
async fn a_new_client_does_not_close_the_breaker() {
    let world = World::new(r#"source = {kind = "poll", every = "10ms"}"#).await;
    let mut listener = first(&world, "1").await;
    for _ in 0..5 {
        world.answer_status("500 Oh").await;
    }
    assert_eq!(listener.state().await, "stale upstream_down");
    drop(listener);
    for _ in 0..3 {
        let mut listener = world.join(Start::Live);
        assert_eq!(listener.state().await, "stale upstream_down");
        assert_eq!(listener.next().await, "snap 1");
        assert!(world.is_quiet(Duration::from_millis(200)).await);
    }
}

#[tokio::test]
async fn an_idle_topic_is_shown_as_such_and_never_falls_stale() {
    let world = World::new(r#"source = {kind = "poll", every = "10ms"}"#).await;
    let log = Log::listen();
    let mut listener = first(&world, "1").await;
    listener.pause();
    assert!(world.is_quiet(WHILE).await);
    let shown = &world.hub.topics()[0];
    assert!(shown.is_idle && !shown.state.live);
    assert_eq!(shown.state.why, Some("idle"));
    assert!(listener.is_steady());
    assert!(log.lines("source").is_empty());
    listener.resume();
    assert!(!world.hub.topics()[0].is_idle);
}
