//! When the next poll begins. Pure: chance is an argument, times are durations.

use std::time::Duration;

use crate::config::Poll;
use crate::source::answer::AnswerFailure;

/// The adaptive interval grows by half while nothing changes.
const GROWTH: f64 = 1.5;
/// The wait after a first failure, doubled with each more, where the interval is shorter.
const FIRST_BACKOFF: Duration = Duration::from_millis(250);
/// Consecutive failures from which on only probes are sent.
const BREAKER: u32 = 5;
/// Between two probes, at least.
const PROBE: Duration = Duration::from_secs(10);
/// Failed intervals after which what clients hold counts as stale.
const STALE_AFTER: u32 = 3;

/// What a poll came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PollRound {
    /// Something new.
    Changed,
    /// Nothing new; the answer may be used for as long as `max_age` says.
    Unchanged {
        /// `Cache-Control: max-age`.
        max_age: Option<Duration>,
    },
    /// No document.
    Failed(AnswerFailure),
}

/// When to poll again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Next {
    /// Not before this long after the round's start.
    pub(crate) after_start: Duration,
    /// Not before this long after its end.
    pub(crate) after_end: Duration,
    /// Whether an observed write may bring the poll forward: not where the backend has asked for
    /// a pause or the breaker is open.
    pub(crate) may_refresh: bool,
}

/// A topic's rhythm.
#[derive(Debug, Default)]
pub(crate) struct PollPace {
    /// The adaptive interval; `None` before the first answer.
    grown: Option<Duration>,
    failures: u32,
}

impl PollPace {
    /// The interval in force.
    pub(crate) fn interval(&self, poll: &Poll) -> Duration {
        match poll.adaptive {
            None => poll.every,
            Some((min, max)) => {
                let max = max.max(min);
                self.grown.unwrap_or(poll.every).clamp(min, max)
            }
        }
    }

    /// Takes in what a round came to; `roll` is from 0 to 1.
    ///
    /// Fixed: start to start. A round that takes longer than the interval leaves the backend a
    /// tenth of the interval before the next. Adaptive: falls to `min` at a change, grows by half
    /// up to `max` without one, and does not ask again while the answer calls itself fresh; a
    /// fixed interval is the operator's own word and `max-age` does not change it.
    pub(crate) fn next(&mut self, poll: &Poll, round: PollRound, roll: f64) -> Next {
        let failure = match round {
            PollRound::Failed(failure) => failure,
            PollRound::Changed => {
                self.failures = 0;
                self.grown = poll.adaptive.map(|(min, _)| min);
                return at_interval(self.interval(poll), poll, roll);
            }
            PollRound::Unchanged { max_age } => {
                self.failures = 0;
                if poll.adaptive.is_some() {
                    let grown = self.interval(poll).mul_f64(GROWTH);
                    self.grown = Some(grown.max(max_age.unwrap_or_default()));
                }
                return at_interval(self.interval(poll), poll, roll);
            }
        };
        self.failures = self.failures.saturating_add(1);
        let interval = self.interval(poll);
        if let Some(pause) = failure.asked_pause(roll) {
            return Next {
                after_start: interval,
                after_end: pause,
                may_refresh: false,
            };
        }
        if self.failures >= BREAKER {
            return Next {
                after_start: interval,
                after_end: PROBE.mul_f64(1.0 + 0.1 * roll),
                may_refresh: false,
            };
        }
        let doubled = FIRST_BACKOFF.saturating_mul(1 << (self.failures - 1));
        at_interval(interval.max(doubled), poll, roll)
    }

    /// Whether so many polls failed in a row that what clients hold counts as stale.
    pub(crate) fn is_stale(&self) -> bool {
        self.failures >= STALE_AFTER
    }

    /// From the end of a good round that took `took` to the instant when what clients hold counts
    /// as stale even though the next round has not failed yet: it hangs, or was put off.
    pub(crate) fn overdue(&self, poll: &Poll, took: Duration) -> Duration {
        self.interval(poll).saturating_mul(1 + STALE_AFTER) + took
    }
}

fn at_interval(interval: Duration, poll: &Poll, roll: f64) -> Next {
    let swing = (roll * 2.0 - 1.0) * poll.jitter / 100.0;
    Next {
        after_start: interval.mul_f64((1.0 + swing).max(0.0)),
        after_end: interval / 10,
        may_refresh: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::answer::DOWN;
    use crate::source::diff::tests::poll as plain;

    const MS: fn(u64) -> Duration = Duration::from_millis;
    const QUIET: PollRound = PollRound::Unchanged { max_age: None };

    fn fixed() -> Poll {
        plain(crate::config::Emit::Document)
    }

    fn adaptive() -> Poll {
        Poll {
            adaptive: Some((MS(500), MS(4000))),
            ..fixed()
        }
    }

    fn failed(retry_after: Option<u64>) -> PollRound {
        PollRound::Failed(AnswerFailure {
            why: DOWN,
            retry_after: retry_after.map(Duration::from_secs),
        })
    }

    #[test]
    fn a_fixed_interval_runs_from_start_to_start_with_jitter() {
        let mut pace = PollPace::default();
        for round in [PollRound::Changed, QUIET] {
            for (roll, millis) in [(0.0, 900), (0.5, 1000), (1.0, 1100)] {
                let next = pace.next(&fixed(), round, roll);
                assert_eq!(next.after_start, MS(millis));
                assert_eq!(next.after_end, MS(100));
                assert!(next.may_refresh);
            }
        }
        let fresh = PollRound::Unchanged {
            max_age: Some(MS(60_000)),
        };
        assert_eq!(pace.next(&fixed(), fresh, 0.5).after_start, MS(1000));
    }

    #[test]
    fn an_adaptive_interval_grows_in_silence_and_falls_at_a_change() {
        let mut pace = PollPace::default();
        let poll = adaptive();
        let mut next = |round| pace.next(&poll, round, 0.5).after_start.as_millis();
        assert_eq!(next(PollRound::Changed), 500);
        let quiet: Vec<_> = (0..7).map(|_| next(QUIET)).collect();
        assert_eq!(quiet, [750, 1125, 1687, 2531, 3796, 4000, 4000]);
        assert_eq!(next(PollRound::Changed), 500);
        let fresh = |secs| PollRound::Unchanged {
            max_age: Some(Duration::from_secs(secs)),
        };
        assert_eq!(next(fresh(2)), 2000);
        assert_eq!(next(PollRound::Changed), 500);
        assert_eq!(next(fresh(3600)), 4000);
    }

    #[test]
    fn failures_back_off_and_the_fifth_opens_the_breaker() {
        let mut pace = PollPace::default();
        let poll = Poll {
            every: MS(100),
            ..fixed()
        };
        let mut waits = Vec::new();
        for n in 1..=7 {
            let next = pace.next(&poll, failed(None), 0.5);
            waits.push(next.after_start.max(next.after_end).as_millis());
            assert_eq!(pace.is_stale(), n >= 3);
            assert_eq!(next.may_refresh, n < 5);
        }
        assert_eq!(waits, [250, 500, 1000, 2000, 10_500, 10_500, 10_500]);
        assert_eq!(pace.next(&poll, QUIET, 0.5).after_start, MS(100));
        assert!(!pace.is_stale());
        assert_eq!(pace.next(&poll, failed(None), 0.5).after_start, MS(250));
    }

    #[test]
    fn probe_waits_at_least_ten_seconds_and_the_interval() {
        for (every, least) in [(100, 10_000), (30_000, 30_000)] {
            let poll = Poll {
                every: MS(every),
                ..fixed()
            };
            let mut pace = PollPace::default();
            let nexts = (0..9).map(|_| pace.next(&poll, failed(None), 0.0));
            let probes = nexts.skip(4).collect::<Vec<_>>();
            assert!(
                probes
                    .iter()
                    .all(|next| next.after_start.max(next.after_end) >= MS(least))
            );
        }
    }

    #[test]
    fn a_pause_that_the_backend_asks_for_is_kept() {
        let mut pace = PollPace::default();
        for n in 0..9 {
            for (roll, millis) in [(0.0, 7000), (1.0, 7350)] {
                let next = pace.next(&fixed(), failed(Some(7)), roll);
                assert_eq!(next.after_end, MS(millis), "{n}");
                assert!(!next.may_refresh);
            }
        }
        let mut pace = PollPace::default();
        let zero = pace.next(&fixed(), failed(Some(0)), 0.5);
        assert_eq!(zero.after_start, MS(1000));
    }

    #[test]
    fn a_new_interval_holds_from_the_next_round_on() {
        let mut pace = PollPace::default();
        pace.next(&adaptive(), QUIET, 0.5);
        assert_eq!(pace.next(&fixed(), QUIET, 0.5).after_start, MS(1000));
        let tight = Poll {
            adaptive: Some((MS(10), MS(20))),
            ..fixed()
        };
        assert_eq!(pace.next(&tight, QUIET, 0.5).after_start, MS(20));
    }
}
