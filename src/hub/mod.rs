//! Who listens to what: one [`Topic`] per shared upstream, found by its [`TopicKey`].
//!
//! The hub knows nothing of sources: it declares [`Feed`], `source` implements it, `app` joins
//! them with the factory given to [`Hub::new`].

mod key;
mod publisher;
mod signal;
mod subscriber;
mod topic;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

pub use key::{Credentials, Principal, Scope, Target, TopicKey};
pub use publisher::Publisher;
pub use signal::Signal;
pub use subscriber::{Joined, Phase, Progress, Start, Subscriber};
pub use topic::{Spec, TopicInfo};

use crate::error::Refusal;
use crate::telemetry::Telemetry;

/// What fills a topic: runs from the first subscriber until the linger time after the last.
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
    /// Topics of one route and one principal.
    pub topics_per_principal: usize,
}

/// All topics of this node. Cheap to clone.
#[derive(Clone)]
pub struct Hub {}

impl Hub {
    /// An empty hub.
    pub fn new(limits: Limits, feeds: Feeds, telemetry: Arc<Telemetry>) -> Self {
        todo!()
    }

    /// Joins the target's topic, creating it and starting its feed where nobody listens yet.
    ///
    /// `channel` is the number a moved subscription already has: a topic created here takes it.
    /// `signal` is woken whenever there is something to read, the phase or the state changes.
    ///
    /// # Errors
    /// `too_many_subs` above the caps.
    pub fn join(
        &self,
        target: Arc<Target>,
        credentials: Credentials,
        start: Start,
        channel: Option<u32>,
        signal: Arc<Signal>,
    ) -> Result<Joined, Refusal> {
        todo!()
    }

    /// What is there, sorted by route and path.
    pub fn topics(&self) -> Vec<TopicInfo> {
        todo!()
    }

    /// Gives every topic whose route is still read the same way its new pace and limits.
    pub fn reconcile(&self, find: impl Fn(&str) -> Option<Arc<crate::config::Route>>) {
        todo!()
    }

    /// Triggers the poll of every topic for which `matches` says so (`refresh_on`).
    pub fn refresh(&self, matches: impl Fn(&Target) -> bool) {
        todo!()
    }
}
