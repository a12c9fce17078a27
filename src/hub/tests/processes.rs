//! A model of two processes with one topic: what the first publishes is told to the second, late, with holes, or not any more
//! because the first has died. Whatever happens, a client sees the backend's events one behind the other, or is told of a loss where
//! it does not.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::support::*;
use crate::event::{Event, GapWhy, Kind, Position};
use crate::hub::carried::News;
use crate::hub::*;

const WALKS: u64 = 400;
const STEPS: usize = 50;

/// One client, and what it has seen.
struct Client {
    joined: Option<Joined>,
    at: Position,
    /// The number of the last event that it has seen.
    seen: u64,
    /// It was told of a loss since.
    is_told: bool,
}

impl Client {
    /// A client without a past: whatever it gets first is right.
    fn new(joined: Joined) -> Self {
        Client {
            at: Position {
                offset: 0,
                ..joined.at
            },
            joined: Some(joined),
            seen: 0,
            is_told: true,
        }
    }

    /// Comes back with the last position that it has seen.
    fn come_back(&mut self, world: &World, target: &Arc<Target>) {
        self.joined = None;
        let mut joined = world.join(target, Start::After(self.at));
        for event in std::mem::take(&mut joined.prelude) {
            self.see(&event);
        }
        self.joined = Some(joined);
    }

    fn read(&mut self) {
        let Some(mut joined) = self.joined.take() else {
            return;
        };
        let mut events = joined.subscriber.settle();
        for look in 0.. {
            assert!(look < 100, "it never catches up");
            let progress = joined.subscriber.read(&mut events, usize::MAX);
            for event in events.drain(..) {
                self.see(&event);
            }
            match progress {
                Progress::CaughtUp => break,
                Progress::More => {}
                Progress::Overrun => events = joined.subscriber.skip_with_gap(),
            }
        }
        self.joined = Some(joined);
    }

    fn see(&mut self, event: &Event) {
        let before = std::mem::replace(&mut self.at, event.position);
        if matches!(event.kind, Kind::Gap { .. }) {
            self.is_told = true;
            return;
        }
        assert!(
            event.position.offset > before.offset,
            "{event:?} behind {before}"
        );
        let number = String::from_utf8_lossy(event.data.bytes()).parse::<u64>();
        let number = number.expect("a number");
        assert!(
            self.is_told || number == self.seen + 1,
            "{number} behind {} without a word",
            self.seen
        );
        self.seen = number;
        self.is_told = false;
    }
}

struct Walk {
    chance: fastrand::Rng,
    has_ids: bool,
    target: Arc<Target>,
    /// The process that reads the backend at first, and the one that follows.
    first: Option<World>,
    second: World,
    mirror: Option<Mirror>,
    link: VecDeque<News>,
    heir: Heir,
    feed: Publisher,
    /// Events that the backend has produced.
    produced: u64,
    at_first: Vec<Client>,
    at_second: Vec<Client>,
    _wishes: mpsc::Receiver<Wish>,
}

impl Walk {
    async fn begin(seed: u64) -> Self {
        let (first, second) = (World::new(ROOMY), World::new(ROOMY));
        let target = public(sse(), window(8));
        let client = Client::new(first.join(&target, Start::Live));
        let feed = first.feed().await;
        super::join::open(&feed);
        let (mut mirrors, _) = first.hub.mirror();
        let mirror = mirrors.remove(0);
        let Some(News::Exists(topic)) = mirror.introduction() else {
            panic!("nothing to tell");
        };
        let (wish, wishes) = mpsc::channel(8);
        let find = |_: &str| Some(target.route.clone());
        let heir = second
            .hub
            .inherit(0, &topic, find, wish)
            .expect("it is new");
        Walk {
            chance: fastrand::Rng::with_seed(seed),
            has_ids: seed.is_multiple_of(2),
            first: Some(first),
            second,
            mirror: Some(mirror),
            link: VecDeque::new(),
            heir,
            feed,
            produced: 0,
            at_first: vec![client],
            at_second: Vec::new(),
            target,
            _wishes: wishes,
        }
    }

    async fn step(&mut self) {
        match self.chance.u32(..20) {
            0..6 => self.publish(),
            6..9 => self.tell(),
            9..13 => self.deliver(),
            13 => drop(self.link.pop_front()),
            14..17 => {
                let clients = self.at_first.iter_mut().chain(&mut self.at_second);
                clients.for_each(Client::read);
            }
            17 => self.join(),
            18 => self.cross(),
            _ => {
                if self.chance.u32(..4) == 0 {
                    self.die().await;
                }
            }
        }
    }

    fn publish(&mut self) {
        for _ in 0..=self.chance.u32(..3) {
            self.produced += 1;
            self.feed.events(vec![self.draft(self.produced)]);
        }
    }

    fn draft(&self, number: u64) -> crate::event::Draft {
        let text = number.to_string();
        draft(&text, self.has_ids.then_some(&*text))
    }

    fn tell(&mut self) {
        let news = self.mirror.as_mut().map(Mirror::news);
        self.link.extend(news.into_iter().flatten());
    }

    fn deliver(&mut self) {
        for _ in 0..=self.chance.u32(..3) {
            if let Some(news) = self.link.pop_front() {
                self.heir.hear(news);
            }
        }
    }

    fn join(&mut self) {
        if let Some(first) = &self.first {
            let joined = first.join(&self.target, Start::Live);
            self.at_first.push(Client::new(joined));
        }
    }

    /// A client of the first process comes to the second.
    fn cross(&mut self) {
        if self.at_first.is_empty() {
            return;
        }
        let mut client = self
            .at_first
            .swap_remove(self.chance.usize(..self.at_first.len()));
        if self.chance.bool() {
            client.read();
        }
        client.come_back(&self.second, &self.target);
        self.at_second.push(client);
    }

    /// The first process is gone: the second reads the backend. Its clients come some time later.
    async fn die(&mut self) {
        let Some(first) = self.first.take() else {
            return;
        };
        // What is on its way arrives, or does not.
        self.link.truncate(self.chance.usize(..=self.link.len()));
        self.link.drain(..).for_each(|news| self.heir.hear(news));
        for client in &mut self.at_first {
            if self.chance.bool() {
                client.read();
            }
            client.joined = None;
        }
        self.mirror = None;
        drop(first);
        self.heir.lose();
        self.feed = self.second.feed().await;
        self.go_on().await;
    }

    /// As a feed goes on: after the last id that it knows, and where there is none from now on.
    async fn go_on(&mut self) {
        assert!(!self.feed.take_over().await, "nobody has told everything");
        let legacy = self.feed.legacy().expect("it is inherited");
        let now = tokio::time::Instant::now().into_std();
        let last = legacy.last_event_id.and_then(|id| id.parse::<u64>().ok());
        match last {
            Some(last) => {
                self.feed.connected(Connection::Resumed, now);
                for number in last + 1..=self.produced {
                    self.feed.events(vec![self.draft(number)]);
                }
            }
            None => {
                self.feed.gap(GapWhy::UpstreamReconnect);
                self.feed.connected(Connection::Fresh, now);
            }
        }
        self.feed.opened();
    }
}

#[tokio::test(start_paused = true)]
async fn no_event_is_lost_in_silence_between_two_processes() {
    for seed in 0..WALKS {
        let mut walk = Walk::begin(seed).await;
        for _ in 0..STEPS {
            walk.step().await;
        }
        walk.die().await;
        walk.publish();
        for mut client in std::mem::take(&mut walk.at_first) {
            client.come_back(&walk.second, &walk.target);
            walk.at_second.push(client);
        }
        walk.publish();
        for client in &mut walk.at_second {
            client.read();
            assert_eq!(client.seen, walk.produced, "seed {seed}");
        }
    }
}
