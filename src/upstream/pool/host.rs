//! The idle connections to one server.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::http1::Http1;
use super::http2_pool::H2Pool;
use super::pins::Pin;
use crate::config::Authority;
use crate::upstream::dns::addresses::Addresses;

/// How often idle connections are looked at, at most: one that its backend has closed holds a
/// descriptor no longer than this.
const SWEEP: Duration = Duration::from_secs(1);

pub(crate) struct HostPool {
    pub(crate) addresses: Addresses,
    /// Its HTTP/2 connections.
    pub(crate) trunk: H2Pool,
    idle_timeout: Duration,
    limit: usize,
    is_http1_only: AtomicBool,
    idle: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The newest at the back.
    kept: VecDeque<(Instant, Box<Http1>)>,
    /// Those that wait for one client's next request.
    pinned: Vec<Weak<Pin>>,
    is_swept: bool,
}

impl HostPool {
    pub(crate) fn new(server: &Authority, idle_timeout: Duration, limit: usize) -> Self {
        HostPool {
            addresses: Addresses::of(server),
            trunk: H2Pool::default(),
            idle_timeout,
            limit,
            is_http1_only: AtomicBool::new(false),
            idle: Mutex::default(),
        }
    }

    /// Whether it did not choose HTTP/2 when it could, last time.
    pub(crate) fn knows_http1_only(&self) -> bool {
        self.is_http1_only.load(Ordering::Relaxed)
    }

    /// Notes which one it chose.
    pub(crate) fn note_choice(&self, is_http2: bool) {
        self.is_http1_only.store(!is_http2, Ordering::Relaxed);
    }

    /// The newest one that is still alive.
    pub(crate) fn take(&self) -> Option<Box<Http1>> {
        loop {
            let (since, mut connection) = self.lock().kept.pop_back()?;
            if self.is_good(since, &mut connection) {
                return Some(connection);
            }
        }
    }

    /// Whether a connection that has waited since then can carry another request.
    pub(crate) fn is_good(&self, since: Instant, connection: &mut Http1) -> bool {
        since.elapsed() < self.idle_timeout
            && self.addresses.name(&connection.address)
            && connection.is_alive()
    }

    /// Closes a pinned connection when it would close any other. They do not count for the limit: a client has only one.
    pub(crate) fn look_after(self: &Arc<Self>, pin: &Arc<Pin>) {
        self.lock().pinned.push(Arc::downgrade(pin));
        self.watch();
    }

    /// Keeps a connection that is ready for another request; beyond the limit the oldest goes.
    pub(crate) fn keep(self: &Arc<Self>, connection: Box<Http1>) {
        if self.limit == 0 || !self.addresses.name(&connection.address) {
            return;
        }
        let mut state = self.lock();
        let oldest = match state.kept.len() < self.limit {
            true => None,
            false => state.kept.pop_front(),
        };
        state.kept.push_back((Instant::now(), connection));
        drop(state);
        drop(oldest);
        self.watch();
    }

    /// Sees to it that idle connections are looked at from now on.
    pub(crate) fn watch(self: &Arc<Self>) {
        if !std::mem::replace(&mut self.lock().is_swept, true) {
            let period = SWEEP.min(self.idle_timeout);
            tokio::spawn(sweep(Arc::downgrade(self), period));
        }
    }

    /// Closes what was idle for too long, what its backend has closed, and what leads to addresses
    /// that the server no longer has.
    pub(crate) fn clear(&self) {
        self.clear_and(|_| {});
    }

    fn clear_and(&self, then: impl FnOnce(&mut State)) {
        let mut gone = Vec::new();
        let mut state = self.lock();
        for (since, mut connection) in std::mem::take(&mut state.kept) {
            match self.is_good(since, &mut connection) {
                true => state.kept.push_back((since, connection)),
                false => gone.push(connection),
            }
        }
        let lives = |pin: &Weak<Pin>| pin.upgrade().is_some_and(|pin| pin.lives(self));
        state.pinned.retain(lives);
        then(&mut state);
        drop(state);
        drop(gone);
    }

    /// Clears; whether there is anything left to come back for.
    fn sweep(&self) -> bool {
        let is_named = |address: &SocketAddr| self.addresses.name(address);
        let mut is_left = false;
        self.clear_and(|state| {
            let is_shared = self.trunk.sweep(self.idle_timeout, is_named);
            is_left = is_shared || !state.kept.is_empty() || !state.pinned.is_empty();
            state.is_swept = is_left;
        });
        is_left
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for HostPool {
    fn drop(&mut self) {
        // What it knew of its server is no longer in force.
        for pin in self.lock().pinned.iter().filter_map(Weak::upgrade) {
            pin.close();
        }
    }
}

/// Sweeps a depot until it is empty or forgotten.
async fn sweep(depot: Weak<HostPool>, period: Duration) {
    loop {
        tokio::time::sleep(period).await;
        if !depot.upgrade().is_some_and(|depot| depot.sweep()) {
            return;
        }
    }
}
