//! One server, and all that is known of it. It outlives reloads that keep its URL.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::balance;
use super::checks::Checks;
use super::ejection::{Ejection, Outcome, Turn};
use crate::config::Authority;

/// See the page's head.
#[derive(Debug)]
pub struct Server {
    /// Where it is.
    pub authority: Authority,
    /// Requests sent to it whose answer has not ended.
    pub in_flight: AtomicUsize,
    record: Mutex<Record>,
}

/// What is known of a server. Pure.
#[derive(Debug, Default)]
pub struct Record {
    /// By its answers.
    pub ejection: Ejection,
    /// By its own word.
    pub checks: Checks,
    /// Since when it gets requests beside others; its share grows with the time.
    newcomer: Option<Instant>,
}

impl Server {
    /// One of whom nothing is known; `newcomer` where it joins others that are well.
    pub fn new(authority: Authority, newcomer: Option<Instant>) -> Self {
        Server {
            authority,
            in_flight: AtomicUsize::new(0),
            record: Mutex::new(Record {
                newcomer,
                ..Record::default()
            }),
        }
    }

    /// The record; held for a look or a note, never across a wait.
    pub fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests in flight.
    pub fn load(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }
}

impl Record {
    /// Whether it may get any request.
    pub fn is_usable(&self) -> bool {
        !self.checks.is_out() && !self.ejection.is_out()
    }

    /// Whether the next request may find out how it is.
    pub fn is_due(&self, now: Instant) -> bool {
        !self.checks.is_out() && self.ejection.is_due(now)
    }

    /// Whether a request that has nowhere else to go may try it.
    pub fn may_be_tried(&self, now: Instant) -> bool {
        !self.checks.is_out() && self.ejection.may_be_tried(now)
    }

    /// How much of its share of requests it is to get.
    pub fn share(&mut self, now: Instant) -> f64 {
        let Some(since) = self.newcomer else {
            return 1.0;
        };
        let since = now.saturating_duration_since(since);
        if since >= balance::SLOW_START {
            self.newcomer = None;
        }
        balance::share(since)
    }

    /// Takes in what came of a request.
    pub fn take(
        &mut self,
        outcome: Outcome,
        is_probe: bool,
        others: bool,
        now: Instant,
    ) -> Option<Turn> {
        let turn = self.ejection.take(outcome, is_probe, others, now);
        if turn == Some(Turn::Back) {
            self.newcomer = others.then_some(now);
        }
        turn
    }

    /// Takes in a check; whether the server is well, where that changed. Checks that are good twice
    /// in a row also end what its answers had brought upon it.
    pub fn check(&mut self, is_good: bool, others: bool, now: Instant) -> Option<bool> {
        let was_usable = self.is_usable();
        self.checks.take(is_good, others);
        if self.checks.is_sure() {
            self.ejection.readmit(now);
        }
        let is_usable = self.is_usable();
        if is_usable && !was_usable {
            self.newcomer = others.then_some(now);
        }
        (is_usable != was_usable).then_some(is_usable)
    }

    /// Nobody checks it any more: what the checks said is forgotten.
    pub fn forget_checks(&mut self) {
        self.checks = Checks::default();
    }

    /// Whether it gets no requests now, however it is. An ejected server's time counts only where
    /// another takes its requests meanwhile.
    pub fn is_shunned(&self, others: bool, now: Instant) -> bool {
        let serves_time = others && self.ejection.is_out() && !self.ejection.is_due(now);
        self.checks.is_out() || serves_time
    }
}
