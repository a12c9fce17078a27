//! A rate in the terms of the algorithm: cells, and the time until one is filled again.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::Quota;

use crate::config::Rate;

/// One cell is filled again in no less than this, so that whole nanoseconds are exact to half a percent.
const SHORTEST: u128 = 200;

/// No bucket takes longer to fill (146 years): what is counted in nanoseconds stays far from where a `u64` ends.
const LONGEST: u128 = 1 << 62;

/// A rate as cells. Only of very fast ones (bytes) is a cell more than one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Measure {
    /// How many make a cell.
    unit: u32,
    /// Nanoseconds until a cell is filled again.
    pub(super) interval: u64,
    /// Cells at once.
    pub(super) burst: NonZeroU32,
}

impl Measure {
    /// `times` a rate.
    pub(super) fn new(rate: &Rate, times: u32) -> Measure {
        let count = u128::from(rate.count.get()) * u128::from(times.max(1));
        let burst = u128::from(rate.burst.get()) * u128::from(times.max(1));
        let per = rate.per.as_nanos().max(1);
        let unit = (SHORTEST * count).div_ceil(per).max(1);
        // Rounded up: never more than was said.
        let interval = (per * unit).div_ceil(count).clamp(1, LONGEST);
        let burst = burst.div_ceil(unit).min(LONGEST / interval);
        let narrow = |wide: u128| u32::try_from(wide).unwrap_or(u32::MAX);
        Measure {
            unit: narrow(unit),
            interval: u64::try_from(interval).unwrap_or(u64::MAX),
            burst: NonZeroU32::new(narrow(burst)).unwrap_or(NonZeroU32::MIN),
        }
    }

    /// How many cells so many are; `None` for none.
    pub(super) fn cells(&self, count: u32) -> Option<NonZeroU32> {
        NonZeroU32::new(count.div_ceil(self.unit))
    }

    /// Until an empty bucket is full.
    pub(super) fn refill(&self) -> Duration {
        Duration::from_nanos(self.interval.saturating_mul(self.burst.get().into()))
    }

    pub(super) fn quota(&self) -> Quota {
        let interval = Duration::from_nanos(self.interval);
        // An interval of none does not come out of `new`.
        Quota::with_period(interval)
            .unwrap_or_else(|| Quota::per_second(NonZeroU32::MIN))
            .allow_burst(self.burst)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(count: u32, seconds: f64, burst: u32) -> Rate {
        Rate {
            count: NonZeroU32::new(count).unwrap(),
            per: Duration::from_secs_f64(seconds),
            burst: NonZeroU32::new(burst).unwrap(),
        }
    }

    #[test]
    fn ordinary_rates_are_counted_one_by_one() {
        let measure = Measure::new(&rate(20, 1.0, 40), 1);
        assert_eq!(measure.cells(7).unwrap().get(), 7);
        assert_eq!(measure.cells(0), None);
        assert_eq!((measure.interval, measure.burst.get()), (50_000_000, 40));
        assert_eq!(measure.refill(), Duration::from_secs(2));
        let eightfold = Measure::new(&rate(20, 1.0, 40), 8);
        assert_eq!(
            (eightfold.interval, eightfold.burst.get()),
            (6_250_000, 320)
        );
    }

    #[test]
    fn a_gigabyte_a_second_is_counted_by_the_dozen() {
        let measure = Measure::new(&rate(1 << 30, 1.0, 1 << 31), 1);
        let unit = f64::from(measure.unit);
        let per_second = unit * 1e9 / measure.interval as f64;
        assert!((per_second / f64::from(1 << 30) - 1.0).abs() < 0.005);
        assert!(measure.cells(1 << 31).unwrap() <= measure.burst);
    }

    proptest! {
        #[test]
        fn no_rate_is_more_than_it_says_nor_much_less(
            count in 1..=u32::MAX, burst in 1..=u32::MAX, nanos in 1_000_000..31_622_400_000_000_000u64, times in 1..9u32,
        ) {
            let rate = Rate {
                count: NonZeroU32::new(count).unwrap(),
                per: Duration::from_nanos(nanos),
                burst: NonZeroU32::new(burst).unwrap(),
            };
            let measure = Measure::new(&rate, times);
            let said = f64::from(count) * f64::from(times) / nanos as f64;
            let is = f64::from(measure.unit) / measure.interval as f64;
            prop_assert!(is <= said * 1.000_001 && is >= said * 0.99, "{is} {said} {measure:?}");
            let all = u128::from(measure.interval) * u128::from(measure.burst.get());
            prop_assert!(all <= LONGEST);
            prop_assert_eq!(measure.quota().burst_size(), measure.burst);
        }
    }
}
