//! One shared upstream: its log, its state, who listens, and the feed that fills it.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::carried::Standing;
use super::heir::Inheritance;
use super::key::{Owner, Target, TopicKey};
use super::listeners::Listeners;
use super::log::stream::Stream;
use super::log::{Cursor, Log, Spare};
use super::node::{Node, left_behind};
use super::subscriber::{Phase, Progress, Start};
use super::{Credentials, Signal};
use crate::config::{Route, Source};
use crate::error::Code;
use crate::event::{End, Epoch, Event, GapWhy, Position, State};
use crate::telemetry::TopicMeters;

pub(super) struct Topic {
    pub node: Arc<Node>,
    pub key: TopicKey,
    /// Which of the node's shards it lies in.
    pub shard: usize,
    pub target: Arc<Target>,
    pub ch: u32,
    pub epoch: Epoch,
    pub route: ArcSwap<Route>,
    /// The configuration reads something else here now: nobody new comes, so it does not linger.
    pub superseded: AtomicBool,
    /// Its stream is lost and not open again.
    pub is_lost: AtomicBool,
    pub refresh: Notify,
    pub feed: OnceLock<AbortHandle>,
    /// How it came here, where that is from another process.
    pub inheritance: OnceLock<Inheritance>,
    /// Rings where a pool's reader has gone and another subscriber is here.
    pub reader_gone: Notify,
    /// The backend has refused a subscriber's credentials while the topic goes on.
    has_refused: AtomicBool,
    /// Wakes whoever tells another process of it.
    mirror: OnceLock<Arc<Signal>>,
    pub meters: TopicMeters,
    /// Where its tasks run, whoever drops the last subscriber.
    pub runtime: Handle,
    /// Head of the log, for those who only ask whether there is more.
    head: AtomicU64,
    /// Bytes that the log holds, as the node has counted them.
    held: AtomicUsize,
    phase: AtomicU8,
    /// It has followed its backend.
    has_lived: AtomicBool,
    /// Counts changes of the state, from 1.
    version: AtomicU32,
    /// Those present, and those that are about to be.
    subscribers: AtomicUsize,
    /// Those among them that wait for what the backend says of the id that they brought.
    pub awaiting: AtomicUsize,
    /// Those of them that have not paused.
    active: AtomicUsize,
    /// Rings when there is one again.
    attention: Notify,
    // Taken one at a time, and after the shard's lock where that is held.
    log: Mutex<Log>,
    condition: Mutex<Condition>,
    listeners: Mutex<Listeners>,
}

struct Condition {
    state: State,
    end: Option<End>,
    last_ok: Option<u64>,
}

const OPENING: u8 = 0;
const OPEN: u8 = 1;
const ENDED: u8 = 2;

/// What a new topic is made from.
pub(super) struct Birth {
    pub key: TopicKey,
    pub target: Arc<Target>,
    pub ch: u32,
    /// The `Last-Event-ID` that its first subscriber brought.
    pub brought_id: Option<Arc<str>>,
    /// The epoch of a topic that has begun elsewhere.
    pub epoch: Option<Epoch>,
}

impl Topic {
    pub fn new(node: Arc<Node>, birth: Birth, runtime: Handle) -> Self {
        let Birth {
            key,
            target,
            ch,
            brought_id,
            epoch,
        } = birth;
        // Without the system's randomness an unpredictable number from the clock is good enough:
        // an epoch is no secret, it only has to differ from the last one.
        let fresh = || Epoch(getrandom::u32().unwrap_or_else(|_| fastrand::u32(..)));
        let epoch = epoch.unwrap_or_else(fresh);
        let meters = node.telemetry.topic_meters(&target.route.name);
        meters.topics.inc();
        Topic {
            shard: node.shard_of(&key),
            node,
            key,
            ch,
            epoch,
            route: ArcSwap::new(target.route.clone()),
            listeners: Mutex::new(Listeners::of(target.owner)),
            target,
            superseded: AtomicBool::new(false),
            is_lost: AtomicBool::new(false),
            refresh: Notify::new(),
            feed: OnceLock::new(),
            inheritance: OnceLock::new(),
            reader_gone: Notify::new(),
            has_refused: AtomicBool::new(false),
            mirror: OnceLock::new(),
            meters,
            runtime,
            head: AtomicU64::new(0),
            held: AtomicUsize::new(0),
            phase: AtomicU8::new(OPENING),
            has_lived: AtomicBool::new(false),
            version: AtomicU32::new(1),
            subscribers: AtomicUsize::new(0),
            awaiting: AtomicUsize::new(0),
            active: AtomicUsize::new(0),
            attention: Notify::new(),
            log: Mutex::new(Log::new(ch, epoch, Stream::resumed_after(brought_id))),
            condition: Mutex::new(Condition {
                state: State {
                    live: false,
                    why: Some("connecting"),
                    since: unix_now(),
                },
                end: None,
                last_ok: None,
            }),
        }
    }

    pub fn head(&self) -> u64 {
        self.head.load(Ordering::Acquire)
    }

    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    pub fn subscribers(&self) -> usize {
        self.subscribers.load(Ordering::Acquire)
    }

    pub fn position(&self, offset: u64) -> Position {
        Position {
            epoch: self.epoch,
            offset,
        }
    }

    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            OPENING => Phase::Opening,
            OPEN => Phase::Open,
            _ => lock(&self.condition)
                .end
                .clone()
                .map_or(Phase::Open, Phase::Ended),
        }
    }

    /// Whether the backend has not answered as it should, ever.
    pub fn has_failed(&self) -> bool {
        self.phase() == Phase::Open && !self.has_lived.load(Ordering::Acquire)
    }

    /// The state where it has changed since `told`, with the number of the change.
    pub fn state_since(&self, told: u32) -> Option<(u32, State)> {
        if self.version.load(Ordering::Acquire) == told {
            return None;
        }
        let condition = lock(&self.condition);
        let version = self.version.load(Ordering::Acquire);
        Some((version, condition.state.clone()))
    }

    /// Whether a client that begins like this can go on here: its place is known.
    pub fn knows(&self, start: &Start) -> bool {
        match start {
            Start::Live => false,
            // A client that has everything of a stream that was lost and left gets nothing more here.
            Start::After(at) | Start::Moved(at) if at.epoch == self.epoch => match self.phase() {
                Phase::Ended(end) if end.code == Code::UpstreamDown => at.offset < self.head(),
                _ => self.with_log(|log| log.knows(at.offset)),
            },
            Start::After(_) | Start::Moved(_) => false,
            Start::LastEventId(id) => {
                !id.is_empty() && self.with_log(|log| log.find_id(id).is_some())
            }
        }
    }

    /// Whether clients that were cut off before its end can get the rest, once it has ended like this. A client that may
    /// not read, or met a fault of crossfade, asks anew.
    pub fn outlives(&self, end: &End) -> bool {
        let is_over = matches!(
            end.code,
            Code::UpstreamClosed | Code::NotFound | Code::UpstreamDown
        );
        let is_stream = matches!(self.target.route.source, Some(Source::Sse(_)));
        let is_kept = !self.route.load().replay.age.is_zero() && !self.key.is_own_read();
        let is_superseded = self.superseded.load(Ordering::Relaxed);
        is_over && is_stream && is_kept && !is_superseded && self.head() > 0
    }

    /// Whether a client that begins like this gets another topic than this one, whose stream is lost and not asked for again while
    /// it has no subscriber: without crossfade the client would have got a new stream from the backend.
    pub fn is_left_behind(&self, start: &Start) -> bool {
        let is_lost = self.is_lost.load(Ordering::Relaxed);
        let is_deserted = is_lost && self.subscribers() == 0 && !self.is_kept();
        is_deserted && self.outlives(&left_behind()) && !self.knows(start)
    }

    /// Looks at the log, or moves cursors; for what adds entries there is [`Topic::extend`].
    pub fn with_log<T>(&self, look: impl FnOnce(&mut Log) -> T) -> T {
        look(&mut lock(&self.log))
    }

    /// As [`Log::read`]; what was kept for this reader alone goes with it.
    pub fn read(&self, cursor: &mut Cursor, out: &mut Vec<Arc<Event>>, count: usize) -> Progress {
        let mut log = lock(&self.log);
        let progress = log.read(cursor, out, count);
        if log.drop_unneeded() {
            self.settle(&log);
        }
        progress
    }

    /// Lets the log go of what is too old or too much, then looks at it.
    pub fn with_trimmed_log<T>(&self, look: impl FnOnce(&mut Log, Instant) -> T) -> T {
        let mut log = lock(&self.log);
        let now = now();
        log.trim(&self.route.load().replay, now);
        self.settle(&log);
        look(&mut log, now)
    }

    /// Adds to the log, keeps the memory budget and wakes everybody; false where the topic is over, and nothing is added.
    pub fn extend(&self, add: impl FnOnce(&mut Log, Instant)) -> bool {
        let grown = {
            let mut log = lock(&self.log);
            if log.is_closed() {
                return false;
            }
            let (now, before) = (now(), log.head());
            add(&mut log, now);
            log.trim(&self.route.load().replay, now);
            self.settle(&log);
            log.head() > before
        };
        self.node.keep_budget(self);
        if grown {
            self.wake();
        }
        true
    }

    /// See [`Log::forget`].
    pub fn forget(&self, offset: u64) {
        let mut log = lock(&self.log);
        log.forget(offset);
        self.settle(&log);
    }

    /// See [`Log::recount`].
    pub fn recount(&self, event: &Event) {
        let mut log = lock(&self.log);
        log.recount(event);
        self.settle(&log);
    }

    /// Frees up to `excess` bytes, the oldest entries first and down to the newest. Readers that need them overrun.
    pub fn squeeze(&self, excess: usize, spare: Spare) -> usize {
        let mut log = lock(&self.log);
        let before = log.held();
        log.squeeze(excess, spare);
        self.settle(&log);
        before - log.held()
    }

    pub fn opened(&self) {
        self.change(|condition| {
            condition.state.live = true;
            condition.state.why = None;
        });
    }

    pub fn live(&self) {
        self.change(|condition| {
            condition.last_ok = Some(unix_now());
            condition.state.live = true;
            condition.state.why = None;
        });
    }

    pub fn stale(&self, why: &'static str) {
        self.change(|condition| {
            condition.state.live = false;
            condition.state.why = Some(why);
        });
    }

    /// Another reason for a state that clients have been told.
    pub fn explain(&self, why: &'static str) {
        {
            let state = &mut lock(&self.condition).state;
            if !state.live {
                state.why = Some(why);
            }
        }
        if self.shift(OPENING, OPEN) {
            self.wake();
        }
    }

    /// A client that comes from now on waits for what the backend says next.
    pub fn rest(&self) {
        if self.shift(OPEN, OPENING) {
            self.ring_mirror();
        }
    }

    /// Clients that wait are answered though nothing has been heard of the backend.
    pub fn unsure(&self) {
        self.change(|condition| {
            if condition.state.live {
                condition.state.live = false;
                condition.state.why = Some("connecting");
            }
        });
    }

    /// Whether it is polled, and has no subscriber that wants to know.
    pub fn is_idle(&self) -> bool {
        let is_polled = matches!(self.target.route.source, Some(Source::Poll(_)));
        is_polled && !self.is_attended()
    }

    /// Nothing more comes. Where `end` is `None` nobody is left to be told.
    pub fn close(&self, end: Option<End>) {
        lock(&self.log).close();
        {
            let mut condition = lock(&self.condition);
            if condition.end.is_none() && end.is_some() {
                condition.end = end;
                self.phase.store(ENDED, Ordering::Release);
            }
        }
        if let Some(feed) = self.feed.get() {
            feed.abort();
        }
        if let Some(inheritance) = self.inheritance.get() {
            inheritance.wish_to_take();
        }
        self.wake();
    }

    /// One more subscriber counts from now on, and will attach: the topic stays. Under its shard's lock.
    pub fn expect(&self) {
        self.subscribers.fetch_add(1, Ordering::AcqRel);
    }

    /// The slot of a subscriber that was expected, and whether none of those that are present is the owner's.
    pub fn attach(
        &self,
        signal: Arc<Signal>,
        credentials: Credentials,
        owner: Owner,
    ) -> (u32, bool) {
        let (slot, lacks_owner) = self.with_listeners(|listeners| {
            let slot = listeners.attach(signal, credentials, owner);
            (slot, listeners.lacks_owner())
        });
        if !self.key.is_own_read() {
            self.meters.subscribers.inc();
        }
        self.rouse();
        (slot, lacks_owner)
    }

    /// How many are left, and whether none of those that are present is the owner's.
    pub fn detach(&self, slot: u32, is_paused: bool) -> (usize, bool) {
        let lacks_owner = self.with_listeners(|listeners| {
            listeners.detach(slot);
            listeners.lacks_owner()
        });
        if !is_paused {
            self.drowse();
        }
        if !self.key.is_own_read() {
            self.meters.subscribers.dec();
        }
        let left = self.subscribers.fetch_sub(1, Ordering::AcqRel) - 1;
        self.ring_mirror();
        (left, lacks_owner)
    }

    /// Changes who is present; where a pool lacks its reader then, its feed is told.
    fn with_listeners<T>(&self, change: impl FnOnce(&mut Listeners) -> T) -> T {
        let (changed, lacks_reader) = {
            let mut listeners = lock(&self.listeners);
            (change(&mut listeners), listeners.lacks_reader())
        };
        if lacks_reader {
            self.reader_gone.notify_one();
        }
        changed
    }

    /// The client against whose number of topics it counts: the one that it was made for, or another subscriber once that
    /// one has left.
    pub fn owner(&self) -> Owner {
        lock(&self.listeners).owner()
    }

    /// A client without others beside it owns it from now on; under its shard's lock only, which keeps the numbers.
    pub fn set_owner(&self, owner: Owner) {
        lock(&self.listeners).set_owner(owner);
    }

    /// See [`Listeners::pass_on`]; under its shard's lock only, which keeps the numbers.
    pub fn pass_on(&self) -> Option<Owner> {
        lock(&self.listeners).pass_on()
    }

    /// One more subscriber wants what is published.
    pub fn rouse(&self) {
        if self.active.fetch_add(1, Ordering::AcqRel) == 0 {
            self.attention.notify_waiters();
        }
    }

    /// One subscriber less wants what is published.
    pub fn drowse(&self) {
        self.active.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether a subscriber wants what is published, here or at the process that this topic comes from.
    pub fn is_attended(&self) -> bool {
        self.active.load(Ordering::Acquire) > 0 || self.is_kept()
    }

    /// Resolves when [`Topic::is_attended`].
    pub async fn attended(&self) {
        loop {
            // Before the look, so that no subscriber comes unnoticed in between.
            let attention = self.attention.notified();
            if self.is_attended() {
                return;
            }
            attention.await;
        }
    }

    /// What one subscriber has brought.
    pub fn credentials_of(&self, slot: u32) -> Credentials {
        lock(&self.listeners).credentials_of(slot)
    }

    /// A subscriber has newer credentials.
    pub fn renew(&self, slot: u32, credentials: Credentials) {
        lock(&self.listeners).renew(slot, credentials);
    }

    /// The credentials to read with until a subscriber brings others; a pool's reader is waited for.
    pub fn remember(&self, credentials: Credentials) {
        let mut listeners = lock(&self.listeners);
        match self.is_pooled() {
            true => listeners.await_reader(credentials),
            false => listeners.remember(credentials),
        }
    }

    /// A pool's reader from another process has had its time to come.
    pub fn stop_awaiting(&self) {
        self.with_listeners(Listeners::stop_awaiting);
    }

    /// See [`super::Scope::is_pooled`].
    pub fn is_pooled(&self) -> bool {
        self.target.scope.is_pooled()
    }

    /// See [`Listeners::lacks_reader`].
    pub fn lacks_reader(&self) -> bool {
        lock(&self.listeners).lacks_reader()
    }

    /// The credentials of the next request.
    pub fn ask_as(&self) -> Credentials {
        let mut listeners = lock(&self.listeners);
        match self.is_pooled() {
            true => listeners.ask_as(),
            false => listeners.credentials(),
        }
    }

    /// See [`Listeners::granted`].
    pub fn granted(&self) {
        if self.is_pooled() {
            lock(&self.listeners).granted();
        }
    }

    /// See [`Listeners::refused`].
    pub fn refused(&self, end: &End) -> bool {
        // Before the slots ring.
        self.has_refused.store(true, Ordering::Release);
        let (refused, signals) = {
            let mut listeners = lock(&self.listeners);
            (listeners.refused(end), listeners.signals())
        };
        refused
            .slots
            .iter()
            .for_each(|slot| signals.ring_one(*slot));
        refused.has_another
    }

    /// See [`Listeners::refusal`]; no lock where no subscriber was refused.
    pub fn refusal(&self, slot: u32) -> Option<End> {
        let has_refused = self.has_refused.load(Ordering::Acquire);
        has_refused.then(|| lock(&self.listeners).refusal(slot))?
    }

    /// What rings when there is something to tell another process.
    pub fn mirror_signal(&self) -> Arc<Signal> {
        self.mirror.get_or_init(Arc::default).clone()
    }

    /// How it stands with its backend, to be told to another process.
    pub fn standing(&self) -> Standing {
        let is_open = self.phase.load(Ordering::Acquire) != OPENING;
        let condition = lock(&self.condition);
        Standing {
            is_open,
            live: condition.state.live,
            why: condition.state.why.map(str::to_owned),
            since: condition.state.since,
            last_ok: condition.last_ok,
        }
    }

    /// It stands as another process says.
    pub fn stand(&self, standing: &Standing) {
        if !standing.is_open {
            return self.rest();
        }
        self.change(|condition| {
            condition.state.live = standing.live;
            condition.state.why = match (&standing.why, standing.live) {
                (Some(why), false) => Some(known_why(why)),
                _ => None,
            };
            condition.last_ok = standing.last_ok;
        });
        lock(&self.condition).state.since = standing.since;
    }

    pub fn credentials(&self) -> Credentials {
        lock(&self.listeners).credentials()
    }

    /// Subscribers are told of a loss.
    pub fn count_gap(&self, why: GapWhy) {
        let route = &self.target.route.name;
        self.node.telemetry.gap_told(route, why.as_str());
    }

    /// What the admin API shows.
    pub fn info(&self) -> TopicInfo {
        let (at, (events, bytes)) =
            self.with_trimmed_log(|log, _| (log.position(log.head()), log.replayable()));
        let (mut state, last_ok) = {
            let condition = lock(&self.condition);
            (condition.state.clone(), condition.last_ok)
        };
        let is_idle = self.is_idle();
        if is_idle {
            (state.live, state.why) = (false, Some("idle"));
        }
        TopicInfo {
            route: self.target.route.name.clone(),
            path: self.target.url.clone(),
            scope: self.target.scope.as_str(),
            subscribers: self.subscribers(),
            at,
            state,
            kind: match self.target.route.source {
                Some(Source::Poll(_)) => "poll",
                Some(Source::Sse(_)) | None => "sse",
            },
            last_ok,
            is_idle,
            events,
            bytes,
        }
    }

    /// From one phase to another, where it is in the first.
    fn shift(&self, from: u8, to: u8) -> bool {
        let shifted = self
            .phase
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
        shifted.is_ok()
    }

    /// Changes the state; wakes everybody where clients would see the difference.
    fn change(&self, alter: impl FnOnce(&mut Condition)) {
        let changed = {
            let mut condition = lock(&self.condition);
            if condition.end.is_some() {
                return;
            }
            let before = (condition.state.live, condition.state.why);
            alter(&mut condition);
            let changed = before != (condition.state.live, condition.state.why);
            if condition.state.live {
                self.has_lived.store(true, Ordering::Release);
            }
            if changed {
                if before.0 != condition.state.live {
                    condition.state.since = unix_now();
                }
                self.version.fetch_add(1, Ordering::Release);
            }
            // Whatever is known of the backend now, subscriptions need not wait for it any more.
            let opened = self.phase.swap(OPEN, Ordering::AcqRel) == OPENING;
            changed || opened
        };
        if changed {
            self.wake();
        }
    }

    /// Wakes all subscribers. No lock is held meanwhile: those that come or go do not wait for it.
    pub fn wake(&self) {
        let signals = lock(&self.listeners).signals();
        signals.ring();
        self.ring_mirror();
    }

    pub fn ring_mirror(&self) {
        if let Some(mirror) = self.mirror.get() {
            mirror.ring();
        }
    }

    /// Shows the log's head and size to those without its lock.
    fn settle(&self, log: &Log) {
        self.head.store(log.head(), Ordering::Release);
        let before = self.held.swap(log.held(), Ordering::Relaxed);
        self.node.budget.recount(before, log.held());
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        self.node.budget.recount(self.held(), 0);
        self.meters.topics.dec();
    }
}

/// One topic as the admin API shows it.
#[derive(Clone, Debug)]
pub struct TopicInfo {
    /// Route name.
    pub route: Arc<str>,
    /// Path and query.
    pub path: String,
    /// Scope word.
    pub scope: &'static str,
    /// Subscribers now.
    pub subscribers: usize,
    /// Head.
    pub at: Position,
    /// Following its backend.
    pub state: State,
    /// Source kind: `sse` or `poll`.
    pub kind: &'static str,
    /// Unix seconds of the last success.
    pub last_ok: Option<u64>,
    /// Polled, and without a subscriber that wants to know: the backend is not asked.
    pub is_idle: bool,
    /// Entries in the replay window.
    pub events: usize,
    /// Bytes of the replay window.
    pub bytes: usize,
}

/// A word for `state.why` from another process, as one of ours.
fn known_why(why: &str) -> &'static str {
    const WORDS: [&str; 3] = ["connecting", "upstream_timeout", "upstream_invalid"];
    let known = WORDS.into_iter().find(|word| *word == why);
    known.unwrap_or("upstream_down")
}

/// Takes a lock; one that a panic left behind guards values that are whole between two calls.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The monotonic clock, as the runtime shows it.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn unix_now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
