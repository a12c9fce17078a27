//! The last rounds of a session: the closing handshake, and the line that it leaves in the log.

use std::task::{self, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::connection::{Round, Session};
use super::drain::{Leaving, is_exit};
use super::slow::Slow;
use super::subscription::{Verdict, refusal_of};
use crate::error::{Code, Refusal, Side};
use crate::event::{End, GapWhy};
use crate::protocol::{Output, Tag};
use crate::rollout::Transport;

/// How long the closing handshake may take.
const CLOSING: Duration = Duration::from_secs(3);

impl Session {
    /// Begins the end from our side: nothing of what waits unwritten goes before it where the client
    /// takes nothing.
    pub(super) fn close(&mut self, code: u16, reason: &str, now: Instant) {
        if self.closing_until.is_some() {
            return;
        }
        if is_exit(code) {
            self.count_as(Transport::Legacy);
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
        self.link.close(code, reason);
        self.life.ended_by = Some((Side::Edge, code));
        self.cx.shared.telemetry.sessions.session_closing(code);
        self.closed(now);
    }

    /// Counts among the sessions that their rollout sends to this transport.
    pub(super) fn count_as(&mut self, cohort: Transport) {
        let protocol = self.link.codec().name();
        self.life.count_as(&self.cx, protocol, cohort);
    }

    /// The end has begun, from either side.
    pub(super) fn closed(&mut self, now: Instant) {
        self.subscriptions.clear();
        self.calls = Vec::new();
        self.leaving = Leaving::default();
        self.closing_until.get_or_insert(now + CLOSING);
    }

    /// Acts on what a subscription came to.
    pub(super) fn finish(&mut self, ch: u32, verdict: Verdict, now: Instant) {
        let ended = self.subscriptions.iter().position(|sub| sub.ch == ch);
        let route = match ended.and_then(|index| self.subscriptions.get(index)) {
            Some(sub) => sub.route().clone(),
            None => return,
        };
        match verdict {
            Verdict::Waits | Verdict::HasMore => {}
            Verdict::Refused(id, end) => {
                self.subscriptions.retain(|sub| sub.ch != ch);
                let refusal = refusal_of(&end);
                if self.cx.realm.is_stream() {
                    self.refuse_single(&refusal, now);
                } else {
                    self.link.refuse(&id, &refusal);
                }
            }
            Verdict::Over(end) => {
                self.subscriptions.retain(|sub| sub.ch != ch);
                self.end(ch, &end, now);
            }
            Verdict::Lost(GapWhy::Slow) => {
                self.cx
                    .shared
                    .telemetry
                    .sessions
                    .slow_client_closed(&route.name);
                self.close(4113, "slow consumer", now);
            }
            Verdict::Lost(_) => self.close(4113, r#"{"why":"expired"}"#, now),
        }
    }

    /// Reports that a subscription, gone already, is over; a single stream's session goes with it.
    pub(super) fn end(&mut self, ch: u32, end: &End, now: Instant) {
        self.link.say(&Output::End { ch, end });
        if self.cx.realm.is_stream() {
            let is_done = end.is_final
                || (!self.link.codec().has_words() && end.code == Code::UpstreamClosed);
            let code = if is_done { 1000 } else { close_code(end.code) };
            self.close(code, &reason(end.code, end.retry_ms), now);
        }
    }

    /// A subscription of the client's, that this code takes from it, is over.
    pub(super) fn end_sub(&mut self, ch: u32, code: Code, retry_ms: Option<u64>, now: Instant) {
        self.subscriptions.retain(|sub| sub.ch != ch);
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

    /// Ends for a client that is too slow.
    pub(super) fn close_slow(&mut self, slow: Slow, now: Instant) {
        let (Slow::Standstill(route) | Slow::Behind(route)) = &slow;
        let route = route.as_deref().unwrap_or(self.cx.realm.name());
        self.cx.shared.telemetry.sessions.slow_client_closed(route);
        self.close(4113, "slow consumer", now);
        if matches!(slow, Slow::Behind(_)) {
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
        let (read, written) = self.link.counts();
        let before = self.parking.as_ref().map_or(0, |parking| parking.read());
        self.cx.member().end();
        self.life.end(&self.cx, (before + read, written));
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
