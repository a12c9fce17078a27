//! The policies of a place, in the order of [`policy::check`]. Nothing is taken from limits, and no authority is asked.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::super::context::AuthOutcome;
use super::super::enforce::{extras_of, judge_csrf, judge_origin, take_parameters, turned_away};
use super::super::subprotocol::Subprotocols;
use super::super::websocket;
use super::user::{identity_of, verify};
use super::{Asked, Verdict};
use crate::config::Auth;
use crate::error::{Code, Refusal};
use crate::policy::auth::credential::{self, Extras};
use crate::policy::auth::{AuthError, Authenticated, Identity, unix_now};
use crate::policy::cors::CorsHeaders;
use crate::policy::{
    self, Ask, Carrier, CheckProgress, Known, Policies, PolicyDecision, Reason, Step, View,
};
use crate::session::Services;

/// What the policies of a place came to.
#[derive(Default)]
pub(super) struct Passed {
    pub(crate) offer: Subprotocols,
    pub(crate) identity: Option<Identity>,
    /// The policy that has let it in.
    pub(crate) auth: Option<Arc<Auth>>,
    pub(crate) awaits_hello: bool,
}

/// A client that a policy has accepted.
struct Admitted {
    identity: Identity,
    auth: Option<Arc<Auth>>,
    csrf: bool,
}

impl Asked<'_> {
    /// Runs the checks of a place, in their one order.
    pub(super) fn check(&self, ask: Ask, place: Policies<'_>) -> Result<Passed, Verdict> {
        self.check_with(ask, place, Extras::default())
    }

    /// Another reading of the path is judged with what was presented beside the fields, as the request itself.
    fn check_with(
        &self,
        mut ask: Ask,
        place: Policies<'_>,
        mut extras: Extras,
    ) -> Result<Passed, Verdict> {
        let mut passed = Passed::default();
        let mut outcome: Option<Result<Admitted, AuthError>> = None;
        let mut progress = CheckProgress::default();
        loop {
            let known = match &outcome {
                None => Known::Nothing,
                Some(Ok(admitted)) => Known::Admitted {
                    identity: &admitted.identity,
                    csrf: admitted.csrf,
                },
                Some(Err(denied)) => Known::Denied(denied),
            };
            let view = View {
                ask,
                place,
                carrier: Carrier::default(),
                known,
                progress,
            };
            let step = match policy::check(&view) {
                PolicyDecision::Allow => break,
                PolicyDecision::AwaitHello => {
                    passed.awaits_hello = true;
                    break;
                }
                PolicyDecision::Deny(reason) => return Err(turned(&reason, ask)),
                // Limits are named, and nothing is taken from them.
                PolicyDecision::Count { step, .. } => {
                    progress.note(step);
                    continue;
                }
                PolicyDecision::Run(step) => step,
            };
            progress.note(step);
            match step {
                Step::Origin => self.judge_origin(place)?,
                Step::Form => {
                    let draining = |shared: &Services| shared.draining.load(Ordering::Relaxed);
                    let is_draining = self.world.shared.is_some_and(draining);
                    let offered = self.destination.expect_handshake(
                        self.is_handshake,
                        is_draining,
                        &self.head,
                    )?;
                    let parameters =
                        take_parameters(self.query.as_deref(), &self.destination, place.auth);
                    extras = extras_of(offered.as_ref(), &parameters);
                    passed.offer = offered.unwrap_or_default();
                    if let Ask::Session { json } = &mut ask {
                        *json = passed.offer.json;
                    }
                }
                Step::Identity => outcome = Some(self.identify(place.auth, &extras)?),
                Step::Csrf => {
                    if let Some(Ok(Admitted {
                        auth: Some(auth), ..
                    })) = &outcome
                    {
                        judge_csrf(&self.head, auth)?;
                    }
                }
                Step::Readings => {
                    let csrf = !self.is_handshake;
                    for other in place.others {
                        let place = Policies::of_route(other);
                        self.check_with(Ask::Reading { csrf }, place, extras.clone())?;
                    }
                }
                _ => {}
            }
        }
        if let Some(Ok(admitted)) = outcome {
            (passed.identity, passed.auth) = (Some(admitted.identity), admitted.auth);
        }
        Ok(passed)
    }

    fn judge_origin(&self, place: Policies<'_>) -> Result<(), Verdict> {
        let (in_force, host) = (self.world.in_force, &self.client.host);
        let mut marks = CorsHeaders::default();
        let answer = judge_origin(
            in_force,
            host,
            self.is_handshake,
            &self.head,
            place.cors,
            &mut marks,
        )?;
        match answer {
            Some(answer) => Err(Verdict::preflight(answer.status().as_u16())),
            None => Ok(()),
        }
    }

    /// The user of the question, or the one that the credential in its headers names, as far as that is known here.
    fn identify(
        &self,
        auths: &[Arc<Auth>],
        extras: &Extras,
    ) -> Result<Result<Admitted, AuthError>, Verdict> {
        let found = credential::find(auths, &self.head.headers, extras);
        if let Some(user) = &self.question.user {
            let found = found.ok().flatten();
            let auth = found.as_ref().map(|found| &found.auth).or(auths.first());
            return Ok(Ok(Admitted {
                identity: identity_of(self.question, user, auth),
                csrf: found
                    .as_ref()
                    .is_some_and(|found| found.auth.csrf.is_some() && found.is_ambient()),
                auth: auth.cloned(),
            }));
        }
        let found = match found {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(Err(AuthError::Missing)),
            Err(denied) => return Ok(Err(denied)),
        };
        let identity = match verify(&found) {
            Some(Ok(identity)) => Arc::new(identity),
            Some(Err(denied)) => return Ok(Err(denied)),
            None => {
                return Err(Verdict::open(format!(
                    "[auth.{}] would have to be asked whose credential this is: with --user NAME the rest is judged for \
                     a user that it lets in",
                    found.auth.name
                )));
            }
        };
        let admission = Authenticated {
            found,
            identity,
            vouched_at: Instant::now(),
            vouched_unix: unix_now(),
            ticketed: None,
        };
        let is_revoked = |shared: &Services| shared.authenticator.is_revoked(&admission);
        if self.world.shared.is_some_and(is_revoked) {
            return Ok(Err(AuthError::Revoked));
        }
        Ok(Ok(Admitted {
            csrf: admission.needs_csrf(),
            auth: Some(admission.found.auth.clone()),
            identity: Identity::clone(&admission.identity),
        }))
    }
}

/// The answer to a client that no policy accepts.
fn turned(reason: &Reason<'_>, ask: Ask) -> Verdict {
    match ask {
        Ask::Hello => {
            let close = match reason {
                Reason::Denied(denied) => denied.close_code(),
                Reason::Unfit(_) => 4003,
            };
            return Verdict::connect_error(&refusal(reason), close);
        }
        Ask::Sub | Ask::Req => return refusal(reason).into(),
        Ask::Request | Ask::Tunnel | Ask::Session { .. } | Ask::Reading { .. } => {}
    }
    match turned_away(reason, ask) {
        Err(problem) => problem.into(),
        Ok(AuthOutcome::TurnedAway(code)) => {
            let why = refusal(reason).detail;
            Verdict::closed(websocket::refused_by(code), code, &why)
        }
        Ok(_) => Verdict::default(),
    }
}

/// As a session says it.
fn refusal(reason: &Reason<'_>) -> Refusal {
    match reason {
        Reason::Denied(denied) => Refusal::from(*denied),
        Reason::Unfit(unfit) => Refusal::new(Code::Forbidden, unfit.detail()),
    }
}
