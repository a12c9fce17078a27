//! What the logs of all topics may hold together, and what they do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::history::Spare;
use crate::telemetry::Telemetry;

/// A reader that reads has taken by then what it was woken for. The log keeps longer what it needs, unless memory is short.
pub(super) const READ_WITHIN: Duration = Duration::from_secs(1);

pub(super) struct MemoryBudget {
    telemetry: Arc<Telemetry>,
    /// `limits.memory` as the newest configuration has it.
    memory: AtomicUsize,
    /// What the system leaves room for.
    ceiling: AtomicUsize,
    /// Bytes that all logs hold.
    held: AtomicUsize,
}

impl MemoryBudget {
    /// Nothing is held yet.
    pub(crate) fn new(memory: usize, telemetry: Arc<Telemetry>) -> Self {
        MemoryBudget {
            telemetry,
            memory: AtomicUsize::new(memory),
            ceiling: AtomicUsize::new(usize::MAX),
            held: AtomicUsize::new(0),
        }
    }

    /// A log holds `now` bytes instead of `before`.
    pub(crate) fn recount(&self, before: usize, now: usize) {
        if now >= before {
            self.held.fetch_add(now - before, Ordering::Relaxed);
        } else {
            self.held.fetch_sub(before - now, Ordering::Relaxed);
        }
        self.telemetry
            .hub
            .queue_bytes_changed(now as i64 - before as i64);
    }

    /// What all logs hold, in bytes.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether more is held than may be.
    pub(crate) fn is_exceeded(&self) -> bool {
        self.excess().is_some()
    }

    /// Another budget; what is above it goes with the next publication or sweep.
    pub(crate) fn set_memory(&self, bytes: usize) {
        self.memory.store(bytes, Ordering::Relaxed);
    }

    /// A bound from without, beside the budget; what is above it goes with the next publication or sweep.
    pub(crate) fn set_ceiling(&self, bytes: usize) {
        self.ceiling.store(bytes, Ordering::Relaxed);
    }

    /// What is above, in bytes.
    pub(crate) fn excess(&self) -> Option<usize> {
        let memory = self.memory.load(Ordering::Relaxed);
        let memory = memory.min(self.ceiling.load(Ordering::Relaxed));
        self.held().checked_sub(memory).filter(|&by| by > 0)
    }

    /// What may be taken from readers: what they have had time to take, and everything where the system has no room for it.
    pub(crate) fn spare(&self, now: Instant) -> Spare {
        let has_room = self.held() <= self.ceiling.load(Ordering::Relaxed);
        match now.checked_sub(READ_WITHIN) {
            Some(since) if has_room => Spare::Left(since),
            _ => Spare::All,
        }
    }

    /// Windows of this route have lost so many bytes before their time.
    pub(crate) fn squeezed(&self, route: &str, bytes: usize) {
        self.telemetry.hub.window_squeezed(route, bytes);
    }
}
