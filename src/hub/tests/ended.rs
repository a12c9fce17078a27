//! Streams that are over: a client that was cut off before the end gets the rest, every other client a new topic.

use std::time::Duration;

use super::join::{began, inbox, open, stream};
use super::support::*;
use crate::config::{Join, Replay, Share};
use crate::error::Code;
use crate::event::{End, Position};
use crate::hub::replication::{Follower, ReplicationMessage};
use crate::hub::*;

fn over(code: Code, is_final: bool) -> End {
    End {
        code,
        status: code.status(),
        retry_ms: None,
        is_final,
    }
}

fn done() -> End {
    over(Code::UpstreamClosed, true)
}

/// Three events, the second and third with ids, and the end.
async fn run_out(world: &World, target: &std::sync::Arc<Target>, end: End) -> Position {
    let joined = world.join(target, Start::Live);
    let feed = world.feed().await;
    feed.opened();
    feed.events(vec![draft("a", None)]);
    feed.events(vec![draft("b", Some("2")), draft("done", Some("3"))]);
    feed.end(end);
    joined.at
}

fn after(at: Position, offset: u64) -> Start {
    Start::After(Position { offset, ..at })
}

#[tokio::test(start_paused = true)]
async fn an_ended_stream_gives_the_rest_and_then_its_end() {
    for end in [done(), over(Code::NotFound, false)] {
        let world = World::new(ROOMY);
        let target = public(sse(), window(10));
        let at = run_out(&world, &target, end.clone()).await;
        assert!(world.hub.topics().is_empty());
        for (start, rest) in [
            (after(at, 0), 3),
            (after(at, 2), 1),
            (after(at, 3), 0),
            (Start::LastEventId("2".into()), 1),
        ] {
            let mut back = world.join(&target, start);
            assert!(back.recovered && back.prelude.is_empty());
            assert_eq!(back.at, Position { offset: 3, ..at });
            assert_eq!(back.subscriber.phase(), Phase::Ended(end.clone()));
            assert_eq!(read(&mut back.subscriber).len(), rest);
        }
        assert_eq!((world.running().await, world.feeds()), (0, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn newcomers_after_an_end_get_a_new_topic() {
    let world = World::new(ROOMY);
    let target = public(sse(), window(10));
    let at = run_out(&world, &target, done()).await;
    let newcomer = world.join(&target, Start::Live);
    assert_ne!(newcomer.at.epoch, at.epoch);
    assert_eq!(newcomer.subscriber.phase(), Phase::Opening);
    let strange = [
        after(
            Position {
                epoch: crate::event::Epoch(1),
                ..at
            },
            1,
        ),
        after(at, 4),
        Start::LastEventId("unknown".into()),
    ];
    for start in strange {
        let joined = world.join(&target, start);
        assert_eq!(joined.at.epoch, newcomer.at.epoch);
    }
    // Each position is known where it belongs.
    publish(&world.feed().await, &["a"]);
    let mut old = world.join(&target, after(at, 1));
    assert_eq!(read(&mut old.subscriber), ["2:b", "3:done"]);
    let mut new = world.join(&target, after(newcomer.at, 0));
    assert_eq!(read(&mut new.subscriber), ["1:a"]);
    assert_ne!(old.subscriber.ch(), new.subscriber.ch());
    assert_eq!((world.running().await, world.feeds()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn newcomers_after_an_end_ask_anew_whatever_join_says() {
    for join in [Join::Auto, Join::Live, Join::Window, Join::Own] {
        for end in [done(), over(Code::NotFound, false)] {
            let world = World::new(ROOMY);
            let target = stream(join, 10);
            let (mut first, feed) = began(&world, &target, &inbox(true)).await;
            feed.end(end.clone());
            // The same with a client that still reads what is over as without one.
            let mut newcomers = Vec::new();
            for _ in 0..2 {
                newcomers.push(world.join(&target, Start::Live));
                assert_eq!(read(&mut first), ["1:1", "2:2", "3:3"]);
                first = world.join(&target, Start::After(at(&first, 0))).subscriber;
            }
            let place = at(&first, 2);
            drop(first);
            for newcomer in &newcomers {
                assert!(newcomer.prelude.is_empty() && !newcomer.recovered);
                assert_ne!(newcomer.at.epoch, place.epoch, "{join:?}");
                assert_eq!(newcomer.subscriber.phase(), Phase::Opening);
            }
            // It is one request for all of them.
            assert_eq!(world.feeds_now().await, 2, "{join:?}");
            open(&world.feed().await);
            world.feed().await.events(inbox(true));
            for newcomer in &mut newcomers {
                let subscriber = &mut newcomer.subscriber;
                assert_eq!(read(subscriber), ["1:1", "2:2", "3:3"], "{join:?}");
                assert_eq!(subscriber.phase(), Phase::Open);
            }
            // A client with a position in what is over gets the rest of it.
            let mut back = world.join(&target, Start::After(place));
            assert_eq!(read(&mut back.subscriber), ["3:3"]);
            assert_eq!(back.subscriber.phase(), Phase::Ended(end));
            assert_eq!((world.running().await, world.feeds()), (1, 2), "{join:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_ended_stream_stays_for_its_age_from_the_end() {
    let world = World::new(ROOMY);
    let target = public(sse(), window(10));
    let at = run_out(&world, &target, done()).await;
    tokio::time::sleep(Duration::from_secs(40)).await;
    drop(world.join(&target, after(at, 0)));
    tokio::time::sleep(Duration::from_secs(19)).await;
    assert!(world.hub.held() > 0);
    let known = world.join(&target, after(at, 2));
    assert_eq!(known.at.epoch, at.epoch);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let late = world.join(&target, after(at, 2));
    assert_eq!(shorts(&late.prelude), ["2>0 epoch"]);
    drop((known, late));
    world.forget_feeds();
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(world.hub.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn refusals_and_faults_are_asked_anew() {
    for code in [Code::Unauthorized, Code::Forbidden, Code::Internal] {
        let world = World::new(ROOMY);
        let target = public(sse(), window(10));
        let at = run_out(&world, &target, over(code, false)).await;
        let back = world.join(&target, after(at, 2));
        assert_eq!(shorts(&back.prelude), ["2>0 epoch"], "{code:?}");
        assert_eq!(world.running().await, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn ended_streams_are_few_and_give_way_first() {
    let world = World::new(HubLimits { topics: 6, ..ROOMY });
    let route = route("feed", sse(), Share::Public, window(10));
    let (job, idle) = (
        target(&route, "/job", Scope::Public),
        target(&route, "/idle", Scope::Public),
    );
    drop(world.join(&idle, Start::Live));
    let mut ends = Vec::new();
    for _ in 0..6 {
        ends.push(run_out(&world, &job, done()).await);
    }
    // Four of one stream.
    let known = |world: &World, at| {
        let mut joined = world.join(&job, after(at, 0));
        joined.at.epoch == at.epoch && read(&mut joined.subscriber).len() == 3
    };
    for at in &ends[2..] {
        assert!(known(&world, *at));
    }
    // One topic more than there may be: the idle one that goes on stays.
    let _more: Vec<_> = ["/1", "/2"]
        .map(|url| world.join(&target(&route, url, Scope::Public), Start::Live))
        .into();
    let paths: Vec<_> = world.hub.topics().into_iter().map(|t| t.path).collect();
    assert_eq!(paths, ["/1", "/2", "/idle"]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_stream_waits_for_clients_that_resume_it() {
    let world = World::new(ROOMY);
    let target = public(sse(), window(10));
    let first = world.join(&target, Start::Live);
    let at = first.at;
    let feed = world.feed().await;
    feed.opened();
    publish(&feed, &["a", "b"]);
    feed.set_lost(true);
    // It has a subscriber, so all others share it.
    assert_eq!(world.join(&target, Start::Live).at.epoch, at.epoch);
    drop(first);
    assert!(!feed.is_attended());
    let back = world.join(&target, after(at, 1));
    assert_eq!((back.at.epoch, back.recovered), (at.epoch, true));
    assert!(feed.is_attended());
    drop(back);
    // A client that knows nothing of it gets a stream of its own; what is there is not lost.
    let newcomer = world.join(&target, Start::Live);
    assert_ne!(newcomer.at.epoch, at.epoch);
    assert_eq!((world.running().await, world.feeds()), (1, 2));
    let mut back = world.join(&target, after(at, 1));
    assert_eq!(read(&mut back.subscriber), ["2:b"]);
    assert!(matches!(back.subscriber.phase(), Phase::Ended(end) if !end.is_final));
    // And then they go on with the others.
    let again = world.join(&target, after(at, 2));
    assert_eq!(again.at.epoch, newcomer.at.epoch);
    assert_eq!(shorts(&again.prelude), ["2>0 epoch"]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_stream_that_gave_nothing_is_no_other_topic() {
    let world = World::new(ROOMY);
    let target = public(sse(), window(10));
    let first = world.join(&target, Start::Live);
    let at = first.at;
    world.feed().await.set_lost(true);
    drop(first);
    // Else every client that comes back would ask a backend that is down at once.
    assert_eq!(world.join(&target, Start::Live).at.epoch, at.epoch);
    assert_eq!(world.feeds(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lowered_age_reaches_those_that_idle_or_are_over() {
    let world = World::new(ROOMY);
    let aged = |seconds, events| {
        let replay = Replay {
            age: Duration::from_secs(seconds),
            ..window(events)
        };
        route("feed", sse(), Share::Public, replay)
    };
    let long = aged(3_600, 10);
    let idle = target(&long, "/idle", Scope::Public);
    drop(world.join(&idle, Start::Live));
    publish(&world.feed().await, &["a", "b", "c"]);
    run_out(&world, &target(&long, "/job", Scope::Public), done()).await;
    world.forget_feeds();
    world.hub.reconcile(&[aged(3_600, 2)]);
    assert_eq!(world.hub.held(), 4 * (ENTRY - 1) + 2 + 2 + 5);
    world.hub.reconcile(&[aged(5, 2)]);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!((world.running().await, world.hub.held()), (0, 0));
    assert!(world.hub.topics().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_topic_goes_by_the_routes_in_force() {
    let world = World::new(ROOMY);
    let old = route("feed", sse(), Share::Public, window(10));
    let new = route("feed", sse(), Share::Public, window(3));
    world.hub.reconcile(std::slice::from_ref(&new));
    // The client that comes knew the configuration of before only.
    let joined = world.join(&target(&old, "/feed", Scope::Public), Start::Live);
    assert_eq!(world.feed().await.route().replay.events, 3);
    // What is read no longer does not linger.
    let gone = route("gone", sse(), Share::Public, window(10));
    drop(world.join(&target(&gone, "/gone", Scope::Public), Start::Live));
    assert_eq!(world.running().await, 1);
    drop(joined);
    assert_eq!(world.running().await, 1);
}

/// Everything that one process sends another of its topics.
fn hand_over(
    from: &World,
    to: &World,
    route: &std::sync::Arc<crate::config::Route>,
) -> Vec<Follower> {
    let exports = from.hub.export().begun;
    let (request, _) = tokio::sync::mpsc::channel(8);
    let mut followers = Vec::new();
    for (number, mut export) in exports.into_iter().enumerate() {
        let Some(ReplicationMessage::Begin(topic)) = export.begin() else {
            panic!("nothing to tell");
        };
        let find = |_: &str| Some(route.clone());
        let Some(follower) = to.hub.follow(number as u64, &topic, find, request.clone()) else {
            continue;
        };
        let is_over = export.is_over();
        for message in export.messages() {
            follower.apply(message);
        }
        if is_over {
            follower.apply(export.last());
        }
        followers.push(follower);
    }
    followers
}

#[tokio::test(start_paused = true)]
async fn an_ended_stream_goes_over_in_an_upgrade() {
    let (old, new) = (World::new(ROOMY), World::new(ROOMY));
    let target = public(sse(), window(10));
    let at = run_out(&old, &target, done()).await;
    let current = old.join(&target, Start::Live);
    let followers = hand_over(&old, &new, &target.route);
    assert_eq!(followers.len(), 2);
    let mut back = new.join(&target, after(at, 1));
    assert!(back.recovered);
    assert_eq!(read(&mut back.subscriber), ["2:b", "3:done"]);
    assert_eq!(back.subscriber.phase(), Phase::Ended(done()));
    assert_eq!(new.join(&target, Start::Live).at.epoch, current.at.epoch);
    assert_eq!(new.running().await, 0);
}

#[tokio::test(start_paused = true)]
async fn no_feed_starts_on_a_topic_that_was_removed() {
    let (old, new) = (World::new(ROOMY), World::new(ROOMY));
    let target = public(sse(), window(10));
    let _here = old.join(&target, Start::Live);
    for last in [ReplicationMessage::Overlap, ReplicationMessage::Released] {
        let followers = hand_over(&old, &new, &target.route);
        // It makes room, or a reload reads something else.
        new.hub.reconcile(&[]);
        followers[0].apply(last);
        followers[0].lose();
        assert_eq!((new.running().await, new.feeds()), (0, 0));
        new.hub.reconcile(std::slice::from_ref(&target.route));
    }
}
