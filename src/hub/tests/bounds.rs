//! What clients cannot make grow: topics and memory.

use std::sync::Arc;

use super::support::*;
use crate::config::Share;
use crate::error::Code;
use crate::hub::*;

fn refused(joined: Result<Joined, Refusal>) -> Code {
    joined.err().expect("a refusal").code
}

#[tokio::test(start_paused = true)]
async fn one_user_has_so_many_topics_of_a_route() {
    let world = World::new(Limits {
        topics_per_principal: 2,
        ..ROOMY
    });
    let list = route("list", sse(), Share::User, window(10));
    let other = route("other", sse(), Share::User, window(10));
    let join = |route, who, url: &str| {
        let credentials = cookie(who);
        let scope = Scope::User(credentials.principal());
        world.join_as(&target(route, url, scope), credentials, Start::Live)
    };
    let one = join(&list, "alice", "/1").unwrap();
    let two = join(&list, "alice", "/2").unwrap();
    assert_eq!(refused(join(&list, "alice", "/3")), Code::TooManySubs);
    // The same ones again are no new topics, and others' topics are their own.
    let more = [
        join(&list, "alice", "/1").unwrap(),
        join(&list, "bob", "/1").unwrap(),
        join(&other, "alice", "/1").unwrap(),
    ];
    assert_eq!(world.hub.topics().len(), 4);
    // One that nobody listens to makes room, the one that idles longest first.
    drop(two);
    assert!(join(&list, "alice", "/3").is_ok());
    let paths = |world: &World| {
        let topics = world.hub.topics();
        let mine = topics.into_iter().filter(|topic| &*topic.route == "list");
        mine.map(|topic| topic.path).collect::<Vec<_>>()
    };
    assert_eq!(paths(&world), ["/1", "/1", "/3"]);
    assert_eq!(world.running().await, 4);
    drop((one, more));
}

#[tokio::test(start_paused = true)]
async fn a_million_topics_are_refused_or_replace_each_other() {
    let world = World::new(Limits {
        topics: 20,
        ..ROOMY
    });
    let route = route("list", sse(), Share::Connection, window(10));
    let join = |n: u64| {
        let target = target(&route, &format!("/{n}"), Scope::Connection(n));
        world.join_as(&target, cookie(&format!("c={n}")), Start::Live)
    };
    let kept: Vec<_> = (0..19).map(|n| join(n).unwrap()).collect();
    for n in 100..5_000 {
        drop(join(n).unwrap());
    }
    assert_eq!(world.hub.topics().len(), 20);
    assert_eq!(world.running().await, 20);
    let last = join(19).unwrap();
    assert_eq!(refused(join(20)), Code::TooManySubs);
    drop((kept, last));
}

#[tokio::test(start_paused = true)]
async fn the_memory_budget_takes_the_largest_topics_oldest_first() {
    // Ten entries of 164 bytes.
    let world = World::new(Limits {
        memory: 1_640,
        ..ROOMY
    });
    let route = route("feed", sse(), Share::Public, window(1_000));
    let text = "x".repeat(100);
    let quiet = world.join(&target(&route, "/quiet", Scope::Public), Start::Live);
    let quiet_feed = world.feed().await;
    publish(&quiet_feed, &[text.as_str(); 4]);
    let mut busy = world.join(&target(&route, "/busy", Scope::Public), Start::Live);
    let busy_feed = world.feed().await;
    publish(&busy_feed, &[text.as_str(); 20]);
    let events = || {
        let topics = world.hub.topics();
        topics.iter().map(|topic| topic.events).collect::<Vec<_>>()
    };
    assert_eq!(events(), [6, 4]);
    // Who lagged into what was taken is told so.
    let mut out = Vec::new();
    let progress = busy.subscriber.read(&mut out, 100);
    assert_eq!((progress, out.len()), (Progress::Overrun, 0));
    let gap = busy.subscriber.skip_with_gap();
    assert_eq!(shorts(&gap), ["0>14 slow"]);
    assert_eq!(read(&mut busy.subscriber).len(), 6);
    // A small topic that publishes does not pay for a large one that is silent.
    let round = std::time::Duration::from_millis(100);
    tokio::time::sleep(round).await;
    publish(&quiet_feed, &[text.as_str()]);
    assert_eq!(events(), [5, 5]);
    // One entry that is larger than all the rest: the largest other topic gives way.
    busy_feed.publish(vec![draft(&"y".repeat(1_300), None)]);
    tokio::time::sleep(round).await;
    publish(&quiet_feed, &[text.as_str()]);
    assert_eq!(events(), [1, 1]);
    assert!(
        world
            .telemetry
            .render()
            .contains("crossfade_windows_squeezed_total")
    );
    drop(quiet);
}

#[tokio::test(start_paused = true)]
async fn memory_that_cannot_be_freed_lets_nobody_new_in() {
    let world = World::new(Limits {
        memory: 1_000,
        ..ROOMY
    });
    let route = route("feed", sse(), Share::Public, window(1_000));
    let join = |url| {
        let target = target(&route, url, Scope::Public);
        world.join_as(&target, Credentials::default(), Start::Live)
    };
    let full = join("/full").unwrap();
    publish(&world.feed().await, &[&"x".repeat(2_000)]);
    assert_eq!(refused(join("/new")), Code::TooManySubs);
    assert!(join("/full").is_ok());
    drop(full);
    world.forget_feeds();
    // Nobody listens to it any more.
    assert!(join("/new").is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_silent_topic_lets_go_of_what_is_too_old() {
    let world = World::new(ROOMY);
    let target = public(sse(), window(1_000));
    let mut here = world.join(&target, Start::Live);
    let feed = world.feed().await;
    publish(&feed, &["x"; 200]);
    let mut out = Vec::new();
    here.subscriber.read(&mut out, 200);
    publish(&feed, &["x"; 200]);
    let bytes = |world: &World| {
        let text = world.telemetry.render();
        let line = text
            .lines()
            .find(|line| line.starts_with("crossfade_queue_bytes "));
        line.unwrap()["crossfade_queue_bytes ".len()..]
            .parse::<u64>()
            .unwrap()
    };
    assert_eq!(bytes(&world), 400 * 65);
    tokio::time::sleep(std::time::Duration::from_secs(75)).await;
    // Nothing may be resumed any more, but a present subscriber still gets what it has not read.
    assert_eq!(world.hub.topics().remove(0).events, 0);
    assert_eq!(bytes(&world), 200 * 65);
    let progress = here.subscriber.read(&mut out, 200);
    assert_eq!((progress, out.len()), (Progress::CaughtUp, 400));
    drop(here);
    tokio::time::sleep(std::time::Duration::from_secs(15)).await;
    assert_eq!(bytes(&world), 0);
}

#[test]
fn a_subscriber_is_small() {
    assert!(size_of::<Subscriber>() <= 48);
    assert!(size_of::<Arc<Signal>>() <= 8);
}
