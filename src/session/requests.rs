//! What a client asks for, and what it is answered.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::Method;
use tokio::time::Instant;

use super::call::{self, Caller};
use super::client::{Located, Person};
use super::connection::Session;
use super::filter::Filter;
use super::identity::{Standing, Then, claims_of, may};
use super::subscription::Subscription;
use crate::config::Route;
use crate::edge::auth::{Admission, Denied};
use crate::edge::rate_limit::{Kind, NO_ROUTE};
use crate::error::{Code, Refusal};
use crate::event::{self, Position};
use crate::hub::Start;
use crate::json::Scalar;
use crate::protocol::{Input, Output, Req};
use crate::rollout::Transport;
use crate::route::Match;

/// Requests of one connection that may be under way.
const CALLS: usize = 16;

/// `sub`s above the limit before the client is sent away for a while.
const PATIENCE: u32 = 100;

/// What a `sub` wants.
pub(super) struct Wish {
    pub path: String,
    pub after: Option<String>,
    pub last_event_id: Option<String>,
    pub filter: Vec<(String, Vec<Scalar>)>,
}

impl Session {
    pub(super) fn handle(&mut self, input: Input, now: Instant) {
        if self.access.hello.is_some() {
            return self.hear_first(input, now);
        }
        let asks = matches!(input, Input::Sub { .. } | Input::Req(_));
        if asks && !self.keeps_up(now) {
            return;
        }
        match input {
            Input::Hello { id, token } => self.renew(id, token, now),
            Input::Auth { id, token } => self.renew(Some(id), Some(token), now),
            Input::Sub {
                id,
                path,
                after,
                last_event_id,
                filter,
            } => {
                let wish = Wish {
                    path,
                    after,
                    last_event_id,
                    filter,
                };
                let granted = match self.is_single {
                    true => Err(Refusal::new(
                        Code::Conflict,
                        "this connection carries one stream",
                    )),
                    false => self.subscribe(id, wish, None, now),
                };
                if let Err(refusal) = granted {
                    self.refuse_sub(id, &refusal, now);
                }
            }
            Input::Unsub { id, ch } => {
                if self.with_sub(id, ch, |_| {}) {
                    self.subscriptions.retain(|sub| sub.ch != ch);
                    if self.is_single {
                        self.close(1000, "", now);
                    }
                }
            }
            Input::Pause { id, ch } => {
                self.with_sub(id, ch, Subscription::pause);
            }
            Input::Resume { id, ch } => {
                self.with_sub(id, ch, |sub| sub.resume(now));
            }
            Input::Req(request) => self.call(request, now),
            Input::Ping => self.reply(&Output::Pong),
            Input::Pong => {}
        }
    }

    /// Until it is known who it is, nothing else is answered.
    fn hear_first(&mut self, input: Input, now: Instant) {
        match input {
            Input::Hello { token, .. } => self.hear_hello(token, now),
            Input::Pong => {}
            other => {
                let refusal = Refusal::new(Code::Unauthorized, "a hello with a token comes first");
                self.refuse(other.id(), &refusal);
            }
        }
    }

    /// Joins what the wish names, for whom the route's policy lets in; it is answered when the upstream is known to answer.
    /// `place` is where that is, if it is known already.
    ///
    /// # Errors
    /// Why not; nothing is joined then.
    pub(super) fn subscribe(
        &mut self,
        id: u64,
        wish: Wish,
        place: Option<Located>,
        now: Instant,
    ) -> Result<(), Refusal> {
        if self.leaving.is_some() || self.shared.draining.load(Ordering::Relaxed) {
            return Err(Refusal::new(Code::Draining, "this instance is leaving"));
        }
        if self.subscriptions.len() >= self.rules().max_subs {
            return Err(Refusal::new(
                Code::TooManySubs,
                "no more subscriptions on this connection (`websocket.max_subs`)",
            ));
        }
        // Where the connection asks nobody who it is, its routes count for their users.
        let whose = self.admission_of(&self.own_auths());
        // The handshake of a single stream has counted for it.
        if let Some(own) = self.own_policy().filter(|_| !self.is_single) {
            self.allow(&own, NO_ROUTE, Kind::Subscriptions, whose.as_deref())?;
        }
        let place = place.map_or_else(|| self.find(&wish), Ok)?;
        self.allow_at_place(&place.0.route, Kind::Subscriptions)?;
        self.enter_at(place, id, wish, now)
    }

    /// The route that a wish names, and the path and query there.
    fn find(&self, wish: &Wish) -> Result<Located, Refusal> {
        let client = &self.member().client;
        client.find(&self.in_force, &Method::GET, &wish.path)
    }

    /// The rest of [`Session::subscribe`], where it was counted: also when somebody has just become known.
    ///
    /// # Errors
    /// Why not; nothing is joined then.
    pub(super) fn enter(&mut self, id: u64, wish: Wish, now: Instant) -> Result<(), Refusal> {
        self.enter_at(self.find(&wish)?, id, wish, now)
    }

    fn enter_at(
        &mut self,
        place: Located,
        id: u64,
        wish: Wish,
        now: Instant,
    ) -> Result<(), Refusal> {
        match self.standing_at(&place.0, None, now)? {
            Standing::Unasked => self.subscribe_as(place, id, wish, None, now),
            Standing::Known(admission) => {
                self.seat(&admission)?;
                self.subscribe_as(place, id, wish, Some(admission), now)
            }
            Standing::Denied(denied) => {
                Err(self.denied(&denied, &Method::GET, &wish.path, Kind::Subscriptions))
            }
            Standing::Asks(asking) => {
                self.ask(asking, Then::Subscribe(id, wish));
                Ok(())
            }
        }
    }

    /// As [`Session::subscribe`], for somebody who was let in.
    ///
    /// # Errors
    /// Why not; nothing is joined then.
    fn subscribe_as(
        &mut self,
        (found, url): Located,
        id: u64,
        wish: Wish,
        admission: Option<Arc<Admission>>,
        now: Instant,
    ) -> Result<(), Refusal> {
        let member = self.member().clone();
        let client = &member.client;
        let route = found.route.clone();
        let identity = admission.as_ref().map(|admission| &*admission.identity);
        if let Some(identity) = identity {
            may(&route, identity)?;
        }
        self.allow_by_user(&route, Kind::Subscriptions, admission.as_deref())?;
        let credentials = match &admission {
            Some(admission) => self.access.presented.verified(admission, claims_of(&route)),
            None => self.access.presented.unverified(),
        };
        let person = identity.map_or(Person::Unknown(&credentials), Person::Known);
        let judged = self.judged(admission.as_ref());
        let judged = judged.as_ref().map(|admission| &*admission.identity);
        let target = client.target(found, url, member.number, person, judged)?;
        let decision = client.decide(&route, &self.shared.stages.load(), judged);
        if let Some(rollout) = &route.rollout
            && !self.is_single
        {
            let (transport, reason) = (decision.transport, decision.reason);
            self.shared
                .telemetry
                .decided(&rollout.name, transport.as_str(), reason.as_str());
        }
        if decision.transport == Transport::Legacy {
            return Err(Refusal::new(
                Code::Legacy,
                "this route's rollout keeps the client on the legacy transport",
            ));
        }
        let filter = match wish.filter.is_empty() {
            true => None,
            false => Some(Filter::new(wish.filter, &route.filter).map_err(|_| {
                Refusal::new(Code::BadFrame, "the route does not allow to filter by that")
            })?),
        };
        let named = wish.after;
        let start = match (&named, wish.last_event_id) {
            (Some(after), _) => Start::After(Position::named(after).ok_or_else(|| {
                let detail = "`after` is no position: send the last `o`, or leave it out";
                Refusal::new(Code::BadFrame, detail)
            })?),
            (None, Some(id)) => Start::LastEventId(id.into()),
            (None, None) => Start::Live,
        };
        if start != Start::Live {
            self.shared.telemetry.resume_asked(&route.name);
        }
        let mut joined = self.shared.hub.join(
            Arc::new(target),
            credentials,
            start,
            None,
            member.signal.clone(),
        )?;
        let ch = joined.subscriber.ch();
        if self.subscriptions.iter().any(|sub| sub.ch == ch) {
            return Err(Refusal::new(
                Code::Conflict,
                "this connection is subscribed there already",
            ));
        }
        if let (Some(after), Some(first)) = (&named, joined.prelude.first_mut())
            && matches!(first.kind, event::Kind::Gap { .. })
        {
            *first = first.told_from(after);
        }
        let (telemetry, cohort) = (&self.shared.telemetry, Transport::WebSocket.as_str());
        let meters = telemetry.route_meters(&route.name, self.link.codec().name(), cohort);
        // Most connections have one, ever.
        if self.subscriptions.is_empty() {
            self.subscriptions.reserve_exact(1);
        }
        let sub = Subscription::new(id, joined, route, filter, admission, meters, now);
        self.subscriptions.push(sub);
        Ok(())
    }

    /// Answers a `sub` that is not granted; the implied one of a single stream takes its connection with it.
    pub(super) fn refuse_sub(&mut self, id: u64, refusal: &Refusal, now: Instant) {
        if self.is_single && id == 0 && self.subscriptions.is_empty() {
            return self.refuse_single(refusal, now);
        }
        self.refuse(Some(id), refusal);
        if refusal.code == Code::TooManySubs && self.access.pace.refuse_sub() > PATIENCE {
            self.close(4129, "too many subscriptions", now);
        }
    }

    /// Does something to a channel and says so; false where there is none.
    fn with_sub(&mut self, id: u64, ch: u32, act: impl FnOnce(&mut Subscription)) -> bool {
        match self.subscriptions.iter_mut().find(|sub| sub.ch == ch) {
            Some(sub) => {
                act(sub);
                self.reply(&Output::Ok { id, sub: None });
                true
            }
            None => {
                let refusal = Refusal::new(Code::NotFound, "no such channel on this connection");
                self.refuse(Some(id), &refusal);
                false
            }
        }
    }

    /// Sends a request on its way, for whom its route's policy lets in.
    fn call(&mut self, request: Req, now: Instant) {
        let id = Some(request.id);
        if self.calls.len() >= CALLS {
            let mut refusal = Refusal::new(Code::RateLimited, "too many requests under way");
            refusal.retry_ms = Some(1000);
            return self.refuse(id, &refusal);
        }
        let found = match self.called(&request) {
            Ok(found) => found,
            Err(refusal) => return self.refuse(id, &refusal),
        };
        match self.allow_at_place(&found.route, Kind::Requests) {
            Ok(()) => self.call_in(request, now),
            Err(refusal) => self.refuse(id, &refusal),
        }
    }

    /// The rest of [`Session::call`], where it was counted: also when somebody has just become known.
    pub(super) fn call_in(&mut self, request: Req, now: Instant) {
        let id = Some(request.id);
        if let Err(refusal) = self.send(request, now) {
            self.refuse(id, &refusal);
        }
    }

    fn send(&mut self, request: Req, now: Instant) -> Result<(), Refusal> {
        let found = self.called(&request)?;
        let route = &found.route;
        match self.standing_at(&found, Some(&request), now)? {
            Standing::Unasked => self.call_as(request, route, None),
            Standing::Known(admission) => {
                self.seat(&admission)?;
                self.call_as(request, route, Some(admission))
            }
            Standing::Denied(denied) => {
                let method = call::method_of(&request)?;
                Err(self.denied(&denied, &method, &request.path, Kind::Requests))
            }
            Standing::Asks(asking) => {
                self.ask(asking, Then::Call(request));
                Ok(())
            }
        }
    }

    /// What somebody is told whom a route does not let in. Who tries what is good is counted for it.
    pub(super) fn denied(
        &mut self,
        denied: &Denied,
        method: &Method,
        path: &str,
        kind: Kind,
    ) -> Refusal {
        let refusal = Refusal::from(denied);
        let client = &self.member().client;
        match client.find(&self.in_force, method, path) {
            Ok((found, _)) if denied.is_guess() => {
                let counted = self.allow_by_user(&found.route, kind, None);
                counted.err().unwrap_or(refusal)
            }
            _ => refusal,
        }
    }

    /// A seat among the connections of whom a route has let in, where the connection itself asks nobody who it is.
    fn seat(&mut self, admission: &Admission) -> Result<(), Refusal> {
        match self.own_auths().is_empty() && !self.take_seat_for(admission) {
            true => Err(Refusal::new(
                Code::RateLimited,
                "this user has too many connections",
            )),
            false => Ok(()),
        }
    }

    fn called(&self, request: &Req) -> Result<Match, Refusal> {
        let method = call::method_of(request)?;
        let client = &self.member().client;
        Ok(client.find(&self.in_force, &method, &request.path)?.0)
    }

    fn call_as(
        &mut self,
        request: Req,
        route: &Route,
        admission: Option<Arc<Admission>>,
    ) -> Result<(), Refusal> {
        self.allow_by_user(route, Kind::Requests, admission.as_deref())?;
        let member = self.member();
        let judged = self.judged(admission.as_ref());
        let caller = Caller {
            client: &member.client,
            presented: &self.access.presented,
            admission: admission.as_deref(),
            judged: judged.as_ref().map(|judged| &*judged.identity),
        };
        let call = call::start(&self.shared, &self.in_force, caller, request)?;
        self.calls.push(call);
        Ok(())
    }
}
