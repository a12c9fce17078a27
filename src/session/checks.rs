//! A session's side of [`policy::check`]: it runs the steps that the check of a `sub` or a `req` names.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::Method;

use super::auth::{Access, AuthState};
use super::client::Located;
use super::context::Context;
use super::context::Effects;
use super::frame::{Frame, Wants};
use super::upstream_request;
use crate::config::{Auth, Route};
use crate::error::{Code, Refusal};
use crate::policy::auth::{Asking, AuthError, Authenticated};
use crate::policy::rate_limit::NO_ROUTE;
use crate::policy::{
    self, Ask, Carrier, CheckProgress, Known, Policies, PolicyDecision, Reason, Step, View,
};
use crate::rollout::TransportKind;

/// Requests of one connection that may be under way.
pub(super) const CALLS: usize = 16;

/// What the checks of a frame have come to.
pub(super) enum Checked {
    /// It may go there, for this user where a policy has identified one.
    Passed(Located, Option<Arc<Authenticated>>),
    /// An authority has to be asked.
    Asks(Asking),
}

type Outcome = Result<Arc<Authenticated>, AuthError>;

/// What the checks of a frame look at.
pub(super) struct Checks<'a> {
    pub(crate) cx: &'a Context,
    pub(crate) access: &'a mut Access,
    /// Subscriptions that there are, or that are asked for.
    pub(crate) subscriptions: usize,
    /// Requests under way, or that wait for an authority.
    pub(crate) calls: usize,
    /// The session is asked to leave.
    pub(crate) is_leaving: bool,
    pub(crate) effects: &'a mut Effects,
}

impl Checks<'_> {
    /// # Errors
    /// The first check that it does not pass.
    pub(crate) fn check(
        &mut self,
        frame: &mut Frame,
        denied: Option<AuthError>,
    ) -> Result<Checked, Refusal> {
        let cx = self.cx;
        if frame.place.is_some() && frame.generation != cx.in_force.generation {
            self.locate(frame)?;
        }
        let own = cx.own_auths();
        let whose = cx.admission_of(own);
        let mut outcome: Option<Outcome> = denied.map(Err);
        loop {
            let view = View {
                ask: frame.ask(),
                place: frame.policies(),
                carrier: Carrier {
                    rate_limit: cx.own_limit().map(|limit| &**limit),
                    asks: !own.is_empty(),
                    user: whose.as_ref().map(|whose| &*whose.identity),
                    is_single: cx.realm.is_stream(),
                },
                known: known(outcome.as_ref()),
                progress: frame.progress,
            };
            let step = match policy::check(&view) {
                PolicyDecision::Allow | PolicyDecision::AwaitHello => break,
                PolicyDecision::Deny(reason) => return Err(refusal(&reason)),
                PolicyDecision::Count { step, limit, user } => {
                    let route = match step {
                        Step::ConnectionRate => NO_ROUTE,
                        _ => view.place.route.map_or(NO_ROUTE, |route| &route.name),
                    };
                    let pace = &mut self.access.pace;
                    pace.charge(cx, limit, route, (frame.kind(), 1), user)?;
                    step
                }
                PolicyDecision::Run(step) => step,
            };
            if let Some(asking) = self.run(step, frame, &mut outcome)? {
                return Ok(Checked::Asks(asking));
            }
            frame.progress.note(step);
        }
        let place = frame.place.take().ok_or_else(no_route)?;
        Ok(Checked::Passed(place, outcome.and_then(Result::ok)))
    }

    /// Runs one step; what it has to ask an authority for, if it has to.
    fn run(
        &mut self,
        step: Step,
        frame: &mut Frame,
        outcome: &mut Option<Outcome>,
    ) -> Result<Option<Asking>, Refusal> {
        match step {
            Step::Form => self.check_form(&frame.wants)?,
            Step::Route if frame.place.is_none() => self.locate(frame)?,
            Step::Identity => match self.standing(frame.policies().auth) {
                AuthState::Known(admission) => *outcome = Some(Ok(admission)),
                AuthState::Denied(denied) => *outcome = Some(Err(denied)),
                AuthState::Unasked => *outcome = Some(Err(AuthError::Missing)),
                AuthState::Asks(asking) => return Ok(Some(asking)),
            },
            Step::Csrf => {
                if let (Wants::Req(request), Some(Ok(admission))) = (&frame.wants, outcome) {
                    upstream_request::judge_csrf(request, admission, &self.access.presented)?;
                }
            }
            Step::Readings => return self.check_readings(frame),
            Step::UserConnections => {
                if let Some(Ok(admission)) = outcome
                    && !self.access.take_seat_for(self.cx, admission)
                {
                    let detail = "this user has too many connections";
                    return Err(Refusal::new(Code::RateLimited, detail));
                }
            }
            Step::Rollout => {
                let admission = outcome.as_ref().and_then(|outcome| outcome.as_ref().ok());
                self.check_rollout(frame, admission)?;
            }
            // Counted or judged by the check itself, or done by the handshake.
            Step::Route
            | Step::Origin
            | Step::ConnectionRate
            | Step::PlaceRate
            | Step::Handshakes
            | Step::AddressConnections
            | Step::Require
            | Step::UserRate => {}
        }
        Ok(None)
    }

    fn check_form(&self, wants: &Wants) -> Result<(), Refusal> {
        match wants {
            Wants::Sub(..) => {
                if self.is_leaving || self.cx.shared.draining.load(Ordering::Relaxed) {
                    return Err(Refusal::new(Code::Draining, "this instance is leaving"));
                }
                if self.subscriptions >= self.cx.rules().max_subs {
                    return Err(Refusal::new(
                        Code::TooManySubs,
                        "no more subscriptions on this connection (`websocket.max_subs`)",
                    ));
                }
            }
            Wants::Req(_) => {
                if self.calls >= CALLS {
                    let mut refusal =
                        Refusal::new(Code::RateLimited, "too many requests under way");
                    refusal.retry_ms = Some(1000);
                    return Err(refusal);
                }
            }
        }
        Ok(())
    }

    fn standing(&mut self, auths: &[Arc<Auth>]) -> AuthState {
        self.access.standing(self.cx, auths, self.effects)
    }

    /// Finds the route of a frame's path.
    fn locate(&self, frame: &mut Frame) -> Result<(), Refusal> {
        let found = match &frame.wants {
            Wants::Sub(_, wish) => self.cx.find(&Method::GET, &wish.path),
            Wants::Req(request) => self
                .cx
                .find(&upstream_request::method_of(request)?, &request.path),
        };
        frame.place = Some(found?);
        frame.generation = self.cx.in_force.generation;
        Ok(())
    }

    /// What guards other readings of the path lets the client in as well.
    fn check_readings(&mut self, frame: &Frame) -> Result<Option<Asking>, Refusal> {
        for other in frame.policies().others {
            if let Some(asking) = self.check_reading(frame, other)? {
                return Ok(Some(asking));
            }
        }
        Ok(None)
    }

    fn check_reading(&mut self, frame: &Frame, other: &Route) -> Result<Option<Asking>, Refusal> {
        let csrf = matches!(frame.wants, Wants::Req(_));
        let mut outcome: Option<Outcome> = None;
        let mut progress = CheckProgress::default();
        loop {
            let view = View {
                ask: Ask::Reading { csrf },
                place: Policies::of_route(other),
                carrier: Carrier::default(),
                known: known(outcome.as_ref()),
                progress,
            };
            let step = match policy::check(&view) {
                PolicyDecision::Allow | PolicyDecision::AwaitHello => return Ok(None),
                PolicyDecision::Deny(reason) => return Err(refusal(&reason)),
                PolicyDecision::Count { step, limit, user } => {
                    let pace = &mut self.access.pace;
                    pace.charge(self.cx, limit, &other.name, (frame.kind(), 1), user)?;
                    step
                }
                PolicyDecision::Run(step) => step,
            };
            match (step, &frame.wants) {
                (Step::Identity, _) => match self.standing(&other.auth) {
                    AuthState::Known(admission) => outcome = Some(Ok(admission)),
                    AuthState::Denied(denied) => outcome = Some(Err(denied)),
                    AuthState::Unasked => outcome = Some(Err(AuthError::Missing)),
                    AuthState::Asks(asking) => return Ok(Some(asking)),
                },
                (Step::Csrf, Wants::Req(request)) => {
                    if let Some(Ok(admission)) = &outcome {
                        upstream_request::judge_csrf(request, admission, &self.access.presented)?;
                    }
                }
                _ => {}
            }
            progress.note(step);
        }
    }

    fn check_rollout(
        &self,
        frame: &Frame,
        admission: Option<&Arc<Authenticated>>,
    ) -> Result<(), Refusal> {
        let Some((found, _)) = &frame.place else {
            return Ok(());
        };
        let (cx, is_sub) = (self.cx, frame.is_sub());
        let namespace = cx.realm.namespace(&cx.in_force);
        if namespace.is_some_and(|namespace| namespace.rollout.is_some()) {
            // It has decided for all that is reached through it.
            return Ok(());
        }
        if is_sub && !found.bridged {
            // Nothing can be subscribed to there, and that is its error.
            return Ok(());
        }
        let judged = cx.judged(admission);
        let judged = judged.as_ref().map(|judged| &*judged.identity);
        let (route, stages) = (&found.route, cx.shared.stages.load());
        let decision = cx.member().client.decide(route, &stages, judged);
        if let Some(rollout) = &route.rollout
            && is_sub
            && !cx.realm.is_stream()
        {
            let (transport, reason) = (decision.transport, decision.reason);
            let telemetry = &cx.shared.telemetry;
            telemetry
                .rollouts
                .decided(&rollout.name, transport.as_str(), reason.as_str());
        }
        match decision.transport {
            TransportKind::WebSocket => Ok(()),
            TransportKind::Legacy => Err(Refusal::new(
                Code::Legacy,
                "this route's rollout keeps the client on the legacy transport",
            )),
        }
    }
}

fn known(outcome: Option<&Outcome>) -> Known<'_> {
    match outcome {
        None => Known::Nothing,
        Some(Ok(admission)) => Known::Admitted {
            identity: &admission.identity,
            csrf: admission.needs_csrf(),
        },
        Some(Err(denied)) => Known::Denied(denied),
    }
}

fn refusal(reason: &Reason<'_>) -> Refusal {
    match reason {
        Reason::Denied(denied) => Refusal::from(*denied),
        Reason::Unfit(unfit) => Refusal::new(Code::Forbidden, unfit.detail()),
    }
}

fn no_route() -> Refusal {
    Refusal::new(Code::NotFound, "no route is there")
}
