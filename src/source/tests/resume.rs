//! What becomes of a `Last-Event-ID`: whose it is, and which clients it costs something where the backend refuses it.

use super::support::*;
use crate::hub::Start;

/// Newcomers wait for what comes, so that every request is the shared stream's.
const LIVE: &str = r#"source = {kind = "sse", join = "live"}"#;

fn by_id(id: &str) -> Start {
    Start::LastEventId(id.into())
}

fn id_of(head: &str) -> Option<String> {
    header(head, "last-event-id")
}

#[tokio::test]
async fn a_clients_id_that_is_refused_is_tried_once_without() {
    for status in [
        400, 404, 409, 410, 412, 413, 414, 415, 416, 422, 431, 500, 501,
    ] {
        let world = World::new(LIVE).await;
        let mut owner = world.join(by_id("7"));
        let mut other = world.join(Start::Live);
        let asked = world.answer_status(&format!("{status} No")).await;
        assert_eq!(id_of(&asked).as_deref(), Some("7"));
        let mut stream = world.stream().await;
        assert_eq!(id_of(&stream.head), None, "{status}");
        stream.send("data: a\n\n").await;
        assert_eq!(owner.next().await, "gap upstream_reconnect", "{status}");
        assert_eq!(owner.next().await, "message||a");
        assert_eq!(other.next().await, "message||a", "it has lost nothing");
    }
}

#[tokio::test]
async fn an_id_is_kept_where_the_backend_has_trouble() {
    for status in [408, 425, 429, 502, 503, 504] {
        let world = World::new(LIVE).await;
        let mut owner = world.join(by_id("7"));
        world.answer_status(&format!("{status} Oh")).await;
        let mut stream = world.stream().await;
        assert_eq!(id_of(&stream.head).as_deref(), Some("7"), "{status}");
        stream.send("id: 8\ndata: a\n\n").await;
        assert_eq!(owner.next().await, "message|8|a");
    }
}

#[tokio::test]
async fn a_refusal_of_the_client_is_none_of_its_id() {
    for (status, told) in [(401, "end unauthorized 401"), (403, "end forbidden 403")] {
        let world = World::new(LIVE).await;
        let mut owner = world.join(by_id("7"));
        world.answer_status(&format!("{status} No")).await;
        assert_eq!(owner.next().await, told);
    }
}

#[tokio::test]
async fn a_streams_own_id_that_is_refused_is_one_gap() {
    let world = World::new(LIVE).await;
    let mut listener = world.join(Start::Live);
    let mut stream = world.stream().await;
    stream.send("id: 1\ndata: a\n\n").await;
    assert_eq!(listener.next().await, "message|1|a");
    drop(stream);
    let asked = world.answer_status("410 Gone").await;
    assert_eq!(id_of(&asked).as_deref(), Some("1"));
    let mut stream = world.stream().await;
    assert_eq!(id_of(&stream.head), None);
    stream.send("id: 1\ndata: a\n\n").await;
    assert_eq!(listener.next().await, "gap upstream_reconnect");
    assert_eq!(listener.next().await, "message|1|a");
}

#[tokio::test]
async fn an_id_is_not_given_up_where_both_requests_fail() {
    let world = World::new(LIVE).await;
    let mut listener = world.join(by_id("7"));
    for id in [Some("7"), None, Some("7")] {
        let asked = world.answer_status("500 Oh").await;
        assert_eq!(id_of(&asked).as_deref(), id);
    }
    assert_eq!(id_of(&world.answer_status("502 Oh").await), None);
    let mut stream = world.stream().await;
    assert_eq!(id_of(&stream.head).as_deref(), Some("7"));
    stream.send("id: 8\ndata: a\n\n").await;
    assert_eq!(listener.next().await, "message|8|a");
}

#[tokio::test]
async fn a_clients_id_makes_no_stream_resumable() {
    let world = World::new(LIVE).await;
    let mut owner = world.join(by_id("7"));
    let mut stream = world.stream().await;
    assert_eq!(id_of(&stream.head).as_deref(), Some("7"));
    stream.send("data: a\n\n").await;
    assert_eq!(owner.next().await, "message|7|a");
    for _ in 0..2 {
        drop(stream);
        stream = world.stream().await;
        assert_eq!(id_of(&stream.head), None);
        assert_eq!(owner.next().await, "gap upstream_reconnect");
    }
    // The same where the stream broke before anything came, and says nothing now.
    let world = World::new(LIVE).await;
    let mut owner = world.join(by_id("7"));
    owner.opened_by(world.stream().await).await;
    let mut stream = world.stream().await;
    assert_eq!(id_of(&stream.head).as_deref(), Some("7"));
    assert_eq!(owner.next().await, "gap upstream_reconnect");
    stream.send("data: a\n\n").await;
    assert_eq!(owner.next().await, "message|7|a");
}

#[tokio::test]
async fn nothing_after_a_clients_id_is_no_end_for_others() {
    let world = World::new(LIVE).await;
    let mut owner = world.join(by_id("7"));
    let mut other = world.join(Start::Live);
    world.answer_status("204 No Content").await;
    let mut stream = world.stream().await;
    assert_eq!(id_of(&stream.head), None);
    assert_eq!(owner.next().await, "end upstream_closed 502 final");
    stream.send("data: a\n\n").await;
    assert_eq!(other.next().await, "message||a");

    let alone = World::new(LIVE).await;
    let mut owner = alone.join(by_id("7"));
    alone.answer_status("204 No Content").await;
    assert_eq!(owner.next().await, "end upstream_closed 502 final");
}

#[tokio::test]
async fn an_id_that_brings_nothing_is_given_up() {
    let page = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<p>";
    let empty = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
    for (answer, times) in [(page, 1), (empty, 3), ("", 3)] {
        let world = World::new(LIVE).await;
        let _owner = world.join(by_id("7"));
        let mut other = world.join(Start::Live);
        for _ in 0..times {
            let asked = world.answer(answer).await;
            assert_eq!(id_of(&asked).as_deref(), Some("7"));
        }
        let mut stream = world.stream().await;
        assert_eq!(id_of(&stream.head), None);
        stream.send("data: a\n\n").await;
        let mut told = other.next().await;
        while told.starts_with("gap") {
            told = other.next().await;
        }
        assert_eq!(told, "message||a");
    }
}

#[tokio::test]
async fn an_id_that_no_header_can_bear_is_a_gap() {
    let long = "7".repeat(17_000);
    for id in ["a\nb", "a\0b", "\u{7f}", &long] {
        let world = World::new(LIVE).await;
        let mut owner = world.join(by_id(id));
        let mut other = world.join(Start::Live);
        let mut stream = world.stream().await;
        assert_eq!(id_of(&stream.head), None);
        stream.send("data: a\n\n").await;
        assert_eq!(owner.next().await, "gap expired");
        assert_eq!(owner.next().await, "message||a");
        assert_eq!(other.next().await, "message||a");
    }
}
