//! How fast a client may speak: what is too much is answered with when to come back, and a client that goes on and on is closed.

use tokio::time::Instant;

use super::context::Context;
use crate::config::RateLimit;
use crate::error::{Code, Refusal};
use crate::policy::auth::Identity;
use crate::policy::rate_limit::{Abuse, Exceeded, Key, LimitKind, NO_ROUTE};

/// What this connection was refused lately.
#[derive(Default)]
pub(super) struct MessageLimit {
    excesses: Vec<(LimitKind, Abuse)>,
    /// `sub`s refused because there are too many already.
    refused_subs: u32,
    /// It went on and on; milliseconds until it may come back.
    flood: Option<u64>,
}

impl MessageLimit {
    /// Counts a `sub` that is refused because there are too many already. Returns how many were.
    pub(crate) fn refuse_sub(&mut self) -> u32 {
        self.refused_subs += 1;
        self.refused_subs
    }

    /// Counts a message of so many bytes.
    ///
    /// # Errors
    /// It is too much; when to come back.
    pub(crate) fn take_message(&mut self, cx: &Context, bytes: usize) -> Result<(), Refusal> {
        let Some(limit) = cx.own_limit() else {
            return Ok(());
        };
        let place = match cx.realm.is_stream() {
            true => cx.realm.name(),
            false => NO_ROUTE,
        };
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let owner = cx.owner();
        let user = owner.as_ref().map(|owner| &*owner.identity);
        self.charge(cx, limit, place, (LimitKind::Messages, 1), user)?;
        self.charge(cx, limit, place, (LimitKind::Bytes, bytes), user)
    }

    /// Takes so much from what a policy allows.
    ///
    /// # Errors
    /// It is too much now; when to come back.
    pub(crate) fn charge(
        &mut self,
        cx: &Context,
        policy: &RateLimit,
        route: &str,
        (kind, count): (LimitKind, u32),
        user: Option<&Identity>,
    ) -> Result<(), Refusal> {
        let member = cx.member();
        let otherwise = match kind {
            // What goes upstream counts as over HTTP; what only this connection says counts for it alone.
            LimitKind::Requests => Key::remote(&member.client.remote),
            _ => Key::connection(member.number),
        };
        let principal = user.map(Identity::principal);
        let key = Key::of(policy.by, principal.as_ref(), route, otherwise);
        let limiters = cx.shared.limiters.of(policy);
        limiters.check(kind, key, count).map_err(|exceeded| {
            cx.shared.telemetry.edge.rate_limited(&policy.name);
            let detail = match exceeded.wait.is_in_vain {
                true => "more than may come at once",
                false => "faster than may be; come back",
            };
            let wait = exceeded.wait.time.as_millis() as u64;
            let wait = wait.max(1);
            if self.is_flood(kind, &exceeded, count, Instant::now()) {
                self.flood = Some(wait);
            }
            let mut refusal = Refusal::new(Code::RateLimited, detail);
            refusal.retry_ms = Some(wait);
            refusal
        })
    }

    /// Milliseconds until a client may come back that went on and on above a limit; it was warned each time.
    pub(crate) fn take_flood(&mut self) -> Option<u64> {
        self.flood.take()
    }

    fn is_flood(&mut self, kind: LimitKind, exceeded: &Exceeded, count: u32, now: Instant) -> bool {
        let paces = &mut self.excesses;
        let at = match paces.iter().position(|(known, _)| *known == kind) {
            Some(at) => at,
            None => {
                paces.push((kind, Abuse::new(exceeded.rate.burst, now)));
                paces.len() - 1
            }
        };
        let excess = paces.get_mut(at);
        excess.is_some_and(|(_, excess)| excess.is_persistent(count, now))
    }
}
