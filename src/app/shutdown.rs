//! The way out: in order, or at once.
//!
//! In order: not ready any more, while connections are still accepted (load balancers have to notice first) · nothing more is
//! accepted, sessions are asked to leave and close over a window, requests under way are finished · what is left is closed.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::process::Handle;
use crate::session::registry::Selector;

/// How long after the readiness went connections are still accepted, at most.
pub(super) const LAME_DUCK: Duration = Duration::from_secs(5);

/// How long a forced close may take: the close frames have to reach their sockets.
pub(super) const FORCED: Duration = Duration::from_secs(1);

/// Going away (RFC 6455, section 7.4.1).
const GOING_AWAY: u16 = 1001;

impl Handle {
    /// Leaves in order, within `drain_timeout` in all. Where that is given up half-way, [`Handle::stop`] ends it.
    pub async fn drain(&mut self) {
        let timeout = self.drain_timeout();
        let start = Instant::now();
        let end = start + timeout;
        self.announce();
        sleep_until(start + LAME_DUCK.min(timeout / 5)).await;

        self.close_doors();
        self.empty(end, Duration::ZERO).await;
        self.shared.telemetry.life.left();
    }

    /// Sessions leave over a window, exchanges under way are finished, unused connections end after `patience`, and what is
    /// left shortly before `end` is cut. Returns the time before `end` that is for the last close frames and answers.
    pub(super) async fn empty(&mut self, end: Instant, patience: Duration) -> Duration {
        let left = end.saturating_duration_since(Instant::now());
        let reserve = FORCED.min(left / 4);
        let window = (left - reserve) * 3 / 4;
        let sessions = self.shared.sessions.drain(window, "deploy");
        self.shared
            .telemetry
            .life
            .drain_began("deploy", sessions, window);
        let all_closed = async {
            sleep(patience).await;
            self.doors.stop.send_replace(true);
            self.shared.sessions.gone().await;
            while self.doors.tasks.join_next().await.is_some() {}
        };
        if timeout_at(end - reserve, all_closed).await.is_err() {
            self.cut(reserve * 3 / 4).await;
        }
        reserve
    }

    /// Leaves at once: open sessions are closed with 1001.
    pub async fn stop(&mut self) {
        self.announce();
        self.close_doors();
        self.doors.stop.send_replace(true);
        self.cut(FORCED).await;
        self.shared.telemetry.life.left();
    }

    fn announce(&self) {
        self.api.leaving.store(true, Ordering::SeqCst);
        self.shared.telemetry.life.leaving();
        // Without effect where systemd did not start this process.
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    }

    pub(super) fn close_doors(&mut self) {
        self.shared.draining.store(true, Ordering::SeqCst);
        self.given.clear();
        self.doors.shut.send_replace(true);
    }

    async fn cut(&mut self, patience: Duration) {
        let closed = self.shared.sessions.close(&Selector::All, GOING_AWAY).await;
        self.shared.telemetry.life.cut(closed);
        // A peer that does not answer its close frame in time is cut with the process.
        let _ = tokio::time::timeout(patience, self.shared.sessions.gone()).await;
        self.doors.tasks.abort_all();
    }
}
