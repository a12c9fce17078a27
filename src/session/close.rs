//! How a session follows commands, reloads and rollouts, and ends.

use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::accepted::Mode;
use super::auth::expiry::drop_revoked;
use super::connection::{Round, Session};
use super::context::{Effects, Realm};
use super::drain::{Drain, Exit, exit, is_exit, spread, window};
use super::handle::Directive;
use super::listing::Shown;
use super::namespace::{self, coming_back};
use super::reconcile::{self, Wanted};
use super::slow::{self, Slowness};
use super::subscription::{Subscription, SubscriptionVerdict, refusal_of};
use crate::error::{Code, Refusal, Side};
use crate::event::{End, GapWhy};
use crate::hub::Subscriber;
use crate::protocol::{DrainedAt, Output, Tag};
use crate::rollout::TransportKind;

/// How long the closing handshake may take.
const CLOSING: Duration = Duration::from_secs(3);

impl Session {
    /// Does what others want.
    pub(super) fn obey(&mut self, now: Instant) {
        let member = self.cx.member().clone();
        for directive in member.take_directives(!self.link.is_stalled()) {
            if self.closing_until.is_some() && !matches!(directive, Directive::Show(_)) {
                continue;
            }
            match directive {
                Directive::Show(asked) => asked.answer(member.number, self.shown()),
                Directive::Recheck => self.recheck(now),
                Directive::Close(code) => self.close(code, "", now),
                Directive::Notice(notice) => self.link.say(&Output::Notice {
                    level: &notice.level,
                    msg: &notice.msg,
                    d: notice.d.as_deref(),
                }),
                Directive::Drain(window, why) => {
                    if let Some(exit) = self.leaving.leave_with_node(window, now) {
                        self.announce(exit, "same", why, now);
                    }
                }
                Directive::Emit(emission) => namespace::emit(self, &emission),
                Directive::Stay => self.leaving.stay_with_node(),
            }
        }
    }

    /// Looks again where something newer is in force than this session has seen: what is asked for now goes by the newest.
    /// False where the session is over by that.
    pub(super) fn keeps_up(&mut self, now: Instant) -> bool {
        if self.cx.shared.in_force.load().generation != self.cx.in_force.generation {
            self.recheck(now);
        }
        self.closing_until.is_none()
    }

    /// Looks again at configuration and stages.
    pub(super) fn recheck(&mut self, now: Instant) {
        let in_force = self.cx.shared.in_force.load_full();
        if in_force.generation != self.cx.in_force.generation {
            self.cx.in_force = in_force;
            self.follow_reload(now);
        }
        let mut effects = Effects::default();
        drop_revoked(&self.cx, &mut effects);
        self.apply(effects, now);
        if self.closing_until.is_none() {
            self.obey_rollouts(now);
        }
    }

    fn follow_reload(&mut self, now: Instant) {
        let hello = self.access.hello.as_ref().map(|hello| &hello.mode);
        let url = match (hello, self.subscriptions.first()) {
            (Some(Mode::Single { url, .. }), _) => Some(url.clone()),
            (None, Some(sub)) => Some(sub.subscriber().target().url.clone()),
            _ => None,
        };
        if let Some(url) = url {
            self.cx.follow_name(&url);
        }
        if self.cx.realm.is_removed(&self.cx.in_force) {
            return self.close(4004, "", now);
        }
        self.link.limit_messages(self.cx.max_message());
        if !reconcile::admits_origin(&self.cx, &self.access.presented) {
            return self.close(4003, "origin", now);
        }
        let mut effects = Effects::default();
        self.access.follow_policies(&self.cx, now, &mut effects);
        self.apply(effects, now);
        if self.closing_until.is_some() {
            return;
        }
        let mut ended: Vec<(u32, Refusal)> = Vec::new();
        for sub in &mut self.subscriptions {
            if let Err(refusal) = reconcile::follow_route(&self.cx, &mut self.access, sub, now) {
                ended.push((sub.ch, refusal));
            }
        }
        for (ch, refusal) in ended {
            self.end_sub(ch, refusal.code, refusal.retry_ms, now);
        }
    }

    fn obey_rollouts(&mut self, now: Instant) {
        let stages = self.cx.shared.stages.load_full();
        match reconcile::judge_rollouts(&self.cx, &self.subscriptions, &stages) {
            Wanted::Leave(rollout, route, decision) => {
                self.count_as(TransportKind::Legacy);
                let (code, why) = exit(decision.reason);
                let window = window(rollout.as_deref(), decision.reason);
                if let Some(exit) = self.leaving.leave_for_legacy(code, window, now) {
                    self.cx.shared.telemetry.sessions.sent_to_legacy(&route);
                    self.announce(
                        exit,
                        namespace::legacy_side(self),
                        namespace::cause(self, why),
                        now,
                    );
                }
                // Changes of the stages before this was known of the session did not wake it.
                if !Arc::ptr_eq(&stages, &self.cx.shared.stages.load()) {
                    self.cx.member().direct(Directive::Recheck);
                }
            }
            Wanted::Poll => {
                self.count_as(TransportKind::Legacy);
                namespace::let_upgrade(self, false);
            }
            Wanted::Stay(out) => {
                namespace::let_upgrade(self, true);
                self.leaving.stay_on_websocket();
                self.count_as(TransportKind::WebSocket);
                for (ch, route, decision) in out {
                    self.cx
                        .shared
                        .telemetry
                        .sessions
                        .sent_to_legacy(&route.name);
                    self.end_sub(ch, Code::Legacy, Some(spread(&route, &decision)), now);
                }
            }
        }
    }

    /// Says that the session leaves, and how far its client has read.
    fn announce(&mut self, exit: Exit, next: &'static str, why: &'static str, now: Instant) {
        let subs = || self.subscriptions.iter().map(Subscription::subscriber);
        let ids: Vec<Option<Arc<str>>> = subs().map(Subscriber::last_event_id).collect();
        let at: Vec<DrainedAt<'_>> = subs()
            .zip(&ids)
            .map(|(subscriber, id)| DrainedAt {
                path: &subscriber.target().url,
                id: id.as_deref(),
                o: subscriber.position(),
            })
            .collect();
        self.link.say(&exit.announced(next, why, &at, now));
    }

    /// What the admin API is to know.
    fn shown(&self) -> Shown {
        let mut queued = self.link.queued();
        for subscription in &self.subscriptions {
            let waiting = subscription.waiting();
            queued.messages += waiting.messages;
            queued.bytes += waiting.bytes;
        }
        Shown {
            transport: Some(self.link.transport()),
            namespace: self.cx.realm.joined().cloned(),
            queued,
            subscriptions: self.subscriptions.iter().map(Subscription::info).collect(),
        }
    }

    /// Begins the end from our side: nothing of what waits unwritten goes before it where the client
    /// takes nothing.
    pub(super) fn close(&mut self, code: u16, reason: &str, now: Instant) {
        if self.closing_until.is_some() {
            return;
        }
        if is_exit(code) {
            self.count_as(TransportKind::Legacy);
        }
        // Whether they were executed is not known here any more.
        let unknown = Refusal::new(Code::OutcomeUnknown, "the connection is closed");
        for call in std::mem::take(&mut self.calls) {
            self.link.refuse(&call.id, &unknown);
        }
        // Clients that are to come back at once do not all come at the same instant.
        let reason = match (code, reason) {
            (4200..=4299, "") => r#"{"retry_ms":4000}"#,
            _ => reason,
        };
        let last = namespace::leave(self, code);
        self.link.close(last, reason);
        self.life.ended_by = Some((Side::Edge, code));
        self.cx.shared.telemetry.sessions.session_closing(code);
        self.closed(now);
    }

    /// Counts among the sessions that their rollout sends to this transport.
    pub(super) fn count_as(&mut self, cohort: TransportKind) {
        let protocol = self.link.codec().name();
        self.life.count_as(&self.cx, protocol, cohort);
    }

    /// The end has begun, from either side.
    pub(super) fn closed(&mut self, now: Instant) {
        coming_back::part(self);
        self.subscriptions.clear();
        self.calls = Vec::new();
        self.leaving = Drain::default();
        self.closing_until.get_or_insert(now + CLOSING);
    }

    /// Acts on what a subscription came to.
    pub(super) fn finish(&mut self, ch: u32, verdict: SubscriptionVerdict, now: Instant) {
        let ended = self.subscriptions.iter().position(|sub| sub.ch == ch);
        let (route, path) = match ended.and_then(|index| self.subscriptions.get(index)) {
            Some(sub) => (sub.route().clone(), sub.subscriber().target().url.clone()),
            None => return,
        };
        match verdict {
            SubscriptionVerdict::Waits | SubscriptionVerdict::HasMore => {}
            SubscriptionVerdict::Refused(id, end) => {
                self.subscriptions.retain(|sub| sub.ch != ch);
                let refusal = refusal_of(&end);
                match &self.cx.realm {
                    Realm::Stream(_) => self.refuse_single(&refusal, now),
                    Realm::Namespace(_) => namespace::refuse_sub(self, &id, &path, &refusal, now),
                    Realm::Every => self.link.refuse(&id, &refusal),
                }
            }
            SubscriptionVerdict::Over(end) => self.end(ch, &end, now),
            SubscriptionVerdict::Lost(GapWhy::Slow) => {
                self.cx
                    .shared
                    .telemetry
                    .sessions
                    .slow_client_closed(&route.name);
                self.close(4113, "slow consumer", now);
            }
            SubscriptionVerdict::Lost(_) => self.close(4113, r#"{"why":"expired"}"#, now),
        }
    }

    /// Takes a subscription from the client and says so; a single stream's session goes with it.
    fn end(&mut self, ch: u32, end: &End, now: Instant) {
        let target = self.subscriptions.iter().find(|sub| sub.ch == ch);
        let Some(target) = target.map(|sub| sub.subscriber().target().clone()) else {
            return;
        };
        self.subscriptions.retain(|sub| sub.ch != ch);
        let path = &target.url;
        self.link.say(&Output::End { ch, path, end });
        if self.cx.realm.is_stream() {
            let is_done = end.is_final
                || (!self.link.codec().has_words() && end.code == Code::UpstreamClosed);
            let code = if is_done { 1000 } else { close_code(end.code) };
            self.close(code, &reason(end.code, end.retry_ms), now);
        }
    }

    /// A subscription of the client's, that this code takes from it, is over.
    pub(super) fn end_sub(&mut self, ch: u32, code: Code, retry_ms: Option<u64>, now: Instant) {
        let end = End {
            code,
            status: code.status(),
            retry_ms,
            is_final: false,
        };
        self.end(ch, &end, now);
    }

    /// The implied `sub` of a single stream was refused: that is the session's end.
    pub(super) fn refuse_single(&mut self, refusal: &Refusal, now: Instant) {
        self.link.refuse(&Tag::Number(0), refusal);
        let code = close_code(refusal.code);
        self.close(code, &reason(refusal.code, refusal.retry_ms), now);
    }

    /// Judges a client that has not taken all. There is more for it in any case.
    pub(super) fn judge_lag(&mut self, now: Instant) -> bool {
        let allowed = self.cx.rules().queue;
        let (subs, link) = (&mut self.subscriptions, &mut self.link);
        if let Some(slow) = slow::judge(subs, link, allowed, now) {
            self.close_slow(slow, now);
        }
        true
    }

    /// Ends for a client that is too slow.
    pub(super) fn close_slow(&mut self, slow: Slowness, now: Instant) {
        let (Slowness::Standstill(route) | Slowness::Behind(route)) = &slow;
        let route = route.as_deref().unwrap_or(self.cx.realm.name());
        self.cx.shared.telemetry.sessions.slow_client_closed(route);
        self.close(4113, "slow consumer", now);
        if matches!(slow, Slowness::Behind(_)) {
            // It may read on, and is to learn then why it was closed: it has as long as silence may last.
            let lost = self.heartbeat.lost_at(self.cx.rules().ping_timeout);
            self.closing_until = self.closing_until.max(Some(lost));
        }
    }

    /// Carries the closing handshake through.
    pub(super) fn part(&mut self, until: Instant, task: &mut task::Context<'_>) -> Round {
        let now = Instant::now();
        if self.link.poll_end(task).is_ready() || now >= until {
            return Round::Gone;
        }
        match self.timer.poll_until(until, now, task) {
            Poll::Ready(()) => Round::Again,
            Poll::Pending => Round::Waits,
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        coming_back::part(self);
        let (read, written) = self.link.counts();
        self.cx.member().end();
        self.life.end(&self.cx, (read, written));
    }
}

/// How a single stream's connection ends where a word would say so.
fn close_code(code: Code) -> u16 {
    match code {
        Code::Unauthorized => 4001,
        Code::TokenExpired => 4401,
        Code::Forbidden => 4003,
        Code::NotFound => 4004,
        Code::BadFrame => 4000,
        Code::RateLimited => 4129,
        Code::Legacy => 4300,
        Code::RouteRemoved => 4201,
        _ => 4100,
    }
}

/// What the close frame says beside its code.
fn reason(code: Code, retry_ms: Option<u64>) -> String {
    match retry_ms {
        Some(retry_ms) => format!(r#"{{"retry_ms":{retry_ms}}}"#),
        None => code.as_str().into(),
    }
}
