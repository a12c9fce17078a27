//! What a source takes for its content, what for nothing new, and what it says of all else.

use async_compression::tokio::write::{BrotliEncoder, GzipEncoder, ZlibEncoder};
use tokio::io::AsyncWriteExt;

use super::support::*;
use crate::hub::Start;

const FAST: &str = r#"source = {kind = "poll", every = "50ms"}"#;
const STREAM: &str = r#"source = "sse""#;

macro_rules! compressed {
    ($encoder:ident, $text:expr) => {{
        let mut encoder = $encoder::new(Vec::new());
        encoder.write_all($text.as_bytes()).await.unwrap();
        encoder.shutdown().await.unwrap();
        encoder.into_inner()
    }};
}

fn with_status(status: &str, json: &str) -> String {
    let length = json.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{json}"
    )
}

#[tokio::test]
async fn every_whole_success_with_json_is_a_document() {
    let world = World::new(FAST).await;
    let mut listener = world.join(Start::Live);
    world.answer(&with_status("202 Accepted", "0")).await;
    assert_eq!(listener.next().await, "snap 0");
    let statuses = [
        "200 OK",
        "201 Created",
        "203 Other",
        "207 Multi",
        "202 Accepted",
    ];
    for (n, status) in (1..).zip(statuses) {
        world.answer(&with_status(status, &n.to_string())).await;
        assert_eq!(listener.next().await, format!("message||{n}"));
    }
    // Parts of a document are none.
    for status in ["206 Partial Content", "226 IM Used"] {
        world.answer(&with_status(status, "[]")).await;
    }
    world.answer_json("", "6").await;
    assert_eq!(listener.next().await, "message||6");
}

#[tokio::test]
async fn nothing_new_is_no_failure_and_slows_nothing_down() {
    let world = World::new(FAST).await;
    let mut listener = world.join(Start::Live);
    for _ in 0..3 {
        for status in ["204 No Content", "205 Reset Content", "202 Accepted"] {
            world.answer_status(status).await;
        }
    }
    // The topic is live without a document.
    listener.opened().await;
    assert!(world.hub.topics()[0].state.live);
    world.answer_json("", "1").await;
    assert_eq!(listener.next().await, "snap 1");
    world.answer_status("204 No Content").await;
    world.answer_json("", "2").await;
    assert_eq!(listener.next().await, "message||2");
    let metrics = world.telemetry.render();
    assert!(
        !metrics.contains("crossfade_upstream_errors_total{"),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_document_that_is_compressed_unasked_is_read() {
    let world = World::new(FAST).await;
    let mut listener = world.join(Start::Live);
    let text = |n: u8| format!("{{\"n\":{n}}}");
    world
        .answer_bytes("Content-Encoding: none\r\n", text(0).as_bytes())
        .await;
    assert_eq!(listener.next().await, format!("snap {}", text(0)));
    for (n, coding, content) in [
        (1, "UTF-8", text(1).into_bytes()),
        (2, "gzip", compressed!(GzipEncoder, text(2))),
        (3, "deflate", compressed!(ZlibEncoder, text(3))),
        (4, "br", compressed!(BrotliEncoder, text(4))),
    ] {
        let line = format!("Content-Encoding: {coding}\r\n");
        world.answer_bytes(&line, &content).await;
        assert_eq!(listener.next().await, format!("message||{}", text(n)));
    }
    // Cut short, and no such content: thrown away, and nothing is compared with it.
    let gzip = compressed!(GzipEncoder, "[]");
    for content in [&gzip[..gzip.len() - 4], b"{}"] {
        world
            .answer_bytes("Content-Encoding: gzip\r\n", content)
            .await;
        world.answer_json("", &text(4)).await;
    }
    world.answer_json("", "5").await;
    assert_eq!(listener.next().await, "message||5");
}

#[tokio::test]
async fn a_small_answer_that_unfolds_beyond_the_limit_is_a_gap() {
    let world = World::new(r#"source = {kind = "poll", every = "50ms", max_body = "64KiB"}"#).await;
    let mut listener = world.join(Start::Live);
    world.answer_json("", "1").await;
    assert_eq!(listener.next().await, "snap 1");
    let bomb = compressed!(GzipEncoder, format!("\"{}\"", "x".repeat(4 << 20)));
    assert!(bomb.len() < 64 << 10);
    world
        .answer_bytes("Content-Encoding: gzip\r\n", &bomb)
        .await;
    assert_eq!(listener.next().await, "gap too_large");
    assert_eq!(listener.next().await, "snap 1");
}

#[tokio::test]
async fn an_unknown_coding_is_named_once_in_the_log() {
    let log = Log::listen();
    for (keys, media_type) in [(FAST, "application/json"), (STREAM, "text/event-stream")] {
        let world = World::new(keys).await;
        let mut listener = world.join(Start::Live);
        let lines = format!("Content-Type: {media_type}\r\nContent-Encoding: zstd\r\n");
        for _ in 0..3 {
            world.answer_bytes(&lines, b"\x28\xb5\x2f\xfd").await;
        }
        assert_eq!(listener.state().await, "stale upstream_invalid");
    }
    assert_eq!(log.lines("200 with content encoded as zstd").len(), 2);
}

#[tokio::test]
async fn events_of_a_compressed_stream_arrive_as_they_are_flushed() {
    let world = World::new(STREAM).await;
    let mut listener = world.join(Start::Live);
    let mut exchange = world.request().await;
    exchange
        .send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n")
        .await;
    let mut encoder = GzipEncoder::new(Vec::new());
    for n in 1..=3 {
        let event = format!("id: {n}\ndata: {n}\n\n");
        encoder.write_all(event.as_bytes()).await.unwrap();
        encoder.flush().await.unwrap();
        exchange.send_bytes(encoder.get_ref()).await;
        encoder.get_mut().clear();
        assert_eq!(listener.next().await, format!("message|{n}|{n}"));
    }
    drop(exchange);
    // Its end is a loss as any other.
    let mut stream = world.stream().await;
    assert_eq!(header(&stream.head, "last-event-id").as_deref(), Some("3"));
    stream.send("id: 4\ndata: 4\n\n").await;
    assert_eq!(listener.next().await, "message|4|4");
}

#[tokio::test]
async fn an_event_that_unfolds_beyond_the_limit_is_a_gap() {
    let world = World::new(STREAM).await;
    let mut listener = world.join(Start::Live);
    let endless = compressed!(
        GzipEncoder,
        format!("id: 1\n\ndata: {}", "x".repeat(2 << 20))
    );
    let lines = "Content-Type: text/event-stream\r\nContent-Encoding: gzip\r\n";
    world.answer_bytes(lines, &endless).await;
    let mut stream = world.stream().await;
    assert_eq!(listener.next().await, "gap too_large");
    stream.send("data: on\n\n").await;
    assert!(listener.next().await.ends_with("|on"));
}

#[tokio::test]
async fn what_is_no_stream_is_invalid_and_said_once() {
    let page = "Content-Type: text/html; charset=utf-8\r\n";
    for (answer, what) in [
        (format!("HTTP/1.1 200 OK\r\n{page}Content-Length: 3\r\n\r\n<p>"), "no event stream: 200 with text/html; charset=utf-8"),
        (with_status("200 OK", "{}"), "no event stream: 200 with application/json"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".into(), "no event stream: 200 without a content type"),
        ("HTTP/1.1 205 Reset Content\r\nContent-Type: text/event-stream\r\nContent-Length: 0\r\n\r\n".into(), "no event stream: 205 with text/event-stream"),
        ("HTTP/1.1 308 Moved\r\nLocation: /new?token=secret\r\nContent-Length: 0\r\n\r\n".into(), "308 to /new: sources follow no redirect"),
    ] {
        let log = Log::listen();
        let world = World::new(STREAM).await;
        let mut listener = world.join(Start::Live);
        for _ in 0..3 {
            let answer = answer.replacen("\r\n", "\r\nConnection: close\r\n", 1);
            world.answer(&answer).await;
        }
        assert_eq!(listener.state().await, "stale upstream_invalid", "{what}");
        let said = log.lines(what);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains("route=\"feed\" upstream=\"app\""), "{said:?}");
        assert!(log.lines("secret").is_empty());
        // Again after it was over.
        let stream = world.stream().await;
        assert_eq!(listener.state().await, "live");
        drop(stream);
        world.answer(&answer).await;
        let _next = world.request().await;
        listener.state().await;
        assert_eq!(log.lines(what).len(), 2);
    }
}

#[tokio::test]
async fn a_reason_that_changes_is_shown_to_new_clients() {
    let world = World::new(STREAM).await;
    let mut listener = world.join(Start::Live);
    world.answer_status("503 Later").await;
    assert_eq!(listener.state().await, "stale upstream_down");
    world.answer(&with_status("200 OK", "{}")).await;
    let _next = world.request().await;
    assert!(listener.is_steady());
    let mut late = world.join(Start::Live);
    assert_eq!(late.state().await, "stale upstream_invalid");
}

#[tokio::test]
async fn a_polled_page_is_invalid_and_said_once() {
    let log = Log::listen();
    let world = World::new(FAST).await;
    let mut listener = world.join(Start::Live);
    for _ in 0..3 {
        world
            .answer_bytes("Content-Type: text/html\r\n", b"<p>")
            .await;
    }
    assert_eq!(listener.state().await, "stale upstream_invalid");
    assert_eq!(log.lines("no JSON document: 200 with text/html").len(), 1);
}

#[tokio::test]
async fn a_list_without_usable_keys_is_said_once_until_it_has_some() {
    let log = Log::listen();
    let world = World::new(r#"source = {kind = "poll", every = "10ms", emit = "changes"}"#).await;
    let mut listener = world.join(Start::Live);
    let doubtful = |n: u8| format!("[{{\"id\":1,\"n\":{n}}},{{\"id\":1}}]");
    world.answer_json("", "[]").await;
    for n in 0..5 {
        world.answer_json("", &doubtful(n)).await;
    }
    for _ in 0..6 {
        listener.next().await;
    }
    assert_eq!(log.lines("two items have the same key").len(), 1);
    // Another reason, good lists, and the first reason again.
    world.answer_json("", "[{}]").await;
    world.answer_json("", "[]").await;
    world.answer_json("", "[{\"id\":1}]").await;
    world.answer_json("", &doubtful(0)).await;
    for _ in 0..4 {
        listener.next().await;
    }
    assert_eq!(log.lines("an item has no key").len(), 1);
    assert_eq!(log.lines("two items have the same key").len(), 2);
}

#[tokio::test]
async fn a_list_that_comes_and_goes_is_doubted_once_in_the_log() {
    let log = Log::listen();
    let world = World::new(r#"source = {kind = "poll", every = "10ms", emit = "changes"}"#).await;
    let _listener = world.join(Start::Live);
    let list: Vec<_> = (0..10).map(|id| format!("{{\"id\":{id}}}")).collect();
    let list = format!("[{}]", list.join(","));
    for _ in 0..4 {
        world.answer_json("", &list).await;
        world.answer_json("", "[]").await;
    }
    let _next = world.request().await;
    assert_eq!(log.lines("most of the list is gone").len(), 1);
}
