//! A model of two processes with one topic: what the first publishes is sent to the second, late, with holes, or not any more
//! because the first has died. Whatever happens, a client sees the backend's events one behind the other, or gets a gap where
//! it does not. An event says from where to where it leads: by one on a stream, from one document to the next on a polled route.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::support::*;
use crate::event::{self, Event, GapWhy, Position};
use crate::hub::replication::{Export, Follower, ReplicationMessage};
use crate::hub::*;

const WALKS: u64 = 400;
const STEPS: usize = 50;

/// What the backend has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    WithIds,
    WithoutIds,
    Polled,
}

impl Kind {
    pub(crate) const ALL: [Kind; 3] = [Kind::WithIds, Kind::WithoutIds, Kind::Polled];

    pub(crate) fn target(self, replay: usize) -> Arc<Target> {
        let source = match self {
            Kind::WithIds | Kind::WithoutIds => sse(),
            Kind::Polled => poll(),
        };
        public(source, window(replay))
    }

    /// Publishes as a feed does that has published up to `from`, and finds the backend at `to`.
    pub(crate) fn publish(self, feed: &Publisher, from: Option<u64>, to: u64) {
        if self != Kind::Polled {
            for number in from.unwrap_or(0) + 1..=to {
                let id = number.to_string();
                let id = (self == Kind::WithIds).then_some(&*id);
                feed.events(vec![draft(&format!("{}>{number}", number - 1), id)]);
            }
        } else if from != Some(to) {
            let change = match from {
                Some(from) => DocumentChange::Events(vec![draft(&format!("{from}>{to}"), None)]),
                None => DocumentChange::Snapshot,
            };
            feed.document(Bytes::from(to.to_string()), change);
        }
    }

    /// As a feed goes on that another one's checkpoint is known of: after the last id or from the last document; where there is
    /// neither, from now on. Returns up to where it has published.
    pub(crate) async fn go_on(self, feed: &Publisher, produced: u64) -> Option<u64> {
        let is_covered = feed.take_over().await;
        let checkpoint = feed.checkpoint().expect("it has followed");
        let now = tokio::time::Instant::now().into_std();
        let last = checkpoint.last_event_id.and_then(|id| id.parse().ok());
        let from = match self {
            Kind::WithIds if last.is_some() => {
                feed.connected(StreamConnection::Resumed, now);
                last
            }
            Kind::WithIds | Kind::WithoutIds => {
                if !is_covered {
                    feed.gap(GapWhy::UpstreamReconnect);
                }
                feed.connected(StreamConnection::Fresh, now);
                Some(produced)
            }
            Kind::Polled => {
                let document = checkpoint.document.as_deref();
                document.map(|text| std::str::from_utf8(text).unwrap().parse().unwrap())
            }
        };
        feed.opened();
        from
    }
}

/// One client, and what it has seen.
pub(crate) struct Client {
    joined: Option<Joined>,
    at: Position,
    /// Where the last event that it has seen leads.
    pub(crate) seen: u64,
    /// It got a gap since.
    pub(crate) is_told: bool,
    pub(crate) losses: usize,
}

impl Client {
    /// A client without a past: whatever it gets first is right.
    pub(crate) fn new(mut joined: Joined) -> Self {
        let mut client = Client {
            at: Position {
                offset: 0,
                ..joined.at
            },
            joined: None,
            seen: 0,
            is_told: true,
            losses: 0,
        };
        let prelude = std::mem::take(&mut joined.prelude);
        prelude.iter().for_each(|event| client.see(event));
        client.joined = Some(joined);
        client
    }

    /// Comes back with the last position that it has seen.
    pub(crate) fn come_back(&mut self, world: &World, target: &Arc<Target>) {
        self.joined = None;
        let mut joined = world.join(target, Start::After(self.at));
        for event in std::mem::take(&mut joined.prelude) {
            self.see(&event);
        }
        self.joined = Some(joined);
    }

    pub(crate) fn read(&mut self) {
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
                ReadProgress::CaughtUp => break,
                ReadProgress::More => {}
                ReadProgress::Overrun => events = joined.subscriber.skip_with_gap(),
            }
        }
        self.joined = Some(joined);
    }

    fn see(&mut self, event: &Event) {
        let before = std::mem::replace(&mut self.at, event.position);
        let text = String::from_utf8_lossy(event.data.bytes());
        let number = |text: &str| text.parse::<u64>().expect("a number");
        let (from, to) = match (&event.kind, text.split_once('>')) {
            (event::EventKind::Gap { .. }, _) => {
                self.is_told = true;
                self.losses += 1;
                return;
            }
            (_, Some((from, to))) => (Some(number(from)), number(to)),
            (_, None) => (None, number(&text)),
        };
        assert!(
            event.position.offset > before.offset,
            "{event:?} behind {before}"
        );
        assert!(
            self.is_told || from.is_none_or(|from| from == self.seen),
            "{text} at {} behind {} at {before} without a word",
            event.position,
            self.seen
        );
        self.seen = to;
        self.is_told = false;
    }
}

struct Walk {
    chance: fastrand::Rng,
    kind: Kind,
    target: Arc<Target>,
    /// The process that reads the backend at first, and the one that follows.
    first: Option<World>,
    second: World,
    export: Option<Export>,
    link: VecDeque<ReplicationMessage>,
    follower: Follower,
    feed: Publisher,
    /// Events that the backend has produced, and up to which of them is published.
    produced: u64,
    published: Option<u64>,
    at_first: Vec<Client>,
    at_second: Vec<Client>,
    _requests: mpsc::Receiver<FollowerRequest>,
}

impl Walk {
    async fn begin(seed: u64) -> Self {
        let (first, second) = (World::new(ROOMY), World::new(ROOMY));
        let kind = Kind::ALL[seed as usize % 3];
        let target = kind.target(8);
        let client = Client::new(first.join(&target, Start::Live));
        let feed = first.feed().await;
        super::join::open(&feed);
        let export = first.hub.export().begun.remove(0);
        let Some(ReplicationMessage::Begin(topic)) = export.begin() else {
            panic!("nothing to tell");
        };
        let (request, requests) = mpsc::channel(8);
        let find = |_: &str| Some(target.route.clone());
        let follower = second.hub.follow(0, &topic, find, request);
        Walk {
            chance: fastrand::Rng::with_seed(seed),
            kind,
            first: Some(first),
            second,
            export: Some(export),
            link: VecDeque::new(),
            follower: follower.expect("it is new"),
            feed,
            produced: 0,
            published: None,
            at_first: vec![client],
            at_second: Vec::new(),
            target,
            _requests: requests,
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
        self.produced += self.chance.u64(1..4);
        self.catch_up();
    }

    fn catch_up(&mut self) {
        self.kind.publish(&self.feed, self.published, self.produced);
        self.published = Some(self.produced);
    }

    fn tell(&mut self) {
        let messages = self.export.as_mut().map(Export::messages);
        self.link.extend(messages.into_iter().flatten());
    }

    fn deliver(&mut self) {
        for _ in 0..=self.chance.u32(..3) {
            if let Some(news) = self.link.pop_front() {
                self.follower.apply(news);
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

    /// What the first process had sent before it died is resumed without a gap, unless a client has come with more.
    fn check_resumes(&self, heard: Position) {
        let is_ahead = |client: &Client| client.at.offset > heard.offset;
        if self.at_second.iter().any(is_ahead) {
            return;
        }
        let topic = self.second.hub.topics().remove(0);
        assert_ne!(topic.at.epoch, heard.epoch);
        // Some have a position in a request of their own yet.
        let is_kept = |at: Position| {
            at.epoch == heard.epoch && at.offset + topic.events as u64 >= topic.at.offset
        };
        for client in self.at_first.iter().filter(|client| is_kept(client.at)) {
            let back = self.second.join(&self.target, Start::After(client.at));
            assert_eq!(back.prelude.is_empty(), !is_ahead(client), "{}", client.at);
        }
    }

    /// The first process is gone: the second reads the backend. Its clients come some time later.
    async fn die(&mut self) {
        let Some(first) = self.first.take() else {
            return;
        };
        // What is on its way arrives, or does not.
        self.link.truncate(self.chance.usize(..=self.link.len()));
        self.link
            .drain(..)
            .for_each(|news| self.follower.apply(news));
        for client in &mut self.at_first {
            if self.chance.bool() {
                client.read();
            }
            client.joined = None;
        }
        self.export = None;
        drop(first);
        let heard = self.second.hub.topics()[0].at;
        self.follower.lose();
        self.check_resumes(heard);
        self.feed = self.second.feed().await;
        self.published = self.kind.go_on(&self.feed, self.produced).await;
        if self.chance.bool() {
            self.catch_up();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_event_is_lost_in_silence_between_two_processes() {
    for seed in 0..walks(WALKS) {
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
        let is_quiet = walk.chance.bool();
        if !is_quiet {
            walk.publish();
        }
        for client in &mut walk.at_second {
            client.read();
            // Where nothing has come since, a loss on a stream may be all that there is to send.
            let is_told = is_quiet && client.is_told && walk.kind != Kind::Polled;
            assert!(is_told || client.seen == walk.produced, "seed {seed}");
        }
    }
}
