//! The same promises with real threads: one publishes, many join, wait for their signals, read and leave.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use super::support::*;
use crate::config::{Replay, Share};
use crate::error::Code;
use crate::event::{End, Event, EventKind, Position};
use crate::hub::*;

const EVENTS: u64 = 20_000;
const READERS: u64 = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_that_come_and_go_lose_nothing_and_miss_no_bell() {
    let world = World::new(ROOMY);
    let target = public(sse(), window(2_000));
    let anchor = world.join(&target, Start::Live);
    let start = anchor.at;
    while world.feeds() == 0 {
        settle().await;
    }
    let feed = world.feed().await;
    let mut readers = tokio::task::JoinSet::new();
    for seed in 0..READERS {
        readers.spawn(follow(world.hub.clone(), target.clone(), start, seed));
    }
    let publishing = tokio::spawn(async move {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut next = 0;
        while next < EVENTS {
            let batch = rng.u64(1..5).min(EVENTS - next);
            let texts = (next..next + batch).map(|n| (n + 1).to_string());
            feed.events(texts.map(|text| draft(&text, None)).collect());
            next += batch;
            if rng.u8(..) < 16 {
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
        }
        feed.end(End {
            code: Code::UpstreamClosed,
            status: 204,
            retry_ms: None,
            is_final: true,
        });
    });
    let all = async {
        publishing.await.unwrap();
        while let Some(read) = readers.join_next().await {
            assert_eq!(read.unwrap(), EVENTS);
        }
    };
    let patience = Duration::from_secs(60);
    tokio::time::timeout(patience, all)
        .await
        .expect("a bell was missed");
}

/// Reads to the topic's end, leaving and resuming now and then; returns how many events it has, or
/// got a gap for.
async fn follow(hub: Hub, target: Arc<Target>, start: Position, seed: u64) -> u64 {
    let mut rng = fastrand::Rng::with_seed(seed);
    let bell = Arc::new(WakeFlag::default());
    let join = |last: Position| {
        let none = Credentials::default();
        let joined = hub.join(target.clone(), none, Start::After(last), None, bell.clone());
        joined.expect("far below the caps")
    };
    let mut last = start;
    let Joined {
        mut subscriber,
        prelude,
        ..
    } = join(last);
    prelude.iter().for_each(|event| check(&mut last, event));
    loop {
        let phase = subscriber.phase();
        let mut out = Vec::new();
        let progress = subscriber.read(&mut out, rng.usize(1..100));
        out.iter().for_each(|event| check(&mut last, event));
        assert_eq!(subscriber.position(), last);
        match (progress, phase) {
            (ReadProgress::Overrun, _) => panic!("a reader has lost something"),
            (ReadProgress::More, _) => {}
            (ReadProgress::CaughtUp, Phase::Ended(_)) => return last.offset,
            (ReadProgress::CaughtUp, _) if rng.u8(..) < 8 => {
                drop(subscriber);
                tokio::task::yield_now().await;
                let joined = join(last);
                if joined.at.epoch != last.epoch {
                    // It ended meanwhile, and this is the next topic: what was read is all.
                    let Some(EventKind::Gap { from, .. }) =
                        joined.prelude.first().map(|e| e.kind.clone())
                    else {
                        panic!("another epoch without a gap");
                    };
                    assert_eq!(from, last);
                    return EVENTS;
                }
                subscriber = joined.subscriber;
                let prelude = joined.prelude.iter();
                prelude.for_each(|event| check(&mut last, event));
            }
            (ReadProgress::CaughtUp, _) => {
                std::future::poll_fn(|cx| match bell.poll_rung(cx) {
                    true => std::task::Poll::Ready(()),
                    false => std::task::Poll::Pending,
                })
                .await;
            }
        }
    }
}

fn check(last: &mut Position, event: &Arc<Event>) {
    match event.kind {
        EventKind::Gap { from, .. } => assert_eq!(from, *last),
        _ => {
            assert_eq!(event.position.offset, last.offset + 1);
            let number = event.position.offset.to_string();
            assert_eq!(**event.data.bytes(), *number.as_bytes());
        }
    }
    *last = event.position;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn topics_come_and_go_from_many_threads_and_none_is_left() {
    let world = World::new(HubLimits {
        topics: 40,
        ..ROOMY
    });
    let lasting = |name, age| {
        let replay = Replay {
            age: Duration::from_millis(age),
            ..window(10)
        };
        route(name, sse(), Share::Public, replay)
    };
    // One goes with its last subscriber at once, the other lingers a little.
    let routes = [lasting("fleeting", 0), lasting("lingering", 1)];
    let mut tasks = tokio::task::JoinSet::new();
    for seed in 0..8 {
        let (hub, routes) = (world.hub.clone(), routes.clone());
        tasks.spawn_blocking(move || {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut present = Vec::new();
            for _ in 0..5_000 {
                let route = &routes[rng.usize(..routes.len())];
                let target = target(route, &format!("/{}", rng.u8(..4)), Scope::Public);
                let signal = Arc::new(WakeFlag::default());
                let none = Credentials::default();
                let joined = hub.join(target, none, Start::Live, None, signal);
                present.push(joined.expect("fewer paths than topics").subscriber);
                if present.len() > 1 {
                    present.swap_remove(rng.usize(..present.len()));
                }
                if rng.u8(..) < 32 {
                    hub.reconcile(&routes);
                    let epochs: Vec<_> = hub.topics().iter().map(|topic| topic.at.epoch).collect();
                    let is_there = |s: &Subscriber| epochs.contains(&s.position().epoch);
                    assert!(present.iter().all(is_there), "a topic left its subscriber");
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let gone = async {
        while !world.hub.topics().is_empty() || world.running().await > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let patience = Duration::from_secs(20);
    tokio::time::timeout(patience, gone)
        .await
        .expect("a topic stays behind");
}

/// A session that lets its topic wait when it is woken.
struct Slow {
    woken: SyncSender<()>,
    may_go_on: Mutex<Receiver<()>>,
}

impl Wake for Slow {
    fn wake(self: Arc<Self>) {
        self.woken.send(()).unwrap();
        // An error is the end of a test that has failed.
        let _ = self.may_go_on.lock().unwrap().recv();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_join_does_not_wait_for_a_fan_out() {
    let publishing: [fn(&Publisher); 3] = [
        |feed| publish(feed, &["a"]),
        |feed| feed.stale("upstream_down"),
        |feed| feed.end(topic::internal()),
    ];
    for publish in publishing {
        let world = World::new(ROOMY);
        let target = public(sse(), window(10));
        let bell = Arc::new(WakeFlag::default());
        let none = Credentials::default();
        let first = (world.hub).join(target.clone(), none, Start::Live, None, bell.clone());
        let first = first.unwrap();
        while world.feeds() == 0 {
            settle().await;
        }
        let feed = world.feed().await;
        feed.opened();
        let (woken, was_woken) = sync_channel(1);
        let (go_on, may_go_on) = sync_channel(1);
        let slow = Slow {
            woken,
            may_go_on: Mutex::new(may_go_on),
        };
        let waker = Waker::from(Arc::new(slow));
        while bell.poll_rung(&mut Context::from_waker(&waker)) {}
        let publishing = tokio::task::spawn_blocking(move || publish(&feed));
        was_woken.recv_timeout(Duration::from_secs(20)).unwrap();
        // It comes to this topic, or to the next one, and another leaves.
        let (hub, leaving) = (world.hub.clone(), first.subscriber);
        let joining = tokio::task::spawn_blocking(move || {
            let (none, bell) = (Credentials::default(), Arc::default());
            let joined = hub.join(target, none, Start::Live, None, bell);
            drop(leaving);
            joined.unwrap()
        });
        let joined = tokio::time::timeout(Duration::from_secs(20), joining).await;
        drop(joined.expect("a join waits for a fan-out").unwrap());
        go_on.send(()).unwrap();
        publishing.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn caps_are_exact_however_many_threads_make_topics() {
    let world = World::new(HubLimits {
        topics: 30,
        topics_per_principal: 10,
        ..ROOMY
    });
    let route = route("list", sse(), Share::Public, window(10));
    for _ in 0..20 {
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..8_u64 {
            let (hub, route) = (world.hub.clone(), route.clone());
            tasks.spawn_blocking(move || {
                let owner = Owner([1, number % 4]);
                let urls = (0..15).map(|url| format!("/{number}/{url}"));
                let joined = urls.filter_map(|url| {
                    let target = Target {
                        owner,
                        ..Target::clone(&target(&route, &url, Scope::Public))
                    };
                    let (none, bell) = (Credentials::default(), Arc::default());
                    let joined = hub.join(Arc::new(target), none, Start::Live, None, bell);
                    Some(joined.ok()?.subscriber)
                });
                (owner, joined.collect::<Vec<_>>())
            });
        }
        let present = tasks.join_all().await;
        let of = |number| {
            let mine = present.iter().filter(|(owner, _)| owner.0[1] == number);
            mine.map(|(_, subscribers)| subscribers.len())
                .sum::<usize>()
        };
        assert_eq!((0..4).map(of).sum::<usize>(), 30);
        assert!((0..4).all(|number| of(number) <= 10));
        // What they leave behind makes room in the next round.
    }
}
