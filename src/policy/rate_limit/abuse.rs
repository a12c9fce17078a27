//! Connections that stay above a limit.

use std::num::NonZeroU32;

use tokio::time::Instant;

/// Seconds that are looked back on.
const SECONDS: u64 = 10;

/// Bursts that may be refused in that time.
const BURSTS: u32 = 3;

/// The recent refusals of a connection: a client that hurries is asked to wait, one that floods is closed.
#[derive(Clone, Debug)]
pub(crate) struct Abuse {
    burst: NonZeroU32,
    /// Refused in each of the last seconds, the present one at `second % SECONDS`.
    refused: [u32; SECONDS as usize],
    second: u64,
    start: Instant,
}

impl Abuse {
    /// Above a limit of this burst.
    pub(crate) fn new(burst: NonZeroU32, now: Instant) -> Abuse {
        Abuse {
            burst,
            refused: [0; SECONDS as usize],
            second: 0,
            start: now,
        }
    }

    /// Counts so many as refused. Whether more than three bursts were, within ten seconds at most.
    pub(crate) fn is_persistent(&mut self, count: u32, now: Instant) -> bool {
        let second = now.saturating_duration_since(self.start).as_secs();
        for passed in (self.second..second).take(self.refused.len()) {
            // The seconds after the last one, up to the present.
            if let Some(slot) = self.slot(passed + 1) {
                *slot = 0;
            }
        }
        self.second = self.second.max(second);
        if let Some(slot) = self.slot(self.second) {
            *slot = slot.saturating_add(count);
        }
        let refused: u64 = self.refused.iter().copied().map(u64::from).sum();
        refused > u64::from(self.burst.get()) * u64::from(BURSTS)
    }

    fn slot(&mut self, second: u64) -> Option<&mut u32> {
        self.refused.get_mut((second % SECONDS) as usize)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Refusals by the millisecond; whether the last is one too many.
    fn is_persistent(refusals: &[(u64, u32)]) -> bool {
        let start = Instant::now();
        let mut excess = Abuse::new(NonZeroU32::new(10).unwrap(), start);
        let mut judge =
            |&(at, count)| excess.is_persistent(count, start + Duration::from_millis(at));
        let (last, before) = refusals.split_last().unwrap();
        for refusal in before {
            assert!(!judge(refusal), "{refusal:?}");
        }
        judge(last)
    }

    #[test]
    fn three_bursts_are_forgiven_and_one_message_more_is_not() {
        assert!(!is_persistent(&[(0, 30)]));
        assert!(is_persistent(&[(0, 31)]));
        assert!(is_persistent(&[(0, 30), (0, 1)]));
        assert!(is_persistent(&[(0, u32::MAX)]));
    }

    #[test]
    fn what_was_ten_seconds_ago_is_forgotten() {
        assert!(is_persistent(&[(0, 30), (9_999, 1)]));
        assert!(!is_persistent(&[(999, 30), (10_000, 1)]));
        assert!(!is_persistent(&[(0, 30), (3_600_000, 30)]));
        assert!(is_persistent(&[(0, 30), (3_600_000, 30), (3_601_000, 1)]));
    }

    #[test]
    fn a_steady_trickle_above_the_limit_is_told_to_wait_for_ever() {
        let trickle: Vec<(u64, u32)> = (0..1000).map(|second| (second * 1000, 3)).collect();
        assert!(!is_persistent(&trickle));
    }

    #[test]
    fn a_flood_over_the_end_of_a_window_is_one_flood() {
        assert!(is_persistent(&[(9_500, 20), (10_500, 11)]));
    }

    #[test]
    fn time_that_runs_backwards_counts_all_the_same() {
        assert!(is_persistent(&[(20_000, 30), (5_000, 1)]));
    }
}
