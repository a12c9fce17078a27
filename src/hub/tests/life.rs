//! How topics come, linger, change and go.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use super::support::*;
use crate::config::{Replay, Share};
use crate::error::Code;
use crate::event::End;
use crate::event::Position;
use crate::hub::*;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn lasting(age: u64) -> Replay {
    Replay {
        age: seconds(age),
        ..window(10)
    }
}

#[tokio::test(start_paused = true)]
async fn a_feed_lingers_as_long_as_the_window_and_no_longer() {
    let world = World::new(ROOMY);
    let target = public(sse(), lasting(60));
    let first = world.join(&target, Start::Live);
    let epoch = first.at.epoch;
    publish(&world.feed().await, &["a"]);
    drop(first);
    tokio::time::sleep(seconds(40)).await;
    assert_eq!(world.running().await, 1);
    publish(&world.feed().await, &["b"]);
    let mut second = world.join(&target, Start::After(Position { epoch, offset: 0 }));
    assert!(second.recovered);
    assert_eq!(read(&mut second.subscriber), ["1:a", "2:b"]);
    // The linger time begins anew with the next last subscriber that leaves.
    tokio::time::sleep(seconds(10)).await;
    drop(second);
    tokio::time::sleep(seconds(59)).await;
    assert_eq!((world.running().await, world.hub.topics().len()), (1, 1));
    tokio::time::sleep(seconds(2)).await;
    assert_eq!((world.running().await, world.hub.topics().len()), (0, 0));
    let third = world.join(&target, Start::After(Position { epoch, offset: 2 }));
    assert_ne!(third.at.epoch, epoch);
    assert_eq!(shorts(&third.prelude), ["2>0 epoch"]);
    assert_eq!(
        (world.feed().await.target().url.as_str(), world.feeds()),
        ("/feed", 2)
    );
}

#[tokio::test(start_paused = true)]
async fn a_window_without_age_does_not_linger() {
    let world = World::new(ROOMY);
    let target = public(sse(), lasting(0));
    let first = world.join(&target, Start::Live);
    assert_eq!(world.running().await, 1);
    drop(first);
    assert_eq!((world.running().await, world.hub.topics().len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn end_comes_after_events_and_frees_the_key() {
    let world = World::new(ROOMY);
    let target = public(sse(), window(10));
    let mut first = world.join(&target, Start::Live).subscriber;
    let feed = world.feed().await;
    feed.opened();
    publish(&feed, &["a"]);
    let end = End {
        code: Code::UpstreamClosed,
        status: 204,
        retry_ms: Some(3000),
        is_final: true,
    };
    feed.end(end.clone());
    publish(&feed, &["too late"]);
    feed.stale("too late");
    assert_eq!(first.phase(), Phase::Ended(end));
    assert_eq!(read(&mut first), ["1:a"]);
    assert_eq!(world.running().await, 0);
    let second = world.join(&target, Start::Live).subscriber;
    assert_eq!(second.phase(), Phase::Opening);
    assert_ne!(second.position().epoch, first.position().epoch);
    assert_ne!(second.ch(), first.ch());
    drop(first);
    assert_eq!((world.running().await, world.hub.topics().len()), (1, 1));
}

struct Broken;

impl Feed for Broken {
    fn run(self: Box<Self>, topic: Publisher) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            topic.refresh_asked().await;
            if topic.target().url == "/panics" {
                panic!("a feed's bug");
            }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_panics_or_stops_ends_its_topic() {
    let telemetry = Arc::new(Telemetry::default());
    let hub = Hub::new(ROOMY, Box::new(|_| Box::new(Broken)), telemetry.clone());
    let route = route("feed", sse(), Share::Public, window(10));
    let join = |url: &str| {
        let target = target(&route, url, Scope::Public);
        let signal = Arc::new(WakeFlag::default());
        hub.join(target, Credentials::default(), Start::Live, None, signal)
            .unwrap()
            .subscriber
    };
    let subscribers = [join("/panics"), join("/stops")];
    settle().await;
    assert!(subscribers.iter().all(|s| s.phase() == Phase::Opening));
    hub.refresh(|_| true);
    settle().await;
    for subscriber in &subscribers {
        let Phase::Ended(end) = subscriber.phase() else {
            panic!("{:?}", subscriber.phase());
        };
        assert_eq!((end.code, end.is_final), (Code::Internal, false));
    }
    assert!(hub.topics().is_empty());
    assert!(telemetry.render().contains("crossfade_panics_total 1"));
}

#[tokio::test(start_paused = true)]
async fn a_tripwire_ends_its_topic_and_alarms() {
    let world = World::new(ROOMY);
    let target = public(sse(), window(10));
    let subscriber = world.join(&target, Start::Live).subscriber;
    let feed = world.feed().await;
    feed.tripped("set-cookie", "");
    feed.end(crate::hub::topic::internal());
    assert!(matches!(subscriber.phase(), Phase::Ended(end) if end.code == Code::Internal));
    let text = world.telemetry.render();
    assert!(
        text.contains(r#"crossfade_share_refused_total{reason="set-cookie",route="feed"} 1"#),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn another_ones_credentials_carry_on() {
    let world = World::new(ROOMY);
    let route = route("feed", sse(), Share::User, window(10));
    // As it will be when the principal is a subject: equal scope, other credentials.
    let target = target(&route, "/feed", Scope::User(Principal([7; 32])));
    let join = |name| {
        world
            .join_as(&target, cookie(name), Start::Live)
            .unwrap()
            .subscriber
    };
    let (old, new) = (join("s=old"), join("s=new"));
    let again = join("s=new");
    let feed = world.feed().await;
    assert!(feed.credentials() == cookie("s=new"));
    drop(new);
    assert!(feed.credentials() == cookie("s=new"));
    drop(again);
    assert!(feed.credentials() == cookie("s=old"));
    drop(old);
    // Kept while the topic lingers.
    assert!(feed.credentials() == cookie("s=old"));
    let _newest = join("s=newest");
    assert!(feed.credentials() == cookie("s=newest"));
    assert!(!format!("{:?}", feed.credentials()).contains("newest"));
}

#[tokio::test(start_paused = true)]
async fn a_public_topic_is_read_without_credentials() {
    let world = World::new(ROOMY);
    let target = public(sse(), window(10));
    let joined = world.join_as(&target, cookie("s=alice"), Start::Live);
    assert!(world.feed().await.credentials() == Credentials::default());
    drop(joined);
}

#[tokio::test(start_paused = true)]
async fn states_reach_clients_that_believe_otherwise() {
    let world = World::new(ROOMY);
    let target = public(sse(), window(10));
    let mut early = world.join(&target, Start::Live).subscriber;
    let feed = world.feed().await;
    let told = |subscriber: &mut Subscriber| {
        let state = subscriber.state_change()?;
        Some((state.live, state.why))
    };
    assert_eq!(early.phase(), Phase::Opening);
    assert_eq!(told(&mut early), Some((false, Some("connecting"))));
    assert_eq!(told(&mut early), None);
    feed.opened();
    assert_eq!(early.phase(), Phase::Open);
    assert_eq!(told(&mut early), Some((true, None)));
    let mut late = world.join(&target, Start::Live).subscriber;
    assert_eq!(told(&mut late), None);
    feed.stale("upstream_down");
    feed.live();
    // It never knew.
    assert_eq!(told(&mut late), None);
    feed.stale("upstream_down");
    feed.stale("upstream_down");
    assert_eq!(told(&mut early), Some((false, Some("upstream_down"))));
    assert_eq!(told(&mut early), None);
    let info = world.hub.topics().remove(0);
    assert_eq!(
        (info.state.live, info.kind, info.scope),
        (false, "sse", "public")
    );
    assert_eq!((info.subscribers, info.last_ok.is_some()), (2, true));
}

#[tokio::test(start_paused = true)]
async fn a_failure_before_the_first_head_answers_waiting_requests() {
    let world = World::new(ROOMY);
    let target = public(sse(), window(10));
    let subscriber = world.join(&target, Start::Live).subscriber;
    world.feed().await.stale("upstream_down");
    assert_eq!(subscriber.phase(), Phase::Open);
}

#[tokio::test(start_paused = true)]
async fn every_change_rings() {
    let world = World::new(ROOMY);
    let target = public(sse(), window(10));
    let bell = Arc::new(WakeFlag::default());
    let none = Credentials::default();
    let joined = world
        .hub
        .join(target, none, Start::Live, None, bell.clone());
    let feed = world.feed().await;
    let rang = || {
        let look = std::future::poll_fn(|cx| std::task::Poll::Ready(bell.poll_rung(cx)));
        look.now_or_never().unwrap()
    };
    assert!(!rang());
    feed.opened();
    assert!(rang() && !rang());
    feed.live();
    assert!(!rang(), "nothing changed");
    publish(&feed, &["a", "b"]);
    assert!(rang() && !rang());
    feed.events(Vec::new());
    assert!(!rang());
    feed.gap(crate::event::GapWhy::UpstreamReconnect);
    assert!(rang());
    feed.stale("upstream_down");
    assert!(rang());
    feed.end(crate::hub::topic::internal());
    assert!(rang());
    drop(joined);
}

#[tokio::test(start_paused = true)]
async fn reload_changes_pace_in_place_and_moves_changed_sources() {
    let world = World::new(ROOMY);
    let old = route("feed", sse(), Share::Public, window(10));
    let old_target = target(&old, "/feed", Scope::Public);
    let before = world.join(&old_target, Start::Live);
    let feed = world.feed().await;
    publish(&feed, &["a", "b", "c"]);

    let slower = route("feed", sse(), Share::Public, window(1));
    world.hub.reconcile(std::slice::from_ref(&slower));
    assert_eq!(feed.route().replay.events, 1);
    publish(&feed, &["d"]);
    let same = world.join(
        &target(&slower, "/feed", Scope::Public),
        Start::After(at(&before.subscriber, 1)),
    );
    assert_eq!(same.at.epoch, before.at.epoch);
    assert_eq!(shorts(&same.prelude), ["1>3 expired"]);
    drop(same);

    let other = route("feed", poll(), Share::Public, window(10));
    world.hub.reconcile(std::slice::from_ref(&other));
    let other_target = target(&other, "/feed", Scope::Public);
    // Whichever subscriber comes first, the channel's number stays.
    let newcomer = world.join(&other_target, Start::Live);
    let moved = world.join(&other_target, Start::Moved(at(&before.subscriber, 4)));
    assert_eq!(newcomer.subscriber.ch(), before.subscriber.ch());
    assert_eq!(moved.subscriber.ch(), before.subscriber.ch());
    assert_ne!(moved.at.epoch, before.at.epoch);
    assert_eq!(shorts(&moved.prelude), ["4>0 config"]);
    assert_eq!(world.running().await, 2);
    // A topic without readers does not linger here.
    drop(before);
    assert_eq!(world.running().await, 1);
    // A route that is gone leaves its topics to the subscribers that are still there.
    world.hub.reconcile(&[]);
    assert_eq!(world.running().await, 1);
    drop((newcomer, moved));
    assert_eq!(world.running().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_moved_subscription_keeps_its_number_on_a_new_topic() {
    let world = World::new(ROOMY);
    let target = public(sse(), window(10));
    let signal = Arc::new(WakeFlag::default());
    let none = Credentials::default();
    let joined = world
        .hub
        .join(target, none, Start::Live, Some(4711), signal);
    assert_eq!(joined.unwrap().subscriber.ch(), 4711);
}

#[tokio::test(start_paused = true)]
async fn a_topic_is_attended_while_a_subscriber_does_not_pause() {
    let world = World::new(ROOMY);
    let target = public(sse(), window(10));
    let mut first = world.join(&target, Start::Live).subscriber;
    let feed = world.feed().await;
    assert!(feed.is_attended() && feed.attended().now_or_never().is_some());
    first.pause();
    first.pause();
    assert!(!feed.is_attended());
    let waiting = feed.clone();
    let waiting = tokio::spawn(async move { waiting.attended().await });
    settle().await;
    assert!(!waiting.is_finished());
    first.resume();
    first.resume();
    waiting.await.unwrap();
    let second = world.join(&target, Start::Live).subscriber;
    first.pause();
    assert!(feed.is_attended());
    drop(second);
    assert!(!feed.is_attended());
    drop(first);
    assert!(feed.attended().now_or_never().is_none());
    let _third = world.join(&target, Start::Live);
    assert!(feed.attended().now_or_never().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_refresh_is_remembered_once() {
    let world = World::new(ROOMY);
    let route = route("feed", poll(), Share::Public, window(10));
    let a = world.join(&target(&route, "/a", Scope::Public), Start::Live);
    let feed_a = world.feed().await;
    let b = world.join(&target(&route, "/b", Scope::Public), Start::Live);
    let feed_b = world.feed().await;
    world.hub.refresh(|target| target.url == "/a");
    world.hub.refresh(|target| target.url == "/a");
    assert!(feed_a.refresh_asked().now_or_never().is_some());
    assert!(feed_a.refresh_asked().now_or_never().is_none());
    assert!(feed_b.refresh_asked().now_or_never().is_none());
    drop((a, b));
}

#[tokio::test(start_paused = true)]
async fn what_is_there_is_counted() {
    let world = World::new(ROOMY);
    let target = public(sse(), window(2));
    let first = world.join(&target, Start::Live);
    let feed = world.feed().await;
    publish(&feed, &["a", "b", "c"]);
    let replayed = world.join(&target, Start::After(at(&first.subscriber, 1)));
    let lost = world.join(&target, Start::After(at(&first.subscriber, 0)));
    let text = world.telemetry.render();
    for line in [
        r#"crossfade_topics{route="feed"} 1"#,
        r#"crossfade_subscribers{route="feed"} 3"#,
        r#"crossfade_replays_total{route="feed"} 1"#,
        r#"crossfade_gaps_total{route="feed",why="expired"} 1"#,
        // Three entries: the third is kept for the present subscriber.
        &format!("crossfade_queue_bytes {}", 3 * ENTRY),
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    let info = world.hub.topics().remove(0);
    assert_eq!((info.events, info.bytes), (2, 130));
    drop((first, replayed, lost, feed));
    tokio::time::sleep(seconds(61)).await;
    world.forget_feeds();
    let text = world.telemetry.render();
    for line in [
        r#"crossfade_topics{route="feed"} 0"#,
        r#"crossfade_subscribers{route="feed"} 0"#,
        "crossfade_queue_bytes 0",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
}
