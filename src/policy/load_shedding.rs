//! What is still taken on while memory runs short.

use std::sync::atomic::{AtomicU8, Ordering};

/// How near the process is to the memory that the system grants it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everything is taken on.
    #[default]
    Calm,
    /// From 85 %: no new WebSockets, they are the ones that stay.
    Tight,
    /// From 92 %: besides, replay windows are let go, the largest first; subscribers that lag into them overrun.
    Scarce,
    /// From 95 %: besides, no requests.
    Full,
}

/// Where each level begins, in thousandths of the limit.
const BEGINNINGS: [(Level, u64); 3] = [
    (Level::Full, 950),
    (Level::Scarce, 920),
    (Level::Tight, 850),
];

/// How far it has to fall before a level ends, in thousandths: a figure that trembles around a threshold must not refuse and
/// admit by turns.
const SLACK: u64 = 20;

impl Level {
    /// The level at `used` of `limit` bytes, coming from this one.
    pub(crate) fn next(self, used: u64, limit: u64) -> Level {
        let share = u128::from(used) * 1000 / u128::from(limit.max(1));
        let reached = |&(level, begins): &(Level, u64)| {
            let threshold = if level <= self {
                begins - SLACK
            } else {
                begins
            };
            share >= u128::from(threshold)
        };
        BEGINNINGS
            .iter()
            .find(|beginning| reached(beginning))
            .map_or(Level::Calm, |(level, _)| *level)
    }

    /// The word in logs and metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Level::Calm => "calm",
            Level::Tight => "tight",
            Level::Scarce => "scarce",
            Level::Full => "full",
        }
    }
}

/// The level in force. One task stores it, every request looks at it.
#[derive(Debug, Default)]
pub struct Pressure(AtomicU8);

impl Pressure {
    /// The level in force.
    pub(crate) fn level(&self) -> Level {
        match self.0.load(Ordering::Relaxed) {
            0 => Level::Calm,
            1 => Level::Tight,
            2 => Level::Scarce,
            _ => Level::Full,
        }
    }

    /// Another level from now on.
    pub fn set(&self, level: Level) {
        self.0.store(level as u8, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_begin_where_they_say() {
        let of = |used| Level::Calm.next(used, 1000);
        assert_eq!(of(849), Level::Calm);
        assert_eq!(of(850), Level::Tight);
        assert_eq!(of(919), Level::Tight);
        assert_eq!(of(920), Level::Scarce);
        assert_eq!(of(950), Level::Full);
        assert_eq!(of(u64::MAX), Level::Full);
        assert_eq!(Level::Calm.next(u64::MAX, u64::MAX), Level::Full);
        assert_eq!(Level::Calm.next(1, 0), Level::Full);
    }

    #[test]
    fn a_level_ends_two_points_below_its_beginning() {
        assert_eq!(Level::Full.next(931, 1000), Level::Full);
        assert_eq!(Level::Full.next(929, 1000), Level::Scarce);
        assert_eq!(Level::Scarce.next(899, 1000), Level::Tight);
        assert_eq!(Level::Tight.next(830, 1000), Level::Tight);
        assert_eq!(Level::Tight.next(829, 1000), Level::Calm);
        // A higher one is reached at its own beginning.
        assert_eq!(Level::Tight.next(919, 1000), Level::Tight);
    }

    #[test]
    fn what_is_set_is_in_force() {
        let pressure = Pressure::default();
        for level in [Level::Full, Level::Tight, Level::Scarce, Level::Calm] {
            pressure.set(level);
            assert_eq!(pressure.level(), level);
        }
    }
}
