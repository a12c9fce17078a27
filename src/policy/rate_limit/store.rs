//! The exact buckets that are kept, and how many they are.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::{DashMapStateStore, ShrinkableKeyedStateStore};

use super::key::Key;

/// governor's own map, shared by a limiter and its inspection.
#[derive(Clone, Debug, Default)]
pub(super) struct Store(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    map: DashMapStateStore<Key>,
    /// The map would have to lock each of its shards to tell. Between two prunings it may be a little too many.
    count: AtomicUsize,
}

impl Store {
    /// About how many there are.
    pub(super) fn count(&self) -> usize {
        self.0.count.load(Ordering::Relaxed)
    }

    pub(super) fn contains(&self, key: &Key) -> bool {
        self.0.map.contains_key(key)
    }

    /// Begins a bucket that is not there yet as one that is full again only at `full`. One that was there stays as it is.
    pub(super) fn begin(&self, key: &Key, full: Nanos) {
        let begin = |state: Option<Nanos>| match state {
            None => Ok(((), full)),
            Some(_) => Err(()),
        };
        // A bucket that another thread began is as good.
        let _ = self.measure_and_replace(key, begin);
    }
}

impl StateStore for Store {
    type Key = Key;

    fn measure_and_replace<T, F, E>(&self, key: &Key, judge: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let is_new = Cell::new(false);
        let judged = self.0.map.measure_and_replace(key, |state| {
            is_new.set(state.is_none() || is_new.get());
            judge(state)
        });
        if is_new.get() {
            self.0.count.fetch_add(1, Ordering::Relaxed);
        }
        judged
    }
}

impl ShrinkableKeyedStateStore<Key> for Store {
    fn retain_recent(&self, drop_below: Nanos) {
        self.0.map.retain_recent(drop_below);
        self.0.count.store(self.0.map.len(), Ordering::Relaxed);
    }

    fn shrink_to_fit(&self) {
        self.0.map.shrink_to_fit();
    }

    fn len(&self) -> usize {
        self.0.map.len()
    }

    fn is_empty(&self) -> bool {
        self.0.map.is_empty()
    }
}
