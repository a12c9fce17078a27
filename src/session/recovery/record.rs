//! What is known of a session whose client may come back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::trail::Trail;
use crate::event::Position;
use crate::json::Scalar;

/// Bytes that a record counts for beside its trail, and beside each subscription.
const FLAT: usize = 512;

/// See the module.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The namespace as the client named it.
    pub(crate) namespace: String,
    /// What the client knows the session by.
    pub(crate) sid: String,
    /// The user's subject; `None` where the client is nobody that is known.
    pub(crate) user: Option<[u8; 32]>,
    pub(crate) subscriptions: Vec<RecordedSubscription>,
    pub(crate) trail: Trail,
}

/// One of its subscriptions.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RecordedSubscription {
    pub(crate) ch: u32,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) filter: Vec<(String, Vec<Scalar>)>,
    /// How long what its client misses is kept.
    pub(crate) age: Duration,
}

impl Record {
    /// A subscription begins here, unless it is known; `None` where its client first gets what newcomers get.
    pub(crate) fn begin(&mut self, ch: u32, at: Option<Position>) {
        if !self.subscriptions.iter().any(|known| known.ch == ch) {
            self.trail.begin(ch, at);
        }
    }

    /// What there is now, each begun.
    pub(crate) fn follow(&mut self, subscriptions: Vec<RecordedSubscription>) {
        self.subscriptions = subscriptions;
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
