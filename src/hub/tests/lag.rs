//! How far a subscription may fall behind, and what happens when it is further behind.

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

fn try_read(subscriber: &mut Subscriber) -> (ReadProgress, usize) {
    let mut out = Vec::new();
    let progress = subscriber.read(&mut out, usize::MAX);
    (progress, out.len())
}

/// Bytes that all logs hold.
fn held(world: &World) -> usize {
    world.hub.held()
}

#[tokio::test(start_paused = true)]
async fn lag_is_a_distance_in_messages_and_in_bytes() {
    let world = World::new(ROOMY);
    let target = public(sse(), window(1_000));
    let mut subscriber = world.join(&target, Start::Live).subscriber;
    let feed = world.feed().await;
    publish(&feed, &["x"; 5]);
    assert_eq!(
        subscriber.waiting(),
        Queue {
            messages: 5,
            bytes: 5 * 65
        }
    );
    assert!(subscriber.is_further_behind(messages(4)));
    assert!(!subscriber.is_further_behind(messages(5)));
    let bytes = |bytes| Queue {
        messages: 100,
        bytes,
    };
    assert!(subscriber.is_further_behind(bytes(5 * 65 - 1)));
    assert!(!subscriber.is_further_behind(bytes(5 * 65)));
    assert_eq!(try_read(&mut subscriber), (ReadProgress::CaughtUp, 5));
    assert!(!subscriber.is_further_behind(messages(0)));
}

#[tokio::test(start_paused = true)]
async fn a_read_ends_at_its_count() {
    let world = World::new(ROOMY);
    let target = public(sse(), window(1_000));
    let mut subscriber = world.join(&target, Start::Live).subscriber;
    publish(&world.feed().await, &["x"; 5]);
    let mut out = Vec::new();
    assert_eq!(subscriber.read(&mut out, 2), ReadProgress::More);
    assert_eq!(subscriber.read(&mut out, 0), ReadProgress::More);
    assert_eq!(subscriber.read(&mut out, 3), ReadProgress::CaughtUp);
    assert_eq!(subscriber.read(&mut out, 3), ReadProgress::CaughtUp);
    assert_eq!(shorts(&out), ["1:x", "2:x", "3:x", "4:x", "5:x"]);
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_kept_for_present_readers_beyond_the_window() {
    let world = World::new(ROOMY);
    let target = public(sse(), window(2));
    let mut first = world.join(&target, Start::Live).subscriber;
    let mut second = world.join(&target, Start::Live).subscriber;
    let feed = world.feed().await;
    let burst = || (0..50_000).map(|_| draft("x", None)).collect();
    feed.events(burst());
    publish(&feed, &["x"; 1_000]);
    assert_eq!(try_read(&mut first), (ReadProgress::CaughtUp, 51_000));
    assert_eq!(world.hub.topics()[0].events, 2);
    let late = world.join(&target, Start::After(at(&first, 50_000)));
    assert_eq!(shorts(&late.prelude), ["50000>50998 expired"]);
    assert_eq!(held(&world), 51_000 * ENTRY);
    assert_eq!(try_read(&mut second), (ReadProgress::CaughtUp, 51_000));
    // What was kept for them alone goes with the last of them; one client still has two entries to come.
    assert_eq!(held(&world), 2 * ENTRY);
    drop(late);
}

#[tokio::test(start_paused = true)]
async fn a_replay_is_whole_while_the_window_moves_on() {
    let world = World::new(ROOMY);
    let target = public(sse(), window(1_000));
    let mut first = world.join(&target, Start::Live).subscriber;
    let feed = world.feed().await;
    publish(&feed, &["x"; 1_000]);
    assert_eq!(try_read(&mut first).1, 1_000);
    let start = Start::After(at(&first, 0));
    let mut back = world.join(&target, start).subscriber;
    // All of the window is new now, but for what this one still has to read.
    publish(&feed, &["x"; 1_200]);
    let mut out = Vec::new();
    assert_eq!(back.read(&mut out, 600), ReadProgress::More);
    assert_eq!(back.read(&mut out, 9_999), ReadProgress::CaughtUp);
    assert!(
        out.iter()
            .zip(1..)
            .all(|(event, offset)| event.position.offset == offset)
    );
    assert_eq!(out.len(), 2_200);
    assert_eq!(try_read(&mut first).1, 1_200);
    publish(&feed, &["x"]);
    assert_eq!(held(&world), 1_000 * ENTRY);
}

#[tokio::test(start_paused = true)]
async fn readers_hold_where_they_stand_and_leave_nothing() {
    let world = World::new(ROOMY);
    let target = public(sse(), window(1));
    let mut readers: Vec<_> = (0..20)
        .map(|_| world.join(&target, Start::Live).subscriber)
        .collect();
    let feed = world.feed().await;
    let mut rng = fastrand::Rng::with_seed(4);
    let mut published = 0;
    for _ in 0..2_000 {
        published += 1;
        publish(&feed, &["x"]);
        let reader = &mut readers[rng.usize(..20)];
        let mut out = Vec::new();
        assert_ne!(
            reader.read(&mut out, rng.usize(..40)),
            ReadProgress::Overrun
        );
        let lowest = readers.iter().map(|r| r.position().offset).min().unwrap();
        publish(&feed, &["x"]);
        published += 1;
        let kept = (published - lowest).max(1) as usize;
        assert_eq!(held(&world), kept * ENTRY);
    }
    // The last to leave takes along what was kept.
    drop(readers);
    publish(&feed, &["x"]);
    assert_eq!(held(&world), ENTRY);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_for_paused_or_too_slow_subscribers() {
    let world = World::new(ROOMY);
    let target = public(sse(), window(10));
    let mut paused = world.join(&target, Start::Live).subscriber;
    let mut slow = world.join(&target, Start::Live).subscriber;
    let feed = world.feed().await;
    publish(&feed, &["x"; 100]);
    assert_eq!(held(&world), 100 * ENTRY);
    paused.pause();
    slow.let_go();
    assert!(slow.is_let_go() && !slow.is_further_behind(messages(0)));
    publish(&feed, &["x"]);
    assert_eq!(held(&world), 10 * ENTRY);
    assert_eq!(try_read(&mut slow), (ReadProgress::Overrun, 0));
    assert_eq!(shorts(&slow.skip_with_gap()), ["0>91 slow"]);
    paused.resume();
    assert_eq!(shorts(&paused.go_on()), ["0>91 expired"]);
    // From now on both have what follows.
    publish(&feed, &["x"; 100]);
    assert_eq!(try_read(&mut slow), (ReadProgress::CaughtUp, 110));
    assert_eq!(try_read(&mut paused), (ReadProgress::CaughtUp, 110));
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_let_go_without_loss_just_goes_on() {
    let world = World::new(ROOMY);
    let target = public(sse(), window(1_000));
    let mut slow = world.join(&target, Start::Live).subscriber;
    let feed = world.feed().await;
    publish(&feed, &["x"; 900]);
    slow.let_go();
    assert!(slow.skip_with_gap().is_empty() && !slow.is_let_go());
    publish(&feed, &["x"; 900]);
    assert_eq!(try_read(&mut slow), (ReadProgress::CaughtUp, 1_800));
}

#[tokio::test(start_paused = true)]
async fn a_skip_on_a_polled_topic_goes_to_the_document() {
    let world = World::new(ROOMY);
    let target = public(poll(), window(2));
    let mut slow = world.join(&target, Start::Live).subscriber;
    let mut latest = world.join(&target, Start::Live).subscriber;
    let feed = world.feed().await;
    slow.let_go();
    for n in 1..=4 {
        let text = format!("[{n}]");
        let drafts = vec![draft(&text, None)];
        feed.document(Bytes::from(text), DocumentChange::Events(drafts));
    }
    let document = latest.skip_to_document().unwrap();
    assert_eq!(short(&document), "4=[4]");
    assert!(!latest.is_behind() && latest.skip_to_document().is_none());
    feed.events(Vec::new());
    let _late = world.join(&target, Start::Live);
    assert_eq!(try_read(&mut slow).0, ReadProgress::Overrun);
    let told = slow.skip_with_gap();
    assert_eq!(shorts(&told), ["0>3 slow", "4=[4]"]);
    assert!(!slow.is_behind());
    // All subscribers that ask at one head share one snapshot.
    assert!(std::sync::Arc::ptr_eq(&told[1], &document));
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
    paused.pause();
    publish(&feed, &["x"; 900]);
    paused.resume();
    assert!(paused.go_on().is_empty());
    publish(&feed, &["x"; 905]);
    assert_eq!(try_read(&mut paused), (ReadProgress::CaughtUp, 1_805));
}
