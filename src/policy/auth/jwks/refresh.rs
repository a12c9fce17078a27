//! When a key set may be asked for, and which keys it is known not to have.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Between two fetches for keys that are lacking, and between two of old keys that fail.
const COOLDOWN: Duration = Duration::from_secs(30);

/// Within which there are two fetches at most, for whatever reason, once there are keys.
const WINDOW: Duration = Duration::from_secs(60);

/// After the first failure without any keys; doubled up to the cooldown.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// How long a key is known to be missing.
const MISSING: Duration = Duration::from_secs(300);

/// How many are.
const MOST_MISSING: usize = 128;

/// Why a set is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RefreshReason {
    /// There is none.
    None,
    /// It will soon be old.
    Old,
    /// A token names a key that it has not.
    Lacking,
}

#[derive(Default)]
pub(super) struct RefreshPace {
    /// The last two.
    begun: [Option<Instant>; 2],
    /// The last one for a key that was lacking.
    looked_up: Option<Instant>,
    failed: Option<Instant>,
    /// In a row.
    failures: u32,
    missing: VecDeque<(String, Instant)>,
}

impl RefreshPace {
    /// Whether a fetch may begin now; if so, it is counted.
    pub(super) fn begin(&mut self, reason: RefreshReason, now: Instant) -> bool {
        let is_past = |moment: Option<Instant>, pause| moment.is_none_or(|m| now >= m + pause);
        let [before, last] = self.begun;
        let may = match reason {
            RefreshReason::None => is_past(self.failed, self.pause()),
            // A fetch of another kind does not hold this one up: a key that is new just after the start is found at once.
            RefreshReason::Lacking => is_past(self.looked_up, COOLDOWN) && is_past(before, WINDOW),
            RefreshReason::Old => is_past(last, COOLDOWN) && is_past(before, WINDOW),
        };
        if may {
            self.begun = [last, Some(now)];
            if reason == RefreshReason::Lacking {
                self.looked_up = Some(now);
            }
        }
        may
    }

    /// How it ended.
    pub(super) fn ended(&mut self, is_ok: bool, now: Instant) {
        match is_ok {
            true => (self.failed, self.failures) = (None, 0),
            false => (self.failed, self.failures) = (Some(now), self.failures.saturating_add(1)),
        }
    }

    /// Whether the set was asked for this key a short time ago, and has none.
    pub(super) fn is_missing(&self, kid: &str, now: Instant) -> bool {
        let mut missing = self.missing.iter();
        missing.any(|(other, since)| other == kid && now < *since + MISSING)
    }

    /// The set has no such key; the oldest is forgotten.
    pub(super) fn note_missing(&mut self, kid: &str, now: Instant) {
        self.missing.retain(|(other, _)| other != kid);
        if self.missing.len() >= MOST_MISSING {
            self.missing.pop_front();
        }
        self.missing.push_back((kid.to_owned(), now));
    }

    fn pause(&self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(5);
        (FIRST_PAUSE * 2u32.pow(doublings)).min(COOLDOWN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn without_keys_the_pauses_grow_to_the_cooldown() {
        let (mut pace, mut now) = (RefreshPace::default(), Instant::now());
        for pause in [1, 2, 4, 8, 16, 30, 30, 30] {
            assert!(pace.begin(RefreshReason::None, now));
            pace.ended(false, now);
            let almost = now + seconds(pause) - Duration::from_millis(1);
            assert!(!pace.begin(RefreshReason::None, almost), "{pause}");
            now += seconds(pause);
        }
        assert!(pace.begin(RefreshReason::None, now));
        pace.ended(true, now);
        // Gone a day later, and the first failure is a first one again.
        now += seconds(24 * 60 * 60);
        assert!(pace.begin(RefreshReason::None, now));
        pace.ended(false, now);
        assert!(pace.begin(RefreshReason::None, now + seconds(1)));
    }

    #[test]
    fn there_are_two_in_a_minute_for_any_caller() {
        let (mut pace, start) = (RefreshPace::default(), Instant::now());
        assert!(pace.begin(RefreshReason::None, start));
        pace.ended(true, start);
        let mut begun = vec![start];
        for second in 1..=600 {
            let now = start + seconds(second);
            for reason in [
                RefreshReason::Lacking,
                RefreshReason::Old,
                RefreshReason::Lacking,
            ] {
                if pace.begin(reason, now) {
                    pace.ended(second % 7 == 0, now);
                    begun.push(now);
                }
            }
        }
        assert_eq!(begun[1], start + seconds(1), "the first is not held up");
        for three in begun.windows(3) {
            assert!(three[2] >= three[0] + seconds(60));
        }
        assert!(begun.len() >= 16, "and they do go on: {}", begun.len());
    }

    #[test]
    fn missing_keys_are_remembered_five_minutes_and_bounded() {
        let (mut pace, now) = (RefreshPace::default(), Instant::now());
        pace.note_missing("k", now);
        assert!(pace.is_missing("k", now + seconds(299)));
        assert!(!pace.is_missing("k", now + seconds(300)));
        assert!(!pace.is_missing("K", now));
        for number in 0..128 {
            pace.note_missing(&number.to_string(), now);
        }
        assert!(!pace.is_missing("k", now));
        assert!(pace.is_missing("0", now) && pace.is_missing("127", now));
        assert_eq!(pace.missing.len(), 128);
    }
}
