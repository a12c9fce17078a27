//! What a client asks for, and what it is answered.

use std::sync::Arc;

use tokio::time::Instant;

use super::call::{self, Caller};
use super::checks::{Frame, Wants};
use super::client::{Located, Person};
use super::connection::Session;
use super::filter::Filter;
use super::identity::claims_of;
use super::subscription::Subscription;
use crate::edge::auth::Admission;
use crate::error::{Code, Refusal};
use crate::event::{self, Position};
use crate::hub::Start;
use crate::json::Scalar;
use crate::protocol::{Input, Output, Req};
use crate::rollout::Transport;

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
                if self.is_single {
                    let detail = "this connection carries one stream";
                    return self.refuse_sub(id, &Refusal::new(Code::Conflict, detail), now);
                }
                self.advance(Frame::new(Wants::Sub(id, wish)), None, now);
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
            Input::Req(request) => self.advance(Frame::new(Wants::Req(request)), None, now),
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

    /// Joins what a wish names, for a client that may; it is answered when the upstream is known to answer.
    ///
    /// # Errors
    /// Why not; nothing is joined then.
    pub(super) fn join(
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
        let credentials = match &admission {
            Some(admission) => self.access.presented.verified(admission, claims_of(&route)),
            None => self.access.presented.unverified(),
        };
        let person = identity.map_or(Person::Unknown(&credentials), Person::Known);
        let judged = self.judged(admission.as_ref());
        let judged = judged.as_ref().map(|admission| &*admission.identity);
        let target = client.target(found, url, member.number, person, judged)?;
        let filter = match wish.filter.is_empty() {
            true => None,
            false => Some(Filter::new(wish.filter, &route).map_err(|_| {
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

    /// Sends a request on its way, for a client that may.
    ///
    /// # Errors
    /// The route takes no such request.
    pub(super) fn send(
        &mut self,
        place: Located,
        request: Req,
        admission: Option<&Admission>,
    ) -> Result<(), Refusal> {
        let caller = Caller {
            client: &self.member().client,
            presented: &self.access.presented,
            admission,
        };
        let call = call::start(&self.shared, &self.in_force, caller, place, request)?;
        self.calls.push(call);
        Ok(())
    }
}
