//! What crossfade may ask of an upstream at all: so many requests per second, so many at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep_until, timeout_at};

use crate::config;
use crate::upstream::Purpose;

/// How long a client's request waits.
const PATIENCE: Duration = Duration::from_secs(1);

/// One upstream's budget.
pub(crate) struct Budget {
    settings: config::Budget,
    pace: Option<Mutex<Pace>>,
    places: Option<Arc<Semaphore>>,
    /// Sources wait for each other here, so that a client's request finds at most one of them before it.
    source: Semaphore,
}

/// A request's place among those in flight; it is free again when this is dropped.
pub(crate) type ServerPlace = Option<OwnedSemaphorePermit>;

/// How a request came in.
pub(crate) struct Admitted {
    /// To be held until the end of the answer.
    pub(crate) place: ServerPlace,
    /// Whether it had to wait.
    pub(crate) has_waited: bool,
}

impl Budget {
    /// Nothing is in flight.
    pub(crate) fn new(settings: config::Budget) -> Self {
        let pace = |rate| Mutex::new(Pace::new(rate));
        let places = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        Budget {
            pace: settings.requests_per_second.map(pace),
            places: settings.concurrency.map(places),
            source: Semaphore::new(1),
            settings,
        }
    }

    /// Whether it is a budget of this size.
    pub(crate) fn is(&self, settings: &config::Budget) -> bool {
        self.settings == *settings
    }

    /// Waits until the request may be sent: a source's as long as it takes, any other
    /// [`PATIENCE`]; `None` where that was not long enough.
    pub(crate) async fn admit(&self, purpose: Purpose) -> Option<Admitted> {
        if self.pace.is_none() && self.places.is_none() {
            return Some(Admitted {
                place: None,
                has_waited: false,
            });
        }
        if let Some(place) = self.at_once() {
            return Some(Admitted {
                place,
                has_waited: false,
            });
        }
        let place = match purpose {
            Purpose::Poll | Purpose::Sse => {
                let turn = self.source.acquire().await.ok()?;
                let place = self.place().await?;
                self.turn(None).await;
                drop(turn);
                place
            }
            Purpose::Passthrough | Purpose::Call | Purpose::Auth => {
                let deadline = now() + PATIENCE;
                let place = timeout_at(deadline.into(), self.place()).await.ok()??;
                self.turn(Some(deadline)).await.then_some(place)?
            }
        };
        Some(Admitted {
            place,
            has_waited: true,
        })
    }

    /// Whether one more request may be sent now in the same place.
    pub(crate) fn take_more(&self) -> bool {
        self.reserve(Some(now())).is_some()
    }

    /// A place and a turn, where neither has to be waited for.
    fn at_once(&self) -> Option<ServerPlace> {
        let place = match &self.places {
            Some(places) => Some(places.clone().try_acquire_owned().ok()?),
            None => None,
        };
        self.take_more().then_some(place)
    }

    async fn place(&self) -> Option<ServerPlace> {
        Some(match &self.places {
            Some(places) => Some(places.clone().acquire_owned().await.ok()?),
            None => None,
        })
    }

    /// Waits for the request's turn; false, at once, where that would be after the deadline.
    async fn turn(&self, deadline: Option<Instant>) -> bool {
        match self.reserve(deadline) {
            Some(at) => {
                sleep_until(at.into()).await;
                true
            }
            None => false,
        }
    }

    fn reserve(&self, deadline: Option<Instant>) -> Option<Instant> {
        let Some(pace) = &self.pace else {
            return Some(now());
        };
        let mut pace = pace.lock().unwrap_or_else(PoisonError::into_inner);
        pace.reserve(now(), deadline)
    }
}

/// By the runtime's clock, as the waits are.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// So many per second, evenly spaced, but for a tenth of them that may come at once. Pure.
struct Pace {
    gap: Duration,
    /// How far ahead of the even spacing one may be.
    ahead: Duration,
    /// When the next would be, evenly spaced.
    next: Option<Instant>,
}

impl Pace {
    fn new(per_second: usize) -> Self {
        let per_second = u32::try_from(per_second).unwrap_or(u32::MAX).max(1);
        let gap = Duration::from_secs(1) / per_second;
        Pace {
            gap,
            ahead: gap * (per_second / 10).saturating_sub(1),
            next: None,
        }
    }

    /// When the next request may be sent; `None`, and no turn is taken, where that is after the deadline.
    fn reserve(&mut self, now: Instant, deadline: Option<Instant>) -> Option<Instant> {
        let next = self.next.map_or(now, |next| next.max(now));
        let at = next.checked_sub(self.ahead).unwrap_or(now).max(now);
        if deadline.is_some_and(|deadline| at > deadline) {
            return None;
        }
        self.next = Some(next + self.gap);
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn budget(requests_per_second: Option<usize>, concurrency: Option<usize>) -> Budget {
        Budget::new(config::Budget {
            requests_per_second,
            concurrency,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_asked_without_a_budget() {
        let budget = budget(None, None);
        for _ in 0..1000 {
            let admitted = budget.admit(Purpose::Passthrough).await.unwrap();
            assert!(admitted.place.is_none() && !admitted.has_waited);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn full_upstream_queues_requests_1s_and_polls_until_free() {
        let budget = Arc::new(budget(None, Some(2)));
        let mut held = Vec::new();
        for _ in 0..2 {
            held.push(budget.admit(Purpose::Call).await.unwrap().place);
        }
        let begun = tokio::time::Instant::now();
        assert!(budget.admit(Purpose::Passthrough).await.is_none());
        assert_eq!(begun.elapsed(), PATIENCE);

        let polls: Vec<_> = (0..3)
            .map(|_| {
                let budget = budget.clone();
                tokio::spawn(async move { budget.admit(Purpose::Poll).await.unwrap() })
            })
            .collect();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(polls.iter().all(|poll| !poll.is_finished()));
        // A request that comes now finds one poll before it, not three.
        let person = tokio::spawn({
            let budget = budget.clone();
            async move { budget.admit(Purpose::Passthrough).await }
        });
        tokio::task::yield_now().await;
        held.clear();
        assert!(person.await.unwrap().is_some());
        for poll in polls {
            assert!(poll.await.unwrap().has_waited);
        }
    }

    #[test]
    fn a_turn_is_taken_only_by_a_caller_that_can_wait() {
        let now = Instant::now();
        let mut pace = Pace::new(10);
        let at = |pace: &mut Pace, patience| {
            let at = pace.reserve(now, patience)?;
            Some(at.duration_since(now).as_millis())
        };
        let second = Some(now + Duration::from_secs(1));
        let waits: Vec<_> = (0..11).map(|_| at(&mut pace, second)).collect();
        let evenly: Vec<_> = (0..11).map(|n| Some(n * 100)).collect();
        assert_eq!(waits, evenly);
        assert_eq!(at(&mut pace, second), None);
        assert_eq!(at(&mut pace, None), Some(1100));
    }

    proptest! {
        #[test]
        fn no_second_sees_more_than_a_tenth_too_many(
            rate in 1usize..200,
            gaps in prop::collection::vec(0u64..50, 1..400),
        ) {
            let mut now = Instant::now();
            let mut pace = Pace::new(rate);
            let mut sent = Vec::new();
            for gap in gaps {
                now += Duration::from_millis(gap);
                sent.push(pace.reserve(now, None).unwrap());
            }
            for (n, first) in sent.iter().enumerate() {
                let second = *first + Duration::from_secs(1);
                let within = sent[n..].iter().take_while(|at| **at < second).count();
                prop_assert!(within <= rate + rate / 10 + 1, "{within} at {rate}");
            }
        }
    }
}
