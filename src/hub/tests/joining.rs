//! Where a subscription begins, rule by rule.

use bytes::Bytes;

use super::support::*;
use crate::event::{Epoch, GapWhy, Position};
use crate::hub::{DocumentChange, Publisher, Start};

fn document(feed: &Publisher, text: &'static str) {
    let drafts = vec![draft(text, None)];
    feed.document(Bytes::from(text), DocumentChange::Events(drafts));
}

#[tokio::test(start_paused = true)]
async fn live_on_a_stream_gets_what_comes_and_nothing_before() {
    let world = World::new(ROOMY);
    let target = public(sse(), window(10));
    let first = world.join(&target, Start::Live);
    assert_eq!(first.at.offset, 0);
    let feed = world.feed().await;
    publish(&feed, &["a", "b"]);
    let mut late = world.join(&target, Start::Live);
    assert_eq!((late.at.offset, late.recovered), (2, false));
    assert!(late.prelude.is_empty() && !late.subscriber.is_behind());
    publish(&feed, &["c"]);
    assert!(late.subscriber.is_behind());
    assert_eq!(read(&mut late.subscriber), ["3:c"]);
    assert_eq!(late.subscriber.position().offset, 3);
    assert_eq!(world.feeds(), 1);
}

#[tokio::test(start_paused = true)]
async fn live_on_a_polled_topic_gets_the_document_once() {
    let world = World::new(ROOMY);
    let target = public(poll(), window(10));
    let mut early = world.join(&target, Start::Live);
    assert!(early.prelude.is_empty());
    let feed = world.feed().await;
    document(&feed, "[1]");
    assert_eq!(read(&mut early.subscriber), ["1=[1]"]);
    document(&feed, "[2]");
    let mut late = world.join(&target, Start::Live);
    assert_eq!(shorts(&late.prelude), ["2=[2]"]);
    assert_eq!(late.at.offset, 2);
    document(&feed, "[3]");
    assert_eq!(read(&mut late.subscriber), ["3:[3]"]);
    assert_eq!(read(&mut early.subscriber), ["2:[2]", "3:[3]"]);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_emits_nothing_is_in_the_next_snapshot() {
    let world = World::new(ROOMY);
    let target = public(poll(), window(10));
    let mut early = world.join(&target, Start::Live);
    let feed = world.feed().await;
    document(&feed, "[1]");
    assert_eq!(read(&mut early.subscriber), ["1=[1]"]);
    let unseen = DocumentChange::Events(Vec::new());
    feed.document(Bytes::from("[1.0]"), unseen);
    assert!(!early.subscriber.is_behind());
    let late = world.join(&target, Start::Live);
    assert_eq!(shorts(&late.prelude), ["1=[1.0]"]);
}

#[tokio::test(start_paused = true)]
async fn after_a_position_in_the_window_replays_without_a_snapshot() {
    let world = World::new(ROOMY);
    let target = public(poll(), window(10));
    let first = world.join(&target, Start::Live);
    let feed = world.feed().await;
    document(&feed, "[1]");
    document(&feed, "[2]");
    document(&feed, "[3]");
    let position = at(&first.subscriber, 1);
    let mut back = world.join(&target, Start::After(position));
    assert!(back.recovered && back.prelude.is_empty());
    assert_eq!(back.at.offset, 3);
    assert_eq!(read(&mut back.subscriber), ["2:[2]", "3:[3]"]);
    let head = world.join(&target, Start::After(back.subscriber.position()));
    assert!(head.recovered && head.prelude.is_empty() && !head.subscriber.is_behind());
}

#[tokio::test(start_paused = true)]
async fn replay_with_snapshot_or_gap_is_not_recovered() {
    let world = World::new(ROOMY);
    let target = public(poll(), window(10));
    let first = world.join(&target, Start::Live);
    let start = first.subscriber.position();
    let feed = world.feed().await;
    document(&feed, "[1]");
    let mut back = world.join(&target, Start::After(start));
    assert!(!back.recovered);
    assert_eq!(read(&mut back.subscriber), ["1=[1]"]);
    feed.gap(GapWhy::TooLarge);
    let position = at(&first.subscriber, 1);
    let mut back = world.join(&target, Start::After(position));
    assert!(!back.recovered && back.prelude.is_empty());
    // A gap on a polled route is followed by the document.
    assert_eq!(read(&mut back.subscriber), ["1>2 too_large", "3=[1]"]);
    assert!(
        world
            .join(&target, Start::After(at(&first.subscriber, 3)))
            .recovered
    );
}

#[tokio::test(start_paused = true)]
async fn older_than_the_window_is_one_gap_and_what_is_kept() {
    let world = World::new(ROOMY);
    let target = public(sse(), window(2));
    let first = world.join(&target, Start::Live);
    let feed = world.feed().await;
    publish(&feed, &["a", "b", "c", "d"]);
    let mut back = world.join(&target, Start::After(at(&first.subscriber, 1)));
    assert!(!back.recovered);
    assert_eq!(shorts(&back.prelude), ["1>2 expired"]);
    assert_eq!(read(&mut back.subscriber), ["3:c", "4:d"]);
    let edge = world.join(&target, Start::After(at(&first.subscriber, 2)));
    assert!(edge.recovered && edge.prelude.is_empty());
}

#[tokio::test(start_paused = true)]
async fn polled_position_before_the_window_gets_gap_and_document() {
    let world = World::new(ROOMY);
    let target = public(poll(), window(1));
    let first = world.join(&target, Start::Live);
    let feed = world.feed().await;
    for text in ["[1]", "[2]", "[3]"] {
        document(&feed, text);
    }
    let back = world.join(&target, Start::After(at(&first.subscriber, 1)));
    // The position after a gap is greater than its end, the snapshot's too.
    assert_eq!(shorts(&back.prelude), ["1>2 expired", "3=[3]"]);
    assert!(!back.subscriber.is_behind());
}

#[tokio::test(start_paused = true)]
async fn age_and_bytes_bound_the_window_too() {
    let world = World::new(ROOMY);
    let mut replay = window(10);
    replay.bytes = 200;
    let target = public(sse(), replay);
    let first = world.join(&target, Start::Live);
    let feed = world.feed().await;
    publish(&feed, &["a", "b", "c", "d"]);
    // Three entries of 65 bytes fit.
    let back = world.join(&target, Start::After(at(&first.subscriber, 0)));
    assert_eq!(shorts(&back.prelude), ["0>1 expired"]);
    tokio::time::advance(replay.age * 2).await;
    publish(&feed, &["e"]);
    let mut back = world.join(&target, Start::After(at(&first.subscriber, 3)));
    assert_eq!(shorts(&back.prelude), ["3>4 expired"]);
    assert_eq!(read(&mut back.subscriber), ["5:e"]);
    tokio::time::advance(replay.age * 2).await;
    let back = world.join(&target, Start::After(at(&first.subscriber, 3)));
    assert_eq!(shorts(&back.prelude), ["3>5 expired"]);
}

#[tokio::test(start_paused = true)]
async fn another_epoch_and_the_future_are_a_gap_epoch() {
    let world = World::new(ROOMY);
    let stream = public(sse(), window(10));
    let first = world.join(&stream, Start::Live);
    let feed = world.feed().await;
    publish(&feed, &["a", "b"]);
    let Epoch(epoch) = first.at.epoch;
    let foreign = Position {
        epoch: Epoch(epoch ^ 1),
        offset: 41,
    };
    let mut back = world.join(&stream, Start::After(foreign));
    assert_eq!(shorts(&back.prelude), ["41>2 epoch"]);
    assert!(!back.recovered);
    publish(&feed, &["c"]);
    assert_eq!(read(&mut back.subscriber), ["3:c"]);
    let future = world.join(&stream, Start::After(at(&first.subscriber, 9)));
    assert_eq!(shorts(&future.prelude), ["9>3 epoch"]);

    let polled = {
        let route = route("list", poll(), crate::config::Share::Public, window(10));
        target(&route, "/list", crate::hub::Scope::Public)
    };
    let new = world.join(&polled, Start::After(foreign));
    assert_eq!(shorts(&new.prelude), ["41>0 epoch"]);
    let feed = world.feed().await;
    document(&feed, "[1]");
    let old = world.join(&polled, Start::After(foreign));
    assert_eq!(shorts(&old.prelude), ["41>0 epoch", "1=[1]"]);
    let moved = world.join(&polled, Start::Moved(foreign));
    assert_eq!(shorts(&moved.prelude), ["41>0 config", "1=[1]"]);
}

#[tokio::test(start_paused = true)]
async fn an_event_id_is_looked_up_in_the_history() {
    let world = World::new(ROOMY);
    let target = public(sse(), window(4));
    let _first = world.join(&target, Start::Live);
    let feed = world.feed().await;
    for id in ["1", "2", "3", "3", "4", "5"] {
        feed.events(vec![draft("x", Some(id))]);
    }
    let by = |id: &str| world.join(&target, Start::LastEventId(id.into()));
    // A client that saw 3 may have seen the first of the two only.
    let mut back = by("3");
    assert!(back.recovered);
    assert_eq!(read(&mut back.subscriber), ["4:x", "5:x", "6:x"]);
    assert!(!by("5").subscriber.is_behind());
    // Event 2 is just before the window: nothing after it is missing.
    assert!(by("2").recovered);
    let mut old = by("1");
    assert_eq!(shorts(&old.prelude), ["0>2 expired"]);
    assert_eq!(read(&mut old.subscriber).len(), 4);
    let mut unknown = by("no such id");
    assert_eq!(shorts(&unknown.prelude), ["0>2 expired"]);
    assert_eq!(read(&mut unknown.subscriber).len(), 4);
    let empty = by("");
    assert!(empty.prelude.is_empty() && !empty.subscriber.is_behind());
}

#[tokio::test(start_paused = true)]
async fn an_event_id_whose_first_event_is_gone_is_not_trusted() {
    let world = World::new(ROOMY);
    let target = public(sse(), window(400));
    let _first = world.join(&target, Start::Live);
    let feed = world.feed().await;
    let same = || draft("x", Some("2"));
    feed.events(vec![draft("x", Some("1")), same()]);
    feed.events((0..398).map(|_| same()).collect());
    let by = |id: &str| world.join(&target, Start::LastEventId(id.into()));
    assert_eq!(
        (by("2").recovered, by("2").subscriber.waiting().messages),
        (true, 398)
    );
    // Gaps between events with one id belong to them.
    feed.gap(GapWhy::TooLarge);
    feed.events(vec![same()]);
    assert_eq!(by("2").subscriber.waiting().messages, 400);
    feed.events(vec![same(); 300]);
    assert_eq!(shorts(&by("2").prelude), ["0>302 expired"]);
}

#[tokio::test(start_paused = true)]
async fn an_event_id_goes_upstream_where_the_topic_is_new() {
    let world = World::new(ROOMY);
    let target = public(sse(), window(4));
    let by = |id: &str| world.join(&target, Start::LastEventId(id.into()));
    let first = by("7");
    assert!(first.prelude.is_empty() && !first.recovered);
    let feed = world.feed().await;
    assert_eq!(feed.brought_id().as_deref(), Some("7"));
    // Another one with the same id misses nothing either, as long as the log goes back that far.
    feed.events(vec![draft("x", Some("8"))]);
    let mut second = by("7");
    assert!(second.prelude.is_empty());
    assert_eq!(read(&mut second.subscriber), ["1:x"]);
    assert_eq!(shorts(&by("6").prelude), ["0>0 expired"]);

    let polled = {
        let route = route("list", poll(), crate::config::Share::Public, window(10));
        super::support::target(&route, "/list", crate::hub::Scope::Public)
    };
    let polled = world.join(&polled, Start::LastEventId("7".into()));
    assert_eq!(shorts(&polled.prelude), ["0>0 expired"]);
    assert_eq!(world.feed().await.brought_id(), None);

    let other = World::new(ROOMY);
    let _first = other.join(&target, Start::LastEventId("".into()));
    assert_eq!(other.feed().await.brought_id(), None);
}

#[tokio::test(start_paused = true)]
async fn two_gaps_in_a_row_are_told_as_one() {
    let world = World::new(ROOMY);
    let target = public(sse(), window(2));
    let first = world.join(&target, Start::Live);
    let feed = world.feed().await;
    publish(&feed, &["a", "b"]);
    feed.gap(GapWhy::UpstreamReconnect);
    publish(&feed, &["c"]);
    let mut back = world.join(&target, Start::After(at(&first.subscriber, 0)));
    assert_eq!(shorts(&back.prelude), ["0>3 expired"]);
    assert_eq!(read(&mut back.subscriber), ["4:c"]);
}
