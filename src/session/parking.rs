//! A session whose client may come back over another transport: it is found by a secret id, and kept for a while when its
//! transport is gone. Its subscriptions stay where they are, so that it costs next to nothing; what its client has missed is the
//! distance of their cursors.

use std::time::Duration;

use tokio::time::Instant;

use super::registry::Findable;
use super::resume_secret::ParkingPlace;
use crate::hub::Reserved;

/// What a parked session counts for against `limits.memory`, beside what waits in its outbox.
const BYTES: usize = 4 * 1024;

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
    _place: ParkingPlace,
}

impl Parking {
    /// Not parked yet.
    pub(crate) fn new(window: Duration, findable: Findable) -> Self {
        Parking {
            window,
            findable,
            parked: None,
            read: 0,
        }
    }

    /// Parks the session from now on; false where there is no place for it, or no memory.
    pub(crate) fn park(&mut self, memory: Reserved, now: Instant) -> bool {
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
    pub(crate) fn is_over(&mut self, waiting: usize, now: Instant) -> bool {
        self.until()
            .is_some_and(|until| now >= until || !self.has_room(waiting))
    }

    /// The client is back.
    pub(crate) fn unpark(&mut self) {
        self.parked = None;
    }

    /// A transport is gone, over which so many bytes came.
    pub(crate) fn outlive(&mut self, read: u64) {
        self.read += read;
    }

    /// Bytes that came over transports that are gone.
    pub(crate) fn read(&self) -> u64 {
        self.read
    }

    /// Until when it waits, while it is parked.
    pub(crate) fn until(&self) -> Option<Instant> {
        Some(self.parked.as_ref()?.until)
    }
}
