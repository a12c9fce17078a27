//! What a client asks for, and what it is answered.

use std::sync::atomic::Ordering;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::call::{self, Call};
use super::client::bearer;
use super::connection::Connection;
use super::filter::Filter;
use super::subscription::Subscription;
use crate::error::{Code, Refusal};
use crate::hub::Start;
use crate::protocol::{Input, Output, Req};
use crate::rollout::Transport;

/// Requests of one connection that may be under way.
const CALLS: usize = 16;

/// `sub`s above the limit before the client is sent away for a while.
const PATIENCE: u32 = 100;

/// What a `sub` wants.
pub(super) struct Wish {
    pub path: String,
    pub after: Option<String>,
    pub last_event_id: Option<String>,
    pub filter: Vec<(String, Vec<serde_json::Value>)>,
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Connection<Io> {
    pub(super) fn handle(&mut self, input: Input, subs: &mut Vec<Subscription>, now: Instant) {
        match input {
            Input::Hello { id, token } => self.authenticate(id, token.as_deref()),
            Input::Auth { id, token } => self.authenticate(Some(id), Some(&token)),
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
                    false => self.subscribe(id, wish, subs, now),
                };
                if let Err(refusal) = granted {
                    self.refuse_sub(id, &refusal, subs, now);
                }
            }
            Input::Unsub { id, ch } => {
                if self.with_sub(id, ch, subs, |_| {}) {
                    subs.retain(|sub| sub.ch != ch);
                    if self.is_single {
                        self.close(1000, "", subs, now);
                    }
                }
            }
            Input::Pause { id, ch } => {
                self.with_sub(id, ch, subs, Subscription::pause);
            }
            Input::Resume { id, ch } => {
                self.with_sub(id, ch, subs, Subscription::resume);
            }
            Input::Req(request) => {
                let id = request.id;
                match self.call(request) {
                    Ok(call) => self.calls.push(call),
                    Err(refusal) => self.refuse(Some(id), &refusal),
                }
            }
            Input::Ping => self.reply(&Output::Pong),
            Input::Pong => {}
        }
    }

    /// Joins what the wish names; it is answered when the upstream is known to answer.
    ///
    /// # Errors
    /// Why not; nothing is joined then.
    pub(super) fn subscribe(
        &mut self,
        id: u64,
        wish: Wish,
        subs: &mut Vec<Subscription>,
        now: Instant,
    ) -> Result<(), Refusal> {
        if self.leaving.is_some() || self.shared.draining.load(Ordering::Relaxed) {
            return Err(Refusal::new(Code::Draining, "this instance is leaving"));
        }
        if subs.len() >= self.rules().max_subs {
            return Err(Refusal::new(
                Code::TooManySubs,
                "no more subscriptions on this connection",
            ));
        }
        let member = self.member().clone();
        let client = &member.client;
        let target = client.target(&self.in_force, &wish.path, member.number, &self.credentials)?;
        let route = target.route.clone();
        let decision = client.decide(&route, &self.shared.stages.load());
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
        let start = match (wish.after, wish.last_event_id) {
            // A position that is none is one of another epoch: a gap, never an error.
            (Some(after), _) => Start::After(after.parse().unwrap_or(NOWHERE)),
            (None, Some(id)) => Start::LastEventId(id.into()),
            (None, None) => Start::Live,
        };
        if start != Start::Live {
            self.shared.telemetry.resume_asked(&route.name);
        }
        let joined = self.shared.hub.join(
            std::sync::Arc::new(target),
            self.credentials.clone(),
            start,
            None,
            member.signal.clone(),
        )?;
        let ch = joined.subscriber.ch();
        if subs.iter().any(|sub| sub.ch == ch) {
            return Err(Refusal::new(
                Code::Conflict,
                "this connection is subscribed there already",
            ));
        }
        let meters =
            self.shared
                .telemetry
                .route_meters(&route.name, self.protocol.name(), "websocket");
        // Most connections have one, ever.
        if subs.is_empty() {
            subs.reserve_exact(1);
        }
        subs.push(Subscription::new(id, joined, route, filter, meters, now));
        Ok(())
    }

    fn refuse_sub(
        &mut self,
        id: u64,
        refusal: &Refusal,
        subs: &mut Vec<Subscription>,
        now: Instant,
    ) {
        self.refuse(Some(id), refusal);
        if refusal.code == Code::TooManySubs {
            self.refused_subs += 1;
            if self.refused_subs > PATIENCE {
                self.close(4129, "too many subscriptions", subs, now);
            }
        }
    }

    /// New credentials for what comes; running subscriptions keep theirs.
    fn authenticate(&mut self, id: Option<u64>, token: Option<&str>) {
        match token.map(bearer) {
            None => {}
            Some(Some(authorization)) => self.credentials.authorization = Some(authorization),
            Some(None) => {
                let refusal = Refusal::new(Code::BadFrame, "the token cannot stand in a header");
                return self.refuse(id, &refusal);
            }
        }
        if let Some(id) = id {
            self.reply(&Output::Ok { id, sub: None });
        }
    }

    /// Does something to a channel and says so; false where there is none.
    fn with_sub(
        &mut self,
        id: u64,
        ch: u32,
        subs: &mut [Subscription],
        act: impl FnOnce(&mut Subscription),
    ) -> bool {
        match subs.iter_mut().find(|sub| sub.ch == ch) {
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

    fn call(&self, request: Req) -> Result<Call, Refusal> {
        if self.calls.len() >= CALLS {
            let mut refusal = Refusal::new(Code::RateLimited, "too many requests under way");
            refusal.retry_ms = Some(1000);
            return Err(refusal);
        }
        let member = self.member();
        call::start(
            &self.shared,
            &self.in_force,
            &member.client,
            &self.credentials,
            request,
        )
    }
}

/// A position that no topic knows: epochs are random and offsets begin at 1, so its offset alone
/// puts it into every topic's future.
const NOWHERE: crate::event::Position = crate::event::Position {
    epoch: crate::event::Epoch(0),
    offset: u64::MAX,
};
