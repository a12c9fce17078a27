//! Which cohort a session counts in, and which changed stages concern it: kept beside it, so that it is not woken to be asked.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};

use super::client::Client;
use crate::config::{By, Rollout, Route};
use crate::edge::auth::{Admission, Identity};
use crate::rollout::Transport;
use crate::rollout::change::StageChange;

/// What a session says of itself. It says so before it reads the stages, and those that change them read it afterwards, each with
/// a fence between: one of the two always sees what is new.
#[derive(Debug, Default)]
pub(super) struct Cohort {
    /// Its rollout sends it to the legacy transport.
    is_to_go_native: AtomicBool,
    /// The [`mark`] of the one rollout that it lives by; 0 where it is any of them.
    rollout: AtomicU32,
}

impl Cohort {
    /// The session's one stream reads here: what becomes of other rollouts does not concern it.
    pub fn live_by(&self, route: &Route) {
        let rollout = mark(route.rollout.as_deref());
        self.rollout.store(rollout, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Its rollout has decided.
    pub fn join(&self, cohort: Transport) {
        let is_to_go_native = cohort == Transport::Legacy;
        self.is_to_go_native
            .store(is_to_go_native, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// What its rollout wants for it.
    pub fn transport(&self) -> Transport {
        match self.is_to_go_native.load(Ordering::Relaxed) {
            true => Transport::Legacy,
            false => Transport::WebSocket,
        }
    }

    /// Whether a changed stage may change what was decided for the session of this client, known by these policies.
    pub fn is_concerned(
        &self,
        change: &StageChange,
        client: &Client,
        known: &[Arc<Admission>],
    ) -> bool {
        let plan = &change.plan.rollout;
        let lives_by = self.rollout.load(Ordering::Relaxed);
        if lives_by != 0 && lives_by != mark(Some(plan)) {
            return false;
        }
        let is_leaving = self.transport() == Transport::Legacy;
        let concerns = |identity: Option<&Identity>| {
            let turn = change.turn(&client.candidate(identity));
            turn.concerns(is_leaving)
        };
        if matches!(plan.by, By::Cookie | By::Ip) {
            return concerns(None);
        }
        let is_known_at = |route: &Arc<Route>| {
            let mut names = route.auth.iter().map(|auth| &auth.name);
            names.any(|name| known.iter().any(|known| known.found.auth.name == *name))
        };
        let is_known = !known.is_empty() && change.plan.routes.iter().all(is_known_at);
        let mut known = known.iter();
        known.any(|known| concerns(Some(&known.identity))) || !is_known && concerns(None)
    }
}

/// Tells rollouts apart in four bytes. Two that share one wake sessions that only the other concerns.
fn mark(rollout: Option<&Rollout>) -> u32 {
    let mut hasher = DefaultHasher::new();
    rollout.map(|rollout| &*rollout.name).hash(&mut hasher);
    hasher.finish() as u32 | 1
}
