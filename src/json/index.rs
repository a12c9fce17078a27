//! Finds places in a text by what names them, in eight bytes for each.

use std::hash::{BuildHasher, Hash, RandomState};

/// Places by hashes. The hash is keyed at random, so that no backend and no client chooses what meets; a place that is found
/// is one that may be meant, and the caller looks whether it is.
pub(crate) struct Index {
    hasher: RandomState,
    /// Hash and place, in order.
    places: Vec<(u32, u32)>,
}

impl Index {
    /// Of these keys and their places.
    pub(crate) fn new<K: Hash>(keys: impl Iterator<Item = (K, usize)>) -> Self {
        let hasher = RandomState::new();
        let hashed = keys.map(|(key, place)| (hasher.hash_one(key) as u32, place as u32));
        let mut places: Vec<_> = hashed.collect();
        places.sort_unstable();
        places.shrink_to_fit();
        Index { hasher, places }
    }

    /// The places that may be those of this key, the last one first.
    pub(crate) fn find<K: Hash>(&self, key: K) -> impl Iterator<Item = usize> {
        let hash = self.hasher.hash_one(key) as u32;
        let end = self.places.partition_point(|(known, _)| *known <= hash);
        let before = self.places.get(..end).unwrap_or_default().iter().rev();
        before
            .take_while(move |(known, _)| *known == hash)
            .map(|(_, place)| *place as usize)
    }

    /// Those places whose keys may be there once more, later.
    pub(crate) fn twins(&self) -> impl Iterator<Item = usize> {
        let pairs = self.places.iter().zip(self.places.iter().skip(1));
        pairs
            .filter(|((hash, _), (next, _))| hash == next)
            .map(|((_, place), _)| *place as usize)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.places.len()
    }
}
