//! When refused clients come back. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// No client comes back sooner than this, nor later than [`LATEST`].
const SOONEST: Duration = Duration::from_secs(1);
const LATEST: Duration = Duration::from_secs(30);

/// The refused clients that will come back, as many as are still owed at this instant.
#[derive(Debug)]
pub(super) struct RetrySpread {
    owed: f64,
    at: Instant,
}

impl RetrySpread {
    pub(super) fn new(now: Instant) -> RetrySpread {
        RetrySpread { owed: 0.0, at: now }
    }

    /// One more is refused, where `ahead` already wait and `rate` are let in each second: the time after which it comes back.
    ///
    /// All get their turn as if they stood in line, a quarter earlier or later, so about as many come at one time as can be let
    /// in. Clients beyond half a minute of that line come back at a random time. `chance` is in [0, 1).
    pub(super) fn refuse(
        &mut self,
        ahead: usize,
        rate: f64,
        now: Instant,
        chance: f64,
    ) -> Duration {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.owed = (self.owed - passed * rate).max(0.0) + 1.0;
        self.at = now;
        let turn = (self.owed + ahead as f64) / rate.max(f64::MIN_POSITIVE) * (0.75 + chance / 2.0);
        let room = (LATEST - SOONEST).as_secs_f64();
        match turn <= room {
            true => SOONEST + Duration::from_secs_f64(turn),
            false => SOONEST + Duration::from_secs_f64(room * chance),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many come back in each second, where so many are refused at once.
    fn seconds(refused: usize, rate: f64) -> [usize; 31] {
        let now = Instant::now();
        let mut backlog = RetrySpread::new(now);
        let mut chance = fastrand::Rng::with_seed(7);
        let mut seconds = [0; 31];
        for _ in 0..refused {
            let after = backlog.refuse(0, rate, now, chance.f64());
            assert!((SOONEST..=LATEST).contains(&after), "{after:?}");
            seconds[after.as_secs() as usize] += 1;
        }
        seconds
    }

    #[test]
    fn ten_thousand_come_back_as_they_can_be_let_in() {
        let seconds = seconds(10_000, 500.0);
        assert_eq!(seconds[0], 0);
        assert!(seconds.iter().all(|count| *count < 600), "{seconds:?}");
        // The line is twenty seconds long, and all of that time is used.
        assert!(
            seconds[1..20].iter().all(|count| *count > 300),
            "{seconds:?}"
        );
    }

    #[test]
    fn overlong_queue_is_spread_over_the_whole_window() {
        let seconds = seconds(100_000, 100.0);
        assert!(
            seconds[1..30]
                .iter()
                .all(|count| (2800..4200).contains(count)),
            "{seconds:?}"
        );
    }

    #[test]
    fn a_line_that_was_worked_off_is_forgotten() {
        let now = Instant::now();
        let mut backlog = RetrySpread::new(now);
        for _ in 0..1000 {
            backlog.refuse(0, 100.0, now, 0.5);
        }
        let later = now + Duration::from_secs(9);
        let after = backlog.refuse(0, 100.0, later, 0.5);
        assert_eq!(after.as_millis(), 1000 + 1010);
        let later = now + Duration::from_secs(3600);
        assert_eq!(backlog.refuse(0, 100.0, later, 0.5).as_millis(), 1010);
        assert_eq!(backlog.refuse(199, 100.0, later, 0.5).as_millis(), 3010);
    }
}
