//! How fast a client may speak: what is too much is answered with when to come back, and who goes on and on is closed.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::connection::Connection;
use super::subscription::Subscription;
use crate::config::{LimitBy, RateLimit};
use crate::edge::auth::Admission;
use crate::edge::rate_limit::{Exceeded, Excess, Key, Kind};
use crate::error::{Code, Refusal};

/// What this connection was refused lately.
#[derive(Default)]
pub(super) struct Pace(Vec<(Kind, Excess)>);

impl<Io: AsyncRead + AsyncWrite + Unpin> Connection<Io> {
    /// Largest message of the client.
    pub(super) fn max_message(&self) -> usize {
        let most = self.rules().max_message;
        let own = self.own_policy().and_then(|policy| policy.max_message);
        own.map_or(most, |own| own.min(most))
    }

    /// The limits of the connection itself: those of `PREFIX/ws`, or of the one stream's route.
    pub(super) fn own_policy(&self) -> Option<Arc<RateLimit>> {
        match self.own_route() {
            Some(route) => route.rate_limit.clone(),
            None => self.rules().rate_limit.clone(),
        }
    }

    /// Counts a message; false where it is too much, and has been answered.
    pub(super) fn allows_message(
        &mut self,
        id: Option<u64>,
        bytes: usize,
        subs: &mut Vec<Subscription>,
        now: Instant,
    ) -> bool {
        let Some(policy) = self.own_policy() else {
            return true;
        };
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let whose = self.admission_of(&self.own_auths());
        let own = self.own_place();
        for (kind, count) in [(Kind::Messages, 1), (Kind::Bytes, bytes)] {
            if let Err((exceeded, refusal)) =
                self.charge(&policy, kind, count, &own, whose.as_deref())
            {
                self.refuse(id, &refusal);
                if self.is_flood(kind, &exceeded, count, now) {
                    self.close(4129, &retry(&refusal), subs, now);
                }
                return false;
            }
        }
        true
    }

    /// The place whose quota the connection itself counts against where a policy goes by routes, as its handshake has.
    pub(super) fn own_place(&self) -> Arc<str> {
        match self.own_route() {
            Some(route) => route.name.clone(),
            None => "-".into(),
        }
    }

    /// Takes one `sub` or `req` on a route from what a policy allows.
    ///
    /// # Errors
    /// It is too much now; when to come back.
    pub(super) fn allow(
        &mut self,
        policy: Option<&RateLimit>,
        kind: Kind,
        route: &str,
        admission: Option<&Admission>,
    ) -> Result<(), Refusal> {
        match policy {
            Some(policy) => {
                let charged = self.charge(policy, kind, 1, route, admission);
                charged.map_err(|(_, refusal)| refusal)
            }
            None => Ok(()),
        }
    }

    fn charge(
        &self,
        policy: &RateLimit,
        kind: Kind,
        count: u32,
        route: &str,
        admission: Option<&Admission>,
    ) -> Result<(), (Exceeded, Refusal)> {
        let member = self.member();
        let key = match (policy.by, admission) {
            (LimitBy::Route, _) => Key::route(route),
            (LimitBy::User, Some(admission)) => Key::user(&admission.identity.principal()),
            // What goes upstream counts as over HTTP; what only this connection says counts for it alone.
            _ if kind == Kind::Requests => {
                let address = member.client.remote.parse();
                address.map_or(Key::EVERYBODY, Key::address)
            }
            _ => Key::connection(member.number),
        };
        let limiters = self.shared.limiters.of(policy);
        limiters.check(kind, key, count).map_err(|exceeded| {
            self.shared.telemetry.rate_limited(&policy.name);
            let detail = match exceeded.wait.is_in_vain {
                true => "more than may come at once",
                false => "faster than may be; come back",
            };
            let mut refusal = Refusal::new(Code::RateLimited, detail);
            let wait = exceeded.wait.time.as_millis() as u64;
            refusal.retry_ms = Some(wait.max(1));
            (exceeded, refusal)
        })
    }

    fn is_flood(&mut self, kind: Kind, exceeded: &Exceeded, count: u32, now: Instant) -> bool {
        let paces = &mut self.access.pace.0;
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

fn retry(refusal: &Refusal) -> String {
    format!(r#"{{"retry_ms":{}}}"#, refusal.retry_ms.unwrap_or(1000))
}
