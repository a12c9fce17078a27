//! The sessions whose clients may come back, by their secret ids.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::Instant;

use super::record::{self, Record};
use super::secret_id::SecretId;
use crate::hub::Reserved;

/// Ended sessions whose clients may come back.
const MOST: usize = 100_000;

/// How long a client may take that was subscribed to nothing.
const WITHOUT_SUBSCRIPTIONS: Duration = Duration::from_secs(120);

/// Between two looks for records that are over.
const SWEEP: Duration = Duration::from_secs(1);

/// All of them. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Recoveries(Arc<Mutex<Entries>>);

#[derive(Default)]
struct Entries {
    by_id: HashMap<SecretId, Entry>,
    /// Of these the sessions have ended.
    ended: usize,
    sweep_at: Option<Instant>,
    /// The way to the process that serves in place of this one.
    successor: Option<Sender<LeftSession>>,
}

/// An ended session whose client may come back, on its way to another process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LeftSession {
    id: SecretId,
    record: Record,
}

struct Entry {
    record: Arc<Mutex<Record>>,
    state: State,
}

enum State {
    /// The session of this number runs.
    Runs(u64),
    /// It has ended.
    Ended { until: Instant, _memory: Reserved },
}

/// A running session's place there. What is dropped without [`Recoverable::wait`] cannot be come back to.
pub(crate) struct Recoverable {
    id: SecretId,
    record: Arc<Mutex<Record>>,
    recoveries: Recoveries,
}

/// What a client comes back to.
pub(crate) struct TakenRecord {
    pub(crate) record: Record,
    /// The session that has not noticed yet that its client is gone.
    pub(crate) still_runs: Option<u64>,
}

impl Recoveries {
    /// From now on the client of this session may come back.
    pub(crate) fn enter(&self, id: SecretId, record: Record, number: u64) -> Recoverable {
        let record = Arc::new(Mutex::new(record));
        let entry = Entry {
            record: record.clone(),
            state: State::Runs(number),
        };
        self.lock().insert(id, entry);
        Recoverable {
            id,
            record,
            recoveries: self.clone(),
        }
    }

    /// Takes what is known of the session of this id, where `fits` is true of it. Nothing is left of it here.
    pub(crate) fn take(
        &self,
        id: &SecretId,
        now: Instant,
        fits: impl FnOnce(&Record) -> bool,
    ) -> Option<TakenRecord> {
        let mut entries = self.lock();
        let entry = entries.by_id.get(id)?;
        if !fits(&record::lock(&entry.record)) {
            return None;
        }
        let entry = entries.remove(id)?;
        let still_runs = match entry.state {
            State::Runs(number) => Some(number),
            State::Ended { until, .. } if now < until => None,
            State::Ended { .. } => return None,
        };
        Some(TakenRecord {
            record: std::mem::take(&mut record::lock(&entry.record)),
            still_runs,
        })
    }

    /// Sends what is known of ended sessions, now and from now on, to another process: no client comes back to this one.
    pub(crate) fn export(&self) -> Receiver<LeftSession> {
        let (sender, receiver) = channel(MOST);
        let mut entries = self.lock();
        for (id, entry) in entries.by_id.extract_if(|_, entry| entry.has_ended()) {
            let record = std::mem::take(&mut *record::lock(&entry.record));
            // There is room for all of them.
            let _ = sender.try_send(LeftSession { id, record });
        }
        entries.ended = 0;
        entries.successor = Some(sender);
        receiver
    }

    /// Keeps what is known from now on.
    pub(crate) fn stay(&self) {
        self.lock().successor = None;
    }

    /// Takes what another process has known.
    pub(crate) fn adopt(&self, left: LeftSession, memory: Reserved, now: Instant) {
        self.lock().keep(left, memory, now);
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn insert(&mut self, id: SecretId, entry: Entry) {
        self.ended += usize::from(entry.has_ended());
        let before = self.by_id.insert(id, entry);
        self.ended -= before.map_or(0, |before| usize::from(before.has_ended()));
    }

    fn remove(&mut self, id: &SecretId) -> Option<Entry> {
        let entry = self.by_id.remove(id)?;
        self.ended -= usize::from(entry.has_ended());
        Some(entry)
    }

    /// Keeps what is known of an ended session for as long as its client may come back, or sends it where its client will go.
    fn keep(&mut self, left: LeftSession, mut memory: Reserved, now: Instant) {
        let left = match &self.successor {
            Some(successor) => match successor.try_send(left) {
                Ok(()) => return,
                Err(unsent) => unsent.into_inner(),
            },
            None => left,
        };
        self.sweep(now);
        if self.ended >= MOST || !memory.grow_to(left.record.bytes()) {
            return;
        }
        let window = left.record.window().unwrap_or(WITHOUT_SUBSCRIPTIONS);
        let entry = Entry {
            record: Arc::new(Mutex::new(left.record)),
            state: State::Ended {
                until: now + window,
                _memory: memory,
            },
        };
        self.insert(left.id, entry);
    }

    fn sweep(&mut self, now: Instant) {
        if self.sweep_at.is_some_and(|at| now < at) {
            return;
        }
        self.sweep_at = Some(now + SWEEP);
        self.by_id.retain(|_, entry| match entry.state {
            State::Ended { until, .. } => now < until,
            State::Runs(_) => true,
        });
        let entries = self.by_id.values();
        self.ended = entries.filter(|entry| entry.has_ended()).count();
    }

    /// Whether this session's record is still here: no other session has taken it.
    fn has(&self, id: &SecretId, record: &Arc<Mutex<Record>>) -> bool {
        let entry = self.by_id.get(id);
        entry.is_some_and(|entry| Arc::ptr_eq(&entry.record, record))
    }
}

impl Entry {
    fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended { .. })
    }
}

impl Recoverable {
    /// What is known of the session.
    pub(crate) fn record(&self) -> MutexGuard<'_, Record> {
        record::lock(&self.record)
    }

    /// The session has ended, and its client may come back. `memory` counts what it takes.
    pub(crate) fn wait(self, memory: Reserved, now: Instant) {
        let mut entries = self.recoveries.lock();
        if !entries.has(&self.id, &self.record) {
            return;
        }
        entries.remove(&self.id);
        let record = std::mem::take(&mut *self.record());
        let left = LeftSession {
            id: self.id,
            record,
        };
        entries.keep(left, memory, now);
    }
}

impl Drop for Recoverable {
    fn drop(&mut self) {
        let mut entries = self.recoveries.lock();
        if entries.has(&self.id, &self.record) {
            entries.remove(&self.id);
        }
    }
}
