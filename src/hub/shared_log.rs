//! A topic's log under its lock, and what is to be known of it without.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::budget::MemoryBudget;
use super::clock::now;
use super::history::entries::Cursor;
use super::history::lineage::Writer;
use super::history::{History, Spare};
use super::shards::lock;
use super::types::ReadProgress;
use crate::config::Replay;
use crate::event::{Epoch, Event, Position};

pub(super) struct SharedLog {
    log: Mutex<History>,
    /// Head and epoch of the log, for those that only ask whether there is more.
    head: AtomicU64,
    epoch: AtomicU32,
    /// Bytes that the log holds, as the node has counted them.
    held: AtomicUsize,
    budget: Arc<MemoryBudget>,
}

impl SharedLog {
    pub(crate) fn new(log: History, budget: Arc<MemoryBudget>) -> Self {
        SharedLog {
            head: AtomicU64::new(log.head()),
            epoch: AtomicU32::new(log.position(0).epoch.0),
            log: Mutex::new(log),
            held: AtomicUsize::new(0),
            budget,
        }
    }

    pub(crate) fn head(&self) -> u64 {
        self.head.load(Ordering::Acquire)
    }

    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    pub(crate) fn position(&self, offset: u64) -> Position {
        Position {
            epoch: Epoch(self.epoch.load(Ordering::Relaxed)),
            offset,
        }
    }

    /// Looks at the log, or moves cursors; for what adds entries there is [`SharedLog::extend`].
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut History) -> T) -> T {
        look(&mut lock(&self.log))
    }

    /// As [`History::read`]; what was kept for this reader alone goes with it.
    pub(crate) fn read(
        &self,
        cursor: &mut Cursor,
        out: &mut Vec<Arc<Event>>,
        count: usize,
    ) -> ReadProgress {
        let mut log = lock(&self.log);
        let progress = log.read(cursor, out, count);
        if log.drop_unneeded() {
            self.settle(&log);
        }
        progress
    }

    /// Lets the log go of what is too old or too much, then looks at it.
    pub(crate) fn trimmed<T>(
        &self,
        replay: &Replay,
        look: impl FnOnce(&mut History, Instant) -> T,
    ) -> T {
        let mut log = lock(&self.log);
        let now = now();
        log.trim(replay, now);
        self.settle(&log);
        look(&mut log, now)
    }

    /// Adds to the log; whether it has grown. `None` where it is closed or another one writes, and nothing is added.
    pub(crate) fn extend(
        &self,
        writer: Writer,
        replay: &Replay,
        add: impl FnOnce(&mut History, Instant),
    ) -> Option<bool> {
        let mut log = lock(&self.log);
        if log.is_closed() || log.writer() != writer {
            return None;
        }
        let (now, before) = (now(), log.head());
        add(&mut log, now);
        log.trim(replay, now);
        self.settle(&log);
        Some(log.head() > before)
    }

    /// See [`History::forget`].
    pub(crate) fn forget(&self, offset: u64) {
        let mut log = lock(&self.log);
        log.forget(offset);
        self.settle(&log);
    }

    /// See [`History::recount`].
    pub(crate) fn recount(&self, event: &Event) {
        let mut log = lock(&self.log);
        log.recount(event);
        self.settle(&log);
    }

    /// Frees up to `excess` bytes, the oldest entries first and down to the newest. Readers that need them overrun.
    pub(crate) fn squeeze(&self, excess: usize, spare: Spare) -> usize {
        let mut log = lock(&self.log);
        let before = log.held();
        log.squeeze(excess, spare);
        self.settle(&log);
        before - log.held()
    }

    /// Shows the log's head, epoch and size to those without its lock.
    fn settle(&self, log: &History) {
        let Position { epoch, offset } = log.position(log.head());
        self.epoch.store(epoch.0, Ordering::Relaxed);
        self.head.store(offset, Ordering::Release);
        let before = self.held.swap(log.held(), Ordering::Relaxed);
        self.budget.recount(before, log.held());
    }
}

impl Drop for SharedLog {
    fn drop(&mut self) {
        self.budget.recount(self.held(), 0);
    }
}
