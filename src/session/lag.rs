//! Whether a client that is further behind than may be takes something at least. Pure: the time is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// A client that takes this much reads, however far behind it is.
const ENOUGH: u64 = 64 * 1024;

/// How long one may take less.
const PATIENCE: Duration = Duration::from_secs(10);

/// A client that is further behind than may be, and what it takes.
#[derive(Debug)]
pub(super) struct Lag {
    /// When its socket had last taken enough, or when it fell behind.
    since: Instant,
    /// What its socket had taken by then.
    taken: u64,
}

impl Lag {
    /// It falls behind now; its socket has taken so many bytes until then.
    pub fn new(now: Instant, taken: u64) -> Self {
        Lag { since: now, taken }
    }

    /// Whether it has taken too little for too long.
    pub fn is_too_slow(&mut self, now: Instant, taken: u64) -> bool {
        if taken.saturating_sub(self.taken) >= ENOUGH {
            *self = Lag::new(now, taken);
        }
        now >= self.deadline()
    }

    /// When it has, should it take nothing more.
    pub fn deadline(&self) -> Instant {
        self.since + PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_takes_nothing_is_slow_after_ten_seconds() {
        let start = Instant::now();
        let mut lag = Lag::new(start, 1 << 30);
        assert_eq!(lag.deadline(), start + PATIENCE);
        let almost = start + PATIENCE - Duration::from_millis(1);
        assert!(!lag.is_too_slow(almost, (1 << 30) + ENOUGH - 1));
        assert!(lag.is_too_slow(start + PATIENCE, (1 << 30) + ENOUGH - 1));
    }

    #[test]
    fn a_client_that_takes_enough_is_never_slow() {
        let start = Instant::now();
        let mut lag = Lag::new(start, 0);
        for second in 1..1_000 {
            let now = start + Duration::from_secs(second);
            assert!(!lag.is_too_slow(now, second * 8 * 1024));
        }
        let silent = start + Duration::from_secs(999) + PATIENCE;
        assert!(lag.is_too_slow(silent, 999 * 8 * 1024));
    }
}
