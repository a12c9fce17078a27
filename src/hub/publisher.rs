//! A topic as its feed sees it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::sleep;

use super::budget::READ_WITHIN;
use super::history::lineage::Writer;
use super::history::stream::StreamConnection;
use super::key::{Credentials, Target};
use super::registry::Registry;
use super::reserved::Reserved;
use super::role::{Checkpoint, Succession};
use super::topic::Topic;
use crate::config::Route;
use crate::error::Code;
use crate::event::{Cause, Data, Draft, End, GapWhy};

/// How often a feed looks whether its readers have taken what it published.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The feed's half of a topic. Calls that are not `async` return at once; each call wakes the subscribers once.
#[derive(Clone)]
pub struct Publisher {
    node: Arc<Registry>,
    topic: Arc<Topic>,
    writer: Writer,
}

impl Publisher {
    pub(super) fn new(node: Arc<Registry>, topic: Arc<Topic>, writer: Writer) -> Self {
        Publisher {
            node,
            topic,
            writer,
        }
    }

    /// Whether this is the topic's feed, or was one of an earlier role.
    pub(super) fn is_current(&self) -> bool {
        self.topic.with_log(|log| log.writer().feed()) == self.writer
    }

    /// What to read.
    pub(crate) fn target(&self) -> &Arc<Target> {
        &self.topic.target
    }

    /// The route as the newest configuration has it: pace and limits change under a running feed.
    pub(crate) fn route(&self) -> Arc<Route> {
        self.topic.route.load_full()
    }

    /// Credentials of a present subscriber (the newest; of a pool one that stays its reader), or of the last one while lingering. Those of
    /// a public topic are always empty.
    pub(crate) fn credentials(&self) -> Credentials {
        self.topic.presence.ask_as()
    }

    /// The backend has granted the last request.
    pub(crate) fn granted(&self) {
        self.topic.presence.granted();
        self.node.alarms.lower(&self.topic.target);
    }

    /// The backend has refused the last request with this end. In a pool that may be its reader's own matter: true where the
    /// reader's subscriptions are over, and another present one's credentials are to be tried at once.
    pub(crate) fn may_ask_as_another(&self, end: &End) -> bool {
        let is_readers = matches!(end.code, Code::Unauthorized | Code::Forbidden);
        let presence = &self.topic.presence;
        presence.is_pooled() && is_readers && presence.refused(end)
    }

    /// Resolves when a pool's reader has left, or was sent away, and another subscriber is present to read for.
    pub(crate) async fn reader_gone(&self) {
        self.topic.presence.reader_gone().await;
    }

    /// The `Last-Event-ID` that the first subscriber brought, where the topic is new and the backend has not answered.
    pub(crate) fn brought_id(&self) -> Option<Arc<str>> {
        self.topic.with_log(|log| log.stream().asked().cloned())
    }

    /// A connection to the backend stands, whose head came at this instant; to be said before what comes of it is published,
    /// and after what was lost before it.
    pub(crate) fn connected(&self, connection: StreamConnection, head_at: Instant) {
        self.topic
            .with_log(|log| log.connected(connection, head_at));
        self.topic.replica.ring();
    }

    /// The backend has nothing more for the clients that brought an id. False where it is over for all: no other client
    /// subscribes.
    pub(crate) fn end_brought(&self, end: End) -> bool {
        let presence = &self.topic.presence;
        if presence.count() <= presence.awaiting.load(Ordering::Acquire) {
            return false;
        }
        self.topic.with_log(|log| log.end_brought(end));
        self.topic.wake();
        true
    }

    /// Where to go on, where another process has read this topic before.
    pub(crate) fn checkpoint(&self) -> Option<Checkpoint> {
        self.topic.checkpoint()
    }

    /// Resolves when no other process publishes on this topic any more; to be called once the backend's stream is open. False
    /// where something may be missing between what that process read and this stream's beginning.
    pub(crate) async fn take_over(&self) -> bool {
        self.topic.replica.lead_alone().await == Succession::Released
    }

    /// The backend's first response head arrived and is good: subscriptions may be answered, the topic is live.
    pub fn opened(&self) {
        self.topic.tell(self.topic.condition.opened());
    }

    /// Appends at one instant, and wakes the subscribers. `cause` is what led to it, where that is traced. Where memory is short,
    /// waits then until the readers of this topic have taken what was published, or have had the time to.
    ///
    /// # Errors
    /// Nothing was published, and nothing will be: the feed ends.
    pub async fn publish(
        &self,
        what: Publication,
        cause: Option<Arc<Cause>>,
    ) -> Result<(), Fenced> {
        let lost = match &what {
            Publication::Gap(why) => Some(*why),
            Publication::Events(_) | Publication::Document(..) => None,
        };
        let is_published = self.node.extend(&self.topic, self.writer, |log, now| {
            log.set_cause(cause);
            match what {
                Publication::Events(drafts) => log.append(drafts, now),
                Publication::Document(document, DocumentChange::Events(drafts)) => {
                    log.append_document(Data::Json(document), Some(drafts), now);
                }
                Publication::Document(document, DocumentChange::Snapshot) => {
                    log.append_document(Data::Json(document), None, now);
                }
                Publication::Gap(why) => log.append_gap(why, now),
            }
            log.set_cause(None);
        });
        if !is_published {
            return Err(Fenced);
        }
        if let Some(why) = lost {
            self.topic.count_gap(why);
        }
        self.has_room().await;
        Ok(())
    }

    /// What a source holds for a while counts against the memory budget, and windows give way to it: nothing yet.
    pub(crate) fn reserve(&self) -> Reserved {
        Reserved::nothing(self.node.clone())
    }

    async fn has_room(&self) {
        let deadline = tokio::time::Instant::now() + READ_WITHIN;
        let is_needed = || self.topic.with_log(|log| log.is_needed());
        while self.node.budget.is_exceeded()
            && is_needed()
            && tokio::time::Instant::now() < deadline
        {
            sleep(LOOK_AGAIN).await;
        }
    }

    /// The topic follows its backend (again); also marks the time of the last success.
    pub(crate) fn live(&self) {
        self.topic.tell(self.topic.condition.live());
    }

    /// What clients hold may be stale. Subscriptions that still wait for the first response head are answered:
    /// while nothing is known of the backend there is no need to call this, a new topic is stale by itself (`connecting`).
    pub(crate) fn stale(&self, why: &'static str) {
        self.topic.tell(self.topic.condition.stale(why));
    }

    /// The reason why the data is stale has changed: clients that come later and operators get the new one. Clients that
    /// have the state already do not get it again.
    pub(crate) fn explain(&self, why: &'static str) {
        self.topic.tell(self.topic.condition.explain(why));
    }

    /// Ends every subscription for good, after what was published; the topic leaves the hub, and the feed is
    /// stopped where it next waits.
    pub(crate) fn end(&self, end: End) {
        if self.is_current() {
            self.node.end(&self.topic, end);
        }
    }

    /// A shared answer looked private: an alarm, and what the operator can do about it.
    pub(crate) fn tripped(&self, reason: &'static str, fix: &str) {
        let route = &self.topic.target.route.name;
        self.node.telemetry.hub.share_refused(route, reason);
        self.alarm(reason, fix);
    }

    /// A shared answer is for none of its clients: reported once, until a good one comes.
    pub(crate) fn alarm(&self, reason: &'static str, fix: &str) {
        let (target, node) = (&self.topic.target, &self.node);
        let tell = || {
            (node.telemetry)
                .hub
                .share_alarm(&target.route.name, &target.url, reason, fix)
        };
        node.alarms.raise(target, reason, tell);
    }

    /// Whether the stream is lost, from now until it is open again. While the topic has no subscriber a new client
    /// gets another one, with a stream of its own; a client that resumes comes here.
    pub(crate) fn set_lost(&self, is_lost: bool) {
        self.topic.condition.set_lost(is_lost);
    }

    /// Whether a subscriber is there that has not paused. Without one nothing has to be asked for.
    pub(crate) fn is_attended(&self) -> bool {
        self.topic.is_attended()
    }

    /// Resolves when a subscriber is there that has not paused.
    pub(crate) async fn attended(&self) {
        self.topic.attended().await;
    }

    /// Nothing is asked any more until there is such a subscriber: it waits for what is said next of the backend.
    pub(crate) fn rest(&self) {
        self.topic.rest();
    }

    /// Subscriptions that wait are answered; what there is may be stale.
    pub(crate) fn unsure(&self) {
        self.topic.tell(self.topic.condition.unsure());
    }

    /// Resolves when `refresh_on` asks for a poll now (at once if it did since the last call).
    pub(crate) async fn refresh_asked(&self) {
        self.topic.replica.refresh_asked().await;
    }
}

/// What a feed publishes.
#[derive(Debug)]
pub enum Publication {
    /// Events, in order.
    Events(Vec<Draft>),
    /// A polled document, which is known to be JSON, changed: what is emitted for it is appended, and the document kept as the
    /// snapshot at the new head. The first document of a topic is appended as one snapshot entry, whatever the change.
    Document(Bytes, DocumentChange),
    /// Something is lost for good: takes one position. The document, where there is one, follows as a snapshot.
    Gap(GapWhy),
}

/// The topic is over, or another process publishes on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fenced;

/// How a new document reaches subscribers.
#[derive(Debug)]
pub enum DocumentChange {
    /// As these events; none where only what is ignored changed.
    Events(Vec<Draft>),
    /// As one snapshot entry: the first document, or one that the emit form cannot express.
    Snapshot,
}
