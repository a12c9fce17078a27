//! One shared upstream: its log, its condition, its subscribers, and the feed that fills it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;

use super::budget::MemoryBudget;
use super::history::History;
use super::history::lineage::Writer;
use super::history::stream::Stream;
use super::info::TopicInfo;
use super::key::{Credentials, Owner, Scope, Target, TopicKey};
use super::presence::Presence;
use super::role::{Checkpoint, Leader, Replica, Role, Succession};
use super::shared_log::SharedLog;
use super::topic_state::{Condition, Status};
use super::types::{Phase, Start};
use super::wake::WakeFlag;
use crate::config::{Route, Source};
use crate::error::Code;
use crate::event::{End, Epoch, GapWhy};
use crate::telemetry::{Telemetry, TopicMeters};

pub(super) struct Topic {
    pub(crate) home: Arc<dyn Home>,
    pub(crate) key: TopicKey,
    /// Which of the node's shards it lies in.
    pub(crate) shard: usize,
    pub(crate) target: Arc<Target>,
    pub(crate) ch: u32,
    pub(crate) route: ArcSwap<Route>,
    /// The configuration reads something else here now: no new subscriber comes, so it does not linger.
    pub(crate) superseded: AtomicBool,
    /// Its role among the processes that have it, and its feed.
    pub(crate) replica: Replica,
    pub(crate) meters: TopicMeters,
    /// Where its tasks run, whichever thread drops the last subscriber.
    pub(crate) runtime: Handle,
    // Each of these has a lock of its own, as the replica has, which is taken after the shard's where that is held. No two of them are
    // held at once.
    pub(crate) log: SharedLog,
    pub(crate) condition: Condition,
    pub(crate) presence: Presence,
}

/// Where topics lie, as their subscribers see it.
pub(super) trait Home: Send + Sync {
    /// A subscriber leaves.
    fn leave(self: Arc<Self>, topic: &Arc<Topic>, slot: u32, is_paused: bool);

    /// What operators see.
    fn telemetry(&self) -> &Telemetry;
}

/// What a new topic is made from.
pub(super) struct TopicInit {
    pub(crate) key: TopicKey,
    pub(crate) shard: usize,
    pub(crate) target: Arc<Target>,
    pub(crate) ch: u32,
    /// The `Last-Event-ID` that its first subscriber brought.
    pub(crate) brought_id: Option<Arc<str>>,
    /// The epoch of a topic that has begun elsewhere.
    pub(crate) epoch: Option<Epoch>,
}

/// Without the system's randomness an unpredictable number from the clock is good enough: an epoch is no secret, it only has to
/// differ from the last one.
pub(super) fn fresh_epoch() -> Epoch {
    Epoch(getrandom::u32().unwrap_or_else(|_| fastrand::u32(..)))
}

impl Topic {
    pub(crate) fn new(
        home: Arc<dyn Home>,
        birth: TopicInit,
        budget: Arc<MemoryBudget>,
        meters: TopicMeters,
        runtime: Handle,
    ) -> Self {
        let TopicInit {
            key,
            shard,
            target,
            ch,
            brought_id,
            epoch,
        } = birth;
        meters.topics.inc();
        let epoch = epoch.unwrap_or_else(fresh_epoch);
        let log = History::new(ch, epoch, Stream::resumed_after(brought_id));
        Topic {
            home,
            key,
            shard,
            ch,
            route: ArcSwap::new(target.route.clone()),
            presence: Presence::new(target.owner, target.scope.is_pooled()),
            target,
            superseded: AtomicBool::new(false),
            replica: Replica::new(),
            meters,
            runtime,
            log: SharedLog::new(log, budget),
            condition: Condition::new(),
        }
    }

    /// See [`SharedLog::with`].
    pub(crate) fn with_log<T>(&self, look: impl FnOnce(&mut History) -> T) -> T {
        self.log.with(look)
    }

    /// Lets the log go of what is too old or too much, then looks at it.
    pub(crate) fn with_trimmed_log<T>(&self, look: impl FnOnce(&mut History, Instant) -> T) -> T {
        self.log.trimmed(&self.route.load().replay, look)
    }

    /// See [`SharedLog::extend`].
    pub(crate) fn extend(
        &self,
        writer: Writer,
        add: impl FnOnce(&mut History, Instant),
    ) -> Option<bool> {
        self.log.extend(writer, &self.route.load().replay, add)
    }

    pub(crate) fn phase(&self) -> Phase {
        self.condition.phase()
    }

    /// Whether a client that begins like this can go on here: its place is known.
    pub(crate) fn knows(&self, start: &Start) -> bool {
        match start {
            Start::Live | Start::Lost(_) => false,
            Start::After(at) | Start::Moved(at) => {
                // A client that has everything of a stream that was lost and left gets nothing more here.
                let is_left =
                    matches!(self.phase(), Phase::Ended(end) if end.code == Code::UpstreamDown);
                self.with_log(|log| log.knows(*at) && (!is_left || at.offset < log.head()))
            }
            Start::LastEventId(id) => {
                !id.is_empty() && self.with_log(|log| log.find_id(id).is_some())
            }
        }
    }

    /// Whether clients that were cut off before its end can get the rest, once it has ended like this. A client that may
    /// not read, or met a fault of crossfade, asks anew.
    pub(crate) fn outlives(&self, end: &End) -> bool {
        let is_over = matches!(
            end.code,
            Code::UpstreamClosed | Code::NotFound | Code::UpstreamDown
        );
        let is_stream = matches!(self.target.route.source, Some(Source::Sse(_)));
        is_over && is_stream && self.is_resumable() && self.log.head() > 0
    }

    /// Whether a client can resume it.
    fn is_resumable(&self) -> bool {
        let is_kept = !self.route.load().replay.age.is_zero() && !self.key.is_own_read();
        is_kept && !self.superseded.load(Ordering::Relaxed)
    }

    /// Whether another process may have it: not where it is one connection's, or no client could resume it.
    pub(crate) fn is_exportable(&self) -> bool {
        self.is_resumable() && !matches!(self.target.scope, Scope::Connection(_))
    }

    /// Whether a client that begins like this gets another topic than this one, whose stream is lost and not asked for again while
    /// it has no subscriber: without crossfade the client would have got a new stream from the backend.
    pub(crate) fn is_left_behind(&self, start: &Start) -> bool {
        let is_deserted = self.condition.is_lost() && self.presence.count() == 0;
        is_deserted
            && !self.replica.is_follower()
            && self.outlives(&left_behind())
            && !self.knows(start)
    }

    /// Wakes those present where a change of the condition is for them to see.
    pub(crate) fn tell(&self, is_seen: bool) {
        if is_seen {
            self.wake();
        }
    }

    /// A client that comes from now on waits for what the backend says next.
    pub(crate) fn rest(&self) {
        if self.condition.rest() {
            self.replica.ring();
        }
    }

    /// It stands as the leader says.
    pub(crate) fn set_status(&self, status: &Status) {
        match status.is_open {
            true => self.tell(self.condition.set_status(status)),
            false => self.rest(),
        }
    }

    /// Nothing more comes. `end` is `None` where no subscriber is left.
    pub(crate) fn close(&self, end: Option<End>) {
        self.with_log(History::close);
        if let Some(end) = end {
            self.condition.end(end);
        }
        self.replica.stop();
        if let Some(leader) = self.replica.leader() {
            leader.release();
        }
        self.wake();
    }

    /// See [`Presence::attach`].
    pub(crate) fn attach(
        &self,
        signal: Arc<WakeFlag>,
        credentials: Credentials,
        owner: Owner,
    ) -> (u32, bool) {
        if !self.key.is_own_read() {
            self.meters.subscribers.inc();
        }
        self.presence.attach(signal, credentials, owner)
    }

    /// See [`Presence::detach`].
    pub(crate) fn detach(&self, slot: u32, is_paused: bool) -> (usize, bool) {
        if !self.key.is_own_read() {
            self.meters.subscribers.dec();
        }
        let left = self.presence.detach(slot, is_paused);
        self.replica.ring();
        left
    }

    /// Whether a subscriber wants what is published, here or at the process that this one follows.
    pub(crate) fn is_attended(&self) -> bool {
        self.presence.is_attended() || self.replica.is_follower()
    }

    /// Resolves when [`Topic::is_attended`].
    pub(crate) async fn attended(&self) {
        loop {
            // Before the look, so that no subscriber comes unnoticed in between.
            let attention = self.presence.attention();
            if self.is_attended() {
                return;
            }
            attention.await;
        }
    }

    /// Whether it is polled, and has no subscriber that wants to know.
    fn is_idle(&self) -> bool {
        let is_polled = matches!(self.target.route.source, Some(Source::Poll(_)));
        is_polled && !self.is_attended()
    }

    /// Another process publishes from now on, which has everything that is here.
    pub(crate) fn follow(&self, leader: Leader) {
        // First, so that nothing is published any more by the feed that is stopped.
        self.with_log(History::follow);
        self.replica.follow(leader);
    }

    /// What a feed goes on from; `None` for a topic that this process has owned from its beginning.
    pub(crate) fn checkpoint(&self) -> Option<Checkpoint> {
        if matches!(self.replica.role(), Role::Owner(Succession::First)) {
            return None;
        }
        let was_open = self.phase() != Phase::Opening;
        Some(self.with_log(|log| Checkpoint {
            last_event_id: log.stream().last_id().cloned(),
            document: log.document().map(|data| data.bytes().clone()),
            events: log.events().cloned().collect(),
            was_open,
        }))
    }

    /// Subscribers get a gap.
    pub(crate) fn count_gap(&self, why: GapWhy) {
        let route = &self.target.route.name;
        self.home.telemetry().hub.gap_told(route, why.as_str());
    }

    /// What the admin API shows.
    pub(crate) fn info(&self) -> TopicInfo {
        let (at, (events, bytes)) =
            self.with_trimmed_log(|log, _| (log.position(log.head()), log.replayable()));
        let (mut state, last_ok) = self.condition.state();
        let is_idle = self.is_idle();
        if is_idle {
            (state.live, state.why) = (false, Some("idle"));
        }
        TopicInfo {
            route: self.target.route.name.clone(),
            path: self.target.url.clone(),
            scope: self.target.scope.as_str(),
            subscribers: self.presence.count(),
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

    /// Wakes all subscribers. No lock is held meanwhile: those that come or go do not wait for it.
    pub(crate) fn wake(&self) {
        self.presence.signals().ring();
        self.replica.ring();
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        self.meters.topics.dec();
    }
}

/// How a stream ends that was lost, and is read anew for other clients: a client that resumes it comes back after this end.
pub(super) fn left_behind() -> End {
    End {
        code: Code::UpstreamDown,
        status: Code::UpstreamDown.status(),
        retry_ms: None,
        is_final: false,
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
