//! One server, and all that is known of it. It outlives reloads that keep its URL.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::health_state::Checks;
use super::load_balancer;
use super::outlier_detection::{AttemptOutcome, Ejection, Turn};
use crate::config::Authority;

/// See the page's head.
#[derive(Debug)]
pub(crate) struct ClusterServer {
    /// Where it is.
    pub(crate) authority: Authority,
    /// Requests sent to it whose answer has not ended.
    pub(crate) in_flight: AtomicUsize,
    record: Mutex<ServerRecord>,
}

/// What is known of a server. Pure.
#[derive(Debug, Default)]
pub(crate) struct ServerRecord {
    /// By its answers.
    pub(crate) ejection: Ejection,
    /// By its own word.
    pub(crate) checks: Checks,
    /// Since when it gets requests beside others; its share grows with the time.
    newcomer: Option<Instant>,
    /// Whether its checks count: the last one may come when checks were turned off.
    is_checked: bool,
    /// Whether it is no longer part of its upstream; what comes of requests under way is no news then.
    is_gone: bool,
}

impl ClusterServer {
    /// One of which nothing is known; `newcomer` where it joins others that are well.
    pub(crate) fn new(authority: Authority, newcomer: Option<Instant>) -> Self {
        ClusterServer {
            authority,
            in_flight: AtomicUsize::new(0),
            record: Mutex::new(ServerRecord {
                newcomer,
                ..ServerRecord::default()
            }),
        }
    }

    /// The record; held for a look or a note, never across a wait.
    pub(crate) fn record(&self) -> MutexGuard<'_, ServerRecord> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests in flight.
    pub(crate) fn load(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }
}

impl ServerRecord {
    /// Whether it may get any request.
    pub(crate) fn is_usable(&self) -> bool {
        !self.checks.is_out() && !self.ejection.is_out()
    }

    /// Whether the next request may find out how it is.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        !self.checks.is_out() && self.ejection.is_due(now)
    }

    /// Whether a request that has nowhere else to go may try it.
    pub(crate) fn may_be_tried(&self, now: Instant) -> bool {
        !self.checks.is_out() && self.ejection.may_be_tried(now)
    }

    /// How much of its share of requests it is to get.
    pub(crate) fn share(&mut self, now: Instant) -> f64 {
        let Some(since) = self.newcomer else {
            return 1.0;
        };
        let since = now.saturating_duration_since(since);
        if since >= load_balancer::SLOW_START {
            self.newcomer = None;
        }
        load_balancer::share(since)
    }

    /// Takes in what came of a request.
    pub(crate) fn take(
        &mut self,
        outcome: AttemptOutcome,
        is_probe: bool,
        others: bool,
        now: Instant,
    ) -> Option<Turn> {
        if self.is_gone {
            return None;
        }
        let turn = self.ejection.take(outcome, is_probe, others, now);
        if turn == Some(Turn::Back) {
            self.newcomer = others.then_some(now);
        }
        turn
    }

    /// Takes in a check; whether the server is well, where that changed. Checks that are good twice
    /// in a row also end what its answers had brought upon it.
    pub(crate) fn check(&mut self, is_good: bool, others: bool, now: Instant) -> Option<bool> {
        if !self.is_checked || self.is_gone {
            return None;
        }
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

    /// It is checked from now on, or no more: then what its checks said is forgotten.
    pub(crate) fn set_checked(&mut self, is_checked: bool) {
        self.is_checked = is_checked;
        if !is_checked {
            self.checks = Checks::default();
        }
    }

    /// It is no longer part of its upstream.
    pub(crate) fn leave(&mut self) {
        self.is_gone = true;
    }

    /// Whether it gets no requests now, however it is. An ejected server's time counts only where
    /// another takes its requests meanwhile.
    pub(crate) fn is_shunned(&self, others: bool, now: Instant) -> bool {
        let serves_time = others && self.ejection.is_out() && !self.ejection.is_due(now);
        self.checks.is_out() || serves_time
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const REFUSED: AttemptOutcome = AttemptOutcome::Failed {
        took: Duration::ZERO,
    };

    fn checked() -> ServerRecord {
        let mut record = ServerRecord::default();
        record.set_checked(true);
        record
    }

    #[test]
    fn it_has_to_be_well_by_its_answers_and_by_its_checks() {
        let now = Instant::now();
        let mut record = checked();
        for _ in 0..5 {
            record.take(REFUSED, false, true, now);
        }
        assert!(!record.is_usable());
        assert_eq!(record.check(true, true, now), None, "one is no proof");
        assert_eq!(record.check(true, true, now), Some(true));
        assert_eq!(record.share(now), 0.1, "a newcomer among others");
        assert_eq!(record.share(now + load_balancer::SLOW_START), 1.0);

        for _ in 0..3 {
            record.check(false, true, now);
        }
        assert!(!record.is_usable());
        assert!(!record.is_due(now) && !record.may_be_tried(now));
        record.take(AttemptOutcome::Good, false, true, now);
        assert!(!record.is_usable(), "its own word counts more");
    }

    #[test]
    fn a_check_that_is_not_awaited_any_more_changes_nothing() {
        let now = Instant::now();
        let mut record = checked();
        record.check(false, true, now);
        assert!(!record.is_usable());
        record.set_checked(false);
        assert!(record.is_usable());
        assert_eq!(record.check(false, true, now), None);
        assert!(record.is_usable());
    }

    #[test]
    fn a_client_that_is_gone_is_no_news() {
        let now = Instant::now();
        let mut record = checked();
        record.leave();
        for _ in 0..9 {
            assert_eq!(record.take(REFUSED, false, true, now), None);
            assert_eq!(record.check(false, true, now), None);
        }
    }

    #[test]
    fn ejected_server_is_avoided_only_while_another_serves() {
        let now = Instant::now();
        let mut record = checked();
        for _ in 0..5 {
            record.take(REFUSED, false, true, now);
        }
        assert!(record.is_shunned(true, now));
        assert!(!record.is_shunned(false, now));
        let due = now + Duration::from_secs(30);
        assert!(!record.is_shunned(true, due));
    }
}
