//! The connections to one server that nobody uses at the moment.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::http1::Http1;

/// How often idle connections are looked at, at most: one that its backend has closed holds a
/// descriptor no longer than this.
const SWEEP: Duration = Duration::from_secs(1);

pub(super) struct Lane {
    idle_timeout: Duration,
    limit: usize,
    idle: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The newest at the back.
    kept: VecDeque<(Instant, Box<Http1>)>,
    is_swept: bool,
}

impl Lane {
    pub(super) fn new(idle_timeout: Duration, limit: usize) -> Self {
        Lane {
            idle_timeout,
            limit,
            idle: Mutex::default(),
        }
    }

    /// The newest one that is still alive.
    pub(super) fn take(&self) -> Option<Box<Http1>> {
        loop {
            let (since, mut connection) = self.lock().kept.pop_back()?;
            if since.elapsed() < self.idle_timeout && connection.is_alive() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection that is ready for another request; beyond the limit the oldest goes.
    pub(super) fn keep(self: &Arc<Self>, connection: Box<Http1>) {
        if self.limit == 0 {
            return;
        }
        let mut state = self.lock();
        let oldest = match state.kept.len() < self.limit {
            true => None,
            false => state.kept.pop_front(),
        };
        state.kept.push_back((Instant::now(), connection));
        let begins = !std::mem::replace(&mut state.is_swept, true);
        drop(state);
        drop(oldest);
        if begins {
            let period = SWEEP.min(self.idle_timeout);
            tokio::spawn(sweep(Arc::downgrade(self), period));
        }
    }

    /// Closes what was idle for too long and what its backend has closed; whether any are left.
    fn sweep(&self) -> bool {
        let mut gone = Vec::new();
        let mut state = self.lock();
        for (since, mut connection) in std::mem::take(&mut state.kept) {
            match since.elapsed() < self.idle_timeout && connection.is_alive() {
                true => state.kept.push_back((since, connection)),
                false => gone.push(connection),
            }
        }
        state.is_swept = !state.kept.is_empty();
        let is_left = state.is_swept;
        drop(state);
        drop(gone);
        is_left
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sweeps a lane until it is empty or forgotten.
async fn sweep(lane: Weak<Lane>, period: Duration) {
    loop {
        tokio::time::sleep(period).await;
        if !lane.upgrade().is_some_and(|lane| lane.sweep()) {
            return;
        }
    }
}
