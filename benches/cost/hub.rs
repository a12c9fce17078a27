//! What a topic costs its subscribers, by their number and the number of topics. `benches/hub` runs it.
//!
//! `hub_cost` makes all measurements and prints a table; `hub_cost NAME` makes one, once, and prints its figures.

mod measure;

use std::future::{Future, pending};
use std::path::Path;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};
use std::{io, thread};

use bytes::Bytes;
use crossfade::config::{self, Route};
use crossfade::event::{Data, Draft, Event};
use crossfade::hub::{
    Credentials, Feed, Hub, HubLimits, Owner, Principal, Publication, Publisher, Scope, Start,
    Subscriber, Target, WakeFlag,
};
use crossfade::telemetry::Telemetry;
use futures_util::FutureExt;
use hyper::header::HeaderValue;
use tokio::runtime::Runtime;
use tokio::time::sleep;

use measure::{ROUNDS, Result};

/// Publishes one event at once: no budget is exceeded here, so there is nothing to wait for.
fn publish(publisher: &Publisher) {
    let event = publisher.publish(Publication::Events(vec![draft()]), None);
    let _published = event.now_or_never();
}

type Measurement = measure::Measurement<fn() -> Vec<f64>>;

const JOIN: &[&str] = &["µs", "p99 µs"];

const MEASUREMENTS: &[Measurement] = &[
    Measurement {
        name: "join-claims-10",
        figures: JOIN,
        run: || join(Share::Claims, 10),
    },
    Measurement {
        name: "join-claims-10000",
        figures: JOIN,
        run: || join(Share::Claims, 10_000),
    },
    Measurement {
        name: "join-public-10",
        figures: JOIN,
        run: || join(Share::Public, 10),
    },
    Measurement {
        name: "join-public-10000",
        figures: JOIN,
        run: || join(Share::Public, 10_000),
    },
    Measurement {
        name: "join-during-fanout-19000",
        figures: &["p50 µs", "p99 µs", "most µs"],
        run: join_during_fanout,
    },
    Measurement {
        name: "come-and-go-1-thread",
        figures: &["ns each"],
        run: || come_and_go(1),
    },
    Measurement {
        name: "come-and-go-2-threads",
        figures: &["ns each"],
        run: || come_and_go(2),
    },
    Measurement {
        name: "fanout-10000x10-1-thread",
        figures: &["ns per delivery"],
        run: || fanout(10_000, 10, 1),
    },
    Measurement {
        name: "fanout-10000x10-2-threads",
        figures: &["ns per delivery"],
        run: || fanout(10_000, 10, 2),
    },
    Measurement {
        name: "fanout-1x19000-1-thread",
        figures: &["ns per delivery"],
        run: || fanout(1, 19_000, 1),
    },
    Measurement {
        name: "fanout-1x19000-2-threads",
        figures: &["ns per delivery"],
        run: || fanout(1, 19_000, 2),
    },
];

/// Topics of the largest measurement.
const MOST_TOPICS: usize = 10_000;

fn main() -> ExitCode {
    measure::run(|arguments| match arguments {
        [] => all(),
        [name] => {
            let measurement = measure::find(MEASUREMENTS, name)?;
            measure::answer((measurement.run)());
            Ok(())
        }
        _ => Err("hub_cost [NAME]".into()),
    })
}

fn all() -> Result<()> {
    println!("| measurement | figure | median | least | greatest |\n|---|---|---|---|---|");
    for Measurement { name, figures, .. } in MEASUREMENTS {
        let rounds = (0..ROUNDS).map(|_| measure::ask(&[name]));
        let rounds: Vec<Vec<f64>> = rounds.collect::<Result<_>>()?;
        for (at, figure) in figures.iter().enumerate() {
            let [least, median, most] = measure::spread(&rounds, at);
            println!("| {name} | {figure} | {median:.2} | {least:.2} | {most:.2} |");
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Share {
    Public,
    Claims,
}

/// A hub whose feeds hand their publishers over.
struct World {
    hub: Hub,
    route: Arc<Route>,
    publishers: Mutex<Receiver<Publisher>>,
    runtime: Runtime,
}

struct HandOver(SyncSender<Publisher>);

impl Feed for HandOver {
    fn run(self: Box<Self>, topic: Publisher) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            topic.opened();
            let _ = self.0.send(topic);
            pending().await
        })
    }
}

impl World {
    fn new() -> Self {
        let text = "[upstream.app]\nservers = [\"http://127.0.0.1:1\"]\n\
            [[route]]\npath = \"/feed\"\nupstream = \"app\"\nsource = \"sse\"\nshare = \"public\"\n";
        let none = |_: &Path| Err(io::ErrorKind::NotFound.into());
        let loaded = config::parse(text, "proxy.toml", &|_| None, &none);
        let config = loaded
            .unwrap_or_else(|problems| panic!("{problems:?}"))
            .config;
        let (sender, publishers) = sync_channel(MOST_TOPICS);
        let feeds = Box::new(move |_| -> Box<dyn Feed> { Box::new(HandOver(sender.clone())) });
        let limits = HubLimits {
            memory: 1 << 30,
            topics: 1 << 20,
            topics_per_principal: 1 << 20,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        World {
            hub: Hub::new(limits, feeds, Arc::new(Telemetry::default())),
            route: config.routes.first().expect("one route").clone(),
            publishers: Mutex::new(publishers),
            runtime,
        }
    }

    /// Those of so many topics, once all their feeds run.
    fn publishers(&self, topics: usize) -> Vec<Publisher> {
        let publishers = self.publishers.lock().expect("no panic");
        publishers.iter().take(topics).collect()
    }

    fn target(&self, url: &str, share: Share) -> Arc<Target> {
        Arc::new(Target {
            route: self.route.clone(),
            params: Vec::new(),
            url: url.into(),
            host: HeaderValue::from_static("app.example.com"),
            proto: "https",
            vary: Vec::new(),
            scope: match share {
                Share::Public => Scope::Public,
                Share::Claims => Scope::Claims(Principal([1; 32])),
            },
            owner: Owner([1, 2]),
        })
    }

    fn join(&self, target: &Arc<Target>, credentials: Credentials) -> Subscriber {
        let signal = Arc::new(WakeFlag::default());
        let joined = (self.hub).join(target.clone(), credentials, Start::Live, None, signal);
        joined
            .unwrap_or_else(|refusal| panic!("{refusal:?}"))
            .subscriber
    }
}

/// What one of many clients brings.
fn token(number: usize) -> Credentials {
    let token = format!("Bearer {number:0200}");
    Credentials {
        authorization: HeaderValue::from_str(&token).ok(),
        ..Credentials::default()
    }
}

/// A newcomer that joins one topic among so many subscribers, and leaves.
fn join(share: Share, present: usize) -> Vec<f64> {
    const CALLS: usize = 2_000;
    let world = World::new();
    let _inside = world.runtime.enter();
    let target = world.target("/feed", share);
    let _present: Vec<_> = (0..present)
        .map(|number| world.join(&target, token(number)))
        .collect();
    let mut each: Vec<u128> = (0..CALLS)
        .map(|number| {
            let credentials = token(present + number);
            let start = Instant::now();
            drop(world.join(&target, credentials));
            start.elapsed().as_nanos()
        })
        .collect();
    each.sort_unstable();
    let sum: u128 = each.iter().sum();
    vec![sum as f64 / CALLS as f64 / 1e3, percentile(&each, 99)]
}

/// A newcomer joins a topic whose events wake 19,000 others all the time.
fn join_during_fanout() -> Vec<f64> {
    const CALLS: usize = 5_000;
    let world = World::new();
    let _inside = world.runtime.enter();
    let target = world.target("/feed", Share::Public);
    let _present: Vec<_> = (0..19_000)
        .map(|_| world.join(&target, Credentials::default()))
        .collect();
    let publisher = world.publishers(1).remove(0);
    let is_over = Arc::new(AtomicBool::new(false));
    let publishing = thread::spawn({
        let is_over = is_over.clone();
        move || {
            while !is_over.load(Ordering::Relaxed) {
                publish(&publisher);
            }
        }
    });
    let mut each: Vec<u128> = (0..CALLS)
        .map(|_| {
            world.runtime.block_on(sleep(Duration::from_micros(100)));
            let start = Instant::now();
            let joined = world.join(&target, Credentials::default());
            let took = start.elapsed().as_nanos();
            drop(joined);
            took
        })
        .collect();
    is_over.store(true, Ordering::Relaxed);
    publishing.join().expect("no panic");
    each.sort_unstable();
    vec![
        percentile(&each, 50),
        percentile(&each, 99),
        percentile(&each, 100),
    ]
}

/// Clients that come to topics which others read, and leave, among 10,000 topics.
fn come_and_go(threads: usize) -> Vec<f64> {
    const CALLS: usize = 400_000;
    let world = World::new();
    let _inside = world.runtime.enter();
    let targets: Vec<_> = (0..MOST_TOPICS)
        .map(|number| world.target(&format!("/feed?{number}"), Share::Public))
        .collect();
    let _present: Vec<_> = targets
        .iter()
        .map(|target| world.join(target, Credentials::default()))
        .collect();
    let took = together(threads, |number| {
        let own = targets.iter().skip(number).step_by(threads).cycle();
        for target in own.take(CALLS / threads) {
            drop(world.join(target, Credentials::default()));
        }
    });
    vec![took.as_nanos() as f64 / CALLS as f64]
}

/// One event on each topic, which each subscriber reads: what the hub has in a delivery, without encoding and writing it.
fn fanout(topics: usize, subscribers: usize, threads: usize) -> Vec<f64> {
    const DELIVERIES: usize = 2_000_000;
    let world = World::new();
    let _inside = world.runtime.enter();
    let mut readers: Vec<Vec<Subscriber>> = (0..threads).map(|_| Vec::new()).collect();
    for number in 0..topics {
        let target = world.target(&format!("/feed?{number}"), Share::Public);
        for subscriber in 0..subscribers {
            // One topic's readers are everywhere, a small topic's mostly together.
            let thread = if topics == 1 { subscriber } else { number } % threads;
            if let Some(readers) = readers.get_mut(thread) {
                readers.push(world.join(&target, Credentials::default()));
            }
        }
    }
    let publishers = world.publishers(topics);
    let rounds = DELIVERIES / (topics * subscribers);
    let barrier = Barrier::new(threads);
    let readers: Vec<_> = readers.into_iter().map(Mutex::new).collect();
    let took = together(threads, |number| {
        let mut readers = readers[number].lock().expect("no panic");
        let mut out: Vec<Arc<Event>> = Vec::new();
        for _ in 0..rounds {
            let own = publishers.iter().skip(number).step_by(threads);
            own.for_each(publish);
            barrier.wait();
            for reader in readers.iter_mut() {
                reader.read(&mut out, 64);
                out.clear();
            }
            barrier.wait();
        }
    });
    vec![took.as_nanos() as f64 / (rounds * topics * subscribers) as f64]
}

/// How long so many threads take that begin at once.
fn together(threads: usize, work: impl Fn(usize) + Sync) -> Duration {
    let runtime = tokio::runtime::Handle::current();
    let start = Instant::now();
    thread::scope(|scope| {
        for number in 0..threads {
            let (work, runtime) = (&work, runtime.clone());
            scope.spawn(move || {
                let _inside = runtime.enter();
                work(number);
            });
        }
    });
    start.elapsed()
}

fn draft() -> Draft {
    Draft::plain(Data::Json(Bytes::from_static(br#"{"progress":50}"#)))
}

/// Of sorted nanoseconds, in microseconds.
fn percentile(sorted: &[u128], percent: usize) -> f64 {
    let at = (sorted.len() * percent / 100).min(sorted.len() - 1);
    sorted.get(at).copied().unwrap_or_default() as f64 / 1e3
}
