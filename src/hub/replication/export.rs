//! What the process that leads a topic sends of it: a cursor into the log, like a subscriber's, but no publisher waits for it.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::Poll;

use tokio::sync::mpsc;

use super::message::{Append, EndRecord, ReplicationMessage};
use super::record::TopicRecord;
use crate::config::Source;
use crate::hub::clock::now;
use crate::hub::history::transfer::Exported;
use crate::hub::registry::Registry;
use crate::hub::topic::{Topic, internal};
use crate::hub::topic_state::Status;
use crate::hub::types::Phase;
use crate::hub::wake::WakeFlag;

/// New topics that may wait to be exported.
const WAITING: usize = 1024;

/// Exports one topic.
pub(crate) struct Export {
    node: Arc<Registry>,
    topic: Arc<Topic>,
    signal: Arc<WakeFlag>,
    exported: Exported,
    status: Option<Status>,
}

/// Every topic that may be exported.
pub(crate) struct Exports {
    /// Those that there were.
    pub(crate) begun: Vec<Export>,
    /// Those that come.
    pub(crate) coming: Coming,
}

/// Topics that come. One that comes while too many wait is not exported: it begins anew in the other process.
pub(crate) struct Coming {
    node: Arc<Registry>,
    topics: mpsc::Receiver<Arc<Topic>>,
}

impl Exports {
    /// Begins with all that there are.
    pub(in crate::hub) fn begin(node: &Arc<Registry>) -> Self {
        let (newcomers, topics) = mpsc::channel(WAITING);
        let begun = node.watch_births(&newcomers);
        let begun = begun.into_iter().filter(|topic| topic.is_exportable());
        Exports {
            begun: begun.map(|topic| Export::of(node.clone(), topic)).collect(),
            coming: Coming {
                node: node.clone(),
                topics,
            },
        }
    }
}

impl Coming {
    /// The next; `None` where no more will come.
    pub(crate) async fn next(&mut self) -> Option<Export> {
        let topic = self.topics.recv().await?;
        Some(Export::of(self.node.clone(), topic))
    }

    /// The next, where one waits.
    pub(crate) fn waiting(&mut self) -> Option<Export> {
        let topic = self.topics.try_recv().ok()?;
        Some(Export::of(self.node.clone(), topic))
    }
}

impl Export {
    /// Of a topic that is exportable.
    pub(in crate::hub) fn of(node: Arc<Registry>, topic: Arc<Topic>) -> Self {
        Export {
            node,
            signal: topic.replica.exporter(),
            topic,
            exported: Exported::default(),
            status: None,
        }
    }

    /// What it is.
    pub(crate) fn begin(&self) -> Option<ReplicationMessage> {
        let topic = &self.topic;
        let record = TopicRecord::write(
            &topic.key,
            &topic.target,
            &topic.presence.credentials(),
            topic.presence.owner(),
            topic.log.position(0).epoch,
        );
        record.map(|record| ReplicationMessage::Begin(Box::new(record)))
    }

    /// Polls it on demand.
    pub(crate) fn refresher(&self) -> Refresher {
        Refresher {
            topic: Arc::downgrade(&self.topic),
            has_roused: AtomicBool::new(false),
        }
    }

    /// Everything since the last time.
    pub(crate) fn messages(&mut self) -> Vec<ReplicationMessage> {
        let delta = self.topic.with_log(|log| log.export(&mut self.exported));
        let append = delta.map(|delta| ReplicationMessage::Append(Append::write(delta, now())));
        let status = self.topic.condition.status();
        let changed = (self.status.as_ref() != Some(&status)).then(|| status.clone());
        self.status = Some(status);
        append
            .into_iter()
            .chain(changed.map(ReplicationMessage::Status))
            .collect()
    }

    /// Whether nothing is published any more; to be asked before the last [`Export::messages`].
    pub(crate) fn is_over(&self) -> bool {
        self.topic.with_log(|log| log.is_closed())
    }

    /// The last message on a topic that is over.
    pub(crate) fn last(&self) -> ReplicationMessage {
        match self.topic.phase() {
            Phase::Ended(end) => ReplicationMessage::End(EndRecord::write(&end)),
            Phase::Opening | Phase::Open => ReplicationMessage::Released,
        }
    }

    /// The last message on a topic that cannot be exported any further.
    pub(crate) fn failure() -> ReplicationMessage {
        ReplicationMessage::End(EndRecord::write(&internal()))
    }

    /// Whether no client subscribes.
    pub(crate) fn is_deserted(&self) -> bool {
        self.topic.presence.count() == 0
    }

    /// Whether another reader of the backend has to be there before this one stops: a stream that has no ids cannot be resumed.
    pub(crate) fn needs_overlap(&self) -> bool {
        let is_polled = matches!(self.topic.target.route.source, Some(Source::Poll(_)));
        !is_polled && self.topic.with_log(|log| log.stream().last_id().is_none())
    }

    /// Stops reading the backend, unless a client has come. It is over then, and the rest can be sent.
    pub(crate) fn let_go(&self) {
        self.node.let_go(&self.topic);
    }

    /// Resolves when there may be something to send.
    pub(crate) async fn rung(&self) {
        poll_fn(|cx| match self.signal.poll_rung(cx) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }
}

/// Triggers the poll of one topic, as long as there is one.
pub(crate) struct Refresher {
    topic: Weak<Topic>,
    has_roused: AtomicBool,
}

impl Refresher {
    /// As [`crate::hub::Hub::refresh`] does, for a client of the other process: that client counts as a subscriber here from now on.
    pub(crate) fn refresh(&self) {
        if let Some(topic) = self.topic.upgrade() {
            if !self.has_roused.swap(true, Ordering::Relaxed) {
                topic.presence.rouse();
            }
            topic.replica.refresh();
        }
    }
}
