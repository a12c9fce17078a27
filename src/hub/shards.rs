//! What is spread over locks by a key, so that no two keys wait for each other but by chance.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Many times the workers that a machine has.
const SHARDS: usize = 64;

pub(super) struct Shards<T> {
    hasher: RandomState,
    shards: [Mutex<T>; SHARDS],
}

impl<T> Shards<T> {
    pub(crate) fn new(make: impl Fn() -> T) -> Self {
        Shards {
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::new(make())),
        }
    }

    /// Which shard a key belongs to.
    pub(crate) fn of(&self, key: &impl Hash) -> usize {
        self.hasher.hash_one(key) as usize % SHARDS
    }

    /// One shard, whose number [`Shards::of`] gave.
    pub(crate) fn lock(&self, shard: usize) -> MutexGuard<'_, T> {
        lock(&self.shards[shard % SHARDS])
    }

    /// All of them, one after the other: none is locked while the next is.
    pub(crate) fn each(&self) -> impl Iterator<Item = MutexGuard<'_, T>> {
        self.shards.iter().map(lock)
    }
}

/// Takes a lock; one that a panic left behind guards values that are whole between two calls.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
