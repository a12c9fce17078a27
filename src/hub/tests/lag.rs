//! How far a subscription may lag, and what happens then.

use bytes::Bytes;

use super::support::*;
use crate::config::Queue;
use crate::hub::*;

fn messages(messages: u64) -> Queue {
    Queue {
        messages,
        bytes: 1 << 20,
    }
}

fn try_read(subscriber: &mut Subscriber, allowed: Queue) -> (Progress, usize) {
    let mut out = Vec::new();
    let progress = subscriber.read(&mut out, 1_000, allowed);
    (progress, out.len())
}

#[tokio::test(start_paused = true)]
async fn lag_is_a_distance_in_messages_and_in_bytes() {
    let world = World::new(ROOMY);
    let target = public(sse(), window(1_000));
    let mut by_count = world.join(&target, Start::Live).subscriber;
    let mut by_bytes = world.join(&target, Start::Live).subscriber;
    let feed = world.feed().await;
    publish(&feed, &["x"; 5]);
    assert_eq!(
        by_count.waiting(),
        Queue {
            messages: 5,
            bytes: 5 * 65
        }
    );
    assert!(by_count.is_overrun(messages(4)) && !by_count.is_overrun(messages(5)));
    assert_eq!(try_read(&mut by_count, messages(4)), (Progress::Overrun, 0));
    assert_eq!(
        try_read(&mut by_count, messages(5)),
        (Progress::CaughtUp, 5)
    );
    let bytes = |bytes| Queue {
        messages: 100,
        bytes,
    };
    assert_eq!(
        try_read(&mut by_bytes, bytes(4 * 65 - 1)),
        (Progress::Overrun, 0)
    );
    assert_eq!(
        try_read(&mut by_bytes, bytes(4 * 65)),
        (Progress::CaughtUp, 5)
    );
}

#[tokio::test(start_paused = true)]
async fn a_read_ends_at_its_count() {
    let world = World::new(ROOMY);
    let target = public(sse(), window(1_000));
    let mut subscriber = world.join(&target, Start::Live).subscriber;
    publish(&world.feed().await, &["x"; 5]);
    let mut out = Vec::new();
    assert_eq!(subscriber.read(&mut out, 2, PLENTY), Progress::More);
    assert_eq!(subscriber.read(&mut out, 0, PLENTY), Progress::More);
    assert_eq!(subscriber.read(&mut out, 3, PLENTY), Progress::CaughtUp);
    assert_eq!(subscriber.read(&mut out, 3, PLENTY), Progress::CaughtUp);
    assert_eq!(shorts(&out), ["1:x", "2:x", "3:x", "4:x", "5:x"]);
}

#[tokio::test(start_paused = true)]
async fn one_publish_fits_an_empty_cursor_however_large_it_is() {
    let world = World::new(ROOMY);
    let target = public(sse(), window(10));
    let mut subscriber = world.join(&target, Start::Live).subscriber;
    let feed = world.feed().await;
    let tight = Queue {
        messages: 1,
        bytes: 10,
    };
    feed.publish(vec![draft(&"x".repeat(1_000), None)]);
    assert_eq!(try_read(&mut subscriber, tight), (Progress::CaughtUp, 1));
    // Far more than the window holds: those who are there get it all the same.
    feed.publish((0..500).map(|_| draft("x", None)).collect());
    assert_eq!(try_read(&mut subscriber, tight), (Progress::CaughtUp, 500));
    feed.publish((0..500).map(|_| draft("x", None)).collect());
    feed.publish(vec![draft("x", None)]);
    assert_eq!(try_read(&mut subscriber, tight), (Progress::Overrun, 0));
}

#[tokio::test(start_paused = true)]
async fn a_small_window_does_not_shrink_the_allowed_lag() {
    let world = World::new(ROOMY);
    let target = public(sse(), window(2));
    let mut subscriber = world.join(&target, Start::Live).subscriber;
    let feed = world.feed().await;
    publish(&feed, &["x"; 256]);
    assert_eq!(
        try_read(&mut subscriber, messages(256)),
        (Progress::CaughtUp, 256)
    );
    publish(&feed, &["x"; 257]);
    assert_eq!(
        try_read(&mut subscriber, messages(256)),
        (Progress::Overrun, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_replay_cannot_overrun_while_the_window_moves_on() {
    let world = World::new(ROOMY);
    let target = public(sse(), window(1_000));
    let first = world.join(&target, Start::Live).subscriber;
    let feed = world.feed().await;
    publish(&feed, &["x"; 1_000]);
    let mut back = world
        .join(&target, Start::After(first.position()))
        .subscriber;
    // All of the window is new now, but for what this one still has to read.
    publish(&feed, &["x"; 200]);
    assert!(!back.is_overrun(messages(256)));
    let mut out = Vec::new();
    assert_eq!(back.read(&mut out, 600, messages(256)), Progress::More);
    assert_eq!(back.read(&mut out, 600, messages(256)), Progress::CaughtUp);
    assert_eq!(out.len(), 1_200);
    assert!(
        out.iter()
            .zip(1..)
            .all(|(event, offset)| event.position.offset == offset)
    );
    // What was kept for it alone is let go with the next publish.
    publish(&feed, &["x"]);
    assert_eq!(held(&world), 1_000 * 65);
}

/// Bytes that all logs hold.
fn held(world: &World) -> usize {
    let text = world.telemetry.render();
    let mut lines = text.lines();
    let held = lines.find_map(|line| line.strip_prefix("crossfade_queue_bytes "));
    held.unwrap().parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_lag_without_bound_keeps_nothing() {
    let world = World::new(ROOMY);
    let target = public(sse(), window(10));
    let mut subscriber = world.join(&target, Start::Live).subscriber;
    let feed = world.feed().await;
    let any = Queue {
        messages: u64::MAX,
        bytes: u64::MAX,
    };
    publish(&feed, &["x"; 250]);
    assert_eq!(try_read(&mut subscriber, any), (Progress::CaughtUp, 250));
    publish(&feed, &["x"; 500]);
    assert_eq!(held(&world), 256 * 65);
    assert_eq!(try_read(&mut subscriber, any), (Progress::Overrun, 0));
}

#[tokio::test(start_paused = true)]
async fn a_stalled_replay_keeps_no_more_than_window_and_lag() {
    let world = World::new(ROOMY);
    let target = public(sse(), window(1_000));
    let first = world.join(&target, Start::Live).subscriber;
    let feed = world.feed().await;
    publish(&feed, &["x"; 1_000]);
    let mut stalled = Vec::new();
    for _ in 0..50 {
        publish(&feed, &["x"; 100]);
        let position = at(&first, first.position().offset + 1);
        stalled.push(world.join(&target, Start::After(position)).subscriber);
    }
    let held = held(&world);
    assert!(held <= (1_000 + 257) * 65, "{held}");
    let progress = try_read(&mut stalled[0], messages(256)).0;
    assert_eq!(progress, Progress::Overrun);
}

#[tokio::test(start_paused = true)]
async fn a_skip_tells_one_gap_and_goes_on_within_the_allowed_lag() {
    let world = World::new(ROOMY);
    let target = public(sse(), window(1_000));
    let mut subscriber = world.join(&target, Start::Live).subscriber;
    let feed = world.feed().await;
    assert!(subscriber.skip_with_gap(messages(3)).is_empty());
    publish(&feed, &["x"; 10]);
    assert_eq!(try_read(&mut subscriber, messages(3)).0, Progress::Overrun);
    assert_eq!(shorts(&subscriber.skip_with_gap(messages(3))), ["0>7 slow"]);
    assert_eq!(subscriber.position().offset, 7);
    // What waits now was there, so that the next publish is no overrun again.
    publish(&feed, &["x"]);
    assert_eq!(read(&mut subscriber), ["8:x", "9:x", "10:x", "11:x"]);
}

#[tokio::test(start_paused = true)]
async fn a_skip_on_a_polled_topic_goes_to_the_document() {
    let world = World::new(ROOMY);
    let target = public(poll(), window(1_000));
    let mut slow = world.join(&target, Start::Live).subscriber;
    let mut latest = world.join(&target, Start::Live).subscriber;
    let feed = world.feed().await;
    for text in ["[1]", "[2]", "[3]", "[4]"] {
        let drafts = vec![draft(text, None)];
        feed.document(Bytes::from(text), DocumentChange::Events(drafts));
    }
    assert_eq!(try_read(&mut slow, messages(2)).0, Progress::Overrun);
    assert_eq!(
        shorts(&slow.skip_with_gap(messages(2))),
        ["0>3 slow", "4=[4]"]
    );
    assert!(!slow.is_behind());
    let document = latest.skip_to_document().unwrap();
    assert_eq!(short(&document), "4=[4]");
    assert!(!latest.is_behind() && latest.skip_to_document().is_none());
    // All who ask at one head share one snapshot.
    let late = world.join(&target, Start::Live);
    assert!(std::sync::Arc::ptr_eq(&late.prelude[0], &document));
}

#[tokio::test(start_paused = true)]
async fn coalescing_never_hides_a_gap() {
    let world = World::new(ROOMY);
    let target = public(poll(), window(1_000));
    let mut subscriber = world.join(&target, Start::Live).subscriber;
    let feed = world.feed().await;
    feed.document(Bytes::from("[1]"), DocumentChange::Snapshot);
    feed.gap(crate::event::GapWhy::TooLarge);
    feed.document(Bytes::from("[2]"), DocumentChange::Snapshot);
    assert!(subscriber.skip_to_document().is_none());
    assert_eq!(
        read(&mut subscriber),
        ["1=[1]", "1>2 too_large", "3=[1]", "4=[2]"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_has_no_document_to_skip_to() {
    let world = World::new(ROOMY);
    let target = public(sse(), window(10));
    let mut subscriber = world.join(&target, Start::Live).subscriber;
    publish(&world.feed().await, &["a"]);
    assert!(subscriber.skip_to_document().is_none());
    assert_eq!(read(&mut subscriber), ["1:a"]);
}

#[tokio::test(start_paused = true)]
async fn after_a_pause_what_is_kept_is_history() {
    let world = World::new(ROOMY);
    let target = public(sse(), window(1_000));
    let mut paused = world.join(&target, Start::Live).subscriber;
    let feed = world.feed().await;
    publish(&feed, &["x"; 900]);
    assert!(paused.go_on().is_empty());
    publish(&feed, &["x"; 5]);
    assert_eq!(
        try_read(&mut paused, messages(10)),
        (Progress::CaughtUp, 905)
    );
    publish(&feed, &["x"; 1_001]);
    assert_eq!(shorts(&paused.go_on()), ["905>906 expired"]);
    assert_eq!(
        try_read(&mut paused, messages(10)),
        (Progress::CaughtUp, 1_000)
    );
}
