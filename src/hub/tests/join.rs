//! What a newcomer without a position gets, and how a request of its own ends in the shared topic.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::support::*;
use crate::config::{Join, Source};
use crate::error::Code;
use crate::event::{Draft, End, Event, EventKind, GapWhy};
use crate::hub::*;

const BEGINNING: Duration = Duration::from_millis(300);

pub(super) fn stream(join: Join, events: usize) -> Arc<Target> {
    let mut source = sse();
    if let Source::Sse(sse) = &mut source {
        sse.join = join;
    }
    public(source, window(events))
}

fn now() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
}

/// A topic whose stream began with these events, some time ago.
pub(super) async fn began(
    world: &World,
    target: &Arc<Target>,
    events: &[Draft],
) -> (Subscriber, Publisher) {
    let first = world.join(target, Start::Live).subscriber;
    let feed = world.feed().await;
    open(&feed);
    feed.events(events.to_vec());
    tokio::time::advance(BEGINNING).await;
    (first, feed)
}

pub(super) fn open(feed: &Publisher) {
    feed.connected(StreamConnection::Fresh, now());
    feed.opened();
}

pub(super) fn inbox(has_ids: bool) -> Vec<Draft> {
    let id = |n: &'static str| has_ids.then_some(n);
    ["1", "2", "3"].map(|n| draft(n, id(n))).to_vec()
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_a_beginning_is_joined_live() {
    let world = World::new(ROOMY);
    let target = stream(Join::Auto, 10);
    let (_first, feed) = began(&world, &target, &[]).await;
    publish(&feed, &["a"]);
    let mut late = world.join(&target, Start::Live).subscriber;
    assert_eq!(read(&mut late), [""; 0]);
    publish(&feed, &["b"]);
    assert_eq!(read(&mut late), ["2:b"]);
    assert_eq!(world.feeds(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_young_connection_is_joined_at_its_beginning() {
    for has_ids in [false, true] {
        let world = World::new(ROOMY);
        let target = stream(Join::Auto, 10);
        let _first = world.join(&target, Start::Live);
        let feed = world.feed().await;
        open(&feed);
        feed.events(inbox(has_ids));
        let mut late = world.join(&target, Start::Live).subscriber;
        assert_eq!(read(&mut late), ["1:1", "2:2", "3:3"]);
        assert_eq!(world.feeds(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_beginning_without_ids_is_replayed_while_it_is_kept() {
    let world = World::new(ROOMY);
    let target = stream(Join::Auto, 4);
    let (_first, feed) = began(&world, &target, &inbox(false)).await;
    publish(&feed, &["a"]);
    let mut late = world.join(&target, Start::Live);
    assert!(late.prelude.is_empty() && !late.recovered);
    assert_eq!(read(&mut late.subscriber), ["1:1", "2:2", "3:3", "4:a"]);
    publish(&feed, &["b"]);
    let own = world.join(&target, Start::Live);
    assert_eq!(world.feeds_now().await, 2);
    assert_ne!(own.at.epoch, late.at.epoch);
    assert_eq!(own.subscriber.ch(), late.subscriber.ch());
}

#[tokio::test(start_paused = true)]
async fn a_later_connection_moves_the_beginning() {
    let world = World::new(ROOMY);
    let target = stream(Join::Auto, 10);
    let (_first, feed) = began(&world, &target, &inbox(false)).await;
    feed.gap(GapWhy::UpstreamReconnect);
    feed.connected(StreamConnection::Fresh, now());
    publish(&feed, &["a"]);
    tokio::time::advance(BEGINNING).await;
    let mut late = world.join(&target, Start::Live).subscriber;
    assert_eq!(read(&mut late), ["5:a"]);
}

#[tokio::test(start_paused = true)]
async fn every_word_of_join_is_kept() {
    let all = ["1:1", "2:2", "3:3"].as_slice();
    for (join, expected, feeds) in [
        (Join::Live, [].as_slice(), 1),
        (Join::Window, all, 1),
        (Join::Own, [].as_slice(), 2),
    ] {
        let world = World::new(ROOMY);
        let target = stream(join, 10);
        let (_first, _feed) = began(&world, &target, &inbox(true)).await;
        let mut late = world.join(&target, Start::Live).subscriber;
        assert_eq!(read(&mut late), expected, "{join:?}");
        assert_eq!(world.feeds_now().await, feeds, "{join:?}");
        // A client that names a place never costs a request.
        let _back = world.join(&target, Start::LastEventId("2".into()));
        let _lost = world.join(&target, Start::LastEventId("no such".into()));
        assert_eq!(world.feeds_now().await, feeds, "{join:?}");
    }
    let world = World::new(ROOMY);
    let target = stream(Join::Window, 2);
    let (_first, _feed) = began(&world, &target, &inbox(true)).await;
    let mut late = world.join(&target, Start::Live);
    assert!(late.prelude.is_empty());
    assert_eq!(read(&mut late.subscriber), ["2:2", "3:3"]);
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_began_in_the_middle_is_read_anew() {
    let world = World::new(ROOMY);
    let target = stream(Join::Auto, 10);
    let _first = world.join(&target, Start::LastEventId("7".into()));
    let feed = world.feed().await;
    let _early = world.join(&target, Start::Live);
    assert_eq!(world.feeds_now().await, 2);
    feed.connected(StreamConnection::Brought, now());
    feed.opened();
    let _late = world.join(&target, Start::Live);
    assert_eq!(world.feeds_now().await, 3);
}

#[tokio::test(start_paused = true)]
async fn an_own_read_goes_on_in_the_shared_topic() {
    let world = World::new(ROOMY);
    let target = stream(Join::Auto, 10);
    let (mut first, feed) = began(&world, &target, &inbox(true)).await;
    let mut late = world.join(&target, Start::Live).subscriber;
    assert_eq!(late.phase(), Phase::Opening);
    let own = world.feed().await;
    open(&own);
    own.events(vec![draft("0", Some("0")), draft("2", Some("2"))]);
    assert_eq!(read(&mut late), ["1:0", "2:2", "3:3"]);
    assert_eq!(late.position().epoch, first.position().epoch);
    assert_eq!(world.running().await, 1);
    feed.events(vec![draft("4", Some("4"))]);
    assert_eq!(read(&mut late), ["4:4"]);
    assert_eq!(read(&mut first), ["1:1", "2:2", "3:3", "4:4"]);
    assert_eq!(world.hub.topics().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_own_read_that_runs_ahead_repeats_nothing() {
    let world = World::new(ROOMY);
    let target = stream(Join::Auto, 10);
    let (_first, feed) = began(&world, &target, &inbox(true)).await;
    let mut late = world.join(&target, Start::Live).subscriber;
    let own = world.feed().await;
    open(&own);
    own.events(vec![
        draft("state", Some("3")),
        draft("4", Some("4")),
        draft("no id", None),
        draft("5", Some("5")),
    ]);
    assert_eq!(read(&mut late), ["1:state", "2:4", "3:no id", "4:5"]);
    feed.events(vec![draft("4", Some("4")), draft("no id", None)]);
    assert_eq!(read(&mut late), [""; 0]);
    feed.events(vec![draft("5", Some("5")), draft("6", Some("6"))]);
    assert_eq!(read(&mut late), ["7:6"]);
}

#[tokio::test(start_paused = true)]
async fn an_own_read_without_ids_stays_on_its_own() {
    let world = World::new(ROOMY);
    let target = stream(Join::Own, 10);
    let (_first, feed) = began(&world, &target, &inbox(false)).await;
    let mut late = world.join(&target, Start::Live).subscriber;
    let own = world.feed().await;
    open(&own);
    own.events(inbox(false));
    publish(&feed, &["a"]);
    publish(&own, &["a"]);
    assert_eq!(read(&mut late), ["1:1", "2:2", "3:3", "4:a"]);
    assert_eq!(world.running().await, 2);
    drop(late);
    assert_eq!(world.running().await, 1, "it goes with its subscriber");
}

#[tokio::test(start_paused = true)]
async fn what_an_own_read_has_delivered_is_not_kept() {
    let world = World::new(ROOMY);
    let target = stream(Join::Own, 10);
    let (_first, feed) = began(&world, &target, &inbox(false)).await;
    let mut late = world.join(&target, Start::Live).subscriber;
    let own = world.feed().await;
    open(&own);
    let before = world.hub.held();
    publish(&own, &["a", "b", "c"]);
    assert!(world.hub.held() > before, "until it is read it is kept");
    assert_eq!(read(&mut late), ["1:a", "2:b", "3:c"]);
    assert_eq!(world.hub.held(), before);
    // Paused, it finds what the replay window holds.
    late.pause();
    publish(&own, &["d", "e"]);
    late.resume();
    assert_eq!(read(&mut late), ["4:d", "5:e"]);
    publish(&feed, &["d"]);
    assert!(world.hub.held() > before, "the shared window stays");
}

#[tokio::test(start_paused = true)]
async fn an_own_read_that_fails_is_told_and_given_up() {
    let world = World::new(ROOMY);
    let target = stream(Join::Auto, 10);
    let (_first, feed) = began(&world, &target, &inbox(true)).await;
    let mut late = world.join(&target, Start::Live).subscriber;
    world.feed().await.stale("upstream_down");
    let told = late.settle();
    assert_eq!(shorts(&told), ["0>0 upstream_reconnect"]);
    feed.events(vec![draft("4", Some("4"))]);
    assert_eq!(read(&mut late), ["1:1", "2:2", "3:3", "4:4"]);
    assert!(late.state_change().is_some_and(|state| state.live) || world.running().await == 1);
}

#[tokio::test(start_paused = true)]
async fn an_own_read_ends_as_its_request_does() {
    let end = |code: Code| End {
        code,
        status: code.status(),
        retry_ms: None,
        is_final: code == Code::UpstreamClosed,
    };
    let world = World::new(ROOMY);
    let target = stream(Join::Auto, 10);
    let (_first, feed) = began(&world, &target, &inbox(true)).await;
    let join = || world.join(&target, Start::Live).subscriber;
    let refused = join();
    world.feed().await.end(end(Code::Forbidden));
    assert_eq!(refused.phase(), Phase::Ended(end(Code::Forbidden)));
    let mut late = join();
    let own = world.feed().await;
    open(&own);
    // What the shared stream had to say to its end the own one says too.
    feed.end(end(Code::UpstreamClosed));
    assert_eq!(late.phase(), Phase::Open);
    own.events(vec![draft("0", Some("0"))]);
    assert_eq!(read(&mut late), ["1:0"]);
    own.end(end(Code::UpstreamClosed));
    assert_eq!(late.phase(), Phase::Ended(end(Code::UpstreamClosed)));

    let world = World::new(ROOMY);
    let (_first, feed) = began(&world, &target, &inbox(true)).await;
    let late = world.join(&target, Start::Live).subscriber;
    open(&world.feed().await);
    feed.end(end(Code::Internal));
    assert_eq!(late.phase(), Phase::Ended(end(Code::Internal)));
}

#[tokio::test(start_paused = true)]
async fn an_own_read_above_the_caps_is_a_gap_and_the_window() {
    let world = World::new(HubLimits { topics: 1, ..ROOMY });
    let target = stream(Join::Own, 10);
    let (_first, _feed) = began(&world, &target, &inbox(true)).await;
    let mut late = world.join(&target, Start::Live);
    assert_eq!(shorts(&late.prelude), ["0>0 expired"]);
    assert_eq!(read(&mut late.subscriber), ["1:1", "2:2", "3:3"]);
    assert_eq!(world.feeds_now().await, 1);
}

/// What may happen while a subscriber reads a request of its own.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The backend says something new: its id, that may come again, or none.
    Happen(Option<u8>),
    /// The shared connection, or the own one, gets so much further.
    Shared(usize),
    Own(usize),
    /// The shared stream breaks: it goes on after its id, or anew with a beginning of so many events.
    Break(Option<usize>),
    Read(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => proptest::option::weighted(0.8, 0..3u8).prop_map(Step::Happen),
        3 => (1..4usize).prop_map(Step::Shared),
        3 => (1..4usize).prop_map(Step::Own),
        1 => proptest::option::of(0..4usize).prop_map(Step::Break),
        3 => (1..5usize).prop_map(Step::Read),
    ];
    proptest::collection::vec(step, 0..40)
}

/// A backend's one sequence of events, of which each connection sends what it has not sent yet.
struct Backend {
    events: Vec<Option<u8>>,
}

impl Backend {
    /// Sends the next events of a connection that has come as far as `at`.
    fn send(&self, feed: &Publisher, at: &mut usize, shown: &mut Option<u8>, count: usize) {
        for _ in 0..count {
            let Some(id) = self.events.get(*at) else {
                return;
            };
            *shown = id.or(*shown);
            let id_text = shown.map(|id| id.to_string());
            let mut draft = draft(&at.to_string(), id_text.as_deref());
            draft.has_own_id = id.is_some();
            feed.events(vec![draft]);
            *at += 1;
        }
    }
}

struct Walk {
    client: Subscriber,
    got: Vec<Arc<Event>>,
}

impl Walk {
    fn read(&mut self, count: usize) {
        self.client.read(&mut self.got, count);
    }

    /// In order, each once, from `first` to the last; anew behind a gap.
    fn check(&self, first: usize, last: usize) {
        let mut next = Some(first);
        for event in &self.got {
            let text = std::str::from_utf8(event.data.bytes()).unwrap();
            match event.kind {
                EventKind::Gap { .. } => next = None,
                _ => {
                    let number: usize = text.parse().unwrap();
                    assert_eq!(number, next.unwrap_or(number), "{:?}", shorts(&self.got));
                    next = Some(number + 1);
                }
            }
        }
        assert!(
            next.is_none_or(|next| next == last),
            "{:?}",
            shorts(&self.got)
        );
    }
}

async fn walk(before: usize, beginning: usize, lag: usize, steps: Vec<Step>) {
    let world = World::new(ROOMY);
    let target = stream(Join::Own, 1000);
    let mut backend = Backend {
        events: (0..before)
            .map(|n| (n % 4 != 3).then_some(n as u8 % 3))
            .collect(),
    };
    let _first = world.join(&target, Start::Live);
    let shared = world.feed().await;
    open(&shared);
    let (mut at, mut shown) = (0, None);
    backend.send(&shared, &mut at, &mut shown, before.saturating_sub(lag));
    let client = world.join(&target, Start::Live).subscriber;
    let own = world.feed().await;
    open(&own);
    let first = before.saturating_sub(beginning);
    let (mut own_at, mut own_shown) = (first, None);
    let mut walk = Walk {
        client,
        got: Vec::new(),
    };
    for step in steps {
        match step {
            Step::Happen(id) => backend.events.push(id),
            Step::Shared(count) => backend.send(&shared, &mut at, &mut shown, count),
            Step::Own(count) => backend.send(&own, &mut own_at, &mut own_shown, count),
            Step::Break(None) => shared.connected(StreamConnection::Resumed, now()),
            Step::Break(Some(beginning)) => {
                shared.gap(GapWhy::UpstreamReconnect);
                shared.connected(StreamConnection::Fresh, now());
                at = backend.events.len().saturating_sub(beginning);
                shown = None;
            }
            Step::Read(count) => walk.read(count),
        }
    }
    backend.send(&shared, &mut at, &mut shown, usize::MAX);
    backend.send(&own, &mut own_at, &mut own_shown, usize::MAX);
    for _ in 0..200 {
        walk.read(3);
    }
    walk.check(first, backend.events.len());
}

proptest! {
    #[test]
    fn no_own_read_loses_or_doubles_anything(
        before in 0..8usize,
        beginning in 0..6usize,
        lag in 0..6usize,
        steps in steps(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(walk(before, beginning, lag, steps));
    }
}
