//! The sessions whose clients may come back, by their secret ids.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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
    pub(crate) fn wait(self, mut memory: Reserved, now: Instant) {
        let (window, bytes) = {
            let record = record::lock(&self.record);
            (record.window(), record.bytes())
        };
        let mut entries = self.recoveries.lock();
        entries.sweep(now);
        let has_room = entries.ended < MOST && memory.grow_to(bytes);
        if !has_room || !entries.has(&self.id, &self.record) {
            return;
        }
        let entry = Entry {
            // Another handle than the one that is dropped with this.
            record: Arc::new(Mutex::new(std::mem::take(&mut record::lock(&self.record)))),
            state: State::Ended {
                until: now + window.unwrap_or(WITHOUT_SUBSCRIPTIONS),
                _memory: memory,
            },
        };
        entries.insert(self.id, entry);
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
