//! All topics of this node: how they come, linger and go, and what they may hold together.

use std::collections::HashMap;
use std::hash::RandomState;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, sleep_until};

use super::alarms::Alarms;
use super::budget::Budget;
use super::carried::Identity;
use super::heir::Inheritance;
use super::key::{Owner, Scope, Target, TopicKey, last_event_id};
use super::mirror::Mirror;
use super::subscriber::{Phase, Start};
use super::topic::{Birth, Topic, lock};
use super::topics::Topics;
use super::{Credentials, Feeds, Limits, Publisher};
use crate::config::{Route, Source};
use crate::error::{Code, Refusal};
use crate::event::End;
use crate::telemetry::Telemetry;

/// How often windows are trimmed where nothing is published and nobody comes.
const SWEEP: Duration = Duration::from_secs(10);

/// Own reads at once of one upstream.
const OWN_READS: usize = 1000;

/// When somebody may ask again whom another process could serve by then, milliseconds.
const CLOSED_MS: u64 = 1000;

pub(super) struct Node {
    pub telemetry: Arc<Telemetry>,
    /// Makes the marks by which events are known in two logs.
    pub marks: RandomState,
    /// What the logs of all topics may hold together.
    pub budget: Budget,
    feeds: Feeds,
    key: fn(&Target) -> TopicKey,
    channels: AtomicU32,
    /// What the log has said of answers that are not for all.
    pub alarms: Alarms,
    /// Rings when linger times may be others.
    repaced: Arc<Notify>,
    /// Taken before any lock of a topic.
    topics: Mutex<Topics>,
}

impl Node {
    pub fn new(
        limits: Limits,
        feeds: Feeds,
        telemetry: Arc<Telemetry>,
        key: fn(&Target) -> TopicKey,
    ) -> Self {
        Node {
            budget: Budget::new(limits.memory, telemetry.clone()),
            marks: RandomState::new(),
            feeds,
            key,
            channels: AtomicU32::new(0),
            alarms: Alarms::default(),
            repaced: Arc::default(),
            telemetry,
            topics: Mutex::new(Topics::new(limits)),
        }
    }

    /// The target's topic and a slot among its listeners; made, and its feed started, where there is none.
    pub fn enter(
        self: &Arc<Self>,
        target: Arc<Target>,
        credentials: Credentials,
        start: &Start,
        channel: Option<u32>,
        signal: Arc<super::Signal>,
    ) -> Result<(Arc<Topic>, u32), Refusal> {
        let key = (self.key)(&target);
        let owner = target.owner;
        let mut topics = lock(&self.topics);
        if let Some(lost) = topics
            .get(&key)
            .filter(|topic| is_left_behind(topic, start))
        {
            self.retire(&mut topics, &lost, left_behind());
        }
        // A client that comes to a topic without subscribers owns it from now on, as if the topic had been made for it.
        let idle_owner = topics.idle_owner(&key, start);
        if idle_owner.is_some_and(|idle| idle != owner) {
            make_room_for(&mut topics, &target)?;
        }
        let topic = match topics.enter(&key, start) {
            Some(topic) => topic,
            None => {
                make_room_for(&mut topics, &target)?;
                self.make_room(&mut topics)?;
                let brought_id = match (&target.route.source, start) {
                    (Some(Source::Sse(_)), Start::LastEventId(id)) => {
                        last_event_id(id).map(|_| id.clone())
                    }
                    _ => None,
                };
                if topics.is_closed {
                    return Err(closed());
                }
                let ch = topics.channel(&key.place).or(channel);
                let birth = Birth {
                    key,
                    target,
                    ch: ch.unwrap_or_else(|| self.next_channel()),
                    brought_id,
                    epoch: None,
                };
                self.open(&mut topics, birth)
            }
        };
        // A public topic's feed has nobody's credentials to send.
        let credentials = match topic.target.scope {
            Scope::Public => Credentials::default(),
            Scope::User(_) | Scope::Connection(_) | Scope::Claims(_) | Scope::Authenticated(_) => {
                credentials
            }
        };
        let slot = topic.attach(signal, credentials, owner);
        topics.pass_on(&topic);
        // Only now: a feed reads with the credentials of who is there. What another process still reads is not read twice.
        match topic.inheritance.get().filter(|other| other.is_kept()) {
            None => self.start(&topic),
            // The other process may have no subscriber that wants it polled.
            Some(other) if topic.phase() == Phase::Opening => other.wish_for_refresh(),
            Some(_) => {}
        }
        Ok((topic, slot))
    }

    /// A topic of one subscriber's own, beside the one that it shares, and a slot among its listeners.
    ///
    /// # Errors
    /// `too_many_subs` above the caps.
    pub fn read_own(
        self: &Arc<Self>,
        shared: &Topic,
        target: Arc<Target>,
        credentials: Credentials,
        signal: Arc<super::Signal>,
    ) -> Result<(Arc<Topic>, u32), Refusal> {
        let owner = target.owner;
        let mut topics = lock(&self.topics);
        if topics.is_closed {
            return Err(closed());
        }
        if topics.own_reads(&target.route.upstream.name) >= OWN_READS {
            let detail = "too many clients read streams of their own";
            return Err(Refusal::new(Code::TooManySubs, detail));
        }
        make_room_for(&mut topics, &target)?;
        self.make_room(&mut topics)?;
        let birth = Birth {
            key: shared.key.of_own_read(topics.next_own_read()),
            target,
            ch: shared.ch,
            brought_id: None,
            epoch: None,
        };
        let topic = self.open(&mut topics, birth);
        topic.route.store(shared.route.load_full());
        let credentials = match topic.target.scope {
            Scope::Public => Credentials::default(),
            _ => credentials,
        };
        let slot = topic.attach(signal, credentials, owner);
        self.start(&topic);
        Ok((topic, slot))
    }

    /// A subscriber left; the last one's going starts the linger time.
    pub fn leave(self: &Arc<Self>, topic: &Arc<Topic>, slot: u32, is_paused: bool) {
        match topic.detach(slot, is_paused) {
            (0, _) => {}
            (_, true) => return lock(&self.topics).pass_on(topic),
            (_, false) => return,
        }
        let mut topics = lock(&self.topics);
        let age = topic.route.load().replay.age;
        let fleeting =
            age.is_zero() || topic.key.is_own_read() || topic.superseded.load(Ordering::Relaxed);
        if topic.subscribers() > 0 {
            return;
        }
        if fleeting {
            topics.remove(topic);
        } else if topics.vacate(topic) {
            drop(topics);
            let task = linger(Arc::downgrade(self), Arc::downgrade(topic));
            topic.runtime.spawn(task);
        }
    }

    /// Puts a topic of another process into the house, where nobody subscribes to it yet; `None` where it is there already or
    /// there is no room.
    pub fn adopt(
        self: &Arc<Self>,
        identity: Identity,
        inheritance: Inheritance,
    ) -> Option<Arc<Topic>> {
        let Identity {
            key,
            target,
            credentials,
            epoch,
        } = identity;
        let mut topics = lock(&self.topics);
        // The other process has judged the owner's number: the topic is in use.
        if topics.get(&key).is_some() || self.make_room(&mut topics).is_err() {
            return None;
        }
        let birth = Birth {
            key,
            target,
            ch: self.next_channel(),
            brought_id: None,
            epoch: Some(epoch),
        };
        let topic = self.open(&mut topics, birth);
        topic.remember(credentials);
        topic.with_log(|log| log.set_followed(true));
        // It has just been made.
        let _ = topic.inheritance.set(inheritance);
        if topics.vacate(&topic) {
            let task = linger(Arc::downgrade(self), Arc::downgrade(&topic));
            topic.runtime.spawn(task);
        }
        Some(topic)
    }

    /// Stops reading a topic that nobody subscribes to.
    pub fn let_go(&self, topic: &Topic) {
        let mut topics = lock(&self.topics);
        if topic.subscribers() == 0 {
            topics.remove(topic);
        }
    }

    /// Those who listened elsewhere until now may come from now on.
    pub fn linger_anew(&self, topic: &Topic) {
        lock(&self.topics).linger_anew(topic);
    }

    /// All topics, those that are over first; those that come from now on are shown to `newcomers`.
    pub fn watch_births(&self, newcomers: mpsc::Sender<Mirror>) -> Vec<Arc<Topic>> {
        let mut topics = lock(&self.topics);
        topics.newcomers = Some(newcomers);
        let mut all = topics.all();
        all.sort_by_key(|topic| !matches!(topic.phase(), Phase::Ended(_)));
        all
    }

    /// Whether new topics are refused.
    pub fn set_closed(&self, is_closed: bool) {
        let mut topics = lock(&self.topics);
        topics.is_closed = is_closed;
        topics.newcomers = None;
    }

    /// Ends a topic: a client that comes from now on gets a new one. Where its stream said so, clients that were cut off
    /// before its end can resume it for as long as it may be replayed.
    pub fn end(self: &Arc<Self>, topic: &Arc<Topic>, end: End) {
        let mut topics = lock(&self.topics);
        match topic.outlives(&end) {
            true => self.retire(&mut topics, topic, end),
            false => {
                topics.remove(topic);
                drop(topics);
                topic.close(Some(end));
            }
        }
    }

    fn retire(self: &Arc<Self>, topics: &mut Topics, topic: &Arc<Topic>, end: End) {
        let lingers = topics.retire(topic);
        topic.close(Some(end));
        if lingers {
            let task = linger(Arc::downgrade(self), Arc::downgrade(topic));
            topic.runtime.spawn(task);
        }
    }

    /// All topics.
    pub fn all(&self) -> Vec<Arc<Topic>> {
        lock(&self.topics).all()
    }

    /// Gives topics their route's new pace and limits; those that are read differently now go with their last subscriber.
    /// Topics that come later get theirs from these routes too, whatever route their first client had in hand.
    pub fn reconcile(&self, routes: &[Arc<Route>]) {
        self.alarms.forget();
        let routes = routes.iter().map(|route| {
            let named = (route.reads(), route.clone());
            (route.name.clone(), named)
        });
        let routes: HashMap<_, _> = routes.collect();
        let all = {
            let mut topics = lock(&self.topics);
            topics.routes = Some(routes);
            topics.all()
        };
        for topic in all {
            let mut topics = lock(&self.topics);
            match topics.route_of(&topic) {
                Some(route) => {
                    topic.superseded.store(false, Ordering::Relaxed);
                    topic.route.store(route);
                    drop(topics);
                    topic.with_trimmed_log(|_, _| ());
                }
                None => {
                    topic.superseded.store(true, Ordering::Relaxed);
                    if topic.subscribers() == 0 {
                        topics.remove(&topic);
                    }
                }
            }
        }
        self.repaced.notify_waiters();
    }

    /// Frees what is above the memory budget, where it is.
    pub fn keep_budget(&self, publishing: &Topic) {
        self.budget.keep(publishing, || self.all());
    }

    /// Bounds all logs from without, beside the budget; what is above goes now, the largest first.
    pub fn set_ceiling(&self, bytes: usize) {
        self.budget.set_ceiling(bytes);
        if self.budget.is_exceeded() {
            self.budget.squeeze_largest(self.all());
        }
    }

    /// Other limits; what is above the budget goes with the next publication or sweep.
    pub fn set_limits(&self, limits: Limits) {
        self.budget.set_memory(limits.memory);
        lock(&self.topics).limits = limits;
    }

    /// At a cap the topic that idles longest makes room; where none idles the answer is no.
    fn make_room(&self, topics: &mut Topics) -> Result<(), Refusal> {
        while topics.count() >= topics.limits.topics {
            topics.evict("too many topics on this node (`server.limits.topics`)")?;
        }
        if self.budget.is_exceeded() {
            self.budget.squeeze_largest(topics.all());
        }
        if self.budget.is_exceeded() {
            topics.evict("the memory for topics is used up (`server.limits.memory`)")?;
        }
        Ok(())
    }

    fn open(self: &Arc<Self>, topics: &mut Topics, birth: Birth) -> Arc<Topic> {
        let runtime = Handle::current();
        let topic = Arc::new(Topic::new(self.clone(), birth, runtime.clone()));
        // The session that comes may not know yet what is in force.
        match topics.route_of(&topic) {
            Some(route) => topic.route.store(route),
            None => topic.superseded.store(true, Ordering::Relaxed),
        }
        topics.insert(topic.clone());
        // Nobody listens where the upgrade has failed.
        if let Some(newcomers) = &topics.newcomers
            && let Some(mirror) = Mirror::of(self, topic.clone())
            && let Err(mpsc::error::TrySendError::Closed(_)) = newcomers.try_send(mirror)
        {
            topics.newcomers = None;
        }
        if !topics.sweeping {
            topics.sweeping = true;
            runtime.spawn(sweep(Arc::downgrade(self)));
        }
        topic
    }

    /// Starts a topic's feed, once, and never that of a topic that is over.
    pub fn start(self: &Arc<Self>, topic: &Arc<Topic>) {
        let is_closed = || topic.with_log(|log| log.is_closed());
        if topic.feed.get().is_some() || is_closed() {
            return;
        }
        let feed = topic.feed.get_or_init(|| {
            let task = feed(self.clone(), topic.clone());
            topic.runtime.spawn(task).abort_handle()
        });
        // A caller that closed it in between has found no feed to stop.
        if is_closed() {
            feed.abort();
        }
    }

    /// A number that is not 0; live topics bear different ones until four billion have been given.
    fn next_channel(&self) -> u32 {
        loop {
            let ch = self
                .channels
                .fetch_add(1, Ordering::Relaxed)
                .wrapping_add(1);
            if ch != 0 {
                return ch;
            }
        }
    }
}

/// The same at the cap of one owner on one route, where it is known whose the topic will be: their own make room.
fn make_room_for(topics: &mut Topics, target: &Target) -> Result<(), Refusal> {
    if target.owner == Owner::UNKNOWN {
        return Ok(());
    }
    let owning = (target.route.name.clone(), target.owner);
    while topics.count_of(&owning) >= topics.limits.topics_per_principal {
        let detail = "too many topics of this route for one user or address \
            (`server.limits.topics_per_principal`)";
        topics.evict_of(&owning, detail)?;
    }
    Ok(())
}

/// Runs a topic's feed. A feed that panics, or stops without an end, ends its topic; one that is
/// aborted leaves it to whoever did.
async fn feed(node: Arc<Node>, topic: Arc<Topic>) {
    let run = async {
        let feed = (node.feeds)(topic.target.clone());
        feed.run(Publisher::new(topic.clone())).await;
    };
    let ran = AssertUnwindSafe(run).catch_unwind().await;
    if ran.is_err() {
        node.telemetry.panicked("feed");
    }
    if !matches!(topic.phase(), Phase::Ended(_)) {
        node.end(&topic, internal());
    }
}

/// Waits out a topic's linger time, from when its last subscriber has left or it is over. There is at most one of these for a
/// topic; it goes when a client subscribes again, or with the topic.
async fn linger(node: Weak<Node>, topic: Weak<Topic>) {
    while let (Some(node), Some(topic)) = (node.upgrade(), topic.upgrade()) {
        let repaced = node.repaced.clone();
        // Before the look, so that no reload in between is missed.
        let repaced = repaced.notified();
        let deadline = {
            let mut topics = lock(&node.topics);
            let Some(since) = topics.idle_since(&topic) else {
                return;
            };
            // Those who listen to the process that still reads it will come here.
            let since = match topic.is_kept() {
                true => Instant::now(),
                false => since,
            };
            let deadline = since + topic.route.load().replay.age;
            if deadline <= Instant::now() {
                topics.remove(&topic);
                return;
            }
            deadline
        };
        drop((node, topic));
        tokio::select! {
            () = sleep_until(deadline) => {}
            () = repaced => {}
        }
    }
}

/// Trims windows by age while there are topics: a topic that fell silent has nobody else to do it.
async fn sweep(node: Weak<Node>) {
    loop {
        sleep(SWEEP).await;
        let Some(node) = node.upgrade() else {
            return;
        };
        for topic in node.all() {
            topic.with_trimmed_log(|_, _| ());
        }
        if node.budget.is_exceeded() {
            node.budget.squeeze_largest(node.all());
        }
        let mut topics = lock(&node.topics);
        if topics.is_empty() {
            topics.sweeping = false;
            return;
        }
    }
}

/// Whether a client that begins like this gets another topic than this one, whose stream is lost and not asked for again while
/// it has no subscriber: without crossfade the client would have got a new stream from the backend.
fn is_left_behind(topic: &Topic, start: &Start) -> bool {
    let is_deserted = topic.subscribers() == 0 && !topic.is_kept();
    let is_lost = is_deserted && topic.is_lost.load(Ordering::Relaxed);
    is_lost && topic.outlives(&left_behind()) && !topic.knows(start)
}

/// How a stream ends that was lost, and is read anew for other clients: a client that resumes it comes back after this end.
fn left_behind() -> End {
    End {
        code: Code::UpstreamDown,
        status: Code::UpstreamDown.status(),
        retry_ms: None,
        is_final: false,
    }
}

/// Why there are no new topics.
fn closed() -> Refusal {
    Refusal {
        retry_ms: Some(CLOSED_MS),
        ..Refusal::new(Code::Draining, "another process takes over at this moment")
    }
}

/// How a subscription ends by a fault of ours, or a tripwire.
pub(super) fn internal() -> End {
    End {
        code: Code::Internal,
        status: Code::Internal.status(),
        retry_ms: None,
        is_final: false,
    }
}
