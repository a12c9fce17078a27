//! Topics and their subscribers: one topic per shared upstream, found by its [`TopicKey`].
//!
//! The hub knows nothing of sources: it declares [`Feed`], `source` implements it, `app` joins
//! them with the factory given to [`Hub::new`].

mod budget;
mod clock;
mod counts;
mod delivered;
mod feed;
mod history;
mod index;
mod info;
mod key;
mod own_reads;
mod presence;
mod private_answers;
mod publisher;
mod query_splits;
mod registry;
pub(crate) mod replication;
mod reserved;
mod resume;
mod role;
mod shards;
mod shared_log;
mod squeeze;
mod subscriber;
mod subscribers;
mod topic;
mod topic_state;
mod types;
mod upkeep;
mod wake;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::sync::mpsc;

pub use feed::Feed;
pub(crate) use feed::Feeds;
pub(crate) use history::stream::StreamConnection;
pub(crate) use info::TopicInfo;
pub use key::{Credentials, Owner, Principal, Scope, Target};
pub(crate) use key::{TopicKey, last_event_id};
pub(crate) use publisher::{DocumentChange, Fenced};
pub use publisher::{Publication, Publisher};
pub(crate) use query_splits::Split;
pub(crate) use reserved::Reserved;
pub(crate) use role::{Checkpoint, FollowerRequest};
pub(crate) use subscriber::Joined;
pub use subscriber::Subscriber;
pub use types::{HubLimits, Start};
pub(crate) use types::{Phase, ReadProgress};
pub use wake::WakeFlag;

use registry::Registry;
use replication::{Exports, Follower, TopicRecord};

use crate::config::Route;
use crate::error::Refusal;
use crate::telemetry::Telemetry;

/// All topics of this node. Cheap to clone.
#[derive(Clone)]
pub struct Hub {
    node: Arc<Registry>,
}

impl Hub {
    /// An empty hub.
    pub fn new(limits: HubLimits, feeds: Feeds, telemetry: Arc<Telemetry>) -> Self {
        Hub::with_key(limits, feeds, telemetry, TopicKey::of)
    }

    /// A hub that shares topics by another rule; for the test that a wrong one is noticed.
    fn with_key(
        limits: HubLimits,
        feeds: Feeds,
        telemetry: Arc<Telemetry>,
        key: fn(&Target) -> TopicKey,
    ) -> Self {
        Hub {
            node: Arc::new(Registry::new(limits, feed::starter(feeds), telemetry, key)),
        }
    }

    /// Joins the target's topic, creating it and starting its feed where it is the first subscriber.
    ///
    /// `channel` is the number a moved subscription already has: a topic created here takes it, unless
    /// the one that it replaces is still there: then it bears that one's number.
    /// `signal` is woken whenever there is something to read, the phase or the state changes.
    ///
    /// # Errors
    /// `too_many_subs` above the caps.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn join(
        &self,
        target: Arc<Target>,
        credentials: Credentials,
        start: Start,
        channel: Option<u32>,
        signal: Arc<WakeFlag>,
    ) -> Result<Joined, Refusal> {
        let (topic, slot) = self.node.enter(
            target.clone(),
            credentials.clone(),
            &start,
            channel,
            signal.clone(),
        )?;
        let (mut joined, reads_own) = Subscriber::begin(topic, slot, start);
        if reads_own {
            joined.read_own(&self.node, target, credentials, signal)?;
        }
        Ok(joined)
    }

    /// What is read, sorted by route and path; not what is over.
    pub fn topics(&self) -> Vec<TopicInfo> {
        let topics = self.node.all();
        let goes_on = |topic: &&Arc<topic::Topic>| !matches!(topic.phase(), Phase::Ended(_));
        let topics = topics.iter().filter(goes_on);
        let mut all: Vec<_> = topics.map(|topic| topic.info()).collect();
        all.sort_by(|a, b| (&a.route, &a.path, a.scope).cmp(&(&b.route, &b.path, b.scope)));
        all
    }

    /// Routes whose topics differ in one query parameter only, and how many do.
    pub fn splits(&self) -> Vec<Split> {
        query_splits::find(&self.node.all())
    }

    /// Gives every topic whose route is still read the same way its new pace and limits. The others keep
    /// running until their subscribers have left, and then do not linger.
    pub(crate) fn reconcile(&self, routes: &[Arc<Route>]) {
        self.node.reconcile(routes);
    }

    /// Other limits. Windows above the budget are let go soon; topics above a cap stay, and no new ones come until there is room.
    pub(crate) fn set_limits(&self, limits: HubLimits) {
        self.node.set_limits(limits);
    }

    /// No bytes yet, which may grow to what `limits.memory` has room for beside the logs.
    pub(crate) fn reserve(&self) -> Reserved {
        Reserved::nothing(self.node.clone())
    }

    /// Bytes that all replay windows hold.
    pub(crate) fn held(&self) -> usize {
        self.node.budget.held()
    }

    /// What the system leaves room for, in bytes, beside the budget of [`Hub::set_limits`]. What is above it is let go at once,
    /// the largest windows first; subscribers that lag into them overrun.
    pub(crate) fn set_ceiling(&self, bytes: usize) {
        self.node.set_ceiling(bytes);
    }

    /// Triggers the poll of every topic for which `matches` says so (`refresh_on`).
    pub(crate) fn refresh(&self, matches: impl Fn(&Target) -> bool) {
        for topic in self.node.all_of(matches) {
            topic.replica.refresh();
        }
    }

    /// Begins to export every topic that another process may have.
    pub(crate) fn export(&self) -> Exports {
        Exports::begin(&self.node)
    }

    /// Follows another process with a topic. `None` where it is none of ours: the route reads something else now, the topic is
    /// there already, or there is no room. A client that comes for it then gets a new one.
    pub(crate) fn follow(
        &self,
        number: u64,
        topic: &TopicRecord,
        find: impl FnOnce(&str) -> Option<Arc<Route>>,
        requests: mpsc::Sender<FollowerRequest>,
    ) -> Option<Follower> {
        Follower::begin(&self.node, number, topic, find, requests)
    }

    /// From now on there are no new topics: a client that wants one is refused, because this process leaves. Also ends what
    /// [`Hub::export`] began for those that come.
    pub(crate) fn close(&self) {
        self.node.set_closed(true);
    }

    /// There may be new topics again.
    pub(crate) fn reopen(&self) {
        self.node.set_closed(false);
    }
}
