//! Limits WebSocket handshakes overall: in a storm a client waits a moment, or gets the time of its retry.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use governor::RateLimiter;
use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use tokio::time::{Instant, sleep, timeout};

use super::clock::{Clock, Moment};
use super::quota::Measure;
use super::retry_spread::RetrySpread;
use crate::config::Rate;

/// The most waiting handshakes; the rest is refused at once.
const WAITERS: usize = 1024;

/// Longest wait.
const PATIENCE: Duration = Duration::from_secs(2);

/// The one limiter of all handshakes (`server.limits.handshakes`).
#[derive(Debug, Default)]
pub(crate) struct Admission(ArcSwapOption<HandshakeLimiter>);

/// Too many at once: when to retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RetryAfter(pub(crate) Duration);

/// Admission at one rate.
#[derive(Debug)]
struct HandshakeLimiter {
    rate: Rate,
    limiter: RateLimiter<NotKeyed, InMemoryState, Clock, NoOpMiddleware<Moment>>,
    /// Its holder is the next.
    line: tokio::sync::Mutex<()>,
    waiting: AtomicUsize,
    /// So many may wait.
    room: usize,
    backlog: Mutex<RetrySpread>,
}

/// A handshake in line; it leaves the line when dropped.
struct Waiter<'d>(&'d HandshakeLimiter);

impl Admission {
    /// Lets a handshake in, at once or within two seconds. Another limit than the last time starts with an empty line.
    ///
    /// # Errors
    /// There are too many: when to retry. Handshakes that are refused together get different times.
    pub(crate) async fn admit(&self, limit: Option<Rate>) -> Result<(), RetryAfter> {
        let Some(rate) = limit else {
            return Ok(());
        };
        self.door(rate).admit().await
    }

    fn door(&self, rate: Rate) -> Arc<HandshakeLimiter> {
        let fits = |door: &Option<Arc<HandshakeLimiter>>| {
            door.as_ref().is_some_and(|door| door.rate == rate)
        };
        let present = self.0.load_full().filter(|door| door.rate == rate);
        present.unwrap_or_else(|| {
            let new = Arc::new(HandshakeLimiter::new(rate));
            // A second caller takes the limiter that the first one made: two of them would let in twice as many.
            let old = self.0.rcu(|door| match fits(door) {
                true => door.clone(),
                false => Some(new.clone()),
            });
            old.filter(|door| door.rate == rate).unwrap_or(new)
        })
    }
}

impl HandshakeLimiter {
    fn new(rate: Rate) -> HandshakeLimiter {
        let in_time = PATIENCE.as_secs_f64() * per_second(&rate);
        HandshakeLimiter {
            rate,
            limiter: RateLimiter::direct_with_clock(Measure::new(&rate, 1).quota(), Clock),
            line: tokio::sync::Mutex::new(()),
            waiting: AtomicUsize::new(0),
            // No handshake waits in vain.
            room: WAITERS.min(in_time as usize),
            backlog: Mutex::new(RetrySpread::new(Instant::now())),
        }
    }

    async fn admit(&self) -> Result<(), RetryAfter> {
        // No handshake overtakes those in line.
        if self.waiting.load(Ordering::Acquire) == 0 && self.limiter.check().is_ok() {
            return Ok(());
        }
        let Some(_waiter) = self.stand_in_line() else {
            return Err(self.refuse());
        };
        timeout(PATIENCE, self.turn())
            .await
            .map_err(|_| self.refuse())
    }

    fn stand_in_line(&self) -> Option<Waiter<'_>> {
        let one_more = |waiting| (waiting < self.room).then_some(waiting + 1);
        let stood = self
            .waiting
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more);
        // A waiter that was made in vain would leave the line that it never stood in.
        stood.is_ok().then(|| Waiter(self))
    }

    /// The first in line, and then let in.
    async fn turn(&self) {
        let _first = self.line.lock().await;
        while let Err(until) = self.limiter.check() {
            sleep(until.wait_time_from(Clock.now())).await;
        }
    }

    fn refuse(&self) -> RetryAfter {
        let ahead = self.waiting.load(Ordering::Relaxed);
        let mut backlog = self.backlog.lock().unwrap_or_else(PoisonError::into_inner);
        let (rate, now) = (per_second(&self.rate), Instant::now());
        RetryAfter(backlog.refuse(ahead, rate, now, fastrand::f64()))
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

fn per_second(rate: &Rate) -> f64 {
    f64::from(rate.count.get()) / rate.per.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use futures_util::future::join_all;
    use tokio::time::advance;

    use super::*;

    fn rate(count: u32, burst: u32) -> Option<Rate> {
        Some(Rate {
            count: NonZeroU32::new(count).unwrap(),
            per: Duration::from_secs(1),
            burst: NonZeroU32::new(burst).unwrap(),
        })
    }

    /// All at once: the result of each, and after which time.
    async fn storm(count: usize, limit: Option<Rate>) -> Vec<(Result<(), RetryAfter>, Duration)> {
        let admission = Arc::new(Admission::default());
        let start = Instant::now();
        let one = |_| {
            let admission = admission.clone();
            tokio::spawn(async move { (admission.admit(limit).await, start.elapsed()) })
        };
        let all: Vec<_> = (0..count).map(one).collect();
        join_all(all)
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_everybody_comes_in() {
        let admission = Admission::default();
        for _ in 0..10_000 {
            admission.admit(None).await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn storm_is_admitted_in_a_burst_queued_or_told_when_to_retry() {
        let all = storm(10_000, rate(1000, 500)).await;
        let (admitted, refused): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|(result, _)| result.is_ok());
        assert_eq!(admitted.len(), 500 + WAITERS);
        let took: Duration = admitted.iter().map(|one| one.1).max().unwrap();
        let due = Duration::from_secs_f64(WAITERS as f64 / 1000.0);
        assert!(
            took >= due && took < due + Duration::from_millis(100),
            "{took:?}"
        );
        // The others are refused at once, and come back over the eight seconds that they take.
        assert!(refused.iter().all(|one| one.1.is_zero()));
        let mut seconds = [0; 31];
        for (result, _) in refused {
            let RetryAfter(after) = result.unwrap_err();
            seconds[after.as_secs() as usize] += 1;
        }
        assert!(seconds.iter().all(|count| *count < 1300), "{seconds:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn no_request_waits_longer_than_two_seconds_nor_in_vain() {
        let all = storm(100, rate(10, 1)).await;
        let admitted = all.iter().filter(|(result, _)| result.is_ok());
        assert_eq!(admitted.count(), 1 + 20);
        assert!(all.iter().all(|(_, took)| *took <= PATIENCE));
        // Where one comes in each minute, none waits.
        let admission = Admission::default();
        let slow = rate(1, 1).map(|rate| Rate {
            per: Duration::from_secs(60),
            ..rate
        });
        admission.admit(slow).await.unwrap();
        let start = Instant::now();
        admission.admit(slow).await.unwrap_err();
        assert!(start.elapsed().is_zero());
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_requests_come_first_and_leavers_block_none() {
        let admission = Arc::new(Admission::default());
        admission.admit(rate(10, 1)).await.unwrap();
        let wait = || {
            let admission = admission.clone();
            tokio::spawn(async move { admission.admit(rate(10, 1)).await })
        };
        let (first, second) = (wait(), wait());
        advance(Duration::from_millis(50)).await;
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        second.await.unwrap().unwrap();
        let door = admission.door(rate(10, 1).unwrap());
        assert_eq!(door.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reload_may_change_the_rate() {
        let admission = Admission::default();
        admission.admit(rate(1, 1)).await.unwrap();
        for _ in 0..50 {
            admission.admit(rate(100, 50)).await.unwrap();
        }
        let start = Instant::now();
        admission.admit(rate(100, 50)).await.unwrap();
        assert!(start.elapsed() >= Duration::from_millis(9));
    }

    #[test]
    fn of_two_that_open_a_connection_both_use_the_same() {
        let admission = Admission::default();
        let doors = std::thread::scope(|scope| {
            let open = || admission.door(rate(10, 1).unwrap());
            [(); 4]
                .map(|()| scope.spawn(open))
                .map(|door| door.join().unwrap())
        });
        assert!(doors.iter().all(|door| Arc::ptr_eq(door, &doors[0])));
    }
}
