//! What keeps topics within their limits and their time: room for new ones, the configuration, each one's linger time, the
//! sweep over all.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::counts::{OwnReadPermit, OwnerPermit, TopicPermit};
use super::index::Routes;
use super::key::Target;
use super::registry::{Registry, close};
use super::topic::Topic;
use super::types::{HubLimits, Phase};
use crate::config::Route;
use crate::error::{Code, Refusal};

/// How often windows are trimmed where nothing is published and no subscriber comes.
const SWEEP: Duration = Duration::from_secs(10);

impl Registry {
    /// All topics.
    pub(crate) fn all(&self) -> Vec<Arc<Topic>> {
        self.all_of(|_| true)
    }

    /// All topics of targets that are meant.
    pub(crate) fn all_of(&self, is_meant: impl Fn(&Target) -> bool) -> Vec<Arc<Topic>> {
        let mut all = Vec::new();
        for topics in self.topics.each() {
            let meant = topics.all().filter(|topic| is_meant(&topic.target));
            all.extend(meant.cloned());
        }
        all
    }

    /// All topics, those that are over first; those that come from now on are shown to `newcomers`.
    pub(crate) fn watch_births(&self, newcomers: &mpsc::Sender<Arc<Topic>>) -> Vec<Arc<Topic>> {
        let mut all = Vec::new();
        for mut topics in self.topics.each() {
            topics.newcomers = Some(newcomers.clone());
            all.extend(topics.all().cloned());
        }
        all.sort_by_key(|topic| !matches!(topic.phase(), Phase::Ended(_)));
        all
    }

    /// Whether new topics are refused.
    pub(crate) fn set_closed(&self, is_closed: bool) {
        for mut topics in self.topics.each() {
            topics.is_closed = is_closed;
            topics.newcomers = None;
        }
    }

    /// Room for one topic more. At a cap the topic that idles longest makes room; where none idles the answer is no.
    pub(crate) fn permit(
        &self,
        owner: OwnerPermit,
        own_read: Option<OwnReadPermit>,
    ) -> Result<TopicPermit, Refusal> {
        while !self.counts.take() {
            self.evict("too many topics on this node (`server.limits.topics`)")?;
        }
        let permit = self.counts.permit(owner, own_read);
        if self.budget.is_exceeded() {
            self.squeeze.largest(self.all());
        }
        if self.budget.is_exceeded() {
            self.evict("the memory for topics is used up (`server.limits.memory`)")?;
        }
        Ok(permit)
    }

    /// The same at the cap of one owner on one route, where it is known whose the topic will be: their own make room.
    pub(crate) fn permit_of_owner(&self, target: &Target) -> Result<OwnerPermit, Refusal> {
        loop {
            match self.counts.permit_of_owner(target) {
                Ok(permit) => return Ok(permit),
                Err(Some((rank, idlest))) => {
                    let removed = self.beside(&idlest).remove_idle(&idlest, rank);
                    close(removed);
                }
                Err(None) => {
                    let detail = "too many topics of this route for one user or address \
                        (`server.limits.topics_per_principal`)";
                    return Err(Refusal::new(Code::TooManySubs, detail));
                }
            }
        }
    }

    /// Removes an idle topic: one that is over where there is one, else the one that idles longest.
    ///
    /// # Errors
    /// `too_many_subs` with this detail, where none idles.
    fn evict(&self, detail: &'static str) -> Result<(), Refusal> {
        loop {
            let idlest = self.topics.each().filter_map(|topics| topics.idlest());
            let Some((rank, idlest)) = idlest.min_by_key(|(rank, _)| *rank) else {
                return Err(Refusal::new(Code::TooManySubs, detail));
            };
            let removed = self.beside(&idlest).remove_idle(&idlest, rank);
            if removed.is_some() {
                close(removed);
                return Ok(());
            }
        }
    }

    /// Gives topics their route's new pace and limits; those that are read differently now go with their last subscriber.
    /// Topics that come later get theirs from these routes too, whatever route their first client had in hand.
    pub(crate) fn reconcile(&self, routes: &[Arc<Route>]) {
        self.alarms.forget();
        let routes = routes.iter().map(|route| {
            let named = (route.reads(), route.clone());
            (route.name.clone(), named)
        });
        let routes: Arc<Routes> = Arc::new(routes.collect::<HashMap<_, _>>());
        let mut all = Vec::new();
        for mut topics in self.topics.each() {
            topics.routes = Some(routes.clone());
            all.extend(topics.all().cloned());
        }
        for topic in all {
            let mut topics = self.beside(&topic);
            match topics.route_of(&topic) {
                Some(route) => {
                    topic.superseded.store(false, Ordering::Relaxed);
                    topic.route.store(route);
                    drop(topics);
                    topic.with_trimmed_log(|_, _| ());
                }
                None => {
                    topic.superseded.store(true, Ordering::Relaxed);
                    if topic.presence.count() == 0 {
                        let removed = topics.remove(&topic);
                        drop(topics);
                        close(removed);
                    }
                }
            }
        }
        self.repaced.notify_waiters();
    }

    /// Bounds all logs from without, beside the budget; what is above goes now, the largest first.
    pub(crate) fn set_ceiling(&self, bytes: usize) {
        self.budget.set_ceiling(bytes);
        if self.budget.is_exceeded() {
            self.squeeze.largest(self.all());
        }
    }

    /// Other limits; what is above the budget goes with the next publication or sweep.
    pub(crate) fn set_limits(&self, limits: HubLimits) {
        self.budget.set_memory(limits.memory);
        self.counts.set_limits(limits);
    }

    /// Waits out its linger time.
    pub(crate) fn linger(self: &Arc<Self>, topic: &Arc<Topic>) {
        let task = linger(Arc::downgrade(self), Arc::downgrade(topic));
        topic.runtime.spawn(task);
    }

    /// When a topic's linger time will be over; `None` where it is over, and the topic gone, or where a subscriber has come.
    pub(crate) fn linger_deadline(&self, topic: &Topic) -> Option<Instant> {
        let mut topics = self.beside(topic);
        let since = topics.idle_since(topic)?;
        // Clients of the process that still reads it will come here.
        let since = match topic.replica.is_follower() {
            true => Instant::now(),
            false => since,
        };
        let deadline = since + topic.route.load().replay.age;
        if deadline > Instant::now() {
            return Some(deadline);
        }
        let removed = topics.remove(topic);
        drop(topics);
        close(removed);
        None
    }

    /// Stops reading a topic without subscribers.
    pub(crate) fn let_go(&self, topic: &Topic) {
        let mut topics = self.beside(topic);
        if topic.presence.count() == 0 {
            let removed = topics.remove(topic);
            drop(topics);
            close(removed);
        }
    }

    /// Clients of the other process may come from now on.
    pub(crate) fn linger_anew(&self, topic: &Topic) {
        self.beside(topic).linger_anew(topic);
    }

    /// Whether there is nothing to sweep; then the next topic starts another task.
    pub(crate) fn may_stop_sweeping(&self) -> bool {
        if self.counts.topics() > 0 {
            return false;
        }
        self.sweeping.store(false, Ordering::Release);
        // One that came in between has found the task running.
        self.counts.topics() == 0 || self.sweeping.swap(true, Ordering::AcqRel)
    }
}

/// Waits out a topic's linger time, from when its last subscriber has left or it is over. There is at most one of these for a
/// topic; it goes when a client subscribes again, or with the topic.
pub(super) async fn linger(node: Weak<Registry>, topic: Weak<Topic>) {
    while let (Some(node), Some(topic)) = (node.upgrade(), topic.upgrade()) {
        let repaced = node.repaced.clone();
        // Before the look, so that no reload in between is missed.
        let repaced = repaced.notified();
        let Some(deadline) = node.linger_deadline(&topic) else {
            return;
        };
        drop((node, topic));
        tokio::select! {
            () = sleep_until(deadline) => {}
            () = repaced => {}
        }
    }
}

/// Trims windows by age while there are topics: nothing else does it for a topic that fell silent.
pub(super) async fn sweep(node: Weak<Registry>) {
    loop {
        sleep(SWEEP).await;
        let Some(node) = node.upgrade() else {
            return;
        };
        for topic in node.all() {
            topic.with_trimmed_log(|_, _| ());
        }
        if node.budget.is_exceeded() {
            node.squeeze.largest(node.all());
        }
        if node.may_stop_sweeping() {
            return;
        }
    }
}
