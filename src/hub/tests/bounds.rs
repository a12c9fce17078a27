//! What clients cannot make grow: topics and memory.

use std::sync::Arc;

use bytes::Bytes;

use super::support::*;
use crate::config::Share;
use crate::error::Code;
use crate::event::{Data, Draft, Event, EventKind};
use crate::hub::*;

fn refused(joined: Result<Joined, Refusal>) -> Code {
    joined.err().expect("a refusal").code
}

#[tokio::test(start_paused = true)]
async fn one_user_has_so_many_topics_of_a_route() {
    let world = World::new(HubLimits {
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
    // A topic without subscribers makes room, the one that idles longest first.
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
    let world = World::new(HubLimits {
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
    let text = "x".repeat(100);
    // Room for ten entries.
    let memory = 10 * (ENTRY + 99);
    let world = World::new(HubLimits { memory, ..ROOMY });
    let route = route("feed", sse(), Share::Public, window(1_000));
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
    // A subscriber that reads still comes to it.
    assert_eq!(events(), [20, 4]);
    let late = std::time::Duration::from_millis(1_100);
    tokio::time::sleep(late).await;
    publish(&quiet_feed, &[text.as_str()]);
    assert_eq!(events(), [5, 5]);
    // A subscriber that lagged into what was taken gets a gap.
    let mut out = Vec::new();
    let progress = busy.subscriber.read(&mut out, 100);
    assert_eq!((progress, out.len()), (ReadProgress::Overrun, 0));
    let gap = busy.subscriber.skip_with_gap();
    assert_eq!(shorts(&gap), ["0>15 slow"]);
    assert_eq!(read(&mut busy.subscriber).len(), 5);
    // What no subscriber needs goes before what one has not read, whichever topic is larger.
    let round = std::time::Duration::from_millis(100);
    tokio::time::sleep(round).await;
    publish(&quiet_feed, &[text.as_str()]);
    assert_eq!(events(), [4, 6]);
    // One entry that is larger than all the rest.
    busy_feed.events(vec![draft(&"y".repeat(memory), None)]);
    tokio::time::sleep(late).await;
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
async fn large_documents_take_nothing_from_readers_of_other_topics() {
    let memory = 100 * ENTRY;
    let world = World::new(HubLimits { memory, ..ROOMY });
    let small = target(
        &route("small", sse(), Share::Public, window(10)),
        "/s",
        Scope::Public,
    );
    let mut reader = world.join(&small, Start::Live).subscriber;
    let feed = world.feed().await;
    let list = target(
        &route("list", poll(), Share::Public, window(10)),
        "/l",
        Scope::Public,
    );
    let _viewer = world.join(&list, Start::Live);
    let documents = world.feed().await;
    for step in 0..50 {
        let text = format!("[{step},\"{}\"]", "x".repeat(2 * memory));
        documents.document(text.into(), DocumentChange::Snapshot);
        publish(&feed, &["a", "b", "c"]);
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        assert_eq!(read(&mut reader).len(), 3, "{step}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_document_counts_once_whatever_shows_it() {
    let world = World::new(ROOMY);
    let list = target(
        &route("list", poll(), Share::Public, window(10)),
        "/l",
        Scope::Public,
    );
    let _viewer = world.join(&list, Start::Live);
    let feed = world.feed().await;
    let document = |n: usize| bytes::Bytes::from(format!("[{n}{}]", " ".repeat(100_000)));
    feed.document(document(1), DocumentChange::Snapshot);
    let once = 100_003 + ENTRY - 1;
    assert_eq!(world.hub.held(), once);
    // An event that is the document shares it, too.
    let text = document(2);
    let events = vec![Draft::plain(Data::Json(text.clone()))];
    feed.document(text, DocumentChange::Events(events));
    assert_eq!(world.hub.held(), 2 * once);
    // One that says what changed does not.
    let events = vec![Draft::plain(Data::Json("3".into()))];
    feed.document(document(3), DocumentChange::Events(events));
    assert_eq!(world.hub.held(), 2 * once + 100_003 + ENTRY);
}

#[tokio::test(start_paused = true)]
async fn memory_that_cannot_be_freed_lets_no_new_client_in() {
    let world = World::new(HubLimits {
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
    // It has no subscriber any more.
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
    assert_eq!(bytes(&world), 400 * ENTRY as u64);
    tokio::time::sleep(std::time::Duration::from_secs(75)).await;
    // Nothing may be resumed any more, but a present subscriber still gets what it has not read.
    assert_eq!(world.hub.topics().remove(0).events, 0);
    assert_eq!(bytes(&world), 200 * ENTRY as u64);
    let progress = here.subscriber.read(&mut out, 200);
    assert_eq!((progress, out.len()), (ReadProgress::CaughtUp, 400));
    drop(here);
    tokio::time::sleep(std::time::Duration::from_secs(15)).await;
    assert_eq!(bytes(&world), 0);
}

#[test]
fn a_subscriber_is_small() {
    assert!(size_of::<Subscriber>() <= 48);
    assert!(size_of::<Arc<WakeFlag>>() <= 8);
}

#[tokio::test(start_paused = true)]
async fn what_is_read_for_filters_is_counted_until_it_goes() {
    let world = World::new(ROOMY);
    let target = public(poll(), window(2));
    let mut joined = world.join(&target, Start::Live);
    let feed = world.feed().await;
    let fields: Arc<crate::event::Fields> = Arc::new([vec!["id".to_owned()]]);
    let list = |n: u64| {
        Bytes::from(format!(
            "[{{\"id\":{n},\"name\":\"as long as names are\"}}]"
        ))
    };
    let mut plain = 0;
    for n in 1..5 {
        feed.document(list(n), DocumentChange::Snapshot);
        let mut events = Vec::new();
        joined.subscriber.read(&mut events, 64);
        plain = world.hub.held();
        for event in &events {
            let (_, is_new) = event.parsed(&fields, Some(""));
            assert!(is_new);
            joined.subscriber.recount(event);
            assert_eq!(world.hub.held(), plain + event.made_bytes());
            joined.subscriber.recount(event);
        }
        // An event that only looks like the entry is none.
        let (at, draft) = (events[0].position, Draft::plain(events[0].data.clone()));
        let other = Event::new(1, at, EventKind::Snapshot, draft, std::time::Instant::now());
        let counted = world.hub.held();
        other.parsed(&fields, Some(""));
        joined.subscriber.recount(&other);
        assert_eq!(world.hub.held(), counted);
    }
    assert!(world.hub.held() > plain);
    drop((joined, feed));
    tokio::time::sleep(std::time::Duration::from_secs(61)).await;
    world.forget_feeds();
    assert_eq!(world.hub.held(), 0);
}
