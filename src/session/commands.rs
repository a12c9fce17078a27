//! What a client asks for, and what it is answered.

use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::auth::{Hello, Then};
use super::beginning::Beginning;
use super::checks::{Checked, Checks};
use super::client::Located;
use super::connection::Session;
use super::context::{Effect, Effects, Realm};
use super::frame::{Frame, SubWish, Wants};
use super::joining::Joining;
use super::namespace::{self, coming_back};
use super::reconcile;
use super::subscription::Subscription;
use super::upstream_request::{self, Caller};
use super::welcome;
use crate::error::{Code, Refusal};
use crate::policy::auth::{AuthError, Authenticated};
use crate::protocol::{Input, Output, Req, Tag};

/// `sub`s above the limit before the client is sent away for a while.
const PATIENCE: u32 = 100;

impl Session {
    /// The first round: a welcome, at once or in answer to a `hello`, and what the handshake asked for.
    pub(super) fn begin(&mut self, beginning: Beginning, now: Instant) {
        if let Some(code) = beginning.refuse_with {
            self.close(code, "", now);
            return;
        }
        if let Some(admission) = beginning.admission {
            self.access.remember(&self.cx, admission);
        }
        let (mode, judged_by) = (beginning.mode, beginning.judged_by);
        if beginning.awaits_hello {
            let until = now + self.cx.rules().hello_timeout;
            self.access.hello = Some(Box::new(Hello {
                mode,
                judged_by,
                until,
            }));
        } else {
            welcome::greet(self, mode, judged_by, now);
        }
    }

    /// Does what a client asks for, unless something before it has to be known first.
    pub(super) fn handle(&mut self, input: Input, now: Instant) {
        let Some(input) = self.access.hold(input) else {
            return;
        };
        if self.access.hello.is_some() {
            return self.hear_first(input, now);
        }
        let asks = matches!(input, Input::Sub { .. } | Input::Req(_) | Input::Event(_));
        if asks && !self.keeps_up(now) {
            return;
        }
        match input {
            Input::Hello { id, token } => self.renew(id, token, now),
            Input::Auth { id, token } => self.renew(id, Some(token), now),
            Input::Sub {
                id,
                path,
                after,
                last_event_id,
                filter,
            } => {
                let wish = SubWish {
                    after,
                    last_event_id,
                    filter,
                    ..SubWish::of(path)
                };
                if self.cx.realm.is_stream() {
                    let detail = "this connection carries one stream";
                    let refusal = Refusal::new(Code::Conflict, detail);
                    return self.refuse_sub(&id, &wish.path, &refusal, now);
                }
                self.advance(Frame::new(Wants::Sub(id, wish)), None, now);
            }
            Input::Unsub { id, ch } => {
                if self.with_sub(&id, ch, |_| {}) {
                    self.subscriptions.retain(|sub| sub.ch != ch);
                    if self.cx.realm.is_stream() {
                        self.close(1000, "", now);
                    }
                }
            }
            Input::Pause { id, ch } => {
                self.with_sub(&id, ch, Subscription::pause);
            }
            Input::Resume { id, ch } => {
                self.with_sub(&id, ch, |sub| sub.resume(now));
            }
            Input::Req(request) => self.advance(Frame::new(Wants::Req(request)), None, now),
            Input::Ping => self.link.reply(&Output::Pong),
            // A namespace is joined once.
            Input::Pong | Input::Connect(_) => {}
            Input::Event(event) => namespace::follow_event(self, &event, now),
            Input::Leave => namespace::left(self, now),
        }
    }

    /// Until the user is known, nothing else is answered.
    fn hear_first(&mut self, input: Input, now: Instant) {
        let token = match input {
            Input::Hello { token, .. } => token,
            Input::Connect(connect) => namespace::connect(self, connect),
            Input::Leave => return namespace::left(self, now),
            Input::Pong => return,
            other => {
                let refusal = Refusal::new(Code::Unauthorized, "a hello with a token comes first");
                return self.link.refuse(&other.id(), &refusal);
            }
        };
        let mut effects = Effects::default();
        self.access.hear_hello(&self.cx, token, &mut effects);
        self.apply(effects, now);
    }

    fn renew(&mut self, id: Tag, token: Option<String>, now: Instant) {
        let mut effects = Effects::default();
        let subs = &self.subscriptions;
        (self.access).renew(&self.cx, subs, id, token, &mut effects);
        self.apply(effects, now);
    }

    /// An authority has said which user it is, or that it is none.
    pub(super) fn answered(
        &mut self,
        then: Then,
        outcome: Result<Authenticated, AuthError>,
        now: Instant,
    ) {
        let mut effects = Effects::default();
        match (then, outcome) {
            (Then::Welcome, outcome) => self.access.greet(&self.cx, outcome, &mut effects),
            (Then::Renew(id, before), outcome) => {
                let (cx, subs) = (&self.cx, &self.subscriptions);
                (self.access).renewed(cx, subs, (id, before), outcome, &mut effects);
            }
            (Then::Frame(_), _) if !self.keeps_up(now) => {}
            // The credential of another reading may have been asked for, so all policies look again.
            (Then::Frame(frame), Ok(admission)) => {
                let admission = Arc::new(admission);
                let is_in = self.access.take_in(&self.cx, &admission, &mut effects);
                self.apply(effects, now);
                if is_in {
                    self.advance(*frame, None, now);
                }
                return;
            }
            (Then::Frame(frame), Err(denied)) => self.advance(*frame, Some(denied), now),
        }
        self.apply(effects, now);
    }

    /// Acts on what authorities have said. Returns whether one has.
    pub(super) fn learn(&mut self, now: Instant, task: &mut task::Context<'_>) -> bool {
        if self.closing_until.is_some() {
            // Nothing comes behind a close.
            return false;
        }
        let mut effects = Effects::default();
        let mut has_learnt = self.access.hear_rechecks(&self.cx, now, task, &mut effects);
        self.apply(effects, now);
        while self.closing_until.is_none()
            && let Poll::Ready((then, outcome)) = self.access.poll_answer(task)
        {
            has_learnt = true;
            self.answered(then, outcome, now);
            for input in self.access.release() {
                if self.closing_until.is_none() {
                    self.handle(input, now);
                }
            }
        }
        has_learnt
    }

    /// Does what a part of the session wants done.
    pub(super) fn apply(&mut self, effects: Effects, now: Instant) {
        for effect in effects {
            if self.closing_until.is_some() {
                return;
            }
            match effect {
                Effect::Close(code, reason) => self.close(code, reason, now),
                Effect::Welcome => welcome::welcome(self, now),
                Effect::Accept(Tag::None) => {}
                Effect::Accept(id) => self.link.reply(&Output::Ok { id: &id, sub: None }),
                Effect::Refuse(id, refusal) => self.link.refuse(&id, &refusal),
                Effect::Renew(admission) => {
                    let (presented, subs) = (&self.access.presented, &mut self.subscriptions);
                    for ch in reconcile::renew(&self.cx, presented, subs, &admission) {
                        self.end_sub(ch, Code::Forbidden, None, now);
                    }
                }
                Effect::Lose(auth, code) => {
                    for ch in reconcile::channels_by(&self.cx, &self.subscriptions, &auth) {
                        self.end_sub(ch, code, None, now);
                    }
                }
                Effect::Expires(unix) => {
                    let d = serde_json::json!({"auth_exp": unix});
                    let d = serde_json::value::to_raw_value(&d);
                    self.link.say(&Output::Notice {
                        level: "warn",
                        msg: "auth_expiring",
                        d: d.ok().as_deref(),
                    });
                }
            }
        }
    }

    /// Takes a frame as far as it gets: it is done, or refused, or waits for an authority. `denied` is what that has said.
    pub(super) fn advance(&mut self, mut frame: Frame, denied: Option<AuthError>, now: Instant) {
        if self.closing_until.is_some() {
            return;
        }
        let mut effects = Effects::default();
        let checked = Checks {
            cx: &self.cx,
            subscriptions: self.subscriptions.len() + self.access.subs_asked(),
            calls: self.calls.len() + self.access.reqs_asked(),
            is_leaving: self.leaving.exit().is_some(),
            access: &mut self.access,
            effects: &mut effects,
        }
        .check(&mut frame, denied);
        self.apply(effects, now);
        if self.closing_until.is_some() {
            return;
        }
        let (place, admission) = match checked {
            Ok(Checked::Passed(place, admission)) => (place, admission),
            Ok(Checked::Asks(asking)) => {
                return self.access.ask(asking, Then::Frame(Box::new(frame)));
            }
            Err(refusal) => return self.refuse_frame(&frame.wants, &refusal, now),
        };
        match frame.wants {
            Wants::Sub(id, mut wish) => {
                let asked_by = wish.asked_by.take();
                let joining = Joining {
                    cx: &self.cx,
                    presented: &self.access.presented,
                    subscriptions: &self.subscriptions,
                    protocol: self.link.codec().name(),
                };
                let path = wish.path.clone();
                match joining.join(place, id.clone(), wish, admission, now) {
                    Ok(sub) => {
                        coming_back::note_event(self, sub.ch, asked_by);
                        self.add_sub(&id, sub, now);
                    }
                    Err(refusal) => self.refuse_sub(&id, &path, &refusal, now),
                }
            }
            Wants::Req(request) => {
                let id = request.id.clone();
                let called = self.call(place, request, admission.as_deref(), frame.waited);
                if let Err(refusal) = called {
                    self.link.refuse(&id, &refusal);
                }
            }
        }
    }

    fn refuse_frame(&mut self, wants: &Wants, refusal: &Refusal, now: Instant) {
        match wants {
            Wants::Sub(id, wish) => self.refuse_sub(id, &wish.path, refusal, now),
            Wants::Req(request) => self.link.refuse(&request.id, refusal),
        }
    }

    fn add_sub(&mut self, id: &Tag, sub: Subscription, now: Instant) {
        // Most connections have one, ever.
        if self.subscriptions.is_empty() {
            self.subscriptions.reserve_exact(1);
        }
        let ch = sub.ch;
        self.subscriptions.push(sub);
        coming_back::note(self, id, Some(ch), now);
    }

    /// Answers a `sub` that is not granted; the implied one of a single stream takes its connection with it.
    fn refuse_sub(&mut self, id: &Tag, path: &str, refusal: &Refusal, now: Instant) {
        match &self.cx.realm {
            Realm::Stream(_) if *id == Tag::Number(0) && self.subscriptions.is_empty() => {
                return self.refuse_single(refusal, now);
            }
            Realm::Namespace(_) => namespace::refuse_sub(self, id, path, refusal, now),
            Realm::Every | Realm::Stream(_) => self.link.refuse(id, refusal),
        }
        if refusal.code == Code::TooManySubs && self.access.pace.refuse_sub() > PATIENCE {
            self.close(4129, "too many subscriptions", now);
        }
    }

    /// Does something to a channel and says so; false where there is none.
    fn with_sub(&mut self, id: &Tag, ch: u32, act: impl FnOnce(&mut Subscription)) -> bool {
        match self.subscriptions.iter_mut().find(|sub| sub.ch == ch) {
            Some(sub) => {
                act(sub);
                self.link.reply(&Output::Ok { id, sub: None });
                true
            }
            None => {
                let refusal = Refusal::new(Code::NotFound, "no such channel on this connection");
                self.link.refuse(id, &refusal);
                false
            }
        }
    }

    /// Sends a request on its way, for a client that may.
    ///
    /// # Errors
    /// The route takes no such request.
    fn call(
        &mut self,
        place: Located,
        request: Req,
        admission: Option<&Authenticated>,
        waited: Duration,
    ) -> Result<(), Refusal> {
        let caller = Caller {
            waited,
            client: &self.cx.member().client,
            presented: &self.access.presented,
            admission,
        };
        let call =
            upstream_request::start(&self.cx.shared, &self.cx.in_force, caller, place, request)?;
        self.calls.push(call);
        Ok(())
    }

    pub(super) fn answer_calls(&mut self, task: &mut task::Context<'_>) {
        let mut index = 0;
        while let Some(call) = self.calls.get_mut(index) {
            let Poll::Ready(answer) = call.poll_answer(task) else {
                index += 1;
                continue;
            };
            let call = self.calls.swap_remove(index);
            self.link.answer(&call.id, &answer);
            namespace::tell_reply(self, &call.id, &answer);
            namespace::call_waiting(self, Instant::now());
        }
        if self.calls.is_empty() {
            self.calls = Vec::new();
        }
    }
}
