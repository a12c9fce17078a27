//! How many requests may be sent once more: a share of those that were sent at all. Pure.

use std::time::Instant;

/// The window, seconds.
const WINDOW: u64 = 10;
/// Every fifth request may be a repetition.
const SHARE: u64 = 5;
/// And these where there are few: ten a second.
const LEAST: u64 = 100;

/// One upstream's requests and repetitions of the last seconds.
#[derive(Debug)]
pub(crate) struct Retries {
    since: Instant,
    seconds: [Second; WINDOW as usize],
}

#[derive(Clone, Copy, Debug, Default)]
struct Second {
    number: u64,
    requests: u64,
    retries: u64,
}

impl Retries {
    /// Nothing was sent yet.
    pub(crate) fn new(now: Instant) -> Self {
        Retries {
            since: now,
            seconds: Default::default(),
        }
    }

    /// A client's request is sent.
    pub(crate) fn count(&mut self, now: Instant) {
        self.second(now).requests += 1;
    }

    /// Whether one of them may be sent once more; counts it then.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let number = self.number(now);
        let recent = self
            .seconds
            .iter()
            .filter(|second| second.number + WINDOW > number);
        let (requests, retries) = recent.fold((0, 0), |(requests, retries), second| {
            (requests + second.requests, retries + second.retries)
        });
        let is_left = retries < LEAST + requests / SHARE;
        if is_left {
            self.second(now).retries += 1;
        }
        is_left
    }

    fn number(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.since).as_secs()
    }

    fn second(&mut self, now: Instant) -> &mut Second {
        let number = self.number(now);
        let second = &mut self.seconds[(number % WINDOW) as usize];
        if second.number != number {
            *second = Second {
                number,
                ..Second::default()
            };
        }
        second
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_few_at_first_then_every_fifth_and_anew_after_the_window() {
        let now = Instant::now();
        let mut retries = Retries::new(now);
        let mut taken = |now, requests| {
            (0..requests).for_each(|_| retries.count(now));
            (0..1000).filter(|_| retries.take(now)).count()
        };
        assert_eq!(taken(now, 1), 100);
        assert_eq!(taken(now, 99), 20);
        assert_eq!(taken(now + Duration::from_secs(9), 0), 0);
        assert_eq!(taken(now + Duration::from_secs(10), 50), 110);
    }

    proptest! {
        #[test]
        fn repetitions_stay_below_their_share(gaps in prop::collection::vec(0u64..3000, 1..500)) {
            let start = Instant::now();
            let mut now = start;
            let mut retries = Retries::new(start);
            let (mut sent, mut again) = (0u64, 0u64);
            for gap in gaps {
                now += Duration::from_millis(gap);
                retries.count(now);
                sent += 1;
                again += u64::from(retries.take(now));
            }
            let windows = now.duration_since(start).as_secs() / WINDOW + 1;
            prop_assert!(again <= sent / SHARE + LEAST * 2 * windows);
        }
    }
}
