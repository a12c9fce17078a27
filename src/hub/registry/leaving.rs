//! How topics lose their last subscriber, and end.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Registry;
use crate::event::End;
use crate::hub::index::Retired;
use crate::hub::topic::{Home, Topic};
use crate::telemetry::Telemetry;

impl Registry {
    /// A topic without a subscriber so far lingers as if the last subscriber had left.
    pub(super) fn vacate(self: &Arc<Self>, topic: &Arc<Topic>) {
        let mut topics = self.beside(topic);
        let lingers = topic.presence.count() == 0 && topics.vacate(topic);
        drop(topics);
        if lingers {
            self.linger(topic);
        }
    }

    /// Ends a topic: a client that comes from now on gets a new one. Where its stream said so, clients that were cut off
    /// before its end can resume it for as long as it may be replayed.
    pub(crate) fn end(self: &Arc<Self>, topic: &Arc<Topic>, end: End) {
        let stays = topic.outlives(&end);
        let mut topics = self.beside(topic);
        if stays {
            let retired = topics.retire(topic);
            drop(topics);
            self.close_over(topic, retired, end);
        } else {
            let removed = topics.remove(topic);
            drop(topics);
            topic.close(Some(end));
            drop(removed);
        }
    }

    /// Closes a topic that is over, and stays for clients that resume it.
    pub(super) fn close_over(self: &Arc<Self>, topic: &Arc<Topic>, retired: Retired, end: End) {
        topic.close(Some(end));
        close(retired.removed);
        if retired.lingers {
            self.linger(topic);
        }
    }
}

impl Home for Registry {
    /// The last one's going starts the linger time.
    fn leave(self: Arc<Self>, topic: &Arc<Topic>, slot: u32, is_paused: bool) {
        match topic.detach(slot, is_paused) {
            (0, _) => {}
            (_, true) => return self.beside(topic).pass_on(topic),
            (_, false) => return,
        }
        let age = topic.route.load().replay.age;
        let fleeting =
            age.is_zero() || topic.key.is_own_read() || topic.superseded.load(Ordering::Relaxed);
        let mut topics = self.beside(topic);
        // Another one may be here by now, or expected.
        if topic.presence.count() > 0 {
            return;
        }
        if fleeting {
            let removed = topics.remove(topic);
            drop(topics);
            close(removed);
        } else if topics.vacate(topic) {
            drop(topics);
            self.linger(topic);
        }
    }

    fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }
}

/// Closes a topic that was taken out, and drops it.
pub(in crate::hub) fn close(removed: Option<Arc<Topic>>) {
    if let Some(topic) = removed {
        topic.close(None);
    }
}
