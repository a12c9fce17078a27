//! What is known of a session whose client may come back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::trail::Trail;
use crate::event::Position;

/// Bytes that a record counts for beside its trail, and beside each subscription.
const FLAT: usize = 512;

/// See the module.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The namespace as the client named it.
    pub(crate) namespace: String,
    /// What the client knows the session by.
    pub(crate) sid: String,
    /// The user's subject; `None` where no policy has let one in.
    pub(crate) user: Option<[u8; 32]>,
    pub(crate) subscriptions: Vec<RecordedSubscription>,
    pub(crate) trail: Trail,
    /// Events that have asked for subscriptions which are not followed yet.
    #[serde(skip)]
    pub(crate) asked: Vec<(u32, AskingEvent)>,
}

/// One of its subscriptions.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RecordedSubscription {
    pub(crate) ch: u32,
    /// Path and query.
    pub(crate) path: String,
    /// How long what its client misses is kept.
    pub(crate) age: Duration,
    /// The event that has asked for it; `None` of what the namespace itself subscribes to.
    pub(crate) asked_by: Option<AskingEvent>,
}

/// An event that has subscribed. Its rule is judged anew when the client comes back: what it requires, and what it filters by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AskingEvent {
    pub(crate) name: Arc<str>,
    /// Its arguments, JSON.
    pub(crate) args: Arc<str>,
}

impl Record {
    /// A subscription begins here, unless it is known; `None` where its client first gets what newcomers get.
    pub(crate) fn begin(&mut self, ch: u32, at: Option<Position>) {
        if !self.subscriptions.iter().any(|known| known.ch == ch) {
            self.trail.begin(ch, at);
        }
    }

    /// This event has asked for a subscription, which comes next.
    pub(crate) fn note_event(&mut self, ch: u32, event: AskingEvent) {
        self.asked.push((ch, event));
    }

    /// What there is now, each begun.
    pub(crate) fn follow(&mut self, subscriptions: Vec<RecordedSubscription>) {
        let before = std::mem::replace(&mut self.subscriptions, subscriptions);
        let asked = std::mem::take(&mut self.asked);
        let known = before.into_iter().map(|sub| (sub.ch, sub.asked_by));
        let known = known.chain(asked.into_iter().map(|(ch, event)| (ch, Some(event))));
        for (ch, event) in known {
            if let Some(sub) = self.subscriptions.iter_mut().find(|sub| sub.ch == ch) {
                sub.asked_by = event;
            }
        }
        let there = &self.subscriptions;
        self.trail.keep(|ch| there.iter().any(|sub| sub.ch == ch));
    }

    /// How long its client may take to come back: as long as the shortest of its replay windows.
    pub(crate) fn window(&self) -> Option<Duration> {
        self.subscriptions.iter().map(|sub| sub.age).min()
    }

    /// Bytes that it takes, about.
    pub(crate) fn bytes(&self) -> usize {
        FLAT * (1 + self.subscriptions.len()) + self.trail.bytes()
    }
}

/// A lock whose holder panicked is still a lock.
pub(crate) fn lock(record: &Arc<Mutex<Record>>) -> MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}
