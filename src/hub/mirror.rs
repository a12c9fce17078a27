//! A topic as another process hears of it: a cursor into the log, like any subscriber's, that nobody waits for.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::Poll;

use tokio::sync::mpsc;

use super::Hub;
use super::carried::{Ended, Grown, News, Standing, Topic as Carried};
use super::key::Scope;
use super::log::carry::Told;
use super::node::{self, Node};
use super::signal::Signal;
use super::subscriber::Phase;
use super::topic::{Topic, now};
use crate::config::Source;

/// New topics that may wait to be told of.
const NEWCOMERS: usize = 1024;

/// Tells another process of one topic.
pub struct Mirror {
    node: Arc<Node>,
    topic: Arc<Topic>,
    signal: Arc<Signal>,
    told: Told,
    stood: Option<Standing>,
}

impl Hub {
    /// Begins to tell of every topic that may be handed over: those that there are, and those that come. One that comes while
    /// too many wait is not told of: it begins anew over there.
    pub fn mirror(&self) -> (Vec<Mirror>, mpsc::Receiver<Mirror>) {
        let (newcomers, coming) = mpsc::channel(NEWCOMERS);
        let topics = self.node.watch_births(&newcomers);
        let mirrors = topics
            .into_iter()
            .filter_map(|topic| Mirror::of(&self.node, topic));
        (mirrors.collect(), coming)
    }

    /// From now on there are no new topics: whoever wants one is told that this process leaves. Also ends what
    /// [`Hub::mirror`] began for those that come.
    pub fn close(&self) {
        self.node.set_closed(true);
    }

    /// There may be new topics again.
    pub fn reopen(&self) {
        self.node.set_closed(false);
    }
}

impl Mirror {
    /// `None` where the topic is this process's own: a connection's, one subscriber's own read, or one that no client could
    /// resume.
    pub(super) fn of(node: &Arc<Node>, topic: Arc<Topic>) -> Option<Self> {
        let is_one_connections = matches!(topic.target.scope, Scope::Connection(_));
        let is_resumable = !topic.route.load().replay.age.is_zero();
        if is_one_connections
            || topic.key.is_own_read()
            || !is_resumable
            || topic.superseded.load(Ordering::Relaxed)
        {
            return None;
        }
        Some(Mirror {
            node: node.clone(),
            signal: topic.mirror_signal(),
            topic,
            told: Told::default(),
            stood: None,
        })
    }

    /// What it is.
    pub fn introduction(&self) -> Option<News> {
        let topic = &self.topic;
        let written = Carried::write(
            &topic.key,
            &topic.target,
            &topic.credentials(),
            topic.owner(),
            topic.epoch,
        );
        written.map(|topic| News::Exists(Box::new(topic)))
    }

    /// Polls it on demand.
    pub fn refresher(&self) -> Refresher {
        Refresher {
            topic: Arc::downgrade(&self.topic),
            has_roused: AtomicBool::new(false),
        }
    }

    /// Everything since the last time.
    pub fn news(&mut self) -> Vec<News> {
        let grown = self.topic.with_log(|log| log.extract(&mut self.told));
        let grown = grown.map(|extract| News::Grown(Grown::write(extract, now())));
        let standing = self.topic.standing();
        let changed = (self.stood.as_ref() != Some(&standing)).then(|| standing.clone());
        self.stood = Some(standing);
        grown.into_iter().chain(changed.map(News::Stands)).collect()
    }

    /// Whether nothing is published any more; to be asked before the last [`Mirror::news`].
    pub fn is_over(&self) -> bool {
        self.topic.with_log(|log| log.is_closed())
    }

    /// The last word on a topic that is over.
    pub fn farewell(&self) -> News {
        match self.topic.phase() {
            Phase::Ended(end) => News::Ended(Ended::write(&end)),
            Phase::Opening | Phase::Open => News::Released,
        }
    }

    /// The last word on a topic that cannot be told of any further.
    pub fn abandonment() -> News {
        News::Ended(Ended::write(&node::internal()))
    }

    /// Whether nobody subscribes.
    pub fn is_deserted(&self) -> bool {
        self.topic.subscribers() == 0
    }

    /// Whether another reader of the backend has to be there before this one stops: a stream that has no ids cannot be resumed.
    pub fn needs_overlap(&self) -> bool {
        let is_polled = matches!(self.topic.target.route.source, Some(Source::Poll(_)));
        !is_polled && self.topic.with_log(|log| log.stream().last_id().is_none())
    }

    /// Stops reading the backend, unless somebody has come. It is over then, and the rest can be told.
    pub fn let_go(&self) {
        self.node.let_go(&self.topic);
    }

    /// Resolves when there may be something to tell.
    pub async fn rung(&self) {
        poll_fn(|cx| match self.signal.poll_rung(cx) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }
}

/// Triggers the poll of one topic, as long as there is one.
pub struct Refresher {
    topic: Weak<Topic>,
    has_roused: AtomicBool,
}

impl Refresher {
    /// As [`Hub::refresh`] does, for a client of the other process: that client counts as a subscriber here from now on.
    pub fn refresh(&self) {
        if let Some(topic) = self.topic.upgrade() {
            if !self.has_roused.swap(true, Ordering::Relaxed) {
                topic.rouse();
            }
            topic.refresh.notify_one();
        }
    }
}
