//! A random walk over hub and topics: whatever happens in whatever order, no subscriber sees a gap
//! without a report, order holds, nothing comes twice.
//!
//! The test plays the backends and keeps a model of every topic's log; each client checks what it
//! is handed against what it was handed before and against the model.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use tokio::time::Instant;

use super::support::*;
use crate::config::{Replay, Route, Share};
use crate::error::Code;
use crate::event::{End, Epoch, Event, EventKind, GapWhy, Position};
use crate::hub::*;

const CLIENTS: usize = 12;
/// The longest of the walk's linger times and windows, in seconds.
const AGE: u64 = 30;

/// What may happen next. `polled` chooses one of two routes, `client` one of twelve clients.
#[derive(Clone, Debug)]
enum Step {
    Join {
        client: usize,
        polled: bool,
        how: How,
    },
    Leave {
        client: usize,
    },
    Read {
        client: usize,
        count: usize,
        slow: Policy,
    },
    LetGo {
        client: usize,
    },
    Pause {
        client: usize,
    },
    Coalesce {
        client: usize,
    },
    Publish {
        polled: bool,
        batch: usize,
        whole: bool,
    },
    Loss {
        polled: bool,
    },
    End {
        polled: bool,
    },
    Wait {
        seconds: u64,
    },
    Repace {
        polled: bool,
        events: usize,
    },
    Reread {
        polled: bool,
    },
    Move {
        client: usize,
    },
}

#[derive(Clone, Copy, Debug)]
enum How {
    Live,
    Resume,
    ById,
}

#[derive(Clone, Copy, Debug)]
enum Policy {
    Close,
    Gap,
    Latest,
}

fn step() -> impl Strategy<Value = Step> {
    let client = || 0..CLIENTS;
    let polled = any::<bool>;
    let how = prop_oneof![Just(How::Live), Just(How::Resume), Just(How::ById)];
    let slow = prop_oneof![Just(Policy::Close), Just(Policy::Gap), Just(Policy::Latest)];
    let read = (client(), 0..9usize, slow);
    prop_oneof![
        5 => (client(), polled(), how)
            .prop_map(|(client, polled, how)| Step::Join { client, polled, how }),
        2 => client().prop_map(|client| Step::Leave { client }),
        8 => read.prop_map(|(client, count, slow)| Step::Read { client, count, slow }),
        2 => client().prop_map(|client| Step::LetGo { client }),
        3 => client().prop_map(|client| Step::Pause { client }),
        1 => client().prop_map(|client| Step::Coalesce { client }),
        8 => (polled(), 0..4usize, any::<bool>())
            .prop_map(|(polled, batch, whole)| Step::Publish { polled, batch, whole }),
        1 => polled().prop_map(|polled| Step::Loss { polled }),
        1 => polled().prop_map(|polled| Step::End { polled }),
        2 => (0..AGE * 3 / 2).prop_map(|seconds| Step::Wait { seconds }),
        1 => (polled(), 0..8usize).prop_map(|(polled, events)| Step::Repace { polled, events }),
        1 => polled().prop_map(|polled| Step::Reread { polled }),
        4 => client().prop_map(|client| Step::Move { client }),
    ]
}

/// What a topic's log must hold.
struct Model {
    polled: bool,
    feed: Publisher,
    entries: Vec<Entry>,
    /// Each document, with the head that it belongs to.
    documents: Vec<(u64, String)>,
    /// Oldest offset that a resume may ask for.
    window: u64,
    ended: bool,
}

struct Entry {
    kind: EventKind,
    text: String,
    at: Instant,
}

impl Model {
    fn head(&self) -> u64 {
        self.entries.len() as u64
    }

    fn entry(&self, offset: u64) -> &Entry {
        &self.entries[offset as usize - 1]
    }

    fn push(&mut self, kind: EventKind, text: String) {
        let at = Instant::now();
        self.entries.push(Entry { kind, text, at });
    }

    fn slide(&mut self, replay: &Replay) {
        let kept = |model: &Model| {
            let count = model.head() + 1 - model.window;
            let age = model.entry(model.window).at.elapsed();
            count <= replay.events as u64 && age <= replay.age
        };
        while self.window <= self.head() && !kept(self) {
            self.window += 1;
        }
    }

    /// Whether this was the document at that offset. There may have been several: a change that
    /// emits nothing has no offset of its own.
    fn was_document(&self, offset: u64, text: &str) -> bool {
        let known = |(at, _): &&(u64, String)| *at <= offset;
        let newest = self.documents.iter().rfind(known).unwrap().0;
        let then = |(at, document): &(u64, String)| *at == newest && document == text;
        self.documents.iter().any(then)
    }
}

#[derive(Default)]
struct Client {
    on: Option<On>,
    /// What it knows to be its place.
    last: Option<Position>,
    last_id: Option<Arc<str>>,
}

/// A running subscription.
struct On {
    subscriber: Subscriber,
    target: Arc<Target>,
    polled: bool,
    /// Up to here it was promised plain events.
    plain_until: u64,
    /// Nothing may be lost to it but by short memory.
    is_kept: bool,
    is_paused: bool,
}

impl On {
    /// A client that pauses, takes next to nothing or meets short memory may lose what it was promised as plain events; it is
    /// sent a gap.
    fn give_up_promise(&mut self) {
        self.plain_until = 0;
    }
}

struct Walk {
    world: World,
    routes: [Arc<Route>; 2],
    clients: Vec<Client>,
    topics: HashMap<Epoch, Model>,
    /// Whether nothing but the replay window bounds what may be resumed.
    roomy: bool,
    published: u64,
    rereads: u64,
}

impl Walk {
    fn new(memory: usize) -> Self {
        let replay = Replay {
            events: 5,
            age: Duration::from_secs(AGE),
            bytes: 1 << 20,
        };
        let made = |name, source| route(name, source, Share::Public, replay);
        Walk {
            world: World::new(HubLimits { memory, ..ROOMY }),
            routes: [made("stream", sse()), made("list", poll())],
            clients: (0..CLIENTS).map(|_| Client::default()).collect(),
            topics: HashMap::new(),
            roomy: memory == ROOMY.memory,
            published: 0,
            rereads: 0,
        }
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Join {
                client,
                polled,
                how,
            } if self.clients[client].on.is_none() => self.join(client, polled, how).await,
            Step::Leave { client } => self.clients[client].on = None,
            Step::Read {
                client,
                count,
                slow,
            } => self.read(client, count, slow),
            Step::LetGo { client } => {
                if let Some(on) = &mut self.clients[client].on {
                    on.give_up_promise();
                    on.is_kept = false;
                    on.subscriber.let_go();
                }
            }
            Step::Pause { client } => self.pause(client),
            Step::Coalesce { client } => {
                if let Some(on) = &mut self.clients[client].on
                    && !on.is_paused
                {
                    let document = on.subscriber.skip_to_document();
                    on.is_kept |= document.is_some();
                    self.deliver(client, document);
                }
            }
            Step::Publish {
                polled,
                batch,
                whole,
            } => self.publish(polled, batch, whole),
            Step::Loss { polled } => self.lose(polled),
            Step::End { polled } => self.end(polled),
            Step::Wait { seconds } => tokio::time::sleep(Duration::from_secs(seconds)).await,
            Step::Repace { polled, events } => {
                let route = &mut self.routes[polled as usize];
                let mut changed = (**route).clone();
                changed.replay.events = events;
                *route = Arc::new(changed);
                self.reconcile();
            }
            Step::Reread { polled } => {
                self.rereads += 1;
                let route = &mut self.routes[polled as usize];
                let mut changed = (**route).clone();
                let mut upstream = (*changed.upstream).clone();
                upstream.servers[0].address = format!("127.0.0.1:{}", self.rereads);
                changed.upstream = Arc::new(upstream);
                *route = Arc::new(changed);
                self.reconcile();
            }
            Step::Move { client } => self.move_on(client).await,
            Step::Join { .. } => {}
        }
        self.slide();
    }

    async fn join(&mut self, client: usize, polled: bool, how: How) {
        let state = &self.clients[client];
        let start = match (how, state.last, &state.last_id) {
            (How::Resume, Some(last), _) => Start::After(last),
            (How::ById, _, Some(id)) => Start::LastEventId(id.clone()),
            _ => Start::Live,
        };
        self.enter(client, polled, start).await;
    }

    /// As a session does when the configuration changed what its subscription reads.
    async fn move_on(&mut self, client: usize) {
        let Some(on) = &self.clients[client].on else {
            return;
        };
        let polled = on.polled;
        if on.target.route.reads() == self.routes[polled as usize].reads() {
            return;
        }
        let (ch, old) = (on.subscriber.ch(), on.subscriber.position());
        let alive = self
            .topics
            .get(&old.epoch)
            .is_some_and(|model| !model.ended);
        let before = self.clients[client].on.take();
        self.enter(client, polled, Start::Moved(old)).await;
        let Some(on) = &self.clients[client].on else {
            return;
        };
        assert!(
            !alive || on.subscriber.ch() == ch,
            "the channel's number stays"
        );
        drop(before);
    }

    async fn enter(&mut self, client: usize, polled: bool, start: Start) {
        let route = &self.routes[polled as usize];
        let target = target(route, "/x", Scope::Public);
        let Ok(joined) = self
            .world
            .join_as(&target, Credentials::default(), start.clone())
        else {
            assert!(!self.roomy);
            return;
        };
        let Joined {
            subscriber,
            at,
            recovered,
            prelude,
        } = joined;
        if !self.topics.contains_key(&at.epoch) {
            let feed = self.world.feed().await;
            self.topics.insert(
                at.epoch,
                Model {
                    polled,
                    feed,
                    entries: Vec::new(),
                    documents: Vec::new(),
                    window: 1,
                    ended: false,
                },
            );
        }
        let model = &self.topics[&at.epoch];
        assert_eq!(at.offset, model.head());
        let gap = prelude.first().is_some_and(|first| is_gap(first));
        let state = &mut self.clients[client];
        match &start {
            Start::Live | Start::Lost(_) => {
                // Without room for a request of its own a newcomer gets a gap for the missing beginning.
                assert!((!gap || !self.roomy) && !recovered);
                let start = Position { offset: 0, ..at };
                state.last = match gap {
                    true => Some(start),
                    false => prelude.is_empty().then_some(at),
                };
            }
            Start::After(from) | Start::Moved(from) => {
                let known = from.epoch == at.epoch && from.offset <= at.offset;
                let told = prelude.first().map(|first| first.kind.clone());
                let why = match told {
                    Some(EventKind::Gap { why, .. }) => Some(why),
                    _ => None,
                };
                if !known {
                    let moved = matches!(start, Start::Moved(_));
                    let expected = [GapWhy::Epoch, GapWhy::Config][moved as usize];
                    assert_eq!(why, Some(expected));
                } else if self.roomy {
                    let expired = from.offset + 1 < model.window;
                    assert_eq!(why, expired.then_some(GapWhy::Expired));
                }
                state.last = Some(*from);
            }
            Start::LastEventId(id) => {
                let place = subscriber.position();
                if gap {
                    state.last = Some(Position { offset: 0, ..place });
                } else {
                    assert!(prelude.is_empty());
                    let found = place.offset > 0 && text_of(id) == model.entry(place.offset).text;
                    assert!(
                        found
                            || (place.offset == 0 && model.feed.brought_id().as_ref() == Some(id))
                    );
                    state.last = Some(place);
                }
            }
        }
        if recovered {
            assert!(prelude.is_empty());
        }
        state.on = Some(On {
            subscriber,
            target,
            polled,
            plain_until: if recovered { at.offset } else { 0 },
            is_kept: true,
            is_paused: false,
        });
        self.deliver(client, prelude);
    }

    /// Pauses, or goes on after a pause.
    fn pause(&mut self, client: usize) {
        let Some(on) = &mut self.clients[client].on else {
            return;
        };
        on.is_paused = !on.is_paused;
        if on.is_paused {
            on.give_up_promise();
            on.subscriber.pause();
            return;
        }
        on.subscriber.resume();
        on.is_kept = true;
        let prelude = on.subscriber.go_on();
        self.deliver(client, prelude);
    }

    fn read(&mut self, client: usize, count: usize, slow: Policy) {
        let Some(on) = &mut self.clients[client].on else {
            return;
        };
        if on.is_paused {
            return;
        }
        let behind = on.subscriber.is_behind();
        let reads_own = on.subscriber.reading().is_some();
        let mut out = Vec::new();
        let progress = on.subscriber.read(&mut out, count);
        let has_more = !out.is_empty() || progress != ReadProgress::CaughtUp;
        // What the shared topic gets while a subscriber reads its own request is looked at once, and may be nothing for it.
        assert!(behind == has_more || (behind && reads_own));
        if progress != ReadProgress::Overrun {
            on.is_kept = true;
            self.deliver(client, out);
            return;
        }
        assert!(out.is_empty());
        assert!(
            !on.is_kept || !self.roomy,
            "a reader has lost what was kept for it"
        );
        // Only short memory takes what was promised, and the client gets a gap.
        on.give_up_promise();
        on.is_kept = true;
        let subscriber = &mut on.subscriber;
        let told = match slow {
            Policy::Close => {
                self.clients[client].on = None;
                return;
            }
            Policy::Gap => subscriber.skip_with_gap(),
            Policy::Latest => match subscriber.skip_to_document() {
                Some(document) => vec![document],
                None => subscriber.skip_with_gap(),
            },
        };
        assert!(!told.is_empty());
        assert_ne!(subscriber.read(&mut out, 0), ReadProgress::Overrun);
        self.deliver(client, told);
    }

    /// Checks what a client is handed against what it knows and against the log's model.
    fn deliver(&mut self, client: usize, events: impl IntoIterator<Item = Arc<Event>>) {
        let state = &mut self.clients[client];
        let Some(on) = &mut state.on else {
            return;
        };
        for event in events {
            let position = event.position;
            let model = &self.topics[&position.epoch];
            assert_eq!(event.ch, on.subscriber.ch());
            assert_eq!(position.epoch, on.subscriber.position().epoch);
            let next = |last: Position| {
                assert_eq!(last.epoch, position.epoch);
                last.offset + 1
            };
            match &event.kind {
                EventKind::Event => {
                    let last = state.last.expect("an event has a place before it");
                    assert_eq!(
                        position.offset,
                        next(last),
                        "nothing twice, nothing missing"
                    );
                    let entry = model.entry(position.offset);
                    assert_eq!(
                        (&entry.kind, &*entry.text),
                        (&EventKind::Event, text(&event))
                    );
                    state.last_id = event.id.clone();
                }
                EventKind::Snapshot => {
                    assert!(on.plain_until < position.offset);
                    if let Some(last) = state.last {
                        assert!(position.offset >= next(last));
                        let mut skipped = next(last)..position.offset;
                        let told =
                            |offset| !matches!(model.entry(offset).kind, EventKind::Gap { .. });
                        assert!(skipped.all(told), "a snapshot hides a gap");
                    }
                    assert!(model.was_document(position.offset, text(&event)));
                }
                EventKind::Gap { from, .. } => {
                    assert!(on.plain_until < position.offset.max(1));
                    assert_eq!(Some(*from), state.last, "a gap begins where the client is");
                    if from.epoch == position.epoch && from.offset <= model.head() {
                        assert!(from.offset <= position.offset);
                    }
                }
            }
            state.last = Some(position);
        }
        assert_eq!(state.last, Some(on.subscriber.position()));
    }

    /// Publishes on every live topic of the route: superseded ones run on until they are left.
    fn publish(&mut self, polled: bool, batch: usize, whole: bool) {
        for epoch in self.alive(polled) {
            let model = self.topics.get_mut(&epoch).unwrap();
            let mut texts = Vec::new();
            for _ in 0..batch {
                self.published += 1;
                texts.push(format!("\"{}\"", self.published));
            }
            let drafts = texts.iter().map(|text| draft(text, Some(&id_of(text))));
            if !polled {
                model.feed.events(drafts.collect());
                for text in texts {
                    model.push(EventKind::Event, text);
                }
                continue;
            }
            self.published += 1;
            let document = format!("[{}]", self.published);
            let bytes = Bytes::from(document.clone());
            if whole || model.documents.is_empty() {
                model.feed.document(bytes, DocumentChange::Snapshot);
                model.push(EventKind::Snapshot, document.clone());
            } else {
                let change = DocumentChange::Events(drafts.collect());
                model.feed.document(bytes, change);
                for text in texts {
                    model.push(EventKind::Event, text);
                }
            }
            model.documents.push((model.head(), document));
        }
    }

    fn lose(&mut self, polled: bool) {
        for epoch in self.alive(polled) {
            let model = self.topics.get_mut(&epoch).unwrap();
            let from = Position {
                epoch,
                offset: model.head(),
            };
            let why = GapWhy::UpstreamReconnect;
            model.feed.gap(why);
            model.push(EventKind::Gap { from, why }, String::new());
            if let Some((_, document)) = model.documents.last().cloned() {
                model.push(EventKind::Snapshot, document.clone());
                model.documents.push((model.head(), document));
            }
        }
    }

    fn end(&mut self, polled: bool) {
        for epoch in self.alive(polled) {
            let model = self.topics.get_mut(&epoch).unwrap();
            model.ended = true;
            model.feed.end(End {
                code: Code::UpstreamClosed,
                status: 204,
                retry_ms: None,
                is_final: true,
            });
        }
    }

    fn reconcile(&self) {
        self.world.hub.reconcile(&self.routes);
    }

    /// Epochs of the route's topics; asking trims their windows.
    fn alive(&self, polled: bool) -> Vec<Epoch> {
        let name = self.routes[polled as usize].name.clone();
        let topics = self.world.hub.topics().into_iter();
        let mine = topics.filter(|topic| topic.route == name);
        mine.map(|topic| topic.at.epoch).collect()
    }

    /// The hub's windows and the models' move on together.
    fn slide(&mut self) {
        let subscribed = self.clients.iter().filter_map(|client| client.on.as_ref());
        let own_reads = subscribed.filter_map(|on| on.subscriber.reading());
        let own_reads: Vec<_> = own_reads.map(|own| own.reader.position().epoch).collect();
        for info in self.world.hub.topics() {
            let model = self.topics.get_mut(&info.at.epoch).unwrap();
            assert_eq!(info.at.offset, model.head());
            model.slide(&model.feed.route().replay);
            let kept = (model.head() + 1 - model.window) as usize;
            // What the one subscriber of an own read has taken is not kept.
            let may_be_less = !self.roomy || own_reads.contains(&info.at.epoch);
            assert!(info.events == kept || (may_be_less && info.events < kept));
        }
        // Those that are over can still be resumed.
        for model in self.topics.values_mut().filter(|model| model.ended) {
            model.slide(&model.feed.route().replay);
        }
    }

    /// At the end every client reads all there is, and holds what its topic holds.
    async fn finish(&mut self) {
        for client in 0..CLIENTS {
            if let Some(on) = &self.clients[client].on
                && on.is_paused
            {
                self.pause(client);
            }
            for _ in 0..1_000 {
                self.read(client, 7, Policy::Gap);
            }
            let Some(on) = &self.clients[client].on else {
                continue;
            };
            let position = on.subscriber.position();
            let model = &self.topics[&position.epoch];
            assert_eq!((on.polled, position.offset), (model.polled, model.head()));
            assert_eq!(
                model.ended,
                matches!(on.subscriber.phase(), Phase::Ended(_))
            );
        }
        // Clients that have gone leave nothing behind.
        self.clients.clear();
        tokio::time::sleep(Duration::from_secs(2 * AGE)).await;
        assert_eq!(self.world.running().await, 0);
        assert!(self.world.hub.topics().is_empty());
        self.topics.clear();
        self.world.forget_feeds();
        let text = self.world.telemetry.render();
        assert!(text.contains("crossfade_queue_bytes 0\n"));
        assert!(!text.contains("crossfade_panics_total 1"));
    }
}

fn is_gap(event: &Event) -> bool {
    matches!(event.kind, EventKind::Gap { .. })
}

fn text(event: &Event) -> &str {
    std::str::from_utf8(event.data.bytes()).unwrap()
}

fn id_of(text: &str) -> String {
    format!("id of {text}")
}

fn text_of(id: &str) -> &str {
    id.strip_prefix("id of ").unwrap()
}

fn walk(memory: usize, steps: Vec<Step>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut walk = Walk::new(memory);
        for step in steps {
            walk.take(step).await;
        }
        walk.finish().await;
    });
}

/// `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    let usual = ProptestConfig::default();
    ProptestConfig {
        cases: if asked { usual.cases } else { 50 },
        failure_persistence: None,
        ..usual
    }
}

proptest! {
    #![proptest_config(config())]

    /// At least 15,000 steps.
    #[test]
    fn no_walk_loses_doubles_or_reorders(
        steps in prop::collection::vec(step(), 300..400),
    ) {
        walk(ROOMY.memory, steps);
    }

    /// The same where memory is so short that windows are taken before their time.
    #[test]
    fn no_walk_loses_silently_when_memory_is_short(
        steps in prop::collection::vec(step(), 300..400),
    ) {
        walk(9 * ENTRY, steps);
    }
}
