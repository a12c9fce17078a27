//! A session whose client may come back over another transport: it is found by a secret id, and kept for a while when its
//! transport is gone. Its subscriptions stay where they are, so that it costs next to nothing; what its client has missed is the
//! distance of their cursors.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::registry::Findable;
use crate::hub::Reserved;

/// Sessions of this node that may be parked at once; what goes above it ends.
const MOST: usize = 10_000;

/// What a parked session counts for against `limits.memory`, beside what waits in its outbox.
const BYTES: usize = 4 * 1024;

/// What finds a session: 128 random bits, known to its client alone. It is no number of the admin API, and is never logged.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SecretId(pub [u8; 16]);

impl fmt::Debug for SecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a secret")
    }
}

/// How a client may come back.
#[derive(Clone, Debug)]
pub struct Keep {
    /// By this id.
    pub id: SecretId,
    /// How long its session waits without a transport.
    pub window: Duration,
}

/// Places for parked sessions.
#[derive(Clone, Debug, Default)]
pub(super) struct Places(Arc<AtomicUsize>);

/// One of them, given back when it is dropped.
#[derive(Debug)]
struct Place(Places);

impl Places {
    fn take(&self) -> Option<Place> {
        let more = |taken| (taken < MOST).then_some(taken + 1);
        let taken = (self.0).fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.is_ok().then(|| Place(self.clone()))
    }

    /// How many sessions are parked.
    pub fn taken(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A session's half of it.
pub(super) struct Parking {
    window: Duration,
    findable: Findable,
    parked: Option<Parked>,
    /// Bytes that came over transports that are gone.
    read: u64,
}

#[derive(Debug)]
struct Parked {
    until: Instant,
    memory: Reserved,
    _place: Place,
}

impl Parking {
    /// Not parked yet.
    pub fn new(window: Duration, findable: Findable) -> Self {
        Parking {
            window,
            findable,
            parked: None,
            read: 0,
        }
    }

    /// Parks the session from now on; false where there is no place for it, or no memory.
    pub fn park(&mut self, memory: Reserved, now: Instant) -> bool {
        self.parked = self.findable.places().take().map(|place| Parked {
            until: now + self.window,
            memory,
            _place: place,
        });
        self.has_room(0)
    }

    /// Counts what waits in the outbox of a parked session; false where there is no room for it.
    fn has_room(&mut self, waiting: usize) -> bool {
        let parked = self.parked.as_mut();
        parked.is_some_and(|parked| parked.memory.grow_to(BYTES + waiting))
    }

    /// Whether a parked session has waited long enough, or takes memory that is not there. `waiting` bytes are in its outbox.
    pub fn is_over(&mut self, waiting: usize, now: Instant) -> bool {
        self.until()
            .is_some_and(|until| now >= until || !self.has_room(waiting))
    }

    /// The client is back.
    pub fn unpark(&mut self) {
        self.parked = None;
    }

    /// A transport is gone, over which so many bytes came.
    pub fn outlive(&mut self, read: u64) {
        self.read += read;
    }

    /// Bytes that came over transports that are gone.
    pub fn read(&self) -> u64 {
        self.read
    }

    /// Until when it waits, while it is parked.
    pub fn until(&self) -> Option<Instant> {
        Some(self.parked.as_ref()?.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_given_back() {
        let places = Places::default();
        let mut taken: Vec<_> = (0..MOST).map(|_| places.take()).collect();
        assert!(taken.iter().all(Option::is_some));
        assert!(places.take().is_none());
        taken.pop();
        assert!(places.take().is_some());
        drop(taken);
        assert_eq!(places.taken(), 0);
    }

    #[test]
    fn a_secret_shows_nothing_of_itself() {
        assert_eq!(format!("{:?}", SecretId([7; 16])), "a secret");
    }
}
