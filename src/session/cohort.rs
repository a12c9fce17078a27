//! Which cohort a session counts in, and which changed stages concern it: kept beside it, so that it is not woken to be asked.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};

use super::client::Client;
use crate::config::{By, Rollout, Route};
use crate::policy::auth::{Authenticated, Identity};
use crate::rollout::TransportKind;
use crate::rollout::change::StageChange;

/// What a session says of itself. It says so before it reads the stages, and those that change them read it afterwards, each with
/// a fence between: one of the two always sees what is new.
#[derive(Debug, Default)]
pub(super) struct SessionCohort {
    /// Its rollout sends it to the legacy transport.
    is_to_go_native: AtomicBool,
    /// The [`mark`] of the one rollout that it lives by; 0 where it is any of them.
    rollout: AtomicU32,
}

impl SessionCohort {
    /// The session's one stream reads here: what becomes of other rollouts does not concern it.
    pub(crate) fn live_by(&self, route: &Route) {
        let rollout = mark(route.rollout.as_deref());
        self.rollout.store(rollout, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Its rollout has decided.
    pub(crate) fn join(&self, cohort: TransportKind) {
        let is_to_go_native = cohort == TransportKind::Legacy;
        self.is_to_go_native
            .store(is_to_go_native, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// What its rollout wants for it.
    pub(crate) fn transport(&self) -> TransportKind {
        match self.is_to_go_native.load(Ordering::Relaxed) {
            true => TransportKind::Legacy,
            false => TransportKind::WebSocket,
        }
    }

    /// Whether a changed stage may change what was decided for the session of this client, known by these policies.
    pub(crate) fn is_concerned(
        &self,
        change: &StageChange,
        client: &Client,
        known: &[Arc<Authenticated>],
    ) -> bool {
        let plan = &change.plan.rollout;
        let lives_by = self.rollout.load(Ordering::Relaxed);
        if lives_by != 0 && lives_by != mark(Some(plan)) {
            return false;
        }
        let is_leaving = self.transport() == TransportKind::Legacy;
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

/// Distinguishes rollouts by four bytes. Two that share one wake sessions that only the other concerns.
fn mark(rollout: Option<&Rollout>) -> u32 {
    let mut hasher = DefaultHasher::new();
    rollout.map(|rollout| &*rollout.name).hash(&mut hasher);
    hasher.finish() as u32 | 1
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::policy::auth::{Credential, CredentialPlace, Found};
    use crate::rollout::plan::plans;
    use crate::rollout::{Stage, StageState};
    use crate::session::accepted::example;
    use crate::session::tests::support::World;

    const FILE: &str = r#"
[upstream.app]
servers = ["http://127.0.0.1:9"]

[auth.people]
kind = "jwt"
issuer = false
audience = false
secret = "a secret of thirty-two bytes, or more"

[rollout.web]
percent = 100
by = "user"

[[route]]
path = "/stream"
upstream = "app"
source = "sse"
auth = "people"
rollout = "web"
"#;

    fn known(auth: &Arc<crate::config::Auth>, user: &str) -> Arc<Authenticated> {
        Arc::new(Authenticated {
            found: Found {
                auth: auth.clone(),
                credential: Credential::Token("token".into()),
                place: CredentialPlace::Header,
            },
            identity: Arc::new(Identity {
                auth: auth.name.clone(),
                user: user.into(),
                tenant: None,
                roles: Vec::new(),
                claims: Default::default(),
                expires: None,
                leeway: 0,
                token_id: None,
                issued: None,
                credential: [0; 32],
            }),
            vouched_at: Instant::now(),
            vouched_unix: 0,
            ticketed: None,
        })
    }

    #[tokio::test]
    async fn a_known_user_is_judged_and_not_the_cookie() {
        let world = World::new(FILE);
        let in_force = world.shared.in_force.load_full();
        let mut opening = example();
        // Of the published vectors: bob's bucket is 52,185, alice's 2,624.
        opening.handshake.candidate.cookie = Some("bob".into());
        let client = Client::new(opening.handshake, &in_force.routes);
        let alice = [known(&in_force.config.auths["people"], "alice")];
        let lowered_to = |percent| {
            let stage = |percent| Stage {
                percent,
                state: StageState::Running,
            };
            StageChange {
                plan: plans(&in_force.config)["web"].clone(),
                before: stage(100_000),
                after: stage(percent),
            }
        };
        let cohort = SessionCohort::default();
        for (percent, known, is_concerned) in [
            (5_000, &[][..], true),
            (5_000, &alice, false),
            (2_624, &alice, true),
            (60_000, &[], false),
        ] {
            let change = lowered_to(percent);
            let found = cohort.is_concerned(&change, &client, known);
            assert_eq!(found, is_concerned, "{percent}");
        }
    }
}
