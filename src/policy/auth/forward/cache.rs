//! Answers that hold for a while. Nothing here knows the time.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::time::Instant;

/// Of a question: everything that its answer may depend on, hashed.
pub(crate) type CacheKey = [u8; 32];

/// Answers of one kind, all of which are worth keeping for the same time. Over its bound the oldest go first.
pub(crate) struct Shelf<T> {
    bound: Bound,
    entries: HashMap<CacheKey, Entry<T>>,
    /// By when they came.
    order: BTreeMap<u64, CacheKey>,
    next: u64,
    bytes: usize,
}

/// How much a shelf keeps.
#[derive(Clone, Copy)]
pub(crate) struct Bound {
    /// Entries.
    pub(crate) entries: usize,
    /// Bytes of the answers, as they came.
    pub(crate) bytes: usize,
    /// Older entries are never read.
    pub(crate) age: Duration,
}

struct Entry<T> {
    value: T,
    at: Instant,
    bytes: usize,
    number: u64,
}

impl<T> Shelf<T> {
    /// An empty one.
    pub(crate) fn new(bound: Bound) -> Self {
        Shelf {
            bound,
            entries: HashMap::new(),
            order: BTreeMap::new(),
            next: 0,
            bytes: 0,
        }
    }

    /// What is known, if it is younger than `age`.
    pub(crate) fn get(&self, key: &CacheKey, age: Duration, now: Instant) -> Option<&T> {
        let entry = self.entries.get(key)?;
        (now.saturating_duration_since(entry.at) < age).then_some(&entry.value)
    }

    /// Puts an answer in the place of an older one.
    pub(crate) fn put(&mut self, key: CacheKey, value: T, at: Instant, bytes: usize) {
        self.remove(&key);
        let number = self.next;
        self.next += 1;
        self.order.insert(number, key);
        self.bytes += bytes;
        let entry = Entry {
            value,
            at,
            bytes,
            number,
        };
        self.entries.insert(key, entry);
        self.prune(at);
    }

    /// Takes an answer away.
    pub(crate) fn remove(&mut self, key: &CacheKey) {
        if let Some(entry) = self.entries.remove(key) {
            self.order.remove(&entry.number);
            self.bytes -= entry.bytes;
        }
    }

    /// Takes all answers away that `is_meant` says.
    pub(crate) fn forget(&mut self, is_meant: impl Fn(&T) -> bool) {
        let meant = self.entries.iter().filter(|(_, e)| is_meant(&e.value));
        let meant: Vec<CacheKey> = meant.map(|(key, _)| *key).collect();
        for key in &meant {
            self.remove(key);
        }
    }

    fn prune(&mut self, now: Instant) {
        while let Some((_, key)) = self.order.first_key_value() {
            let key = *key;
            let is_old = self.get(&key, self.bound.age, now).is_none();
            let is_over = self.entries.len() > self.bound.entries || self.bytes > self.bound.bytes;
            if !is_old && !is_over {
                return;
            }
            self.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn shelf() -> Shelf<u8> {
        Shelf::new(Bound {
            entries: 3,
            bytes: 100,
            age: SECOND * 10,
        })
    }

    #[test]
    fn an_answer_holds_as_long_as_its_caller_trusts_it() {
        let mut shelf = shelf();
        let now = Instant::now();
        shelf.put([1; 32], 1, now, 1);
        let get = |shelf: &Shelf<u8>, age, later| {
            let found = shelf.get(&[1; 32], SECOND * age, now + SECOND * later);
            found.copied()
        };
        assert_eq!(get(&shelf, 5, 4), Some(1));
        assert_eq!(get(&shelf, 5, 5), None);
        assert_eq!(get(&shelf, 9, 5), Some(1));
        shelf.put([1; 32], 2, now + SECOND * 4, 1);
        assert_eq!(get(&shelf, 5, 8), Some(2));
        shelf.forget(|value| *value == 2);
        assert_eq!(get(&shelf, 5, 4), None);
    }

    #[test]
    fn the_oldest_go_first_and_the_expired_go_by_themselves() {
        let mut shelf = shelf();
        let now = Instant::now();
        for n in 1..=4 {
            shelf.put([n; 32], n, now, 1);
        }
        assert_eq!(shelf.get(&[1; 32], SECOND, now), None);
        assert_eq!(shelf.get(&[2; 32], SECOND, now), Some(&2));
        // A heavy entry takes the place of several.
        shelf.put([5; 32], 5, now, 99);
        assert_eq!((shelf.entries.len(), shelf.bytes), (2, 100));
        shelf.put([6; 32], 6, now + SECOND * 10, 1);
        assert_eq!((shelf.entries.len(), shelf.bytes), (1, 1));
        // What is too heavy even alone is not kept.
        shelf.put([7; 32], 7, now + SECOND * 10, 101);
        assert_eq!((shelf.entries.len(), shelf.bytes), (0, 0));
    }

    proptest! {
        #[test]
        fn whatever_comes_and_goes_its_books_are_right(steps in prop::collection::vec((0..8u8, 0..60usize, 0..4u32), 0..100)) {
            let mut shelf = shelf();
            let mut now = Instant::now();
            for (key, bytes, seconds) in steps {
                now += SECOND * seconds;
                match bytes {
                    0 => shelf.remove(&[key; 32]),
                    1 => shelf.forget(|value| *value == key),
                    _ => shelf.put([key; 32], key, now, bytes),
                }
                prop_assert!(shelf.entries.len() <= 3 && shelf.bytes <= 100);
                prop_assert_eq!(shelf.order.len(), shelf.entries.len());
                let sum: usize = shelf.entries.values().map(|entry| entry.bytes).sum();
                prop_assert_eq!(shelf.bytes, sum);
            }
        }
    }
}
