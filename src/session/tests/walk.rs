//! A random walk over one client and its two topics: whatever happens in whatever order, positions
//! rise, nothing is skipped without a word, and the client's picture of a list converges.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;

use super::FILE;
use super::support::{Client, World, document, event, first_document};
use crate::event::GapWhy;
use crate::hub::Publisher;

const WALKS: u64 = 150;
const STEPS: usize = 60;

type Items = BTreeMap<u64, u64>;

/// What the client believes of one channel.
#[derive(Default)]
struct View {
    ch: u64,
    last: String,
    items: Items,
    paused: bool,
    /// A gap was sent: the next event may be anything later.
    forgiven: bool,
}

struct Walk {
    world: World,
    client: Client,
    chance: fastrand::Rng,
    requests: u64,
    stream: (Publisher, View),
    list: (Publisher, View),
    items: Items,
    published: u64,
}

fn offset(position: &str) -> u64 {
    let offset = position.split('-').nth(1).unwrap_or_default();
    offset.parse().unwrap_or_else(|_| panic!("{position:?}"))
}

fn json(items: &Items) -> String {
    let items = items.iter().map(|(id, v)| item(*id, *v));
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}

fn item(id: u64, v: u64) -> String {
    format!(r#"{{"id":{id},"v":{v}}}"#)
}

fn read_items(list: &Value) -> Items {
    let items = list.as_array().expect("a list").iter();
    let pair = |item: &Value| Some((item["id"].as_u64()?, item["v"].as_u64()?));
    items.filter_map(pair).collect()
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_nothing_is_lost_in_silence() {
    for seed in 0..WALKS {
        let mut walk = Walk::begin(seed).await;
        for _ in 0..STEPS {
            walk.step().await;
        }
        walk.resume_all().await;
        walk.drain().await;
        assert_eq!(walk.list.1.items, walk.items, "seed {seed}");
        let head = walk.stream.1.last.clone();
        assert_eq!(offset(&head), walk.published, "seed {seed}");
    }
}

impl Walk {
    async fn begin(seed: u64) -> Walk {
        let mut world = World::new(FILE);
        let mut client = world.join().await;
        let (stream, ok) = client
            .subscribe(&mut world, "/other", |feed| feed.opened())
            .await;
        let stream_view = View::begin(&ok);
        let (list, ok) = client
            .subscribe(&mut world, "/list", |feed| first_document(feed, "[]"))
            .await;
        let list_view = View::begin(&ok);
        Walk {
            world,
            client,
            chance: fastrand::Rng::with_seed(seed),
            requests: 100,
            stream: (stream, stream_view),
            list: (list, list_view),
            items: Items::new(),
            published: 0,
        }
    }

    async fn step(&mut self) {
        match self.chance.u32(..20) {
            0..6 => {
                let count = 1 + self.chance.u64(..3);
                let drafts = (0..count).map(|n| event("", "", &(self.published + n).to_string()));
                self.stream.0.events(drafts.collect());
                self.published += count;
            }
            6..12 => self.change_list(),
            12 => {
                self.stream.0.gap(GapWhy::UpstreamReconnect);
                self.published += 1;
            }
            13 => {
                self.stream.0.stale("upstream_down");
                if self.chance.bool() {
                    self.stream.0.live();
                }
            }
            14 => {
                let is_list = self.chance.bool();
                let view = if is_list {
                    &self.list.1
                } else {
                    &self.stream.1
                };
                let (ch, is_paused) = (view.ch, view.paused);
                self.pause(ch, !is_paused).await;
            }
            15 => self.world.reload(&FILE.replace("max = 5", "max = 6")),
            16 => self.come_back().await,
            17 => tokio::time::sleep(Duration::from_secs(2)).await,
            _ => self.drain().await,
        }
    }

    fn change_list(&mut self) {
        let mut events = Vec::new();
        for _ in 0..=self.chance.u32(..3) {
            let (id, v) = (self.chance.u64(..6), self.chance.u64(..1000));
            let is_gone = self.chance.u32(..3) == 0;
            match (self.items.get(&id).copied(), is_gone) {
                (None, true) => {}
                (Some(old), true) => {
                    self.items.remove(&id);
                    events.push(event("deleted", "", &item(id, old)));
                }
                (known, false) => {
                    let name = if known.is_some() {
                        "updated"
                    } else {
                        "created"
                    };
                    self.items.insert(id, v);
                    events.push(event(name, "", &item(id, v)));
                }
            }
        }
        if !events.is_empty() {
            document(&self.list.0, &json(&self.items), events);
        }
    }

    async fn pause(&mut self, ch: u64, pauses: bool) {
        let word = if pauses { "pause" } else { "resume" };
        self.requests += 1;
        let id = self.requests;
        self.client
            .send(&format!(r#"{{"t":"{word}","id":{id},"ch":{ch}}}"#))
            .await;
        for view in [&mut self.stream.1, &mut self.list.1] {
            if view.ch == ch {
                view.paused = pauses;
            }
        }
        loop {
            let frame = self.client.read().await;
            if frame["t"] == "ok" {
                assert_eq!(frame["id"], id);
                return;
            }
            self.understand(&frame);
        }
    }

    async fn resume_all(&mut self) {
        for (ch, is_paused) in [&self.stream.1, &self.list.1].map(|view| (view.ch, view.paused)) {
            if is_paused {
                self.pause(ch, false).await;
            }
        }
    }

    /// Another connection goes on where this one stood.
    async fn come_back(&mut self) {
        self.client = self.world.join().await;
        for (path, view) in [("/other", &mut self.stream.1), ("/list", &mut self.list.1)] {
            self.requests += 1;
            let (id, after) = (self.requests, &view.last);
            self.client
                .send(&format!(
                    r#"{{"t":"sub","id":{id},"path":"{path}","after":"{after}"}}"#
                ))
                .await;
            view.paused = false;
        }
        let mut answers = 0;
        while answers < 2 {
            let frame = self.client.read().await;
            match frame["t"].as_str() {
                Some("ok") => answers += 1,
                _ => self.understand(&frame),
            }
        }
    }

    /// Reads until nothing comes.
    async fn drain(&mut self) {
        while let Ok(frame) = timeout(Duration::from_millis(10), self.client.read()).await {
            self.understand(&frame);
        }
    }

    fn understand(&mut self, frame: &Value) {
        if frame["t"] == "state" {
            return;
        }
        let is_list = frame["ch"] == self.list.1.ch;
        let view = if is_list {
            &mut self.list.1
        } else {
            &mut self.stream.1
        };
        assert_eq!(frame["ch"], view.ch, "{frame}");
        if frame["t"] == "gap" {
            let to = frame["to"].as_str().expect("a position");
            assert!(
                offset(to) >= offset(&view.last),
                "{frame} after {}",
                view.last
            );
            view.last = to.into();
            view.forgiven = true;
            return;
        }
        let at = frame["o"].as_str().expect("a position");
        let (now, before) = (offset(at), offset(&view.last));
        assert!(now > before, "{frame} after {}", view.last);
        if !is_list {
            assert!(
                now == before + 1 || view.forgiven,
                "{frame} after {}",
                view.last
            );
        }
        view.forgiven = false;
        view.last = at.into();
        if is_list {
            view.learn(frame);
        }
    }
}

impl View {
    fn begin(ok: &Value) -> View {
        View {
            ch: ok["ch"].as_u64().expect("a number"),
            last: ok["at"].as_str().expect("a position").into(),
            ..View::default()
        }
    }

    fn learn(&mut self, frame: &Value) {
        if frame["t"] == "snap" {
            self.items = read_items(&frame["d"]);
            return;
        }
        let (id, v) = (frame["d"]["id"].as_u64(), frame["d"]["v"].as_u64());
        let (id, v) = (id.expect("an id"), v.expect("a value"));
        match frame["e"].as_str() {
            Some("deleted") => {
                assert!(self.items.remove(&id).is_some(), "{frame}");
            }
            Some("created") => {
                assert!(self.items.insert(id, v).is_none(), "{frame}");
            }
            _ => {
                assert!(self.items.insert(id, v).is_some(), "{frame}");
            }
        }
    }
}
