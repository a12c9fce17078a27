//! How long to wait before a stream is asked for again. Pure: chance is an argument.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(250);
const MOST: Duration = Duration::from_secs(10);
/// A stream that lasted this long was a good one.
const GOOD_AGE: Duration = MOST;
/// Streams that deliver something and end soon, as scripts do that rely on being asked again,
/// are asked for with a window of at most `FIRST` doubled this often: one second.
const AFTER_DELIVERY: u32 = 2;
/// Beyond it the window is at its most anyway.
const MOST_DOUBLINGS: u32 = 10;

/// 0.25 s, doubled up to 10 s, full jitter.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failed: u32,
}

impl Backoff {
    /// A stream is over: what it was like decides where the next wait begins.
    pub(crate) fn stream_ended(&mut self, age: Duration, has_delivered: bool) {
        if age >= GOOD_AGE {
            self.failed = 0;
        } else if has_delivered {
            self.failed = self.failed.min(AFTER_DELIVERY);
        }
    }

    /// The next wait. `retry` is the reconnection time that the stream set: it is never cut
    /// short, so that its author's word holds as it does for a browser. `roll` is from 0 to 1.
    pub(crate) fn next(&mut self, retry: Option<Duration>, roll: f64) -> Duration {
        let window = FIRST
            .saturating_mul(1 << self.failed.min(MOST_DOUBLINGS))
            .min(MOST);
        self.failed = self.failed.saturating_add(1);
        retry.unwrap_or_default() + window.mul_f64(roll)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(backoff: &mut Backoff, count: usize) -> Vec<u128> {
        (0..count)
            .map(|_| backoff.next(None, 1.0).as_millis())
            .collect()
    }

    #[test]
    fn the_window_doubles_up_to_ten_seconds_with_full_jitter() {
        let mut backoff = Backoff::default();
        assert_eq!(
            windows(&mut backoff, 8),
            [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]
        );
        assert_eq!(backoff.next(None, 0.0), Duration::ZERO);
        assert_eq!(backoff.next(None, 0.5), Duration::from_secs(5));
    }

    #[test]
    fn the_reconnection_time_is_never_cut_short() {
        let retry = Some(Duration::from_secs(3));
        let mut backoff = Backoff::default();
        assert_eq!(backoff.next(retry, 0.0), Duration::from_secs(3));
        assert_eq!(backoff.next(retry, 1.0), Duration::from_millis(3500));
    }

    #[test]
    fn a_good_stream_begins_anew_and_a_short_one_not_quite() {
        let mut backoff = Backoff::default();
        windows(&mut backoff, 8);
        backoff.stream_ended(Duration::from_secs(1), false);
        assert_eq!(windows(&mut backoff, 1), [10_000]);
        backoff.stream_ended(Duration::from_secs(1), true);
        assert_eq!(windows(&mut backoff, 1), [1000]);
        backoff.stream_ended(Duration::from_secs(10), false);
        assert_eq!(windows(&mut backoff, 1), [250]);
    }
}
