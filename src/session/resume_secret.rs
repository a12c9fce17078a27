//! How a client may come back to its session, and places for the sessions that wait.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Sessions of this node that may be parked at once; what goes above it ends.
const MOST: usize = 10_000;

/// What finds a session: 128 random bits, known to its client alone. It is no number of the admin API, and is never logged.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct SecretId(pub(crate) [u8; 16]);

impl fmt::Debug for SecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a secret")
    }
}

/// How a client may come back.
#[derive(Clone, Debug)]
pub(crate) struct Keep {
    /// By this id.
    pub(crate) id: SecretId,
    /// How long its session waits without a transport.
    pub(crate) window: Duration,
}

/// Places for parked sessions.
#[derive(Clone, Debug, Default)]
pub(super) struct ParkingPlaces(Arc<AtomicUsize>);

/// One of them, given back when it is dropped.
#[derive(Debug)]
pub(super) struct ParkingPlace(ParkingPlaces);

impl ParkingPlaces {
    pub(crate) fn take(&self) -> Option<ParkingPlace> {
        let more = |taken| (taken < MOST).then_some(taken + 1);
        let taken = (self.0).fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.is_ok().then(|| ParkingPlace(self.clone()))
    }

    /// How many sessions are parked.
    pub(crate) fn taken(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for ParkingPlace {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_given_back() {
        let places = ParkingPlaces::default();
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
