//! One stream on a bridged route's own path, in both subprotocols.

use std::time::Duration;

use tokio_tungstenite::tungstenite::Message;

use super::FILE;
use super::support::{World, document, event, first_document};
use crate::error::Code;
use crate::event::{End, GapWhy};
use crate::session::accepted::{Accepted, Mode, SingleForm};

const RAW: SingleForm = SingleForm::Raw { wrap: false };

fn end(code: Code, is_final: bool) -> End {
    End {
        code,
        status: code.status(),
        retry_ms: None,
        is_final,
    }
}

fn after(mut opening: Accepted, position: &str) -> Accepted {
    if let Mode::Single { after, .. } = &mut opening.mode {
        *after = Some(position.into());
    }
    opening
}

#[tokio::test(start_paused = true)]
async fn json_has_an_implied_sub_of_number_0() {
    let mut world = World::new(FILE);
    let mut client = world
        .connect(world.single("/stream", SingleForm::Json))
        .await;
    assert_eq!(client.read().await["t"], "welcome");
    let feed = world.feed().await;
    feed.opened();
    let ok = client.read().await;
    assert_eq!((&ok["t"], &ok["id"]), (&"ok".into(), &0.into()));
    client.send(r#"{"t":"sub","id":5,"path":"/other"}"#).await;
    assert_eq!(client.read().await["code"], "conflict");
    client
        .send(&format!(r#"{{"t":"unsub","id":6,"ch":{}}}"#, ok["ch"]))
        .await;
    assert_eq!(client.read().await["id"], 6);
    assert_eq!(client.closed().await.0, 1000);
}

#[tokio::test(start_paused = true)]
async fn handshake_finds_the_route_for_its_stream_too() {
    let mut world = World::new(FILE);
    let mut opening = world.single("/stream", RAW);
    // No route is at this path: looked up once more, the stream would be refused.
    if let Mode::Single { url, .. } = &mut opening.mode {
        *url = "/nowhere?a=1".into();
    }
    let _client = world.connect(opening).await;
    let feed = world.feed().await;
    assert_eq!(&*feed.route().name, "stream");
    assert_eq!(feed.target().url, "/nowhere?a=1");
}

#[tokio::test(start_paused = true)]
async fn every_refusal_and_end_closes_with_its_code() {
    let mut world = World::new(FILE);
    for (code, close) in [
        (Code::Unauthorized, 4001),
        (Code::Forbidden, 4003),
        (Code::NotFound, 4004),
        (Code::Internal, 4100),
    ] {
        for form in [SingleForm::Json, RAW] {
            let mut client = world.connect(world.single("/stream", form)).await;
            world.feed().await.end(end(code, false));
            assert_eq!(client.closed().await.0, close, "{code:?} {form:?}");
        }
    }
    let mut client = world
        .connect(world.single("/nowhere", SingleForm::Json))
        .await;
    assert_eq!(client.closed().await.0, 4004);
    for (is_final, form, close) in [
        (true, SingleForm::Json, 1000),
        (false, SingleForm::Json, 4100),
        (true, RAW, 1000),
        (false, RAW, 1000),
    ] {
        let mut client = world.connect(world.single("/stream", form)).await;
        let feed = world.feed().await;
        feed.opened();
        feed.end(end(Code::UpstreamClosed, is_final));
        assert_eq!(client.closed().await.0, close, "{is_final} {form:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn raw_is_the_data_and_nothing_else() {
    let mut world = World::new(FILE);
    let mut client = world.connect(world.single("/stream", RAW)).await;
    let feed = world.feed().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    feed.stale("upstream_down");
    feed.opened();
    feed.events(vec![event("a", "1", r#"{"n":1}"#)]);
    feed.gap(GapWhy::UpstreamReconnect);
    feed.events(vec![event("b", "2", "two")]);
    assert_eq!(client.read_text().await, r#"{"n":1}"#);
    assert_eq!(client.read_text().await, "two");
    client.send("anything").await;
    assert_eq!(client.closed().await.0, 4000);
}

#[tokio::test(start_paused = true)]
async fn raw_of_a_polled_list_is_its_document_and_then_named_changes() {
    let mut world = World::new(FILE);
    let mut client = world.connect(world.single("/list", RAW)).await;
    let feed = world.feed().await;
    first_document(&feed, "[1]");
    document(&feed, "[1,2]", vec![event("created", "", r#"{"id":2}"#)]);
    assert_eq!(client.read_text().await, "[1]");
    assert_eq!(client.read_text().await, r#"{"e":"created","d":{"id":2}}"#);
    let wrapped = SingleForm::Raw { wrap: true };
    let mut client = world.connect(world.single("/list", wrapped)).await;
    let first = client.read_text().await;
    assert!(
        first.starts_with(r#"{"o":""#) && first.ends_with(r#","d":[1,2]}"#),
        "{first}"
    );
}

#[tokio::test(start_paused = true)]
async fn raw_closes_where_a_replay_is_impossible() {
    let mut world = World::new(FILE);
    let opening = after(world.single("/stream", RAW), "zz-1");
    let mut client = world.connect(opening).await;
    world.feed().await.opened();
    assert_eq!(client.closed().await, (4113, r#"{"why":"expired"}"#.into()));
    // A document makes up for everything.
    let opening = after(world.single("/list", RAW), "zz-1");
    let mut client = world.connect(opening).await;
    first_document(&world.feed().await, "[1]");
    assert_eq!(client.read_text().await, "[1]");
}

#[tokio::test(start_paused = true)]
async fn raw_that_is_refused_learns_that_first() {
    let mut world = World::new(FILE);
    let opening = after(world.single("/stream", RAW), "zz-1");
    let mut client = world.connect(opening).await;
    world.feed().await.end(end(Code::Unauthorized, false));
    assert_eq!(client.closed().await.0, 4001);
}

#[tokio::test(start_paused = true)]
async fn raw_resumes_after_a_position() {
    let mut world = World::new(FILE);
    let wrapped = SingleForm::Raw { wrap: true };
    let mut client = world.connect(world.single("/stream", wrapped)).await;
    let feed = world.feed().await;
    feed.opened();
    feed.events(vec![
        event("", "", "1"),
        event("", "", "2"),
        event("", "", "3"),
    ]);
    let first: serde_json::Value = serde_json::from_str(&client.read_text().await).expect("JSON");
    let position = first["o"].as_str().expect("a position");
    let mut again = world
        .connect(after(world.single("/stream", RAW), position))
        .await;
    assert_eq!(again.read_text().await, "2");
    assert_eq!(again.read_text().await, "3");
}

#[tokio::test(start_paused = true)]
async fn a_raw_client_that_leaves_is_let_go() {
    let mut world = World::new(FILE);
    let mut client = world.connect(world.single("/stream", RAW)).await;
    let feed = world.feed().await;
    feed.opened();
    client.send_message(Message::Close(None)).await;
    assert!(matches!(client.next().await, Message::Close(None)));
    world.shared.sessions.gone().await;
}

#[tokio::test(start_paused = true)]
async fn raw_gets_documents_where_patches_look_like_them() {
    let mut world = World::new(FILE);
    let mut raw = world.connect(world.single("/merged", RAW)).await;
    let feed = world.feed().await;
    first_document(&feed, r#"{"rows":[]}"#);
    assert_eq!(raw.read_text().await, r#"{"rows":[]}"#);
    let wrapped = world.single("/merged", SingleForm::Raw { wrap: true });
    let mut wrapped = world.connect(wrapped).await;
    wrapped.read().await;
    for n in 1..=3 {
        let (whole, patch) = (format!(r#"{{"rows":[{n}]}}"#), format!(r#"{{"n":{n}}}"#));
        document(&feed, &whole, vec![event("merge", "", &patch)]);
        assert_eq!(raw.read_text().await, whole);
        let merge = wrapped.read().await;
        assert_eq!(
            (&merge["e"], &merge["d"]["n"]),
            (&"merge".into(), &n.into())
        );
    }
    let position = world.shared.hub.topics()[0]
        .at
        .to_string()
        .replace("-4", "-3");
    feed.gap(GapWhy::UpstreamReconnect);
    assert_eq!(raw.read_text().await, r#"{"rows":[3]}"#);
    let mut back = world
        .connect(after(world.single("/merged", RAW), &position))
        .await;
    assert_eq!(back.read_text().await, r#"{"rows":[3]}"#);
    back.stays_silent().await;
    // What clients don't see of a document is no message.
    document(&feed, r#"{"rows":[3],"at":1}"#, Vec::new());
    raw.stays_silent().await;
}

#[tokio::test(start_paused = true)]
async fn a_filter_of_patches_shows_its_part_of_each_document() {
    let mut world = World::new(FILE);
    let mut client = world.join().await;
    client
        .send(r#"{"t":"sub","id":1,"path":"/merged","filter":{"severity":[1]}}"#)
        .await;
    let feed = world.feed().await;
    first_document(&feed, r#"{"n":0,"rows":[{"severity":2}]}"#);
    assert_eq!(client.read().await["t"], "ok");
    assert_eq!(client.read().await["d"].to_string(), r#"{"n":0,"rows":[]}"#);
    let rows = r#"{"n":1,"rows":[{"severity":1.0},{"severity":2}]}"#;
    document(&feed, rows, vec![event("merge", "", r#"{"n":1}"#)]);
    let snap = client.read().await;
    assert_eq!(snap["t"], "snap");
    assert_eq!(
        snap["d"].to_string(),
        r#"{"n":1,"rows":[{"severity":1.0}]}"#
    );
    feed.gap(GapWhy::TooLarge);
    assert_eq!(client.read().await["t"], "gap");
    assert_eq!(client.read().await["t"], "snap");
}
