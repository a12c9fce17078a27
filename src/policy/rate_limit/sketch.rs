//! How much keys asked for lately, in memory that does not grow.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pingora_limits::estimator::Estimator;

use super::key::Key;

/// Rows of a sketch, and counters in each: 1 MiB. With 20,000 keys in each window, one in a thousand is taken for busier than it is
/// by two or more.
const ROWS: usize = 4;
const COUNTERS: usize = 32_768;

/// A key is counted by one thread at a time: two could each raise another row first, and both read a count that is one too low.
const STRIPES: usize = 64;

/// Counts of this window, of the one before, and of a third that is clean by the time it is needed.
///
/// `pingora_limits::rate::Rate` would be at hand. But it subtracts times that another thread may have moved on meanwhile, and
/// asserts what a thread that was held up for a second breaks: a panic in a request. So only its estimator is used, and windows
/// are turned here. One thread turns a window, and the others that need it wait; threads that are late still write to a sketch
/// that is read.
pub(super) struct Sketch {
    sketches: [Estimator; 3],
    /// Nanoseconds.
    window: u64,
    /// The number of the window for which the sketches are in order.
    present: AtomicU64,
    turning: Mutex<()>,
    stripes: [Mutex<()>; STRIPES],
}

impl Sketch {
    /// Windows of so many nanoseconds.
    pub(super) fn new(window: u64) -> Sketch {
        Sketch {
            sketches: [(); 3].map(|()| Estimator::new(ROWS, COUNTERS)),
            window: window.max(1),
            present: AtomicU64::new(0),
            turning: Mutex::new(()),
            stripes: [(); STRIPES].map(|()| Mutex::new(())),
        }
    }

    /// Counts `more` for a key, `now` nanoseconds after the beginning. What it asked for in this window and the last, `more`
    /// among it: perhaps less than is said here, never more.
    pub(super) fn note(&self, key: Key, more: u32, now: u64) -> u64 {
        let stripe = self.stripes.get(key.stripe() % STRIPES);
        let _counting = stripe.map(lock);
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
        let _turning = lock(&self.turning);
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

fn lock(mutex: &Mutex<()>) -> MutexGuard<'_, ()> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Sketch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Estimates")
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const KEY: Key = Key::EVERYBODY;

    #[test]
    fn this_window_and_the_last_count_and_older_ones_do_not() {
        let estimates = Sketch::new(10);
        let notes = [
            (0, 5, 5),
            (9, 1, 6),
            (10, 1, 7),
            (20, 1, 2),
            (39, 1, 2),
            (59, 1, 1),
            (95, 4, 4),
            (100, 1, 5),
            // Time that runs backwards counts in the latest window.
            (3, 1, 6),
            (110, 1, 3),
        ];
        for (now, more, estimate) in notes {
            assert_eq!(estimates.note(KEY, more, now), estimate, "at {now}");
        }
        // However long the pause.
        for pause in 2..9 {
            let now = 1000 * pause;
            estimates.note(KEY, 100, now);
            assert_eq!(estimates.note(KEY, 1, now + pause * 10), 1);
        }
    }

    #[test]
    fn a_count_that_runs_over_is_a_high_one() {
        let estimates = Sketch::new(10);
        for _ in 0..3 {
            estimates.sketch(0).incr(KEY, isize::MAX / 2);
        }
        assert_eq!(estimates.note(KEY, 1, 0), u64::MAX);
    }

    #[test]
    fn concurrent_window_turns_lose_no_counts() {
        let estimates = Sketch::new(10);
        for round in 1..300 {
            let now = round * 30;
            thread::scope(|scope| {
                for number in 0..4 {
                    let key = Key::connection(number);
                    let estimates = &estimates;
                    scope.spawn(move || {
                        for count in 1..10 {
                            assert!(estimates.note(key, 1, now) >= count);
                        }
                    });
                }
            });
        }
    }
}
