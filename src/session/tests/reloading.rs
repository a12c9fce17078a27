//! How sessions follow reloads.

use super::FILE;
use super::leaving::ROLLED;
use super::support::{World, event, first_document};
use crate::session::accepted::SingleForm;

#[tokio::test(start_paused = true)]
async fn a_reload_that_changes_pace_is_not_noticed() {
    let mut world = World::new(FILE);
    let mut client = world.join().await;
    let (feed, _) = client
        .subscribe(&mut world, "/stream", |feed| feed.opened())
        .await;
    feed.events(vec![event("", "", "1")]);
    client.read().await;
    world.reload(&FILE.replace(r#"slow = "gap""#, r#"slow = "close""#));
    client.stays_silent().await;
    feed.events(vec![event("", "", "2")]);
    assert_eq!(client.read().await["d"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_reload_that_reads_something_else_keeps_the_channel() {
    let mut world = World::new(FILE);
    let mut client = world.join().await;
    let (_old, ok) = client
        .subscribe(&mut world, "/document", |feed| first_document(feed, "1"))
        .await;
    let snap = client.read().await;
    world.reload(&FILE.replace(
        r#"source = {kind = "poll"}"#,
        r#"source = {kind = "poll", body = "x", method = "POST"}"#,
    ));
    let new = world.feed().await;
    first_document(&new, "2");
    let gap = client.read().await;
    assert_eq!((&gap["t"], &gap["why"]), (&"gap".into(), &"config".into()));
    assert_eq!((&gap["ch"], &gap["from"]), (&ok["ch"], &snap["o"]));
    let snap = client.read().await;
    assert_eq!(
        (&snap["t"], &snap["ch"], &snap["d"]),
        (&"snap".into(), &ok["ch"], &2.into())
    );
}

#[tokio::test(start_paused = true)]
async fn a_reload_that_reads_something_else_closes_no_raw_stream() {
    let mut world = World::new(ROLLED);
    let raw = world.single("/stream", SingleForm::Raw { wrap: false });
    let mut raw = world.connect(raw).await;
    let old = world.feed().await;
    old.opened();
    old.events(vec![event("", "", "1")]);
    assert_eq!(raw.read_text().await, "1");
    world.reload(&ROLLED.replace("127.0.0.1:9", "127.0.0.1:10"));
    let new = world.feed().await;
    new.opened();
    raw.stays_silent().await;
    new.events(vec![event("", "", "2")]);
    assert_eq!(raw.read_text().await, "2");
}

#[tokio::test(start_paused = true)]
async fn a_removed_route_ends_its_subscriptions_only() {
    let mut world = World::new(FILE);
    let mut client = world.join().await;
    let mut other = world
        .connect(world.single("/stream", SingleForm::Json))
        .await;
    let (_feed, ok) = client
        .subscribe(&mut world, "/stream", |feed| feed.opened())
        .await;
    world.reload(&FILE.replace(r#"path = "/stream""#, r#"path = "/elsewhere""#));
    let end = client.read().await;
    assert_eq!((&end["t"], &end["ch"]), (&"end".into(), &ok["ch"]));
    assert_eq!(end["code"], "route_removed");
    assert_eq!(other.closed().await.0, 4201);
    client.send(r#"{"t":"ping"}"#).await;
    assert_eq!(client.read().await["t"], "pong");
}

#[tokio::test(start_paused = true)]
async fn a_reload_during_a_handshake_holds_for_its_stream() {
    let mut world = World::new(FILE);
    let before = world.shared.in_force.load_full();
    let [stream, other] =
        ["/stream", "/other"].map(|path| world.single(path, SingleForm::Raw { wrap: false }));
    let paced = FILE.replace(
        "name = \"stream\"",
        "name = \"stream\"\nreplay = {events = 7}",
    );
    world.reload(&paced);
    let _client = world.connect_judged_by(before.clone(), stream, 4096).await;
    let feed = world.feed().await;
    assert_eq!(feed.route().replay.events, 7);
    // What is no longer there is not asked for.
    world.reload(&FILE.replace("path = \"/other\"", "path = \"/moved\""));
    let mut client = world.connect_judged_by(before, other, 4096).await;
    assert_eq!(client.closed().await.0, 4004);
    assert_eq!(world.shared.hub.topics().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_sub_goes_by_what_is_in_force_before_its_session_is_told() {
    let mut world = World::new(FILE);
    let mut client = world.join().await;
    let changed = FILE
        .replace("path = \"/other\"", "path = \"/moved\"")
        .replace(
            "name = \"stream\"",
            "name = \"stream\"\nreplay = {events = 7}",
        );
    world.reload_unheard(&changed);
    client.send(r#"{"t":"sub","id":1,"path":"/other"}"#).await;
    assert_eq!(client.read().await["code"], "not_found");
    client.send(r#"{"t":"sub","id":2,"path":"/stream"}"#).await;
    let feed = world.feed().await;
    assert_eq!(feed.route().replay.events, 7);
    assert_eq!(world.shared.hub.topics().len(), 1);
}
