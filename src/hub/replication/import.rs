//! A topic that another process leads: what that sends is applied in its order, until it releases the topic. Only then this
//! process's own feed publishes.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::sleep;

use super::message::ReplicationMessage;
use super::record::TopicRecord;
use crate::config::Route;
use crate::hub::clock::now;
use crate::hub::history::History;
use crate::hub::history::lineage::Writer;
use crate::hub::registry::Registry;
use crate::hub::role::{FollowerRequest, Leader, Succession};
use crate::hub::topic::{Topic, fresh_epoch};

/// One topic that follows.
pub(crate) struct Follower {
    node: Arc<Registry>,
    topic: Arc<Topic>,
    writer: Writer,
}

impl Follower {
    /// See [`crate::hub::Hub::follow`].
    pub(in crate::hub) fn begin(
        node: &Arc<Registry>,
        number: u64,
        topic: &TopicRecord,
        find: impl FnOnce(&str) -> Option<Arc<Route>>,
        requests: mpsc::Sender<FollowerRequest>,
    ) -> Option<Self> {
        let identity = topic.read(find)?;
        let topic = node.adopt(identity, Leader::new(number, requests))?;
        Some(Follower::of(node.clone(), topic))
    }

    /// Of a topic whose role is to follow.
    pub(in crate::hub) fn of(node: Arc<Registry>, topic: Arc<Topic>) -> Self {
        Follower {
            writer: topic.with_log(|log| log.writer()),
            node,
            topic,
        }
    }

    /// Applies what the leader sends; nothing any more once it leads no longer.
    pub(crate) fn apply(&self, message: ReplicationMessage) {
        if !self.is_led() {
            return;
        }
        match message {
            ReplicationMessage::Begin(_) | ReplicationMessage::Unknown => {}
            ReplicationMessage::Append(append) => {
                let delta = append.read(self.topic.log.position(0).epoch, now());
                // Nothing is imported any more where it is over.
                let _is_going_on = (self.node).extend(&self.topic, self.writer, |log, _| {
                    log.import(delta);
                });
            }
            ReplicationMessage::Status(status) => self.topic.set_status(&status),
            ReplicationMessage::Overlap => self.node.start(&self.topic),
            ReplicationMessage::Released => self.lead(Succession::Released),
            ReplicationMessage::End(ended) => {
                // First, so that nothing is read any more.
                self.node.end(&self.topic, ended.read());
                self.lead(Succession::Released);
            }
        }
    }

    /// The leader is gone without a word.
    pub(crate) fn lose(&self) {
        if self.is_led() {
            self.lead(Succession::Lost);
        }
    }

    fn is_led(&self) -> bool {
        self.topic.with_log(|log| log.writer()) == self.writer
    }

    fn lead(&self, succession: Succession) {
        let lead = |log: &mut History, now| match succession {
            Succession::Lost => log.lead_on(fresh_epoch(), now),
            Succession::Released | Succession::First => log.lead(),
        };
        let is_going_on = self.node.extend(&self.topic, self.writer, lead);
        self.node.linger_anew(&self.topic);
        if self.topic.presence.is_pooled() {
            let age = self.topic.route.load().replay.age;
            let topic = Arc::downgrade(&self.topic);
            self.topic.runtime.spawn(async move {
                sleep(age).await;
                if let Some(topic) = topic.upgrade() {
                    topic.presence.stop_awaiting();
                }
            });
        }
        self.topic.replica.lead(succession);
        if is_going_on {
            self.node.start(&self.topic);
        }
    }
}
