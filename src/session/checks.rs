//! A session's side of [`policy::check`]: it runs the steps that the check of a `sub`, a `req` or a `hello` names.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::Method;
use tokio::time::Instant;

use super::call;
use super::client::Located;
use super::connection::Session;
use super::identity::{Standing, Then};
use super::leaving::exit;
use super::requests::Wish;
use crate::config::Route;
use crate::edge::auth::{Admission, Asking, Denied, Identity};
use crate::edge::rate_limit::{Kind, NO_ROUTE};
use crate::error::{Code, Refusal};
use crate::policy::{self, Ask, Carrier, Decision, Known, Policies, Progress, Reason, Step, View};
use crate::protocol::Req;
use crate::rollout::Transport;

/// Requests of one connection that may be under way.
const CALLS: usize = 16;

/// A `sub` or a `req`, and how far its checks have come.
pub(super) struct Frame {
    pub wants: Wants,
    /// The route of its path, and the path and query there.
    place: Option<Located>,
    /// The configuration that it was found in.
    generation: u64,
    progress: Progress,
}

/// What a frame wants.
pub(super) enum Wants {
    Sub(u64, Wish),
    Req(Req),
}

/// What the checks of a frame have come to.
enum Checked {
    /// It may go there, for this user where a policy has asked who it is.
    Passed(Located, Option<Arc<Admission>>),
    /// An authority has to be asked.
    Asks(Asking),
}

type Outcome = Result<Arc<Admission>, Denied>;

impl Frame {
    pub fn new(wants: Wants) -> Frame {
        Frame {
            wants,
            place: None,
            generation: 0,
            progress: Progress::default(),
        }
    }

    /// One whose route is known already, by this configuration.
    pub fn at(wants: Wants, place: Option<Located>, generation: u64) -> Frame {
        Frame {
            place,
            generation,
            ..Frame::new(wants)
        }
    }

    fn ask(&self) -> Ask {
        match self.wants {
            Wants::Sub(..) => Ask::Sub,
            Wants::Req(_) => Ask::Req,
        }
    }

    fn kind(&self) -> Kind {
        match self.wants {
            Wants::Sub(..) => Kind::Subscriptions,
            Wants::Req(_) => Kind::Requests,
        }
    }

    fn policies(&self) -> Policies<'_> {
        let found = self.place.as_ref().map(|(found, _)| found);
        found.map_or_else(Policies::default, Policies::of_match)
    }
}

impl Session {
    /// Takes a frame as far as it gets: it is done, or refused, or waits for an authority. `denied` is what that has said.
    pub(super) fn advance(&mut self, mut frame: Frame, denied: Option<Denied>, now: Instant) {
        let checked = self.check(&mut frame, denied, now);
        let (place, admission) = match checked {
            Ok(Checked::Passed(place, admission)) => (place, admission),
            Ok(Checked::Asks(asking)) => return self.ask(asking, Then::Frame(frame)),
            Err(refusal) => return self.refuse_frame(&frame.wants, &refusal, now),
        };
        match frame.wants {
            Wants::Sub(id, wish) => {
                if let Err(refusal) = self.join(place, id, wish, admission, now) {
                    self.refuse_sub(id, &refusal, now);
                }
            }
            Wants::Req(request) => {
                let id = request.id;
                if let Err(refusal) = self.send(place, request, admission.as_deref()) {
                    self.refuse(Some(id), &refusal);
                }
            }
        }
    }

    fn refuse_frame(&mut self, wants: &Wants, refusal: &Refusal, now: Instant) {
        match wants {
            Wants::Sub(id, _) => self.refuse_sub(*id, refusal, now),
            Wants::Req(request) => self.refuse(Some(request.id), refusal),
        }
    }

    /// # Errors
    /// The first check that it does not pass.
    fn check(
        &mut self,
        frame: &mut Frame,
        denied: Option<Denied>,
        now: Instant,
    ) -> Result<Checked, Refusal> {
        if frame.place.is_some() && frame.generation != self.in_force.generation {
            self.locate(frame)?;
        }
        let own = self.own_auths();
        let (own_limit, whose) = (self.own_policy(), self.admission_of(&own));
        let mut outcome: Option<Outcome> = denied.map(Err);
        loop {
            let view = View {
                ask: frame.ask(),
                place: frame.policies(),
                carrier: Carrier {
                    rate_limit: own_limit.as_deref(),
                    asks: !own.is_empty(),
                    user: whose.as_ref().map(|whose| &*whose.identity),
                    is_single: self.is_single,
                },
                known: known(outcome.as_ref()),
                progress: frame.progress,
            };
            let step = match policy::check(&view) {
                Decision::Allow | Decision::AwaitHello => break,
                Decision::Deny(reason) => return Err(refusal(&reason)),
                Decision::Count { step, limit, user } => {
                    let route = match step {
                        Step::ConnectionRate => NO_ROUTE,
                        _ => view.place.route.map_or(NO_ROUTE, |route| &route.name),
                    };
                    self.charge(limit, route, frame.kind(), 1, user)?;
                    step
                }
                Decision::Run(step) => step,
            };
            if let Some(asking) = self.run(step, frame, &mut outcome, now)? {
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
        now: Instant,
    ) -> Result<Option<Asking>, Refusal> {
        match step {
            Step::Form => self.check_form(&frame.wants)?,
            Step::Route if frame.place.is_none() => self.locate(frame)?,
            Step::Identity => match self.standing(frame.policies().auth, now) {
                Standing::Known(admission) => *outcome = Some(Ok(admission)),
                Standing::Denied(denied) => *outcome = Some(Err(denied)),
                Standing::Unasked => *outcome = Some(Err(Denied::Missing)),
                Standing::Asks(asking) => return Ok(Some(asking)),
            },
            Step::Csrf => {
                if let (Wants::Req(request), Some(Ok(admission))) = (&frame.wants, outcome) {
                    call::judge_csrf(request, admission, &self.access.presented)?;
                }
            }
            Step::Readings => return self.check_readings(frame, now),
            Step::UserConnections => {
                if let Some(Ok(admission)) = outcome
                    && !self.take_seat_for(admission)
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
                if self.leaving.is_some() || self.shared.draining.load(Ordering::Relaxed) {
                    return Err(Refusal::new(Code::Draining, "this instance is leaving"));
                }
                if self.subscriptions.len() >= self.rules().max_subs {
                    return Err(Refusal::new(
                        Code::TooManySubs,
                        "no more subscriptions on this connection (`websocket.max_subs`)",
                    ));
                }
            }
            Wants::Req(_) => {
                if self.calls.len() >= CALLS {
                    let mut refusal =
                        Refusal::new(Code::RateLimited, "too many requests under way");
                    refusal.retry_ms = Some(1000);
                    return Err(refusal);
                }
            }
        }
        Ok(())
    }

    /// Finds the route of a frame's path.
    fn locate(&self, frame: &mut Frame) -> Result<(), Refusal> {
        let client = &self.member().client;
        let found = match &frame.wants {
            Wants::Sub(_, wish) => client.find(&self.in_force, &Method::GET, &wish.path),
            Wants::Req(request) => {
                let method = call::method_of(request)?;
                client.find(&self.in_force, &method, &request.path)
            }
        };
        frame.place = Some(found?);
        frame.generation = self.in_force.generation;
        Ok(())
    }

    /// What guards other readings of the path lets the client in as well.
    fn check_readings(&mut self, frame: &Frame, now: Instant) -> Result<Option<Asking>, Refusal> {
        for other in frame.policies().others {
            if let Some(asking) = self.check_reading(frame, other, now)? {
                return Ok(Some(asking));
            }
        }
        Ok(None)
    }

    fn check_reading(
        &mut self,
        frame: &Frame,
        other: &Route,
        now: Instant,
    ) -> Result<Option<Asking>, Refusal> {
        let csrf = matches!(frame.wants, Wants::Req(_));
        let mut outcome: Option<Outcome> = None;
        let mut progress = Progress::default();
        loop {
            let view = View {
                ask: Ask::Reading { csrf },
                place: Policies::of_route(other),
                carrier: Carrier::default(),
                known: known(outcome.as_ref()),
                progress,
            };
            let step = match policy::check(&view) {
                Decision::Allow | Decision::AwaitHello => return Ok(None),
                Decision::Deny(reason) => return Err(refusal(&reason)),
                Decision::Count { step, limit, user } => {
                    self.charge(limit, &other.name, frame.kind(), 1, user)?;
                    step
                }
                Decision::Run(step) => step,
            };
            match (step, &frame.wants) {
                (Step::Identity, _) => match self.standing(&other.auth, now) {
                    Standing::Known(admission) => outcome = Some(Ok(admission)),
                    Standing::Denied(denied) => outcome = Some(Err(denied)),
                    Standing::Unasked => outcome = Some(Err(Denied::Missing)),
                    Standing::Asks(asking) => return Ok(Some(asking)),
                },
                (Step::Csrf, Wants::Req(request)) => {
                    if let Some(Ok(admission)) = &outcome {
                        call::judge_csrf(request, admission, &self.access.presented)?;
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
        admission: Option<&Arc<Admission>>,
    ) -> Result<(), Refusal> {
        let Some((found, _)) = &frame.place else {
            return Ok(());
        };
        let is_sub = matches!(frame.wants, Wants::Sub(..));
        if is_sub && !found.bridged {
            // Nothing can be subscribed to there, and that is what it is told.
            return Ok(());
        }
        let judged = self.judged(admission);
        let judged = judged.as_ref().map(|judged| &*judged.identity);
        let (route, stages) = (&found.route, self.shared.stages.load());
        let decision = self.member().client.decide(route, &stages, judged);
        if let Some(rollout) = &route.rollout
            && is_sub
            && !self.is_single
        {
            let (transport, reason) = (decision.transport, decision.reason);
            let telemetry = &self.shared.telemetry;
            telemetry.decided(&rollout.name, transport.as_str(), reason.as_str());
        }
        match decision.transport {
            Transport::WebSocket => Ok(()),
            Transport::Legacy => Err(Refusal::new(
                Code::Legacy,
                "this route's rollout keeps the client on the legacy transport",
            )),
        }
    }

    /// Why a client that has just said who it is is sent away; a close code.
    pub(super) fn check_hello(&mut self, admission: &Admission) -> Option<u16> {
        let (in_force, route) = (self.in_force.clone(), self.own_route());
        let place = match &route {
            Some(route) => Policies::of_route(route),
            None => Policies::of_websocket(&in_force.config),
        };
        let mut progress = Progress::default();
        loop {
            let view = View {
                ask: Ask::Hello,
                place,
                carrier: Carrier::default(),
                known: Known::Admitted {
                    identity: &admission.identity,
                    csrf: false,
                },
                progress,
            };
            let step = match policy::check(&view) {
                Decision::Allow | Decision::AwaitHello => return None,
                Decision::Deny(Reason::Denied(denied)) => return Some(denied.close_code()),
                Decision::Deny(Reason::Unfit(_)) => return Some(4003),
                Decision::Count { step, .. } | Decision::Run(step) => step,
            };
            match step {
                Step::UserConnections if !self.take_seat_for(admission) => return Some(4029),
                Step::Rollout => {
                    let code = self.legacy(route.as_ref(), &admission.identity);
                    if code.is_some() {
                        return code;
                    }
                }
                _ => {}
            }
            progress.note(step);
        }
    }

    /// The close code for a user whose rollout says legacy: of the one stream's route, or of all bridged ones.
    fn legacy(&self, route: Option<&Arc<Route>>, identity: &Identity) -> Option<u16> {
        let stages = self.shared.stages.load();
        let decide = |route: &Arc<Route>| {
            let decision = self.member().client.decide(route, &stages, Some(identity));
            (decision.transport == Transport::Legacy).then(|| exit(decision.reason).0)
        };
        if let Some(route) = route {
            return decide(route);
        }
        let mut bridged = self.in_force.routes.bridged();
        let first = decide(bridged.next()?)?;
        let all_refuse = bridged.all(|route| decide(route).is_some());
        all_refuse.then_some(first)
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
