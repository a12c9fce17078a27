//! Whether this process publishes on a topic, or follows another one that does.

use std::sync::{Arc, Mutex, OnceLock};

use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;

use super::shards::lock;
use super::wake::WakeFlag;
use crate::event::Event;

/// Which process publishes on a topic.
#[derive(Clone)]
pub(crate) enum Role {
    /// This process.
    Owner(Succession),
    /// Another one.
    Follower(Arc<Leader>),
}

/// How this process came to own a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Succession {
    /// The topic began here.
    First,
    /// The leader has released it, and had sent everything before.
    Released,
    /// The leader is gone without a word: something may be missing.
    Lost,
}

/// The way to the process that leads a topic.
pub(crate) struct Leader {
    number: u64,
    requests: mpsc::Sender<FollowerRequest>,
    /// Notifies when it leads no longer.
    gone: Notify,
}

/// What a follower wants of the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FollowerRequest {
    /// The backend's stream is open here: release this topic.
    Release(u64),
    /// A write was observed: poll this topic now.
    Refresh(u64),
}

/// Where a feed begins that goes on as another process's did.
#[derive(Clone, Debug)]
pub(crate) struct Checkpoint {
    /// The newest id that the stream itself has sent.
    pub(crate) last_event_id: Option<Arc<str>>,
    /// The newest document.
    pub(crate) document: Option<bytes::Bytes>,
    /// What is kept, oldest first.
    pub(crate) events: Vec<Arc<Event>>,
    /// The backend had answered.
    pub(crate) was_open: bool,
}

impl Leader {
    /// The process that answers these requests, where the topic has this number.
    pub(crate) fn new(number: u64, requests: mpsc::Sender<FollowerRequest>) -> Self {
        Leader {
            number,
            requests,
            gone: Notify::new(),
        }
    }

    /// Asks for a poll.
    pub(crate) fn refresh(&self) {
        self.ask(FollowerRequest::Refresh);
    }

    /// Asks for the topic.
    pub(crate) fn release(&self) {
        self.ask(FollowerRequest::Release);
    }

    /// A request that finds no room is one that comes true by itself: the next poll, or the end of the other process.
    fn ask(&self, request: fn(u64) -> FollowerRequest) {
        let _ = self.requests.try_send(request(self.number));
    }
}

/// A topic's role and feed, both of which another one may replace.
pub(crate) struct Replica {
    state: Mutex<State>,
    /// Asks the feed for a poll.
    refresh: Notify,
    /// Wakes the task that exports the topic.
    exporter: OnceLock<Arc<WakeFlag>>,
}

struct State {
    role: Role,
    feed: Feed,
    /// Counts feeds.
    feeds: u32,
}

enum Feed {
    None,
    /// The one of this number is being started, without the lock.
    Starting(u32),
    Running(AbortHandle),
}

impl Replica {
    /// Of a topic that begins here.
    pub(crate) fn new() -> Self {
        Replica {
            state: Mutex::new(State {
                role: Role::Owner(Succession::First),
                feed: Feed::None,
                feeds: 0,
            }),
            refresh: Notify::new(),
            exporter: OnceLock::new(),
        }
    }

    /// Which process publishes now.
    pub(crate) fn role(&self) -> Role {
        lock(&self.state).role.clone()
    }

    /// The process that publishes, where that is another one.
    pub(crate) fn leader(&self) -> Option<Arc<Leader>> {
        match &lock(&self.state).role {
            Role::Follower(leader) => Some(leader.clone()),
            Role::Owner(_) => None,
        }
    }

    /// Whether another process publishes.
    pub(crate) fn is_follower(&self) -> bool {
        matches!(lock(&self.state).role, Role::Follower(_))
    }

    /// Another process publishes from now on. The feed of before is stopped.
    pub(crate) fn follow(&self, leader: Leader) {
        let mut state = lock(&self.state);
        state.role = Role::Follower(Arc::new(leader));
        state.stop();
    }

    /// This process publishes from now on, unless it did before. A feed that runs already goes on.
    pub(crate) fn lead(&self, succession: Succession) {
        let mut state = lock(&self.state);
        let Role::Follower(leader) = &state.role else {
            return;
        };
        let leader = leader.clone();
        state.role = Role::Owner(succession);
        drop(state);
        leader.gone.notify_waiters();
    }

    /// Resolves when no other process publishes, which is asked to stop; how that came about.
    pub(crate) async fn lead_alone(&self) -> Succession {
        if let Some(leader) = self.leader() {
            leader.release();
        }
        loop {
            let leader = match self.role() {
                Role::Owner(succession) => return succession,
                Role::Follower(leader) => leader,
            };
            // Before the second look, so that no end comes unnoticed in between.
            let gone = leader.gone.notified();
            if self.is_led_by(&leader) {
                gone.await;
            }
        }
    }

    fn is_led_by(&self, leader: &Arc<Leader>) -> bool {
        matches!(&lock(&self.state).role, Role::Follower(now) if Arc::ptr_eq(now, leader))
    }

    /// Asks for a poll of the process that publishes.
    pub(crate) fn refresh(&self) {
        match self.leader() {
            Some(leader) => leader.refresh(),
            None => self.refresh.notify_one(),
        }
    }

    /// Resolves when a poll is asked for, of this process.
    pub(crate) async fn refresh_asked(&self) {
        self.refresh.notified().await;
    }

    /// Runs a feed, unless one runs.
    pub(crate) fn start(&self, run: impl FnOnce() -> Option<AbortHandle>) {
        let number = {
            let mut state = lock(&self.state);
            if !matches!(state.feed, Feed::None) {
                return;
            }
            state.feeds = state.feeds.wrapping_add(1);
            state.feed = Feed::Starting(state.feeds);
            state.feeds
        };
        let feed = run();
        let mut state = lock(&self.state);
        let is_wanted = matches!(state.feed, Feed::Starting(wanted) if wanted == number);
        match feed {
            Some(feed) if is_wanted => state.feed = Feed::Running(feed),
            // It was stopped meanwhile.
            Some(feed) => feed.abort(),
            None if is_wanted => state.feed = Feed::None,
            None => {}
        }
    }

    /// Stops the feed.
    pub(crate) fn stop(&self) {
        lock(&self.state).stop();
    }

    /// The signal that there is something to export.
    pub(crate) fn exporter(&self) -> Arc<WakeFlag> {
        self.exporter.get_or_init(Arc::default).clone()
    }

    /// There may be something to export.
    pub(crate) fn ring(&self) {
        if let Some(exporter) = self.exporter.get() {
            exporter.ring();
        }
    }
}

impl State {
    fn stop(&mut self) {
        if let Feed::Running(feed) = std::mem::replace(&mut self.feed, Feed::None) {
            feed.abort();
        }
    }
}
