//! One quota over all keys.

use std::time::Duration;

use governor::clock;

use super::buckets::{Buckets, ROOM, Room};
use super::clock::Clock;
use super::key::Key;
use super::quota::Measure;
use crate::config::Rate;

/// All /64s of an IPv6 /48 together may ask for so many times what one may.
const SITE: u32 = 8;

/// One quota over all keys: exact, in bounded memory. Never fails open: where memory allows no more buckets, keys share.
#[derive(Debug)]
pub struct Limiter<C: clock::Clock = Clock> {
    own: Buckets<C>,
    /// Of IPv6's /48s.
    sites: Buckets<C>,
    rate: Rate,
}

/// Why not now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Until it would be allowed; where it never will be, until the whole burst would.
    pub(crate) time: Duration,
    /// It is more than the burst, and so will never be allowed.
    pub(crate) is_in_vain: bool,
}

impl Limiter {
    /// A limiter by the runtime's clock.
    pub fn new(rate: Rate) -> Limiter {
        Limiter::with_clock(rate, Clock)
    }
}

impl<C: clock::Clock + Clone> Limiter<C> {
    /// A limiter by another clock.
    pub fn with_clock(rate: Rate, clock: C) -> Limiter<C> {
        Limiter::with_room(rate, ROOM, clock)
    }

    /// A limiter that remembers another number of keys.
    pub(super) fn with_room(rate: Rate, room: Room, clock: C) -> Limiter<C> {
        Limiter {
            own: Buckets::new(Measure::new(&rate, 1), room, clock.clone()),
            sites: Buckets::new(Measure::new(&rate, SITE), room, clock),
            rate,
        }
    }
}

impl<C: clock::Clock> Limiter<C> {
    /// Takes `count` from a key's quota, all of it or nothing. An IPv6 address takes it from its /48 too, and only what its own
    /// quota allowed: a refused client takes nothing from its neighbours.
    ///
    /// # Errors
    /// How long to wait.
    pub fn check(&self, key: Key, count: u32) -> Result<(), Wait> {
        self.own.check(key, count)?;
        match key.site() {
            Some(site) => self.sites.check(site, count),
            None => Ok(()),
        }
    }

    /// What the quota is.
    pub(crate) fn rate(&self) -> Rate {
        self.rate
    }

    /// Forgets keys that have their whole quota again. Nothing else does, so it has to be called now and then; with a million of
    /// them it takes some 50 ms.
    pub fn prune(&self) {
        self.own.prune();
        self.sites.prune();
    }

    /// Whether there are so many keys that pruning should not wait.
    pub(crate) fn is_crowded(&self) -> bool {
        self.own.is_crowded() || self.sites.is_crowded()
    }

    /// About how many keys are remembered.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.own.count() + self.sites.count()
    }
}
