//! A stream followed through losses, refusals and hostile bytes.

use std::time::Duration;

use hyper::header::{ACCEPT_LANGUAGE, HeaderValue};
use tokio::time::Instant;

use super::support::*;
use crate::hub::{Credentials, Scope, Start};
use crate::source::sse::decode::MAX_EVENT;

const PLAIN: &str = r#"source = "sse""#;
const PUBLIC: &str = "source = \"sse\"\nshare = \"public\"";

fn headers(head: &str) -> Vec<String> {
    let mut lines: Vec<_> = head
        .lines()
        .skip(1)
        .filter(|line| !line.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn the_request_carries_what_a_source_may_take_and_no_more() {
    let world = World::new(PLAIN).await;
    let credentials = Credentials {
        cookie: Some(HeaderValue::from_static("s=1")),
        authorization: Some(HeaderValue::from_static("Bearer t")),
        identity: Vec::new(),
    };
    let mut target = world.target(Scope::User(credentials.principal()));
    target.vary = vec![(ACCEPT_LANGUAGE, HeaderValue::from_static("de"))];
    let _listener = world.join_as(
        target.clone(),
        credentials.clone(),
        Start::LastEventId("7".into()),
    );
    let head = world.request().await.head;
    assert!(head.starts_with("GET /feed?a=b HTTP/1.1\r\n"), "{head}");
    let common = [
        "accept-encoding: identity",
        "accept-language: de",
        "accept: text/event-stream",
        "host: app.example",
        "x-forwarded-host: app.example",
        "x-forwarded-proto: https",
    ];
    let mut expected = common.to_vec();
    expected.extend(["authorization: bearer t", "cookie: s=1", "last-event-id: 7"]);
    expected.sort_unstable();
    assert_eq!(headers(&head), expected);

    target.scope = Scope::Public;
    let _listener = world.join_as(target, credentials, Start::Live);
    assert_eq!(headers(&world.request().await.head), common);
}

#[tokio::test]
async fn a_stream_with_ids_goes_on_where_it_broke() {
    let world = World::new(PLAIN).await;
    let mut listener = world.join(Start::Live);
    let mut stream = world.stream().await;
    listener.opened().await;
    stream
        .send("id: 1\nevent: up\ndata: {\"a\":1}\n\nid: 2\ndata: two\n\nid: 3\ndata: cut")
        .await;
    assert_eq!(listener.next().await, "up|1|{\"a\":1}");
    assert_eq!(listener.next().await, "message|2|two");
    drop(stream);
    // A backend that repeats more than it was asked for.
    let mut stream = world.stream().await;
    assert_eq!(header(&stream.head, "last-event-id").as_deref(), Some("2"));
    stream
        .send("id: 1\nevent: up\ndata: {\"a\":1}\n\nid: 2\ndata: two\n\nid: 3\ndata: three\n\n")
        .await;
    assert_eq!(listener.next().await, "message|3|three");
    stream.send("id: 2\ndata: two\n\n").await;
    assert_eq!(listener.next().await, "message|2|two");
}

#[tokio::test]
async fn a_stream_without_ids_tells_one_gap_for_each_reconnect() {
    let world = World::new(PLAIN).await;
    let mut listener = world.join(Start::Live);
    drop(world.stream().await);
    // Nothing had come, and something may have been missed all the same.
    let mut stream = world.stream().await;
    assert_eq!(header(&stream.head, "last-event-id"), None);
    assert_eq!(listener.next().await, "gap upstream_reconnect");
    stream.send("data: a\n\ndata: b").await;
    assert_eq!(listener.next().await, "message||a");
    drop(stream);
    world.answer_status("500 Oh").await;
    let mut stream = world.stream().await;
    stream.send("data: c\n\n").await;
    assert_eq!(listener.next().await, "gap upstream_reconnect");
    assert_eq!(listener.next().await, "message||c");
}

#[tokio::test]
async fn the_first_stream_is_asked_for_again_without_a_gap() {
    let world = World::new(PLAIN).await;
    let mut listener = world.join(Start::Live);
    world.answer_status("500 Oh").await;
    assert_eq!(listener.state().await, "stale upstream_down");
    world
        .answer("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<p>")
        .await;
    let mut stream = world.stream().await;
    assert_eq!(listener.state().await, "live");
    stream.send("data: a\n\n").await;
    assert_eq!(listener.next().await, "message||a");
}

#[tokio::test]
async fn a_refusal_ends_the_topic() {
    for (status, told) in [
        ("401 No", "end unauthorized 401"),
        ("302 Found", "end unauthorized 401"),
        ("403 No", "end forbidden 403"),
        ("404 No", "end not_found 404"),
        ("410 Gone", "end not_found 410"),
        ("204 No Content", "end upstream_closed 502 final"),
    ] {
        let world = World::new(PLAIN).await;
        let mut listener = world.join(Start::Live);
        world.answer_status(status).await;
        assert_eq!(listener.next().await, told);
        // The same later on.
        let mut listener = world.join(Start::Live);
        drop(world.stream().await);
        world.answer_status(status).await;
        assert_eq!(listener.next().await, told);
    }
}

#[tokio::test]
async fn a_final_event_is_delivered_and_ends_the_topic() {
    let world = World::new(
        r#"source = {kind = "sse", final = ["done"], events = {done = "finished", tick = "message", message = "plain"}}"#,
    )
    .await;
    let mut listener = world.join(Start::Live);
    let mut stream = world.stream().await;
    stream
        .send("event: tick\ndata: 1\n\ndata: 2\n\nevent: done\ndata: 3\n\ndata: 4\n\n")
        .await;
    assert_eq!(listener.next().await, "message||1");
    assert_eq!(listener.next().await, "plain||2");
    assert_eq!(listener.next().await, "finished||3");
    assert_eq!(listener.next().await, "end upstream_closed 502 final");
    stream.closed().await;
    assert!(world.is_quiet(Duration::from_millis(500)).await);
}

#[tokio::test]
async fn stream_outage_is_told_after_a_second_and_when_over() {
    let world = World::new(PLAIN).await;
    let mut listener = world.join(Start::Live);
    let stream = world.stream().await;
    listener.opened().await;
    drop(stream);
    let lost = Instant::now();
    let mut waiting = world.request().await;
    assert_eq!(listener.state().await, "stale upstream_down");
    let told = lost.elapsed();
    assert!(told >= Duration::from_millis(950), "{told:?}");
    assert!(told < Duration::from_secs(3), "{told:?}");
    waiting
        .send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        .await;
    assert_eq!(listener.next().await, "gap upstream_reconnect");
    assert_eq!(listener.state().await, "live");
}

#[tokio::test]
async fn silence_is_a_loss_and_a_comment_is_not_silence() {
    let world = World::new(r#"source = {kind = "sse", idle_timeout = "300ms"}"#).await;
    let mut listener = world.join(Start::Live);
    let mut stream = world.stream().await;
    for _ in 0..8 {
        stream.send(":\n").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stream.send("data: a\n\n").await;
    assert_eq!(listener.next().await, "message||a");
    stream.closed().await;
    let _stream = world.stream().await;
    assert_eq!(listener.next().await, "gap upstream_reconnect");
}

#[tokio::test]
async fn an_event_above_the_limit_is_one_gap_and_not_met_again() {
    let world = World::new(PLAIN).await;
    let mut listener = world.join(Start::Live);
    let huge = "x".repeat(MAX_EVENT + 100);
    // Its id is known: the stream is resumed after it.
    let mut stream = world.stream().await;
    stream.send("id: 1\ndata: a\n\nid: 2\ndata: ").await;
    assert_eq!(listener.next().await, "message|1|a");
    stream.send(&huge).await;
    assert_eq!(listener.next().await, "gap too_large");
    let mut stream = world.stream().await;
    assert_eq!(header(&stream.head, "last-event-id").as_deref(), Some("2"));
    stream.send("id: 3\ndata: b\n\n").await;
    assert_eq!(listener.next().await, "message|3|b");
    // Its id is not known: the stream begins anew, and the loss lasts until then.
    stream.send("data: ").await;
    stream.send(&huge).await;
    let mut stream = world.stream().await;
    assert_eq!(header(&stream.head, "last-event-id"), None);
    assert_eq!(listener.next().await, "gap too_large");
    stream.send("data: c\n\n").await;
    assert_eq!(listener.next().await, "message||c");
}

#[tokio::test]
async fn a_private_answer_on_a_public_topic_reaches_no_client() {
    for (answer, reason) in [
        ("200 OK\r\nSet-Cookie: a=b", "set-cookie"),
        ("200 OK\r\nCache-Control: private", "private"),
        ("200 OK\r\nVary: Cookie", "vary"),
        ("401 No", "401"),
        ("403 No", "403"),
    ] {
        let world = World::new(PUBLIC).await;
        let mut listener = world.join_public();
        world
            .answer(&format!(
                "HTTP/1.1 {answer}\r\nContent-Type: text/event-stream\r\n\r\ndata: secret\n\n"
            ))
            .await;
        let end = match reason {
            "401" | "403" => format!("end forbidden {reason}"),
            _ => "end internal 500".to_owned(),
        };
        assert_eq!(listener.next().await, end);
        let metrics = world.telemetry.render();
        let line = format!("crossfade_share_refused_total{{reason=\"{reason}\",route=\"feed\"}} 1");
        assert!(metrics.contains(&line), "{line}");
    }
    let accepting = "source = \"sse\"\nshare = {public = true, accept = [\"set-cookie\"]}";
    let world = World::new(accepting).await;
    let mut listener = world.join_public();
    world
        .answer("HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        .await;
    assert_eq!(listener.next().await, "message||1");
}

#[tokio::test]
async fn a_pause_that_the_backend_asks_for_is_kept() {
    let world = World::new(PLAIN).await;
    let _listener = world.join(Start::Live);
    let asked = Instant::now();
    world
        .answer(
            "HTTP/1.1 503 Busy\r\nRetry-After: 2\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        )
        .await;
    world.request().await;
    let pause = asked.elapsed();
    assert!(pause >= Duration::from_millis(1950), "{pause:?}");
    assert!(pause < Duration::from_secs(4), "{pause:?}");
}

#[tokio::test]
async fn open_streams_are_counted() {
    let world = World::new(PLAIN).await;
    let open = || {
        let text = world.telemetry.render();
        let line = text
            .lines()
            .find(|line| line.starts_with("crossfade_upstream_streams{"));
        line.map(|line| line.rsplit(' ').next().unwrap().to_owned())
    };
    let mut listener = world.join(Start::Live);
    let mut stream = world.stream().await;
    stream.send("data: a\n\n").await;
    listener.next().await;
    assert_eq!(open().as_deref(), Some("1"));
    drop(stream);
    let _waiting = world.request().await;
    assert_eq!(open().as_deref(), Some("0"));
}

#[tokio::test]
async fn a_lost_stream_is_asked_for_when_a_client_comes() {
    let world = World::new(PLAIN).await;
    let mut listener = world.join(Start::Live);
    let mut stream = world.stream().await;
    stream.send("id: 1\ndata: a\n\nid: 2\ndata: b\n\n").await;
    assert_eq!(listener.next().await, "message|1|a");
    assert_eq!(listener.next().await, "message|2|b");
    drop(listener);
    // It stays open while it is open.
    stream.send("id: 3\ndata: c\n\n").await;
    drop(stream);
    // Longer than a stream that has delivered is waited for.
    assert!(world.is_quiet(Duration::from_millis(1_500)).await);
    let mut back = world.join(Start::LastEventId("2".into()));
    assert_eq!(back.next().await, "message|3|c");
    let head = world.answer_status("404 Not Found").await;
    assert_eq!(header(&head, "last-event-id").as_deref(), Some("3"));
    // It may be the id that it does not know.
    world.answer_status("404 Not Found").await;
    assert_eq!(back.next().await, "end not_found 404");
    // And once it is over that is known.
    let mut again = world.join(Start::LastEventId("2".into()));
    assert_eq!(again.next().await, "message|3|c");
    assert_eq!(again.next().await, "end not_found 404");
    assert!(world.is_quiet(Duration::from_millis(100)).await);
}

#[tokio::test]
async fn a_newcomer_gets_a_stream_anew_where_one_was_lost() {
    let world = World::new(PLAIN).await;
    let mut first = world.join(Start::Live);
    let mut stream = world.stream().await;
    stream.send("id: 1\ndata: a\n\n").await;
    assert_eq!(first.next().await, "message|1|a");
    drop((first, stream));
    while !world
        .hub
        .topics()
        .iter()
        .any(|topic| topic.subscribers == 0)
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The end of the stream is not seen from here; it is soon.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut newcomer = world.join(Start::Live);
    let mut stream = world.stream().await;
    assert_eq!(header(&stream.head, "last-event-id"), None);
    stream.send("id: 1\ndata: a\n\n").await;
    assert_eq!(newcomer.next().await, "message|1|a");
}
