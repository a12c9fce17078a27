//! All topics of this node: how they come, linger and go, and what they may hold together.
//!
//! Topics are spread over shards by their key. A shard's lock is held for bookkeeping only: a topic is made, attached to, woken,
//! closed and dropped, and its tasks are spawned, without it. No two shards are locked at once.

mod leaving;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;

pub(super) use leaving::close;

use super::budget::MemoryBudget;
use super::counts::{HubCounts, OwnerPermit, TopicPermit};
use super::history::History;
use super::history::lineage::Writer;
use super::index::{Entered, Topics};
use super::key::{Credentials, Identity, Scope, Target, TopicKey, last_event_id};
use super::private_answers::Alarms;
use super::role::Leader;
use super::shards::Shards;
use super::squeeze::Squeeze;
use super::topic::{Topic, TopicInit, left_behind};
use super::types::{HubLimits, Phase, Start};
use super::upkeep;
use super::wake::WakeFlag;
use crate::config::Source;
use crate::error::{Code, Refusal};
use crate::telemetry::Telemetry;

/// After so many milliseconds a client may ask again, since another process could serve it by then.
const CLOSED_MS: u64 = 1000;

/// Starts the feed of a topic, which publishes as this writer.
pub(super) type Starter =
    Box<dyn Fn(&Arc<Registry>, &Arc<Topic>, Writer) -> AbortHandle + Send + Sync>;

pub(super) struct Registry {
    pub(crate) telemetry: Arc<Telemetry>,
    /// What the logs of all topics may hold together.
    pub(crate) budget: Arc<MemoryBudget>,
    pub(crate) squeeze: Squeeze,
    starter: Starter,
    key: fn(&Target) -> TopicKey,
    channels: AtomicU32,
    /// What the log has said of answers that are not for all.
    pub(crate) alarms: Alarms,
    /// Notifies when linger times may be others.
    pub(crate) repaced: Arc<Notify>,
    /// Numbers own reads.
    own_reads: AtomicU64,
    /// Whether a task trims windows by age.
    pub(crate) sweeping: AtomicBool,
    pub(crate) counts: Arc<HubCounts>,
    /// Each is taken before any lock of a topic, and before any of the counts'.
    pub(crate) topics: Shards<Topics>,
}

impl Registry {
    pub(crate) fn new(
        limits: HubLimits,
        starter: Starter,
        telemetry: Arc<Telemetry>,
        key: fn(&Target) -> TopicKey,
    ) -> Self {
        let counts = Arc::new(HubCounts::new(limits));
        let budget = Arc::new(MemoryBudget::new(limits.memory, telemetry.clone()));
        Registry {
            squeeze: Squeeze::new(budget.clone()),
            budget,
            starter,
            key,
            channels: AtomicU32::new(0),
            alarms: Alarms::default(),
            repaced: Arc::default(),
            telemetry,
            own_reads: AtomicU64::new(0),
            sweeping: AtomicBool::new(false),
            topics: Shards::new(|| Topics::new(counts.clone())),
            counts,
        }
    }

    /// Which shard topics with this key lie in.
    pub(crate) fn shard_of(&self, key: &TopicKey) -> usize {
        self.topics.of(&key.place)
    }

    /// The shard of this topic.
    pub(crate) fn beside(&self, topic: &Topic) -> MutexGuard<'_, Topics> {
        self.topics.lock(topic.shard)
    }

    /// The target's topic and a slot among its listeners; made, and its feed started, where there is none.
    pub(crate) fn enter(
        self: &Arc<Self>,
        target: Arc<Target>,
        credentials: Credentials,
        start: &Start,
        channel: Option<u32>,
        signal: Arc<WakeFlag>,
    ) -> Result<(Arc<Topic>, u32), Refusal> {
        let owner = target.owner;
        let topic = self.topic_for(target, start, channel)?;
        let credentials = readable(&topic, credentials);
        let (slot, lacks_owner) = topic.attach(signal, credentials, owner);
        if lacks_owner {
            self.beside(&topic).pass_on(&topic);
        }
        // Only now: a feed reads with the credentials of present clients. What another process still reads is not read twice.
        match topic.replica.leader() {
            None => self.start(&topic),
            // The other process may have no subscriber that wants it polled.
            Some(leader) if topic.phase() == Phase::Opening => leader.refresh(),
            Some(_) => {}
        }
        Ok((topic, slot))
    }

    /// The target's topic, which expects one subscriber more from now on.
    fn topic_for(
        self: &Arc<Self>,
        target: Arc<Target>,
        start: &Start,
        channel: Option<u32>,
    ) -> Result<Arc<Topic>, Refusal> {
        let key = (self.key)(&target);
        let shard = self.shard_of(&key);
        let mut permit: Option<OwnerPermit> = None;
        let mut made: Option<(Arc<Topic>, TopicPermit)> = None;
        loop {
            let mut topics = self.topics.lock(shard);
            // A client that comes to a topic without subscribers owns it from now on, as if the topic had been made for it.
            let ch = match topics.enter(&key, start, target.owner, &mut permit) {
                Entered::At(topic) => return Ok(topic),
                Entered::LeftBehind(lost) => {
                    let retired = topics.retire(&lost);
                    drop(topics);
                    self.close_over(&lost, retired, left_behind());
                    continue;
                }
                Entered::NeedsPermit => {
                    drop(topics);
                    permit = Some(self.permit_of_owner(&target)?);
                    continue;
                }
                Entered::Nothing if topics.is_closed => return Err(closed()),
                Entered::Nothing => topics.channel(&key.place).or(channel),
            };
            // Where another client was quicker to make one, that one is gone again.
            let fits = |(topic, _): &(Arc<Topic>, _)| ch.is_none_or(|ch| ch == topic.ch);
            if let Some((topic, permit)) = made.take().filter(fits) {
                topic.presence.expect();
                self.insert(topics, &topic, permit);
                return Ok(topic);
            }
            drop(topics);
            let owner = match permit.take() {
                Some(permit) => permit,
                None => self.permit_of_owner(&target)?,
            };
            let room = self.permit(owner, None)?;
            let brought_id = match (&target.route.source, start) {
                (Some(Source::Sse(_)), Start::LastEventId(id)) => {
                    last_event_id(id).map(|_| id.clone())
                }
                _ => None,
            };
            let birth = TopicInit {
                key: key.clone(),
                shard,
                target: target.clone(),
                ch: ch.unwrap_or_else(|| self.next_channel()),
                brought_id,
                epoch: None,
            };
            made = Some((self.make(birth), room));
        }
    }

    /// A topic of one subscriber's own, beside the one that it shares, and a slot among its listeners.
    ///
    /// # Errors
    /// `too_many_subs` above the caps.
    pub(crate) fn read_own(
        self: &Arc<Self>,
        shared: &Topic,
        target: Arc<Target>,
        credentials: Credentials,
        signal: Arc<WakeFlag>,
    ) -> Result<(Arc<Topic>, u32), Refusal> {
        let owner = target.owner;
        let Some(own_read) = (self.counts).permit_of_own_read(&target.route.upstream.name) else {
            let detail = "too many clients read streams of their own";
            return Err(Refusal::new(Code::TooManySubs, detail));
        };
        let permit = self.permit(self.permit_of_owner(&target)?, Some(own_read))?;
        let number = self.own_reads.fetch_add(1, Ordering::Relaxed);
        let key = shared.key.of_own_read(number);
        let topic = self.make(TopicInit {
            shard: self.shard_of(&key),
            key,
            target,
            ch: shared.ch,
            brought_id: None,
            epoch: None,
        });
        let topics = self.beside(&topic);
        if topics.is_closed {
            return Err(closed());
        }
        topic.presence.expect();
        self.insert(topics, &topic, permit);
        topic.route.store(shared.route.load_full());
        let credentials = readable(&topic, credentials);
        let (slot, _) = topic.attach(signal, credentials, owner);
        self.start(&topic);
        Ok((topic, slot))
    }

    /// Adds a topic of another process, which has no subscriber yet; `None` where it is there already or
    /// there is no room.
    pub(crate) fn adopt(
        self: &Arc<Self>,
        identity: Identity,
        leader: Leader,
    ) -> Option<Arc<Topic>> {
        let Identity {
            key,
            target,
            credentials,
            epoch,
        } = identity;
        let shard = self.shard_of(&key);
        let is_here = |topics: &Topics| topics.get(&key).is_some();
        if is_here(&self.topics.lock(shard)) {
            return None;
        }
        // The other process has judged the owner's number: the topic is in use.
        let owner = self.counts.grant_to_owner(&target, target.owner);
        let permit = self.permit(owner, None).ok()?;
        let topic = self.make(TopicInit {
            key: key.clone(),
            shard,
            target,
            ch: self.next_channel(),
            brought_id: None,
            epoch: Some(epoch),
        });
        topic.presence.remember(credentials);
        topic.follow(leader);
        let topics = self.beside(&topic);
        if is_here(&topics) {
            return None;
        }
        self.insert(topics, &topic, permit);
        self.vacate(&topic);
        Some(topic)
    }

    fn make(self: &Arc<Self>, birth: TopicInit) -> Arc<Topic> {
        let meters = self.telemetry.hub.topic_meters(&birth.target.route.name);
        let (home, budget) = (self.clone(), self.budget.clone());
        Arc::new(Topic::new(home, birth, budget, meters, Handle::current()))
    }

    /// Puts a topic into its shard; clients may come from now on.
    fn insert(
        self: &Arc<Self>,
        mut topics: MutexGuard<'_, Topics>,
        topic: &Arc<Topic>,
        permit: TopicPermit,
    ) {
        // The session that comes may not know yet what is in force.
        match topics.route_of(topic) {
            Some(route) => topic.route.store(route),
            None => topic.superseded.store(true, Ordering::Relaxed),
        }
        topics.insert(topic.clone(), permit);
        // The receiver is gone where the upgrade has failed.
        if (topics.newcomers.as_ref()).is_some_and(mpsc::Sender::is_closed) {
            topics.newcomers = None;
        }
        let newcomers = topics.newcomers.clone();
        drop(topics);
        if let Some(newcomers) = newcomers.filter(|_| topic.is_exportable()) {
            // One that finds no room begins anew over there.
            let _ = newcomers.try_send(topic.clone());
        }
        if !self.sweeping.swap(true, Ordering::AcqRel) {
            let task = upkeep::sweep(Arc::downgrade(self));
            topic.runtime.spawn(task);
        }
    }

    /// Starts a topic's feed, unless it runs, and never that of a topic that is over.
    pub(crate) fn start(self: &Arc<Self>, topic: &Arc<Topic>) {
        topic.replica.start(|| {
            // A caller that closes it, or lets another process lead, stops the feed after this.
            let (is_closed, writer) = topic.with_log(|log| (log.is_closed(), log.writer()));
            (!is_closed).then(|| (self.starter)(self, topic, writer.feed()))
        });
    }

    /// Adds to a topic's log, keeps the memory budget and wakes the subscribers; false where nothing is added, because the topic
    /// is over or another one writes.
    pub(crate) fn extend(
        &self,
        topic: &Topic,
        writer: Writer,
        add: impl FnOnce(&mut History, Instant),
    ) -> bool {
        let Some(has_grown) = topic.extend(writer, add) else {
            return false;
        };
        self.squeeze.keep(topic, || self.all());
        topic.tell(has_grown);
        true
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

/// What a topic is read with: a public topic's feed has no client's credentials to send.
fn readable(topic: &Topic, credentials: Credentials) -> Credentials {
    match topic.target.scope {
        Scope::Public => Credentials::default(),
        Scope::User(_) | Scope::Connection(_) | Scope::Claims(_) | Scope::Authenticated(_) => {
            credentials
        }
    }
}

/// Why there are no new topics.
fn closed() -> Refusal {
    Refusal {
        retry_ms: Some(CLOSED_MS),
        ..Refusal::new(Code::Draining, "another process takes over at this moment")
    }
}
