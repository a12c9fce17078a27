//! How fast a client may speak: what is too much is answered with when to come back, and who goes on and on is closed.

use std::sync::Arc;

use tokio::time::Instant;

use super::connection::Session;
use crate::config::RateLimit;
use crate::edge::auth::Identity;
use crate::edge::rate_limit::{Exceeded, Excess, Key, Kind, NO_ROUTE};
use crate::error::{Code, Refusal};
use crate::route::InForce;

/// What this connection was refused lately.
#[derive(Default)]
pub(super) struct Pace {
    excesses: Vec<(Kind, Excess)>,
    /// `sub`s refused because there are too many already.
    refused_subs: u32,
    /// It went on and on; milliseconds until it may come back.
    flood: Option<u64>,
}

impl Pace {
    /// Counts a `sub` that is refused because there are too many already. Returns how many were.
    pub fn refuse_sub(&mut self) -> u32 {
        self.refused_subs += 1;
        self.refused_subs
    }
}

fn policy_of<'a>(
    in_force: &'a InForce,
    place: &str,
    is_single: bool,
) -> Option<&'a Arc<RateLimit>> {
    if !is_single {
        return in_force.config.websocket.rate_limit.as_ref();
    }
    let mut routes = in_force.routes.bridged();
    routes
        .find(|route| *route.name == *place)?
        .rate_limit
        .as_ref()
}

/// Largest message of a client, also before there is a connection to ask.
pub(super) fn max_message(in_force: &InForce, place: &str, is_single: bool) -> usize {
    let most = in_force.config.websocket.max_message;
    let own = policy_of(in_force, place, is_single).and_then(|policy| policy.max_message);
    own.map_or(most, |own| own.min(most))
}

impl Session {
    /// Largest message of the client.
    pub(super) fn max_message(&self) -> usize {
        max_message(&self.in_force, &self.life.place, self.is_single)
    }

    /// The limits of the connection itself: those of `PREFIX/ws`, or of the one stream's route.
    pub(super) fn own_policy(&self) -> Option<Arc<RateLimit>> {
        policy_of(&self.in_force, &self.life.place, self.is_single).cloned()
    }

    /// Counts a message; false where it is too much, and has been answered.
    pub(super) fn allows_message(&mut self, id: Option<u64>, bytes: usize) -> bool {
        let Some(policy) = self.own_policy() else {
            return true;
        };
        let place = match self.is_single {
            true => self.life.place.clone(),
            false => NO_ROUTE.into(),
        };
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let owner = self.owner();
        let whose = owner.as_ref().map(|owner| &*owner.identity);
        for (kind, count) in [(Kind::Messages, 1), (Kind::Bytes, bytes)] {
            if let Err(refusal) = self.charge(&policy, &place, kind, count, whose) {
                self.refuse(id, &refusal);
                return false;
            }
        }
        true
    }

    /// Takes so much from what a policy allows.
    ///
    /// # Errors
    /// It is too much now; when to come back.
    pub(super) fn charge(
        &mut self,
        policy: &RateLimit,
        route: &str,
        kind: Kind,
        count: u32,
        user: Option<&Identity>,
    ) -> Result<(), Refusal> {
        let member = self.member();
        let otherwise = match kind {
            // What goes upstream counts as over HTTP; what only this connection says counts for it alone.
            Kind::Requests => Key::remote(&member.client.remote),
            _ => Key::connection(member.number),
        };
        let principal = user.map(Identity::principal);
        let key = Key::of(policy.by, principal.as_ref(), route, otherwise);
        let limiters = self.shared.limiters.of(policy);
        limiters.check(kind, key, count).map_err(|exceeded| {
            self.shared.telemetry.rate_limited(&policy.name);
            let detail = match exceeded.wait.is_in_vain {
                true => "more than may come at once",
                false => "faster than may be; come back",
            };
            let wait = exceeded.wait.time.as_millis() as u64;
            let wait = wait.max(1);
            if self.is_flood(kind, &exceeded, count, Instant::now()) {
                self.access.pace.flood = Some(wait);
            }
            let mut refusal = Refusal::new(Code::RateLimited, detail);
            refusal.retry_ms = Some(wait);
            refusal
        })
    }

    /// Closes whoever went on and on above a limit; they were told each time.
    pub(super) fn end_flood(&mut self, now: Instant) {
        if let Some(retry_ms) = self.access.pace.flood.take() {
            let reason = format!(r#"{{"retry_ms":{retry_ms}}}"#);
            self.close(4129, &reason, now);
        }
    }

    fn is_flood(&mut self, kind: Kind, exceeded: &Exceeded, count: u32, now: Instant) -> bool {
        let paces = &mut self.access.pace.excesses;
        let at = match paces.iter().position(|(known, _)| *known == kind) {
            Some(at) => at,
            None => {
                paces.push((kind, Excess::new(exceeded.rate.burst, now)));
                paces.len() - 1
            }
        };
        let excess = paces.get_mut(at);
        excess.is_some_and(|(_, excess)| excess.is_persistent(count, now))
    }
}
