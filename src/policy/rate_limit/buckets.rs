//! One exact bucket per key as long as memory allows, and what happens when there are too many keys.

use std::sync::OnceLock;
use std::time::Duration;

use governor::RateLimiter;
use governor::clock::{Clock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;

use super::key::Key;
use super::limiter::Wait;
use super::quota::Measure;
use super::sketch::Sketch;
use super::store::Store;

/// How many buckets are kept, and what happens above that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// So many keys each have a bucket at once. Above that a key gets a bucket only when it asks for more than a little.
    pub(super) few: usize,
    /// Above this, the full ones are let go at once.
    pub(super) many: usize,
    /// Above this, a key without a bucket shares one with its neighbours.
    pub(super) full: usize,
    /// Above this, a key without a bucket shares the one of all.
    pub(super) overfull: usize,
}

/// A bucket takes about 50 bytes.
pub(super) const ROOM: Room = Room {
    few: 16_384,
    many: 500_000,
    full: 1_000_000,
    overfull: 2_000_000,
};

/// Windows of estimates are at least this long: each costs cleaning a sketch.
const WINDOW: u64 = 1_000_000_000;

/// The buckets of one quota.
///
/// A key whose estimate over this window and the last stays within an eighth of the burst (`light`) cannot be over the limit,
/// because a window is at least as long as that eighth takes to fill again; so in a crowd it gets no bucket. When it is above,
/// its bucket begins with what it had used until then, so that nothing is given away. Estimates err only upwards: by them a key
/// has its bucket sooner, and in it at worst an eighth less than it should have, once.
///
/// The map never forgets by itself: a timer calls [`prune`](Buckets::prune).
#[derive(Debug)]
pub(super) struct Buckets<C: Clock> {
    exact: RateLimiter<Key, Store, C, NoOpMiddleware<C::Instant>>,
    store: Store,
    /// Made for the first crowd.
    estimates: OnceLock<Sketch>,
    measure: Measure,
    room: Room,
    /// Cells that a key may use in two windows and be light.
    light: u32,
    start: C::Instant,
}

impl<C: Clock> Buckets<C> {
    pub(super) fn new(measure: Measure, room: Room, clock: C) -> Buckets<C> {
        let store = Store::default();
        let start = clock.now();
        Buckets {
            exact: RateLimiter::new(measure.quota(), store.clone(), clock),
            store,
            estimates: OnceLock::new(),
            light: measure.burst.get() / 8,
            measure,
            room,
            start,
        }
    }

    /// Takes so many from a key's bucket, or nothing.
    pub(super) fn check(&self, key: Key, count: u32) -> Result<(), Wait> {
        let Some(cells) = self.measure.cells(count) else {
            return Ok(());
        };
        if cells > self.measure.burst {
            return Err(self.never());
        }
        let in_store = self.store.count();
        let key = match in_store < self.room.few || self.store.contains(&key) {
            true => key,
            false => match self.newcomer(key, cells.get(), in_store) {
                Some(key) => key,
                None => return Ok(()),
            },
        };
        match self.exact.check_key_n(&key, cells) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(until)) => Err(Wait {
                time: until.wait_time_from(self.exact.clock().now()),
                is_in_vain: false,
            }),
            Err(_) => Err(self.never()),
        }
    }

    /// Whose bucket a key that has none takes from in a crowd; `None`: it is light, and needs none.
    fn newcomer(&self, key: Key, cells: u32, in_store: usize) -> Option<Key> {
        let now = self.exact.clock().now().duration_since(self.start).as_u64();
        // More than enough to be no longer light changes nothing for it, but would for those it is confused with.
        let more = cells.min(self.light + 1);
        let used = self.estimates().note(key, more, now);
        if used <= u64::from(self.light) {
            return None;
        }
        if in_store >= self.room.overfull {
            return Some(Key::EVERYBODY);
        }
        if in_store >= self.room.full {
            return Some(key.wider());
        }
        let before = used.saturating_sub(more.into()).min(u64::from(self.light));
        if before > 0 {
            let full = now.saturating_add(self.measure.interval.saturating_mul(before));
            self.store.begin(&key, Nanos::new(full));
        }
        Some(key)
    }

    fn estimates(&self) -> &Sketch {
        self.estimates.get_or_init(|| {
            let refill = self.measure.interval.saturating_mul(self.light.into());
            Sketch::new(refill.max(WINDOW))
        })
    }

    fn never(&self) -> Wait {
        Wait {
            time: self.measure.refill().max(Duration::from_nanos(1)),
            is_in_vain: true,
        }
    }

    /// Lets go of the buckets that are full again, and of their memory.
    pub(super) fn prune(&self) {
        self.exact.retain_recent();
        self.exact.shrink_to_fit();
    }

    /// Whether there are so many that pruning should not wait.
    pub(super) fn is_crowded(&self) -> bool {
        self.count() > self.room.many
    }

    /// About how many buckets are kept.
    pub(super) fn count(&self) -> usize {
        self.store.count()
    }
}
