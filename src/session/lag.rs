//! Whether a client takes what was sent to it. Pure: the time is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// A client that takes this much reads, however far behind it is.
const ENOUGH: u64 = 64 * 1024;

/// How long a client that is further behind than may be takes less.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long any client takes nothing at all.
const STANDSTILL: Duration = Duration::from_secs(30);

/// A client that has not taken all that was sent to it, and what it takes.
#[derive(Debug)]
pub(super) struct Lag {
    /// When its socket had last taken anything.
    moved: Mark,
    /// When its socket had last taken enough, or when the client fell behind; only while it is further behind than may be.
    behind: Option<Mark>,
}

/// What a socket had taken at an instant.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Instant,
    taken: u64,
}

impl Lag {
    /// From now on something waits for it; its socket has taken so many bytes until then.
    pub(crate) fn new(now: Instant, taken: u64) -> Self {
        Lag {
            moved: Mark { at: now, taken },
            behind: None,
        }
    }

    /// Looks at what its socket has taken by now.
    pub(crate) fn look(&mut self, now: Instant, taken: u64) {
        let mark = Mark { at: now, taken };
        if taken > self.moved.taken {
            self.moved = mark;
        }
        self.behind = self.behind.map(|behind| match taken - behind.taken {
            ENOUGH.. => mark,
            _ => behind,
        });
    }

    /// Whether it has taken nothing for too long.
    pub(crate) fn is_at_standstill(&self, now: Instant) -> bool {
        now >= self.moved.at + STANDSTILL
    }

    /// It is further behind than may be since the last look.
    pub(crate) fn fall_behind(&mut self, now: Instant) {
        let taken = self.moved.taken;
        self.behind.get_or_insert(Mark { at: now, taken });
    }

    /// It is no longer, or that was acted on.
    pub(crate) fn catch_up(&mut self) {
        self.behind = None;
    }

    /// Whether it is further behind than may be, and until when it may take less than enough.
    pub(crate) fn behind_until(&self) -> Option<Instant> {
        Some(self.behind?.at + PATIENCE)
    }

    /// When it is to be judged, should it take nothing more.
    pub(crate) fn deadline(&self) -> Instant {
        let standstill = self.moved.at + STANDSTILL;
        self.behind_until()
            .map_or(standstill, |until| until.min(standstill))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_is_behind_and_takes_nothing_has_ten_seconds() {
        let start = Instant::now();
        let mut lag = Lag::new(start, 1 << 30);
        lag.fall_behind(start);
        assert_eq!(lag.deadline(), start + PATIENCE);
        lag.look(start + PATIENCE / 2, (1 << 30) + ENOUGH - 1);
        assert_eq!(lag.behind_until(), Some(start + PATIENCE));
        lag.catch_up();
        assert_eq!(lag.behind_until(), None);
    }

    #[test]
    fn a_client_that_takes_enough_is_never_slow() {
        let start = Instant::now();
        let mut lag = Lag::new(start, 0);
        lag.fall_behind(start);
        for second in 1..1_000 {
            let now = start + Duration::from_secs(second);
            lag.look(now, second * 8 * 1024);
            lag.fall_behind(now);
            assert!(now < lag.deadline());
        }
    }

    #[test]
    fn a_client_that_takes_nothing_is_at_a_standstill() {
        let start = Instant::now();
        let mut lag = Lag::new(start, 7);
        assert_eq!(lag.deadline(), start + STANDSTILL);
        let almost = start + STANDSTILL - Duration::from_millis(1);
        lag.look(almost, 7);
        assert!(!lag.is_at_standstill(almost));
        assert!(lag.is_at_standstill(start + STANDSTILL));
        // One byte is something.
        lag.look(almost, 8);
        assert!(!lag.is_at_standstill(start + STANDSTILL));
        assert_eq!(lag.deadline(), almost + STANDSTILL);
    }
}
