//! Backends' connections that are authenticated for one connection of a client, and carry its requests alone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::time::Instant;

use super::host::HostPool;
use super::http1::Http1;

/// The connections that are pinned to one connection of a client, one per server; they end with it. In a request's
/// extensions it says that they may be used and added to. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Pins(Arc<Mutex<Vec<Arc<Pin>>>>);

/// A connection that waits for its client's next request.
pub(crate) struct Pin {
    depot: Weak<HostPool>,
    since: Instant,
    connection: Mutex<Option<Box<Http1>>>,
}

/// What becomes of a connection when its answer has ended.
pub(crate) struct Release {
    pub(crate) depot: Arc<HostPool>,
    /// The client's, where connections may be pinned for it.
    pub(crate) pins: Option<Pins>,
}

impl Pins {
    /// Whether a connection to this server waits here.
    pub(crate) fn hold(&self, depot: &Arc<HostPool>) -> bool {
        let pin = self.lock().iter().find(|pin| pin.leads_to(depot)).cloned();
        pin.is_some_and(|pin| pin.lives(depot))
    }

    /// The connection to this server, where it is still alive.
    pub(crate) fn take(&self, depot: &Arc<HostPool>) -> Option<Box<Http1>> {
        let mut pins = self.lock();
        let place = pins.iter().position(|pin| pin.leads_to(depot))?;
        let pin = pins.swap_remove(place);
        drop(pins);
        let mut connection = pin.connection().take()?;
        (depot.is_good(pin.since, &mut connection)).then_some(connection)
    }

    fn keep(&self, depot: &Arc<HostPool>, connection: Box<Http1>) {
        let pin = Arc::new(Pin {
            depot: Arc::downgrade(depot),
            since: Instant::now(),
            connection: Mutex::new(Some(connection)),
        });
        depot.look_after(&pin);
        let mut pins = self.lock();
        pins.retain(|pin| !pin.leads_to(depot) && pin.connection().is_some());
        pins.push(pin);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Pin>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pin {
    /// Closes it where it is no longer usable; whether it is usable.
    pub(crate) fn lives(&self, depot: &HostPool) -> bool {
        let mut kept = self.connection();
        let is_good = (kept.as_mut()).is_some_and(|kept| depot.is_good(self.since, kept));
        if !is_good {
            *kept = None;
        }
        is_good
    }

    pub(crate) fn close(&self) {
        *self.connection() = None;
    }

    fn leads_to(&self, depot: &Arc<HostPool>) -> bool {
        std::ptr::eq(self.depot.as_ptr(), Arc::as_ptr(depot))
    }

    fn connection(&self) -> MutexGuard<'_, Option<Box<Http1>>> {
        (self.connection.lock()).unwrap_or_else(PoisonError::into_inner)
    }
}

impl Release {
    /// Keeps a connection that is ready for another request. One that is bound is kept for its client alone, or closed;
    /// one that is spent is closed.
    pub(crate) fn finish(self, connection: Box<Http1>) {
        if connection.is_spent {
            return;
        }
        match (connection.is_bound, self.pins) {
            (false, _) => self.depot.keep(connection),
            (true, Some(pins)) => pins.keep(&self.depot, connection),
            (true, None) => {}
        }
    }
}
