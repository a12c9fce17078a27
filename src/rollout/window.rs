//! What the cohorts of a rollout did lately. Pure: the tick closes the windows.

use std::collections::VecDeque;
use std::time::Duration;

use crate::telemetry::Cohorts;

/// How long one window is.
pub(crate) const WINDOW: Duration = Duration::from_secs(10);

/// Closed windows that are kept: an hour.
const KEPT: usize = 360;

/// The closed windows of one rollout, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Windows(VecDeque<Cohorts>);

impl Windows {
    /// A window is over.
    pub(crate) fn close(&mut self, cohorts: Cohorts) {
        if self.0.len() >= KEPT {
            self.0.pop_front();
        }
        self.0.push_back(cohorts);
    }

    /// What was done in the last closed windows that together are at least this long; fewer where there are fewer.
    pub(crate) fn last(&self, span: Duration) -> Cohorts {
        let windows = span.as_nanos().div_ceil(WINDOW.as_nanos()) as usize;
        let mut sum = Cohorts::default();
        for cohorts in self.0.iter().rev().take(windows) {
            sum += *cohorts;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Counts;

    fn with(requests: u64) -> Cohorts {
        let legacy = Counts {
            requests,
            ..Counts::default()
        };
        Cohorts {
            legacy,
            ..Cohorts::default()
        }
    }

    fn requests(windows: &Windows, seconds: u64) -> u64 {
        windows.last(Duration::from_secs(seconds)).legacy.requests
    }

    #[test]
    fn a_span_is_as_many_windows_as_it_touches() {
        let mut windows = Windows::default();
        assert_eq!(requests(&windows, 60), 0);
        for count in [1, 10, 100] {
            windows.close(with(count));
        }
        for (seconds, sum) in [
            (0, 0),
            (1, 100),
            (10, 100),
            (11, 110),
            (30, 111),
            (3600, 111),
        ] {
            assert_eq!(requests(&windows, seconds), sum, "{seconds} s");
        }
    }

    #[test]
    fn windows_are_kept_for_an_hour() {
        let mut windows = Windows::default();
        (0..2 * KEPT).for_each(|_| windows.close(with(1)));
        assert_eq!(requests(&windows, u64::MAX), KEPT as u64);
        assert_eq!(windows.0.len(), KEPT);
    }
}
