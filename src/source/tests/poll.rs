//! Documents polled through changes, failures and hostile answers.

use std::time::Duration;

use tokio::time::Instant;

use super::support::*;
use crate::hub::Start;

const FAST: &str = r#"source = {kind = "poll", every = "50ms"}"#;
const SLOW: &str = r#"source = {kind = "poll", every = "1h"}"#;
const CHANGES: &str = r#"source = {kind = "poll", every = "50ms", emit = "changes"}"#;

#[tokio::test]
async fn a_document_is_told_once_and_then_its_changes() {
    let world = World::new(FAST).await;
    let mut listener = world.join(Start::Live);
    let head = world.answer_json("ETag: \"a\"\r\n", "{\"n\": 1}").await;
    assert!(head.starts_with("GET /feed?a=b HTTP/1.1\r\n"), "{head}");
    assert_eq!(header(&head, "if-none-match"), None);
    assert_eq!(
        header(&head, "accept").as_deref(),
        Some("application/json, */*;q=0.5")
    );
    assert_eq!(listener.next().await, "snap {\"n\": 1}");
    let head = world.answer_status("304 Not Modified").await;
    assert_eq!(header(&head, "if-none-match").as_deref(), Some("\"a\""));
    // Another ETag for the same bytes, and another spelling of the same value.
    world.answer_json("ETag: \"b\"\r\n", "{\"n\": 1}").await;
    let head = world.answer_json("ETag: W/\"c\"\r\n", "{\"n\":1}").await;
    assert_eq!(header(&head, "if-none-match").as_deref(), Some("\"b\""));
    let head = world.answer_json("", "{\"n\":2}").await;
    assert_eq!(header(&head, "if-none-match").as_deref(), Some("W/\"c\""));
    assert_eq!(listener.next().await, "message||{\"n\":2}");
    let head = world.request().await.head;
    assert_eq!(header(&head, "if-none-match"), None);
}

#[tokio::test]
async fn a_backend_that_forgets_to_change_its_etag_is_found_out() {
    let world = World::new(r#"source = {kind = "poll", every = "10ms"}"#).await;
    let mut listener = world.join(Start::Live);
    world.answer_json("ETag: \"a\"\r\n", "1").await;
    assert_eq!(listener.next().await, "snap 1");
    let mut asked = 0;
    while header(
        &world.answer_status("304 Not Modified").await,
        "if-none-match",
    )
    .is_some()
    {
        asked += 1;
    }
    assert_eq!(asked, 100);
    // That was a 304 to a plain request; the next one is plain too.
    let head = world.answer_json("ETag: \"a\"\r\n", "2").await;
    assert_eq!(header(&head, "if-none-match"), None);
    assert_eq!(listener.next().await, "message||2");
    let head = world.request().await.head;
    assert_eq!(header(&head, "if-none-match").as_deref(), Some("\"a\""));
}

#[tokio::test]
async fn a_large_document_is_compared_too() {
    let world = World::new(CHANGES).await;
    let mut listener = world.join(Start::Live);
    let filler = "x".repeat(200_000);
    let list = |n| format!("[{{\"id\":1,\"n\":{n}}},{{\"id\":2,\"text\":\"{filler}\"}}]");
    world.answer_json("", &list(1)).await;
    assert_eq!(listener.next().await, format!("snap {}", list(1)));
    world.answer_json("", &list(1)[..200_000]).await;
    world.answer_json("", &list(2)).await;
    assert_eq!(listener.next().await, r#"updated||{"id":1,"n":2}"#);
}

#[tokio::test]
async fn last_modified_is_trusted_when_it_has_settled() {
    let world = World::new(FAST).await;
    let _listener = world.join(Start::Live);
    let modified = "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n";
    let sent = |second| format!("Date: Thu, 01 Jan 2026 00:00:0{second} GMT\r\n{modified}");
    world.answer_json(&sent(1), "1").await;
    let head = world.answer_json(&sent(2), "2").await;
    assert_eq!(header(&head, "if-modified-since"), None);
    let head = world.answer_json(modified, "3").await;
    assert_eq!(
        header(&head, "if-modified-since").as_deref(),
        Some("Thu, 01 Jan 2026 00:00:00 GMT")
    );
    let head = world.request().await.head;
    assert_eq!(header(&head, "if-modified-since"), None);
}

#[tokio::test]
async fn an_answer_that_is_no_document_changes_nothing() {
    let world = World::new(CHANGES).await;
    let mut listener = world.join(Start::Live);
    let list = r#"[{"id":1},{"id":2}]"#;
    world.answer_json("", list).await;
    assert_eq!(listener.next().await, format!("snap {list}"));
    let page = "<html>[]</html>";
    for answer in [
        // Cut short: by its length, in a chunk, and between two chunks.
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n[{\"id\":1}]".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n[{\"id\"".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{page}", page.len()),
    ] {
        world.answer(&answer).await;
        world.answer_json("", list).await;
    }
    for json in ["<p>login</p>", "[{\"id\":1}", ""] {
        world.answer_json("", json).await;
        world.answer_json("", list).await;
    }
    // HTML that would parse, an empty success, a 304 that was not asked for.
    world
        .answer("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: 2\r\n\r\n[]")
        .await;
    world.answer_json("", list).await;
    world.answer_status("204 No Content").await;
    world.answer_json("", list).await;
    world.answer_status("304 Not Modified").await;
    world.answer_json("", r#"[{"id":2,"n":1}]"#).await;
    assert_eq!(listener.next().await, r#"deleted||{"id":1}"#);
    assert_eq!(listener.next().await, r#"updated||{"id":2,"n":1}"#);
    let metrics = world.telemetry.render();
    let line = "crossfade_upstream_errors_total{reason=\"broken\",upstream=\"app\"} 9";
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test]
async fn list_losing_most_items_is_believed_the_second_time() {
    let world = World::new(CHANGES).await;
    let mut listener = world.join(Start::Live);
    let list: Vec<_> = (0..10).map(|id| format!("{{\"id\":{id}}}")).collect();
    let list = format!("[{}]", list.join(","));
    world.answer_json("ETag: \"full\"\r\n", &list).await;
    listener.next().await;
    world.answer_json("ETag: \"empty\"\r\n", "[]").await;
    let head = world.answer_json("ETag: \"full\"\r\n", &list).await;
    assert_eq!(header(&head, "if-none-match").as_deref(), Some("\"full\""));
    world.answer_json("", "[]").await;
    world.answer_json("", "[{\"id\":3}]").await;
    for id in [0, 1, 2, 4, 5, 6, 7, 8, 9] {
        assert_eq!(listener.next().await, format!("deleted||{{\"id\":{id}}}"));
    }
    world.answer_json("", "[{\"id\":3},{\"id\":3}]").await;
    assert_eq!(listener.next().await, "snap [{\"id\":3},{\"id\":3}]");
}

#[tokio::test]
async fn observed_write_polls_at_once_and_again_after_a_running_poll() {
    let world = World::new(SLOW).await;
    let mut listener = world.join(Start::Live);
    world.answer_json("", "1").await;
    listener.next().await;
    world.hub.refresh(|target| target.url == "/feed?a=b");
    let mut under_way = world.request().await;
    world.hub.refresh(|_| true);
    world.hub.refresh(|_| true);
    under_way
        .send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n2")
        .await;
    assert_eq!(listener.next().await, "message||2");
    world.answer_json("", "3").await;
    assert_eq!(listener.next().await, "message||3");
    world.hub.refresh(|target| target.url == "/other");
    assert!(world.is_quiet(Duration::from_millis(300)).await);
}

#[tokio::test]
async fn a_write_seen_before_a_poll_begins_is_covered_by_it() {
    let world = World::new(SLOW).await;
    let mut listener = world.join(Start::Live);
    world.hub.refresh(|_| true);
    world.answer_json("", "1").await;
    assert_eq!(listener.next().await, "snap 1");
    assert!(world.is_quiet(Duration::from_millis(300)).await);
}

#[tokio::test]
async fn a_topic_whose_polls_succeed_is_never_called_stale() {
    let world = World::new(r#"source = {kind = "poll", every = "200ms"}"#).await;
    let mut listener = world.join(Start::Live);
    world.answer_json("", "1").await;
    listener.opened().await;
    let polls = async {
        for _ in 0..10 {
            world.answer_json("", "1").await;
        }
    };
    tokio::select! {
        told = listener.state() => panic!("{told}"),
        () = polls => {}
    }
}

#[tokio::test]
async fn a_reload_changes_the_pace_in_place() {
    let world = World::new(SLOW).await;
    let mut listener = world.join(Start::Live);
    world.answer_json("", "1").await;
    listener.next().await;
    world.reload(FAST);
    world.answer_json("", "2").await;
    assert_eq!(listener.next().await, "message||2");
    world.answer_json("", "3").await;
    assert_eq!(listener.next().await, "message||3");
}

#[tokio::test]
async fn a_question_with_a_body_is_posted() {
    let world = World::new(
        r#"source = {kind = "poll", every = "50ms", method = "POST", body = {q = "all"}}"#,
    )
    .await;
    let mut listener = world.join(Start::Live);
    let mut exchange = world.request().await;
    assert!(exchange.head.starts_with("POST /feed?a=b HTTP/1.1\r\n"));
    let head = &exchange.head;
    assert_eq!(
        header(head, "content-type").as_deref(),
        Some("application/json")
    );
    let length = header(head, "content-length").unwrap().parse().unwrap();
    assert_eq!(exchange.body(length).await, r#"{"q":"all"}"#);
    exchange
        .send("HTTP/1.1 200 OK\r\nETag: \"a\"\r\nConnection: close\r\nContent-Length: 1\r\n\r\n1")
        .await;
    assert_eq!(listener.next().await, "snap 1");
    let head = world.request().await.head;
    assert_eq!(header(&head, "if-none-match"), None);
}

#[tokio::test]
async fn poll_outage_is_told_after_three_intervals_and_when_over() {
    let world = World::new(r#"source = {kind = "poll", every = "300ms"}"#).await;
    let mut listener = world.join(Start::Live);
    world.answer_json("", "1").await;
    assert_eq!(listener.next().await, "snap 1");
    world.answer_status("500 Oh").await;
    let second = world.request().await;
    assert!(listener.is_steady());
    drop(second);
    // A connection that broke before an answer is tried once more within the same poll.
    world.answer_status("500 Oh").await;
    world.answer_status("500 Oh").await;
    assert_eq!(listener.state().await, "stale upstream_down");
    world.answer_json("", "1").await;
    assert_eq!(listener.state().await, "live");
    // A poll that hangs is late as well.
    let hanging = world.request().await;
    assert_eq!(listener.state().await, "stale upstream_timeout");
    drop(hanging);
}

#[tokio::test]
async fn the_first_answer_may_fail_for_a_while_or_refuse_for_good() {
    let world = World::new(FAST).await;
    let mut listener = world.join(Start::Live);
    world.answer_status("500 Oh").await;
    assert_eq!(listener.state().await, "stale upstream_down");
    world.answer_json("", "1").await;
    assert_eq!(listener.next().await, "snap 1");
    assert_eq!(listener.state().await, "live");
    for (status, told) in [
        ("401 No", "end unauthorized 401"),
        ("303 Login", "end unauthorized 401"),
        ("403 No", "end forbidden 403"),
        ("410 Gone", "end not_found 410"),
    ] {
        let world = World::new(FAST).await;
        let mut listener = world.join(Start::Live);
        world.answer_status(status).await;
        assert_eq!(listener.next().await, told);
        let mut listener = world.join(Start::Live);
        world.answer_json("", "1").await;
        assert_eq!(listener.next().await, "snap 1");
        world.answer_status(status).await;
        assert_eq!(listener.next().await, told);
    }
}

#[tokio::test]
async fn a_good_head_without_a_whole_document_is_no_good_news() {
    let world = World::new(FAST).await;
    let mut listener = world.join(Start::Live);
    let cut_short =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n[1";
    world.answer(cut_short).await;
    assert_eq!(listener.state().await, "stale upstream_down");
    world.answer(cut_short).await;
    world
        .answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[1")
        .await;
    let next = world.request().await;
    assert!(listener.is_steady());
    drop(next);
    world.answer_json("", "[1]").await;
    assert_eq!(listener.state().await, "live");
    assert_eq!(listener.next().await, "snap [1]");
}

#[tokio::test]
async fn a_document_above_the_limit_is_one_gap() {
    let world = World::new(r#"source = {kind = "poll", every = "50ms", max_body = "1KiB"}"#).await;
    let mut listener = world.join(Start::Live);
    world.answer_json("", "1").await;
    assert_eq!(listener.next().await, "snap 1");
    let huge = format!("\"{}\"", "x".repeat(2000));
    world.answer_json("", &huge).await;
    assert_eq!(listener.next().await, "gap too_large");
    assert_eq!(listener.next().await, "snap 1");
    world
        .answer(&format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7d2\r\n{huge}\r\n0\r\n\r\n"
        ))
        .await;
    world.answer_json("", "2").await;
    assert_eq!(listener.next().await, "message||2");
}

#[tokio::test]
async fn a_private_answer_on_a_public_topic_reaches_no_client() {
    let public = format!("{FAST}\nshare = \"public\"");
    for lines in ["Set-Cookie: a=b\r\n", "Cache-Control: no-store\r\n"] {
        let world = World::new(&public).await;
        let mut listener = world.join_public();
        world.answer_json(lines, "\"secret\"").await;
        assert_eq!(listener.next().await, "end internal 500");
        let mut listener = world.join_public();
        world.answer_json("", "1").await;
        assert_eq!(listener.next().await, "snap 1");
        world.answer_json(lines, "\"secret\"").await;
        assert_eq!(listener.next().await, "end internal 500");
    }
}

#[tokio::test]
async fn backend_that_asks_for_a_pause_or_fails_is_left_alone() {
    let world = World::new(FAST).await;
    let mut listener = world.join(Start::Live);
    world.answer_json("", "1").await;
    let asked = Instant::now();
    world
        .answer(
            "HTTP/1.1 429 Slow\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        )
        .await;
    world.hub.refresh(|_| true);
    world.answer_status("500 Oh").await;
    let pause = asked.elapsed();
    assert!(pause >= Duration::from_millis(950), "{pause:?}");
    assert_eq!(listener.state().await, "stale upstream_down");
    for _ in 0..3 {
        world.hub.refresh(|_| true);
        world.answer_status("500 Oh").await;
    }
    // The fifth failure opened the breaker: an observed write does not close it.
    tokio::time::sleep(Duration::from_millis(300)).await;
    world.hub.refresh(|_| true);
    assert!(world.is_quiet(Duration::from_secs(1)).await);
}
