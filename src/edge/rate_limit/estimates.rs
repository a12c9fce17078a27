//! How much keys asked for lately, in memory that does not grow.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use pingora_limits::estimator::Estimator;

use super::key::Key;

/// Rows of a sketch, and counters in each: 1 MiB. With 30,000 keys in a window, one in a thousand is taken for busier than it is
/// by two or more.
const ROWS: usize = 4;
const COUNTERS: usize = 32_768;

/// Counts of this window, of the one before, and of a third that is clean by the time it is needed.
///
/// `pingora_limits::rate::Rate` would be at hand, but it takes times from each other that another thread may have moved on
/// meanwhile, and asserts what a thread that was held up for a second breaks: a panic in a request. So only its estimator is
/// used, and windows are turned here. A window is turned by one thread, which whoever else needs it waits for; threads that are
/// late still write to a sketch that is read.
pub(super) struct Estimates {
    sketches: [Estimator; 3],
    /// Nanoseconds.
    window: u64,
    /// The number of the window for which the sketches are in order.
    present: AtomicU64,
    turning: Mutex<()>,
}

impl Estimates {
    /// Windows of so many nanoseconds.
    pub(super) fn new(window: u64) -> Estimates {
        Estimates {
            sketches: [(); 3].map(|()| Estimator::new(ROWS, COUNTERS)),
            window: window.max(1),
            present: AtomicU64::new(0),
            turning: Mutex::new(()),
        }
    }

    /// Counts `more` for a key, `now` nanoseconds after the beginning. What it asked for in this window and the last, `more`
    /// among it: perhaps less than is said here, never more.
    pub(super) fn note(&self, key: Key, more: u32, now: u64) -> u64 {
        let window = self.turn(now / self.window);
        let counted = self.sketch(window).incr(key, more as isize);
        let before = match window {
            0 => 0,
            _ => self.sketch(window - 1).get(key),
        };
        // A count that ran over is a very high one.
        let count = |count: isize| u64::try_from(count).unwrap_or(u64::MAX);
        count(counted).saturating_add(count(before))
    }

    /// The window to count in. Time that runs backwards, or a thread that comes late, counts in the latest.
    fn turn(&self, window: u64) -> u64 {
        let present = self.present.load(Ordering::Acquire);
        if window <= present {
            return present;
        }
        let _turning = self.turning.lock().unwrap_or_else(PoisonError::into_inner);
        let present = self.present.load(Ordering::Acquire);
        if window <= present {
            return present;
        }
        // The next one's sketch was cleaned when this one began. After a pause all are old.
        if window - present > 1 {
            self.sketch(window).reset();
        }
        if window - present > 2 {
            self.sketch(window - 1).reset();
        }
        self.sketch(window.wrapping_add(1)).reset();
        self.present.store(window, Ordering::Release);
        window
    }

    fn sketch(&self, window: u64) -> &Estimator {
        let [one, two, three] = &self.sketches;
        match window % 3 {
            0 => one,
            1 => two,
            _ => three,
        }
    }
}

impl fmt::Debug for Estimates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Estimates")
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}
