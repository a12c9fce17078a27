//! The engine of one realtime connection: a future written by hand, so that an idle one is small.
//!
//! Each round reads what the client sent, applies what others ordered, lets the subscriptions add what
//! comes next where the last batch has left, and sends everything in one write. A client that does
//! not take its batch gets no other: its lag stays a distance in the shared logs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::Services;
use super::accepted::Accepted;
use super::auth::Access;
use super::beginning::Beginning;
use super::client::Client;
use super::context::Effects;
use super::context::{Context, Realm};
use super::delivery::Delivery;
use super::drain::Drain;
use super::handle::SessionHandle;
use super::link::{Link, Sent};
use super::session_record::{AccessRecord, NO_CODE};
use super::subscription::Subscription;
use super::upstream_request::Call;
use crate::error::{Code, Refusal, Side};
use crate::protocol::{Message, Tag, Violation};
use crate::router::InForce;
use crate::transport::heartbeat::{Beat, Heartbeat};
use crate::transport::timer::Timer;
use crate::transport::{Incoming, Transport};

/// Messages of the client in one round.
const READS: usize = 32;

/// Rounds before other tasks have their turn.
const ROUNDS: usize = 8;

/// How long it may take with a client that has been silent for too long already.
const FAREWELL: Duration = Duration::from_millis(500);

/// See the module.
pub(super) struct Session {
    pub(super) cx: Context,
    pub(super) link: Link,
    /// Which users there are, and what is still to be found out of them.
    pub(super) access: Box<Access>,
    pub(super) subscriptions: Vec<Subscription>,
    pub(super) calls: Vec<Call>,
    pub(super) leaving: Drain,
    pub(super) heartbeat: Heartbeat,
    /// Wakes the task at the nearest of all deadlines.
    pub(super) timer: Timer,
    beginning: Option<Box<Beginning>>,
    /// When the closing handshake has taken too long.
    pub(super) closing_until: Option<Instant>,
    delivery: Delivery,
    /// For the line that it leaves in the log.
    pub(super) life: Box<AccessRecord>,
}

/// What a round came to.
pub(super) enum Round {
    /// Something happened that may have made more possible.
    Again,
    /// There is nothing to do for now.
    Waits,
    /// The connection is over.
    Gone,
}

impl Session {
    /// `in_force` is what the handshake was judged by: where there is a newer one by now, its welcome looks again.
    pub(crate) fn new(
        mut transport: Box<dyn Transport>,
        opening: Accepted,
        in_force: Arc<InForce>,
        shared: Arc<Services>,
    ) -> Self {
        let rules = &in_force.config.websocket;
        let now = Instant::now();
        let client = Client::new(opening.handshake, &in_force.routes);
        let (codec, realm) = (opening.mode.codec(), Realm::of(&opening.mode));
        let number = shared.sessions.take_number();
        let id = format!("{}-{number}", shared.node);
        let connected_at = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |time| time.as_secs());
        let member = SessionHandle::new(number, id, client, codec.name(), connected_at);
        if let Some(route) = opening.mode.route() {
            member.cohort.live_by(route);
        }
        let cohort = member.cohort.transport().as_str();
        let meters = (shared.telemetry)
            .sessions
            .route_meters(realm.name(), codec.name(), cohort);
        meters.sessions.inc();
        transport.limit_messages(realm.max_message(&in_force));
        let part = 0.5 + fastrand::f64() / 2.0;
        let heartbeat = Heartbeat::new(now, rules.ping_interval, part);
        Session {
            link: Link::new(transport, codec),
            access: Box::new(Access::new(opening.presented, opening.seat)),
            subscriptions: Vec::new(),
            calls: Vec::new(),
            leaving: Drain::default(),
            timer: Timer::new(now),
            heartbeat,
            beginning: Some(Box::new(Beginning {
                mode: opening.mode,
                judged_by: in_force.generation,
                refuse_with: opening.refuse_with,
                admission: opening.admission,
                awaits_hello: opening.awaits_hello,
            })),
            closing_until: None,
            delivery: Delivery::default(),
            life: Box::new(AccessRecord {
                request_id: opening.request_id.into(),
                opened: now,
                meters,
                _permit: opening.permit,
                ended_by: None,
                has_panicked: false,
            }),
            cx: Context {
                membership: shared.sessions.enter(member),
                shared,
                in_force,
                realm,
            },
        }
    }

    fn step(&mut self, task: &mut task::Context<'_>) -> Poll<()> {
        if self.closing_until.is_some() && self.cx.member().signal.poll_rung(task) {
            self.obey(Instant::now());
        }
        for _ in 0..ROUNDS {
            let round = match self.closing_until {
                None => self.round(task),
                Some(until) => self.part(until, task),
            };
            match round {
                Round::Again => {}
                Round::Waits => return Poll::Pending,
                Round::Gone => {
                    self.subscriptions.clear();
                    return Poll::Ready(());
                }
            }
        }
        task.waker().wake_by_ref();
        Poll::Pending
    }

    fn round(&mut self, task: &mut task::Context<'_>) -> Round {
        let now = Instant::now();
        if let Some(beginning) = self.beginning.take() {
            self.begin(*beginning, now);
        }
        if self.cx.member().signal.poll_rung(task) {
            self.obey(now);
        }
        self.learn(now, task);
        let mut has_more_to_read = match self.read(now, task) {
            Ok(has_more) => has_more,
            Err(_) => return Round::Gone,
        };
        self.keep_time(now);
        // What was asked just now, for a frame or because it was time, has to know which task to wake; and where it is answered
        // there may be more to read.
        has_more_to_read |= self.learn(now, task);
        // After reading: a request that has just come is not under way before it is polled. What the socket takes is not
        // asked: else a client that takes nothing would hold the connections, and the places, that its requests have upstream.
        self.answer_calls(task);
        let mut is_behind = self.link.is_stalled();
        if self.closing_until.is_none() {
            is_behind = match is_behind {
                true => self.judge_lag(now),
                false => self.fill(now),
            };
        }
        let has_more = has_more_to_read || is_behind;
        let was_held = self.link.outbox().is_held();
        match self.link.send(is_behind, now, task) {
            Ok(Sent::Part) => {}
            Ok(sent) => {
                if sent == Sent::AllAfterStall {
                    // Notices have waited for this.
                    self.cx.member().signal.ring();
                }
                let (protocol, one_way) = (
                    self.link.codec().name(),
                    self.link.one_way_or(&self.heartbeat),
                );
                let telemetry = &self.cx.shared.telemetry;
                self.delivery.sent(telemetry, protocol, one_way);
            }
            Err(_) => return Round::Gone,
        }
        // What is published or sent by the client meanwhile wakes the task: there is no need to
        // look again, unless reading was held back by what has left now.
        let may_do_more = !self.link.is_stalled() && (has_more || was_held);
        if self.closing_until.is_some() || may_do_more {
            return Round::Again;
        }
        let deadline = self.deadline();
        match self.timer.poll_until(deadline, now, task) {
            Poll::Ready(()) => Round::Again,
            Poll::Pending if has_more_to_read => {
                // Stalled, and yet there is something to read that must not wait for a write.
                Round::Again
            }
            Poll::Pending => Round::Waits,
        }
    }

    /// Reads what the client sent. Returns whether there may be more; an error means that it is gone.
    fn read(&mut self, now: Instant, task: &mut task::Context<'_>) -> std::io::Result<bool> {
        for _ in 0..READS {
            if self.closing_until.is_some() || !self.access.may_read() {
                return Ok(false);
            }
            let incoming = match self.link.poll_receive(task) {
                Poll::Ready(incoming) => incoming?,
                Poll::Pending => return Ok(false),
            };
            self.heartbeat.hear();
            match incoming {
                Incoming::Text(text) => self.understand(Message::Text(&text), now),
                Incoming::Binary(bytes) => self.understand(Message::Binary(&bytes), now),
                Incoming::Ping | Incoming::Pong => {
                    if incoming == Incoming::Pong {
                        self.heartbeat.hear_pong(now);
                    }
                    if !self.heartbeat.allows_control(now) {
                        self.close(4009, "too many control frames", now);
                    }
                }
                Incoming::Close(code) => {
                    self.life.ended_by = Some((Side::Downstream, code.unwrap_or(NO_CODE)));
                    self.closed(now);
                }
                Incoming::Broken(code) => {
                    self.life.ended_by = Some((Side::Edge, code));
                    self.closed(now);
                }
            }
        }
        Ok(true)
    }

    fn understand(&mut self, message: Message<'_>, now: Instant) {
        let (Message::Text(bytes) | Message::Binary(bytes)) = message;
        self.life.meters.messages_in.inc();
        self.life.meters.bytes_in.inc_by(bytes.len() as u64);
        let size = bytes.len();
        let mut inputs = Vec::new();
        let decoded = self.link.parts().0.decode(message, &mut inputs);
        let id = match (inputs.first(), &decoded) {
            (Some(input), _) => input.id(),
            (None, Err(Violation::Frame { id, .. })) => id.clone(),
            (None, _) => Tag::None,
        };
        match self.access.pace.take_message(&self.cx, size) {
            Ok(()) => {
                for input in inputs {
                    if self.closing_until.is_none() {
                        self.handle(input, now);
                    }
                }
                match decoded {
                    Ok(()) => {}
                    Err(Violation::Frame { id, detail }) => {
                        let refusal = Refusal::new(Code::BadFrame, detail);
                        self.link.refuse(&id, &refusal);
                    }
                    Err(Violation::Close { code, reason }) => self.close(code, reason, now),
                }
            }
            Err(refusal) => self.link.refuse(&id, &refusal),
        }
        if let Some(retry_ms) = self.access.pace.take_flood() {
            let reason = format!(r#"{{"retry_ms":{retry_ms}}}"#);
            self.close(4129, &reason, now);
        }
    }

    fn keep_time(&mut self, now: Instant) {
        let rules = self.cx.rules();
        let (interval, timeout) = (rules.ping_interval, rules.ping_timeout);
        if self.link.one_way().is_some() {
            // The transport watches whether the client is there.
            self.heartbeat.hear();
        }
        match self.heartbeat.beat(now, interval, timeout) {
            Beat::No => {}
            Beat::Ping => {
                // The clock on the wall may have been set meanwhile.
                self.access.watch_at = Some(now);
                self.link.ping();
            }
            Beat::Lost => {
                self.close(4108, "heartbeat lost", now);
                self.closing_until = Some(now + FAREWELL);
            }
        }
        if self.access.is_hello_late(now) {
            self.close(4008, "no hello in time", now);
        }
        if self.closing_until.is_none() && self.access.watch_at.is_some_and(|at| now >= at) {
            let mut effects = Effects::default();
            self.access.watch(&self.cx, now, &mut effects);
            self.apply(effects, now);
        }
        if let Some(exit) = self.leaving.exit()
            && now >= exit.at
        {
            self.close(exit.code, "", now);
        }
    }

    fn deadline(&self) -> Instant {
        let first = self.heartbeat.deadline(self.cx.rules().ping_timeout);
        let leaving = self.leaving.exit().map(|exit| exit.at);
        // A stalled client's subscriptions wait for it, not for the time; and it may do so for some time only.
        let nearest = match self.link.is_stalled() {
            true => self.link.lag.as_ref().map(|lag| lag.deadline()),
            // They send nothing before the CONNECT is answered.
            false if self.access.is_coming_back() => None,
            false => self
                .subscriptions
                .iter()
                .filter_map(Subscription::deadline)
                .min(),
        };
        [leaving, nearest, self.access.deadline()]
            .into_iter()
            .flatten()
            .fold(first, Instant::min)
    }

    /// Lets the subscriptions add what comes next. Returns whether there is more.
    fn fill(&mut self, now: Instant) -> bool {
        if self.access.is_coming_back() {
            return false;
        }
        let namespace = self.access.namespace.as_ref();
        let recoverable = namespace.and_then(|namespace| namespace.recoverable.as_ref());
        let (subs, link) = (&mut self.subscriptions, &mut self.link);
        let filled = self.delivery.fill(subs, link, recoverable, now);
        for (ch, verdict) in filled.ends {
            if self.closing_until.is_some() {
                return false;
            }
            self.finish(ch, verdict, now);
        }
        filled.has_more
    }
}

impl Future for Session {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, task: &mut task::Context<'_>) -> Poll<()> {
        let step = catch_unwind(AssertUnwindSafe(|| self.step(task)));
        match step {
            Ok(polled) => polled,
            // A second one: what is left of it cannot even say goodbye.
            Err(_) if self.life.has_panicked => Poll::Ready(()),
            Err(_) => {
                self.life.has_panicked = true;
                self.cx.shared.telemetry.life.panicked("session");
                self.closing_until = None;
                self.close(1011, "", Instant::now());
                task.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}
