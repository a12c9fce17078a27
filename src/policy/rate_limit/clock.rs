//! The clock that limits go by.

use std::ops::Add;
use std::time::Duration;

use governor::clock::{self, Reference};
use governor::nanos::Nanos;
use tokio::time::Instant;

/// The runtime's own clock, so that a limit and a sleep until it is over mean the same time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock;

/// An instant of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Instant);

impl clock::Clock for Clock {
    type Instant = Moment;

    fn now(&self) -> Moment {
        Moment(Instant::now())
    }
}

impl Add<Nanos> for Moment {
    type Output = Moment;

    fn add(self, later: Nanos) -> Moment {
        Moment(self.0 + Duration::from(later))
    }
}

impl Reference for Moment {
    fn duration_since(&self, earlier: Moment) -> Nanos {
        self.0.saturating_duration_since(earlier.0).into()
    }

    fn saturating_sub(&self, duration: Nanos) -> Moment {
        Moment(self.0.checked_sub(duration.into()).unwrap_or(self.0))
    }
}
