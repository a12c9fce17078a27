//! Who listens to what: one topic per shared upstream, found by its [`TopicKey`].
//!
//! The hub knows nothing of sources: it declares [`Feed`], `source` implements it, `app` joins
//! them with the factory given to [`Hub::new`].

mod alarms;
mod budget;
pub mod carried;
mod counts;
mod heir;
mod key;
mod listeners;
mod log;
mod mirror;
mod node;
mod own;
mod place;
mod publisher;
mod shards;
mod signal;
mod signals;
mod splits;
mod subscriber;
mod topic;
mod topics;
mod upkeep;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

pub use budget::Reserved;
pub use heir::{Heir, Legacy, Wish};
pub use key::{Credentials, Owner, Principal, Scope, Target, TopicKey, last_event_id};
pub use log::stream::Connection;
pub use mirror::{Mirror, Refresher};
pub use publisher::{DocumentChange, Fenced, Publication, Publisher};
pub use signal::Signal;
pub use splits::Split;
pub use subscriber::{Joined, Phase, Progress, Start, Subscriber};
pub use topic::TopicInfo;

use node::Node;

use crate::error::Refusal;
use crate::telemetry::Telemetry;

/// What fills a topic: runs from the first subscriber until the linger time after the last. Whether it asks its backend meanwhile is its own
/// to decide ([`Publisher::is_attended`]).
/// Dropping the future stops it.
pub trait Feed: Send + Sync + 'static {
    /// Reads upstream and publishes, until it has called [`Publisher::end`] or is dropped.
    fn run(self: Box<Self>, topic: Publisher) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// Makes the feed of a target; given by `app`.
pub type Feeds = Box<dyn Fn(Arc<Target>) -> Box<dyn Feed> + Send + Sync>;

/// What the hub may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of all replay windows together.
    pub memory: usize,
    /// Topics on this node.
    pub topics: usize,
    /// Topics of one route and one [`Owner`], unless that is unknown.
    pub topics_per_principal: usize,
}

impl Limits {
    /// As the configuration says.
    pub fn of(limits: &crate::config::Limits) -> Self {
        Limits {
            memory: limits.memory,
            topics: limits.topics,
            topics_per_principal: limits.topics_per_principal,
        }
    }
}

/// All topics of this node. Cheap to clone.
#[derive(Clone)]
pub struct Hub {
    node: Arc<Node>,
}

impl Hub {
    /// An empty hub.
    pub fn new(limits: Limits, feeds: Feeds, telemetry: Arc<Telemetry>) -> Self {
        Hub::with_key(limits, feeds, telemetry, TopicKey::of)
    }

    /// A hub that shares topics by another rule; for the test that a wrong one is noticed.
    fn with_key(
        limits: Limits,
        feeds: Feeds,
        telemetry: Arc<Telemetry>,
        key: fn(&Target) -> TopicKey,
    ) -> Self {
        Hub {
            node: Arc::new(Node::new(limits, feeds, telemetry, key)),
        }
    }

    /// Joins the target's topic, creating it and starting its feed where nobody listens yet.
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
        signal: Arc<Signal>,
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
            joined.read_own(target, credentials, signal)?;
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
        splits::find(&self.node.all())
    }

    /// Gives every topic whose route is still read the same way its new pace and limits. The others keep
    /// running until their subscribers have left, and then do not linger.
    pub fn reconcile(&self, routes: &[Arc<crate::config::Route>]) {
        self.node.reconcile(routes);
    }

    /// Other limits. Windows above the budget are let go soon; topics above a cap stay, and no new ones come until there is room.
    pub fn set_limits(&self, limits: Limits) {
        self.node.set_limits(limits);
    }

    /// No bytes yet, which may grow to what `limits.memory` has room for beside the logs.
    pub fn reserve(&self) -> Reserved {
        Reserved::nothing(self.node.clone())
    }

    /// Bytes that all replay windows hold.
    pub fn held(&self) -> usize {
        self.node.budget.held()
    }

    /// What the system leaves room for, in bytes, beside the budget of [`Hub::set_limits`]. What is above it is let go at once,
    /// the largest windows first; subscribers that lag into them overrun.
    pub fn set_ceiling(&self, bytes: usize) {
        self.node.set_ceiling(bytes);
    }

    /// Triggers the poll of every topic for which `matches` says so (`refresh_on`).
    pub fn refresh(&self, matches: impl Fn(&Target) -> bool) {
        for topic in self.node.all_of(matches) {
            match topic.inheritance.get().filter(|other| other.is_kept()) {
                Some(inheritance) => inheritance.wish_for_refresh(),
                None => topic.refresh.notify_one(),
            }
        }
    }
}
