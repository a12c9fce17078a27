//! Replay windows change hands: who resumes gets everything, once and in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::world::{Askers, Dynasty};
use crate::harness::{JSON, Peer, Seen, Socket, admin::get, builder::Builder, eventually, proxy};

/// A stream with ids, one without, and a document; all show how far the application has counted.
fn counting() -> Builder {
    proxy()
        .sse("/ids")
        .sse("/plain")
        .poll("/counter")
        .line("refresh_on = [\"POST /write\"]")
        .everything()
}

/// A client that does what the protocol says: stays until it is closed, then comes back with its position.
struct Follower {
    path: &'static str,
    public: String,
    socket: Socket,
    after: Option<String>,
    /// What it was shown, in order.
    seen: Vec<u64>,
    /// Frames that tell of a loss, or of a resume that was none.
    losses: Vec<Value>,
    resumes: usize,
}

impl Follower {
    async fn join(public: &str, path: &'static str) -> Self {
        Follower {
            path,
            public: public.to_owned(),
            socket: open(public, path, None).await,
            after: None,
            seen: Vec::new(),
            losses: Vec::new(),
            resumes: 0,
        }
    }

    /// Takes one frame, or comes back where it is closed.
    async fn step(&mut self) {
        match self.socket.next().await {
            Seen::Frame(frame) => self.take(frame),
            Seen::Closed(code) => {
                if !(4200..4300).contains(&code) {
                    self.losses.push(json!({"closed": code}));
                }
                self.resumes += 1;
                self.socket = open(&self.public, self.path, self.after.as_deref()).await;
            }
        }
    }

    fn take(&mut self, frame: Value) {
        match frame["t"].as_str().unwrap() {
            "ok" if self.after.is_some() && frame["recovered"] != true => self.losses.push(frame),
            // Where a first subscription begins.
            "ok" if self.after.is_none() => self.after = frame["at"].as_str().map(str::to_owned),
            "gap" | "end" | "err" => self.losses.push(frame),
            "ev" | "snap" => {
                self.after = frame["o"].as_str().map(str::to_owned);
                self.seen.push(frame["d"]["n"].as_u64().unwrap());
            }
            _ => {}
        }
    }

    async fn sees(&mut self, n: u64) {
        while self.seen.last() != Some(&n) {
            self.step().await;
        }
    }
}

async fn open(public: &str, path: &str, after: Option<&str>) -> Socket {
    let origin = format!("origin: {public}");
    let query = after.map(|after| format!("?cf_after={after}"));
    let path = format!("{path}{}", query.unwrap_or_default());
    let opened = Socket::open(public, &path, &[&origin, JSON]).await;
    let mut socket = opened.unwrap_or_else(|answer| panic!("{path}: {}", answer.status()));
    socket.frame("welcome").await;
    socket
}

#[tokio::test(flavor = "multi_thread")]
async fn resume_over_an_upgrade_gets_events_published_meanwhile() {
    for path in ["/ids", "/plain", "/counter"] {
        let app = counting().app().await;
        let mut dynasty =
            Dynasty::start(&app.backend, "drain_timeout = \"4s\"", &counting().text());
        let mut stays = Follower::join(&dynasty.public, path).await;
        let mut returns = Follower::join(&dynasty.public, path).await;
        eventually("a live topic", async || {
            let topics = get(&dynasty.admin, "/v1/topics").await;
            topics.json["topics"][0]["live"] == true
        })
        .await;
        for _ in 0..3 {
            let n = app.publish();
            stays.sees(n).await;
            returns.sees(n).await;
        }
        // It is away while the process changes, and misses something before and after.
        let before = returns.after.clone().unwrap();
        drop(returns.socket);
        let n = app.publish();
        stays.sees(n).await;
        dynasty.upgrade().await;
        let n = app.publish();
        stays.sees(n).await;
        returns.socket = open(&dynasty.public, path, Some(&before)).await;
        returns.sees(n).await;
        assert_eq!(returns.losses, [Value::Null; 0], "{path}");
        // A polled route shows its document first.
        let seen: Vec<u64> = returns.seen.iter().copied().filter(|n| *n > 0).collect();
        assert_eq!(seen, [1, 2, 3, 4, 5], "{path}");
        // The first process leaves: the other one reads for itself from here on.
        assert_eq!(dynasty.first_ends().await, Some(0));
        let n = app.publish();
        stays.sees(n).await;
        returns.sees(n).await;
        assert_eq!(
            (stays.losses.len(), stays.resumes),
            (0, 1),
            "{path}: {:?}",
            stays.losses
        );
        assert!(stays.seen.is_sorted(), "{path}: {:?}", stays.seen);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_seen_by_the_new_process_polls_through_the_old_one() {
    let app = counting().app().await;
    let hourly = "source = {kind = \"poll\", every = \"1h\"}";
    let routes = counting().at("/counter").line(hourly).text();
    let mut dynasty = Dynasty::start(&app.backend, "drain_timeout = \"60s\"", &routes);
    let mut stays = Follower::join(&dynasty.public, "/counter").await;
    stays.sees(0).await;
    dynasty.upgrade().await;
    let n = app.publish();
    let address = dynasty
        .public
        .strip_prefix("http://")
        .unwrap()
        .parse()
        .unwrap();
    Peer::connect(address)
        .await
        .ask("POST /write", "", "x")
        .await;
    stays.sees(n).await;
    assert_eq!(stays.resumes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_document_goes_over_and_is_polled_for_a_client() {
    let app = counting().app().await;
    let mut dynasty = Dynasty::start(&app.backend, "drain_timeout = \"4s\"", &counting().text());
    let mut first = Follower::join(&dynasty.public, "/counter").await;
    first.sees(0).await;
    let after = first.after.clone();
    drop(first.socket);
    eventually("an idle topic", async || {
        let topics = get(&dynasty.admin, "/v1/topics").await;
        topics.json["topics"][0]["why"] == "idle"
    })
    .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let polls = app.backend.seen().len();
    dynasty.upgrade().await;
    assert_eq!(dynasty.first_ends().await, Some(0));
    assert_eq!(app.backend.seen().len(), polls);
    let n = app.publish();
    let mut back = Follower::join(&dynasty.public, "/counter").await;
    back.socket = open(&dynasty.public, "/counter", after.as_deref()).await;
    (back.after, back.seen) = (after, Vec::new());
    back.sees(n).await;
    assert_eq!((back.losses.len(), &back.seen[..]), (0, &[n][..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_served_beside_a_paused_one_of_the_old_process() {
    let app = counting().app().await;
    let mut dynasty = Dynasty::start(&app.backend, "drain_timeout = \"60s\"", &counting().text());
    let mut paused = Follower::join(&dynasty.public, "/counter").await;
    let ch = paused.socket.frame("snap").await["ch"].clone();
    let pause = json!({"t": "pause", "id": 1, "ch": ch});
    paused.socket.send(pause).await;
    eventually("an idle topic", async || {
        let topics = get(&dynasty.admin, "/v1/topics").await;
        topics.json["topics"][0]["why"] == "idle"
    })
    .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    dynasty.upgrade().await;
    let n = app.publish();
    let mut comes = Follower::join(&dynasty.public, "/counter").await;
    comes.sees(n).await;
}

/// What the old process had read went over before it could be killed, and the new one reads on from there.
#[tokio::test(flavor = "multi_thread")]
async fn killed_old_process_loses_nothing_of_resumable_sources() {
    let app = counting().app().await;
    let mut dynasty = Dynasty::start(&app.backend, "drain_timeout = \"20s\"", &counting().text());
    let mut ids = Follower::join(&dynasty.public, "/ids").await;
    let mut counter = Follower::join(&dynasty.public, "/counter").await;
    eventually("two live topics", async || {
        let topics = get(&dynasty.admin, "/v1/topics").await;
        let topics = topics.json["topics"].as_array().unwrap().clone();
        topics.len() == 2 && topics.iter().all(|topic| topic["live"] == true)
    })
    .await;
    let n = app.publish();
    ids.sees(n).await;
    counter.sees(n).await;
    let old = dynasty.pid();
    assert_eq!(dynasty.upgrade().await["topics"], 2);
    // They come back with what they saw here, wherever the other process stands.
    let n = app.publish();
    ids.sees(n).await;
    counter.sees(n).await;
    // What only the old process knew would go with it, and be told as a gap.
    let seen = [ids.after.clone(), counter.after.clone()];
    eventually("what they saw, over there", async || {
        let topics = get(&dynasty.admin, "/v1/topics").await;
        let topics = topics.json["topics"].as_array().unwrap().clone();
        let has_heard = |after: &Option<String>| {
            let mut topics = topics.iter();
            topics.any(|topic| topic["at"].as_str() == after.as_deref())
        };
        seen.iter().all(has_heard)
    })
    .await;
    crate::harness::process::signal(old, "KILL");
    assert_eq!(dynasty.first_ends().await, None);
    let n = app.publish();
    ids.sees(n).await;
    counter.sees(n).await;
    for follower in [ids, counter] {
        let path = follower.path;
        // Unless its random instant to leave came before that.
        let is_cut = |loss: &Value| *loss == json!({"closed": 1006});
        assert!(
            follower.losses.iter().all(is_cut),
            "{path}: {:?}",
            follower.losses
        );
        assert_eq!(follower.resumes, 1, "{path}");
        let seen: Vec<u64> = follower.seen.into_iter().filter(|n| *n > 0).collect();
        assert_eq!(seen, [1, 2, 3], "{path}");
    }
}

/// 0 lost, 0 duplicated where there are ids or a poll, in order; whatever the number of processes.
async fn soak(upgrades: usize, followers: usize) {
    let app = Arc::new(counting().app().await);
    let mut dynasty = Dynasty::start(&app.backend, "drain_timeout = \"2s\"", &counting().text());
    let over = Arc::new(AtomicBool::new(false));
    let last = Arc::new(AtomicU64::new(u64::MAX));
    let mut crowd = JoinSet::new();
    for path in ["/ids", "/plain", "/counter"] {
        for _ in 0..followers {
            let mut follower = Follower::join(&dynasty.public, path).await;
            let last = last.clone();
            crowd.spawn(async move {
                while follower
                    .seen
                    .last()
                    .is_none_or(|n| *n < last.load(Ordering::SeqCst))
                {
                    follower.step().await;
                }
                follower
            });
        }
    }
    eventually("three live topics", async || {
        let topics = get(&dynasty.admin, "/v1/topics").await;
        let topics = topics.json["topics"].as_array().unwrap().clone();
        topics.len() == 3 && topics.iter().all(|topic| topic["live"] == true)
    })
    .await;
    let (source, stop) = (app.clone(), over.clone());
    let publishing = tokio::spawn(async move {
        while !stop.load(Ordering::Relaxed) {
            source.publish();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let askers = Askers::start(&dynasty, &[true, false]);
    for _ in 0..upgrades {
        askers.upgrade(&mut dynasty, 20).await;
    }
    dynasty.first_ends().await;
    over.store(true, Ordering::Relaxed);
    publishing.await.unwrap();
    askers.end().await;
    let n = app.publish();
    last.store(n, Ordering::SeqCst);
    // Those that stand there already have nothing more to wait for.
    while let Some(follower) = crowd.join_next().await {
        let Follower {
            path,
            seen,
            losses,
            resumes,
            ..
        } = follower.unwrap();
        assert_eq!(losses, [Value::Null; 0], "{path}");
        assert!(resumes >= 1, "{path}: it was never led to another process");
        let is_dense = seen.windows(2).all(|pair| pair[1] == pair[0] + 1);
        match path {
            "/ids" => assert!(is_dense, "{seen:?}"),
            "/counter" => assert!(seen.is_sorted_by(|a, b| a < b), "{seen:?}"),
            _ => assert!(has_all(&seen), "{seen:?}"),
        }
    }
}

/// Whether nothing is missing, though some may have come again.
fn has_all(seen: &[u64]) -> bool {
    let mut highest = seen[0];
    seen.iter().all(|n| {
        let is_next = *n <= highest + 1;
        highest = highest.max(*n);
        is_next
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_over_twenty_upgrades() {
    soak(20, 5).await;
}
