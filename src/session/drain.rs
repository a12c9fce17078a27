//! How a session leaves: its client is notified at once, and it closes at a random instant of a window.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::{Rollout, Route};
use crate::protocol::{DrainedAt, Output};
use crate::rollout::{Decision, Reason};

/// When clients come back, or go native, after a `drain`, milliseconds.
const RETRY_MS: (u64, u64) = (500, 4000);

/// When it closes, and with which code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exit {
    pub(crate) at: Instant,
    pub(crate) code: u16,
}

/// Whether a session is on its way out. Boxed: most are not.
#[derive(Debug, Default)]
pub(super) struct Drain(Option<Box<Exits>>);

/// One reason or two: what takes one of them back leaves the other.
#[derive(Debug, Default)]
struct Exits {
    /// The node leaves, or is to be empty.
    with_node: Option<Exit>,
    /// The client's rollout sends it to the legacy transport.
    to_legacy: Option<Exit>,
}

impl Exits {
    fn first(&self) -> Option<Exit> {
        let exits = [self.to_legacy, self.with_node];
        exits.into_iter().flatten().min_by_key(|exit| exit.at)
    }
}

impl Drain {
    /// What comes first.
    pub(crate) fn exit(&self) -> Option<Exit> {
        self.0.as_ref()?.first()
    }

    /// The node is leaving, or an operator drains it. A client that comes back meets another instance. Returns what to send.
    pub(crate) fn leave_with_node(&mut self, window: Duration, now: Instant) -> Option<Exit> {
        let exit = Exit {
            at: now + window.mul_f64(fastrand::f64()),
            code: 4200,
        };
        let exits = self.0.get_or_insert_default();
        exits.with_node = Some(exit);
        // A client that goes native leaves this process as well, and has its notice already.
        let is_told = (exits.to_legacy).is_some_and(|exit| exit.at <= now + window);
        (!is_told).then_some(exit)
    }

    /// The node stays after all.
    pub(crate) fn stay_with_node(&mut self) {
        self.stay(|exits| exits.with_node = None);
    }

    /// The client goes native, and is closed with this code. Returns what to send; nothing where it was sent before.
    pub(crate) fn leave_for_legacy(
        &mut self,
        code: u16,
        window: Duration,
        now: Instant,
    ) -> Option<Exit> {
        let exits = self.0.get_or_insert_default();
        if exits.to_legacy.is_some_and(|exit| exit.code == code) {
            return None;
        }
        let mut at = now + window.mul_f64(fastrand::f64());
        if let Some(sooner) = exits.first() {
            at = at.min(sooner.at);
        }
        let exit = Exit { at, code };
        exits.to_legacy = Some(exit);
        Some(exit)
    }

    /// The client's rollout gives it a WebSocket again.
    pub(crate) fn stay_on_websocket(&mut self) {
        self.stay(|exits| exits.to_legacy = None);
    }

    fn stay(&mut self, forget: impl FnOnce(&mut Exits)) {
        if let Some(exits) = &mut self.0 {
            forget(exits);
        }
        self.0.take_if(|exits| exits.first().is_none());
    }
}

impl Exit {
    /// As the client gets it.
    pub(crate) fn announced<'a>(
        &self,
        next: &'a str,
        why: &'a str,
        at: &'a [DrainedAt<'a>],
        now: Instant,
    ) -> Output<'a> {
        Output::Drain {
            in_ms: self.at.saturating_duration_since(now).as_millis() as u64,
            retry_ms: RETRY_MS,
            next,
            why,
            at,
        }
    }
}

/// Whether a connection that is closed with this code goes to the legacy transport.
pub(super) fn is_exit(code: u16) -> bool {
    (4300..=4399).contains(&code)
}

/// Close code and the word for it.
pub(super) fn exit(reason: Reason) -> (u16, &'static str) {
    match reason {
        Reason::Killed => (4302, "killed"),
        Reason::RolledBack => (4301, "rolled_back"),
        _ => (4300, "rollout"),
    }
}

/// How long clients may take to leave that a rollout sends away.
pub(super) fn window(rollout: Option<&Rollout>, reason: Reason) -> Duration {
    rollout.map_or(Duration::ZERO, |rollout| match reason {
        Reason::Killed => rollout.kill_drain,
        _ => rollout.drain,
    })
}

/// When a subscription that ends goes native, milliseconds: not all of them at once.
pub(super) fn spread(route: &Route, decision: &Decision) -> u64 {
    let window = window(route.rollout.as_deref(), decision.reason);
    window.mul_f64(fastrand::f64()).as_millis() as u64
}
