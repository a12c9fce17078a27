//! What goes out: the subscriptions' turns, their ends, and what a single stream's end does to its
//! connection.

use tokio::time::Instant;

use super::connection::Session;
use super::lag::Lag;
use super::subscription::{BATCH_BYTES, Desk, Verdict, refusal_of};
use crate::error::{Code, Refusal};
use crate::event::{End, GapWhy};
use crate::protocol::Output;

/// Frames that subscriptions add in one round.
const BATCH_FRAMES: usize = 64;

impl Session {
    /// Lets the subscriptions add what comes next, each in its turn. Returns whether there is more.
    pub(super) fn fill(&mut self, now: Instant) -> bool {
        if self.subscriptions.is_empty() {
            return false;
        }
        if self.outbox.bytes() >= BATCH_BYTES {
            return true;
        }
        let mut desk = Desk {
            codec: &mut *self.codec,
            now,
            out: &mut self.outbox,
            frames: BATCH_FRAMES,
            scratch: Vec::new(),
            oldest: self.oldest.take(),
            traced: self.traced.take(),
        };
        let mut has_more = false;
        let mut ends: Vec<(u32, Verdict)> = Vec::new();
        let count = self.subscriptions.len();
        let first = self.turn % count;
        for index in (first..count).chain(0..first) {
            if desk.is_full() {
                has_more = true;
                break;
            }
            self.turn = index + 1;
            let Some(sub) = self.subscriptions.get_mut(index) else {
                break;
            };
            match sub.proceed(&mut desk) {
                Verdict::Waits => {}
                Verdict::HasMore => has_more = true,
                verdict => ends.push((sub.ch, verdict)),
            }
        }
        self.oldest = desk.oldest.take();
        self.traced = desk.traced.take();
        for (ch, verdict) in ends {
            if self.closing_until.is_some() {
                return false;
            }
            self.finish(ch, verdict, now);
        }
        has_more
    }

    fn finish(&mut self, ch: u32, verdict: Verdict, now: Instant) {
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
                if self.is_single {
                    self.refuse_single(&refusal, now);
                } else {
                    self.refuse(Some(id), &refusal);
                }
            }
            Verdict::Over(end) => {
                self.subscriptions.retain(|sub| sub.ch != ch);
                self.end(ch, &end, now);
            }
            Verdict::Lost(GapWhy::Slow) => {
                self.shared.telemetry.slow_client_closed(&route.name);
                self.close(4113, "slow consumer", now);
            }
            Verdict::Lost(_) => self.close(4113, r#"{"why":"expired"}"#, now),
        }
    }

    /// Tells that a subscription, gone already, is over; a single stream's connection goes with it.
    pub(super) fn end(&mut self, ch: u32, end: &End, now: Instant) {
        self.say(&Output::End { ch, end });
        if self.is_single {
            let is_done =
                end.is_final || (!self.codec.has_words() && end.code == Code::UpstreamClosed);
            let code = if is_done { 1000 } else { close_code(end.code) };
            self.close(code, &reason(end.code, end.retry_ms), now);
        }
    }

    /// The implied `sub` of a single stream was refused: that is the connection's end.
    pub(super) fn refuse_single(&mut self, refusal: &Refusal, now: Instant) {
        self.refuse(Some(0), refusal);
        let code = close_code(refusal.code);
        self.close(code, &reason(refusal.code, refusal.retry_ms), now);
    }

    /// The client has not taken all that was sent: notes what it takes.
    pub(super) fn look_at_lag(&mut self, now: Instant) {
        let taken = self.outbox.taken();
        let lag = self
            .lag
            .get_or_insert_with(|| Box::new(Lag::new(now, taken)));
        lag.look(now, taken);
    }

    /// A client that has not taken all that was sent, whatever that is. Where it takes nothing for too long, it is closed. Where
    /// it is further behind than may be and takes next to nothing for some time, it is closed, or nothing more is kept for it,
    /// as its routes say; what answers its own frames has no such route.
    pub(super) fn judge_lag(&mut self, now: Instant) {
        self.look_at_lag(now);
        let Some(lag) = &mut self.lag else { return };
        if lag.is_at_standstill(now) {
            let route = self
                .subscriptions
                .first()
                .map(|sub| sub.route().name.clone());
            let route = route.unwrap_or_else(|| self.life.place.clone());
            return self.close_slow(&route, now);
        }
        let until = lag.behind_until();
        if until.is_some_and(|until| now < until) {
            return;
        }
        let allowed = self.in_force.config.websocket.queue;
        let mut slow = self
            .subscriptions
            .iter_mut()
            .filter(|sub| sub.is_further_behind(allowed))
            .peekable();
        let owes_much = self.outbox.owed() as u64 > allowed.bytes;
        if slow.peek().is_none() && !owes_much {
            return lag.catch_up();
        }
        if until.is_none() {
            return lag.fall_behind(now);
        }
        lag.catch_up();
        let mut closed_for = owes_much.then(|| self.life.place.clone());
        for sub in slow {
            if sub.closes_when_slow(&*self.codec) {
                closed_for = Some(sub.route().name.clone());
                break;
            }
            sub.let_go();
        }
        if let Some(route) = closed_for {
            self.close_slow(&route, now);
            // It may read on, and is to learn then why it was closed: it has as long as silence may last.
            let lost = self.heartbeat.lost_at(self.rules().ping_timeout);
            self.closing_until = self.closing_until.max(Some(lost));
        }
    }

    fn close_slow(&mut self, route: &str, now: Instant) {
        self.shared.telemetry.slow_client_closed(route);
        self.close(4113, "slow consumer", now);
    }

    /// Nothing waits any more: the latency of what did is known.
    pub(super) fn sent(&mut self) {
        if let Some(traced) = self.traced.take() {
            let (route, protocol) = (&traced.route.name, self.codec.name());
            let telemetry = &self.shared.telemetry;
            telemetry.trace_delivery(&traced.cause, route, protocol, traced.read);
        }
        if let Some((read, meters)) = self.oldest.take() {
            let latency = read.elapsed() + self.heartbeat.one_way();
            meters.event_latency.observe(latency.as_secs_f64());
        }
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
