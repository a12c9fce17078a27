//! The engine of one realtime connection: a future written by hand, so that an idle one is small.
//!
//! Each round reads what the client sent, tells what the others want, lets the subscriptions add what
//! comes next where the last batch has left, and sends everything in one write. A client that does
//! not take its batch gets no other: its lag stays a distance in the shared logs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::Shared;
use super::beginning::Beginning;
use super::call::Call;
use super::client::Client;
use super::delivery::Delivery;
use super::ending::{Life, NO_CODE};
use super::heartbeat::{Beat, Heartbeat};
use super::hello::Hello;
use super::identity::Access;
use super::leaving::Leaving;
use super::link::{Link, Sent};
use super::listing::Shown;
use super::opening::{Mode, Opening};
use super::pace::max_message;
use super::parking::{Keep, Parking};
use super::registry::{Directive, Member, Membership, Notice};
use super::slow;
use super::subscription::Subscription;
use super::timer::Timer;
use crate::config::WebSocket;
use crate::error::{Code, Refusal, Side};
use crate::protocol::{Message, Output, Violation};
use crate::route::InForce;
use crate::transport::{Incoming, Transport};

/// Messages of the client in one round.
const READS: usize = 32;

/// Rounds before other tasks have their turn.
const ROUNDS: usize = 8;

/// How long it may take with a client that has been silent for too long already.
const FAREWELL: Duration = Duration::from_millis(500);

/// See the module.
pub(super) struct Session {
    pub(super) link: Link,
    pub(super) shared: Arc<Shared>,
    pub(super) membership: Membership,
    /// As of the last look; reloads and stages ask for another one.
    pub(super) in_force: Arc<InForce>,
    /// Who it is, and what is still to be found out of it.
    pub(super) access: Box<Access>,
    pub(super) subscriptions: Vec<Subscription>,
    pub(super) calls: Vec<Call>,
    pub(super) leaving: Option<Box<Leaving>>,
    pub(super) heartbeat: Heartbeat,
    /// Rings for the nearest of all deadlines.
    pub(super) timer: Timer,
    beginning: Option<Box<Beginning>>,
    /// When the closing handshake has taken too long.
    pub(super) closing_until: Option<Instant>,
    delivery: Delivery,
    /// Where the client may come back.
    parking: Option<Box<Parking>>,
    pub(super) is_single: bool,
    panicked: bool,
    /// For the line that it leaves in the log.
    pub(super) life: Box<Life>,
}

/// What a round came to.
pub(super) enum Round {
    /// Something happened that may have made more possible.
    Again,
    /// Everything waits for somebody else.
    Waits,
    /// The connection is over.
    Gone,
}

impl Session {
    /// `in_force` is what the handshake was judged by: where there is a newer one by now, its welcome looks again.
    pub fn new(
        mut transport: Box<dyn Transport>,
        mut opening: Opening,
        in_force: Arc<InForce>,
        shared: Arc<Shared>,
    ) -> Self {
        let rules = &in_force.config.websocket;
        let now = Instant::now();
        let client = Client::new(&mut opening, &in_force.routes);
        let is_single = matches!(opening.mode, Mode::Single { .. });
        let found = opening.place(&client, &in_force);
        let route = found.as_ref().map(|(found, _)| &*found.route);
        let codec = opening.codec(route);
        // `-` is no route's own: so do its handshakes count too.
        let place = route.map_or_else(|| "-".into(), |route| route.name.clone());
        let number = shared.take_number();
        let id = format!("{}-{number}", shared.node);
        let connected_at = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |time| time.as_secs());
        let member = Member::new(number, id, client, codec.name(), connected_at);
        if let Some(route) = route.filter(|_| is_single) {
            member.cohort.live_by(route);
        }
        let cohort = member.cohort.transport().as_str();
        let meters = (shared.telemetry).route_meters(&place, codec.name(), cohort);
        meters.sessions.inc();
        transport.limit_messages(max_message(&in_force, &place, is_single));
        let (id_of_client, parking) = match opening.keep {
            Some(Keep { id, window }) => {
                let parking = Parking::new(window, shared.sessions.places());
                (Some(id), Some(Box::new(parking)))
            }
            None => (None, None),
        };
        let part = 0.5 + fastrand::f64() / 2.0;
        let heartbeat = Heartbeat::new(now, rules.ping_interval, part);
        Session {
            link: Link::new(transport, codec),
            membership: shared.sessions.enter(member, id_of_client),
            access: Box::new(Access::new(opening.presented, opening.seat)),
            subscriptions: Vec::new(),
            calls: Vec::new(),
            leaving: None,
            timer: Timer::new(now),
            heartbeat,
            beginning: Some(Box::new(Beginning {
                mode: opening.mode,
                place: found,
                refuse_with: opening.refuse_with,
                admission: opening.admission,
                awaits_hello: opening.awaits_hello,
            })),
            closing_until: None,
            delivery: Delivery::default(),
            parking,
            is_single,
            panicked: false,
            life: Box::new(Life {
                request_id: opening.request_id,
                place,
                opened: now,
                meters,
                _permit: opening.permit,
                ended_by: None,
            }),
            in_force,
            shared,
        }
    }

    fn step(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.closing_until.is_some() && self.member().signal.poll_rung(cx) {
            self.obey(Instant::now());
        }
        for _ in 0..ROUNDS {
            let round = match self.closing_until {
                None => self.round(cx),
                Some(until) => self.part(until, cx),
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
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn round(&mut self, cx: &mut Context<'_>) -> Round {
        let now = Instant::now();
        if let Some(beginning) = self.beginning.take() {
            self.begin(*beginning, now);
        }
        if self.member().signal.poll_rung(cx) {
            self.obey(now);
        }
        self.learn(cx);
        let mut has_more_to_read = match self.read(cx, now) {
            Ok(has_more) => has_more,
            Err(_) => return self.lose_transport(now),
        };
        self.keep_time(now);
        // What was asked just now, for a frame or because it was time, has to know whom to wake; and where it is answered
        // there may be more to read.
        has_more_to_read |= self.learn(cx);
        // After reading: a request that has just come is not under way before it is polled. What the socket takes is not
        // asked: else a client that takes nothing would hold the connections, and the places, that its requests have upstream.
        self.answer_calls(cx);
        let mut is_behind = self.link.is_stalled();
        if self.closing_until.is_none() {
            is_behind = match is_behind {
                true => self.judge_lag(now),
                false => self.fill(now),
            };
        }
        let has_more = has_more_to_read || is_behind;
        let was_held = self.link.outbox().is_held();
        match self.link.send(is_behind, now, cx) {
            Ok(Sent::Part) => {}
            Ok(sent) => {
                if sent == Sent::AllAfterStall {
                    // Notices have waited for this.
                    self.member().signal.ring();
                }
                let (protocol, one_way) = (self.link.codec().name(), self.heartbeat.one_way());
                let telemetry = &self.shared.telemetry;
                self.delivery.sent(telemetry, protocol, one_way);
            }
            Err(_) => return self.lose_transport(now),
        }
        if self.is_forgotten(now) {
            return Round::Gone;
        }
        // What is published meanwhile rings, and what the client sends wakes: there is no need to
        // look again, unless reading was held back by what has left now.
        let may_do_more = !self.link.is_stalled() && (has_more || was_held);
        if self.closing_until.is_some() || may_do_more {
            return Round::Again;
        }
        let deadline = self.deadline();
        match self.timer.poll_until(deadline, now, cx) {
            Poll::Ready(()) => Round::Again,
            Poll::Pending if has_more_to_read => {
                // Stalled, and yet there is something to read that must not wait for a write.
                Round::Again
            }
            Poll::Pending => Round::Waits,
        }
    }

    /// Does what others want.
    fn obey(&mut self, now: Instant) {
        let member = self.member().clone();
        for directive in member.take_directives(!self.link.is_stalled()) {
            if self.closing_until.is_some() && !matches!(directive, Directive::Show(_)) {
                continue;
            }
            match directive {
                Directive::Show(asked) => asked.answer(member.number, self.shown()),
                Directive::Recheck => self.recheck(now),
                Directive::Close(code) => self.close(code, "", now),
                Directive::Notice(notice) => self.pass_on(&notice),
                Directive::Drain(window, why) => self.leave_with_the_node(window, why, now),
                Directive::Stay => self.stay_with_the_node(),
                Directive::Attach(transport) => self.go_on_over(transport),
            }
        }
    }

    /// The transport is gone: the session waits for another where its client may come back, and is over where it may not.
    fn lose_transport(&mut self, now: Instant) -> Round {
        let parking = self.parking.as_mut();
        let parking = parking.filter(|_| self.closing_until.is_none());
        let is_parked = parking.is_some_and(|parking| parking.park(self.shared.hub.reserve(), now));
        if !is_parked {
            return Round::Gone;
        }
        self.link.detach();
        Round::Again
    }

    /// The client is back.
    fn go_on_over(&mut self, transport: Box<dyn Transport>) {
        self.link.attach(transport);
        self.link.limit_messages(self.max_message());
        self.heartbeat.hear();
        if let Some(parking) = &mut self.parking {
            parking.unpark();
        }
    }

    /// Until when the session waits for its client to come back, where it does.
    fn parked_until(&self) -> Option<Instant> {
        self.parking.as_ref()?.until()
    }

    /// Whether a parked session has waited long enough, or takes memory that is not there.
    fn is_forgotten(&mut self, now: Instant) -> bool {
        let waiting = self.link.outbox().bytes();
        let Some(until) = self.parked_until() else {
            return false;
        };
        let has_room = (self.parking.as_mut()).is_some_and(|parking| parking.has_room(waiting));
        now >= until || !has_room
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
            queued,
            subscriptions: self.subscriptions.iter().map(Subscription::info).collect(),
        }
    }

    fn pass_on(&mut self, notice: &Notice) {
        self.say(&Output::Notice {
            level: &notice.level,
            msg: &notice.msg,
            d: notice.d.as_deref(),
        });
    }

    fn answer_calls(&mut self, cx: &mut Context<'_>) {
        let mut index = 0;
        while let Some(call) = self.calls.get_mut(index) {
            let Poll::Ready(answer) = call.poll_answer(cx) else {
                index += 1;
                continue;
            };
            let call = self.calls.swap_remove(index);
            self.link.answer(call.id, &answer);
        }
        if self.calls.is_empty() {
            self.calls = Vec::new();
        }
    }

    /// Reads what the client sent. Returns whether there may be more; an error means that it is gone.
    fn read(&mut self, cx: &mut Context<'_>, now: Instant) -> std::io::Result<bool> {
        for _ in 0..READS {
            if self.closing_until.is_some() || self.access.asking.is_some() {
                return Ok(false);
            }
            let incoming = match self.link.poll_receive(cx) {
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
            (None, Err(Violation::Frame { id, .. })) => *id,
            (None, _) => None,
        };
        if self.allows_message(id, size) {
            for input in inputs {
                if self.closing_until.is_none() {
                    self.handle(input, now);
                }
            }
            match decoded {
                Ok(()) => {}
                Err(Violation::Frame { id, detail }) => {
                    let refusal = Refusal::new(Code::BadFrame, detail);
                    self.refuse(id, &refusal);
                }
                Err(Violation::Close { code, reason }) => self.close(code, reason, now),
            }
        }
        self.end_flood(now);
    }

    fn keep_time(&mut self, now: Instant) {
        let rules = self.rules();
        let (interval, timeout) = (rules.ping_interval, rules.ping_timeout);
        let beat = match self.parked_until() {
            Some(_) => Beat::No,
            None => self.heartbeat.beat(now, interval, timeout),
        };
        match beat {
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
        let is_late = |hello: &Hello| now >= hello.until;
        // Who waits for an authority has said it in time.
        if self.access.asking.is_none() && self.access.hello.as_deref().is_some_and(is_late) {
            self.close(4008, "no hello in time", now);
        }
        if self.closing_until.is_none() && self.access.watch_at.is_some_and(|at| now >= at) {
            self.watch(now);
        }
        if let Some(exit) = self.leaving.as_ref().and_then(|leaving| leaving.exit())
            && now >= exit.at
        {
            self.close(exit.code, "", now);
        }
    }

    fn deadline(&self) -> Instant {
        let heartbeat = || self.heartbeat.deadline(self.rules().ping_timeout);
        let first = self.parked_until().unwrap_or_else(heartbeat);
        let exit = self.leaving.as_ref().and_then(|leaving| leaving.exit());
        let leaving = exit.map(|exit| exit.at);
        // A stalled client's subscriptions wait for it, not for the time; and it may do so for some time only.
        let nearest = match self.link.is_stalled() {
            true => self.link.lag.as_ref().map(|lag| lag.deadline()),
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
        let filled = (self.delivery).fill(&mut self.subscriptions, &mut self.link, now);
        for (ch, verdict) in filled.ends {
            if self.closing_until.is_some() {
                return false;
            }
            self.finish(ch, verdict, now);
        }
        filled.has_more
    }

    /// Judges a client that has not taken all. There is more for it in any case.
    fn judge_lag(&mut self, now: Instant) -> bool {
        if self.parked_until().is_some() {
            return true;
        }
        let allowed = self.rules().queue;
        let (subs, link) = (&mut self.subscriptions, &mut self.link);
        if let Some(slow) = slow::judge(subs, link, allowed, now) {
            self.close_slow(slow, now);
        }
        true
    }

    /// Says what no client asked for.
    pub(super) fn say(&mut self, output: &Output<'_>) {
        self.link.say(output);
    }

    /// Says what answers the client.
    pub(super) fn reply(&mut self, output: &Output<'_>) {
        self.link.reply(output);
    }

    pub(super) fn refuse(&mut self, id: Option<u64>, refusal: &Refusal) {
        self.link.refuse(id, refusal);
    }

    pub(super) fn member(&self) -> &Arc<Member> {
        &self.membership.member
    }

    pub(super) fn rules(&self) -> &WebSocket {
        &self.in_force.config.websocket
    }
}

impl Future for Session {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let step = catch_unwind(AssertUnwindSafe(|| self.step(cx)));
        match step {
            Ok(polled) => polled,
            // A second one: what is left of it cannot even say goodbye.
            Err(_) if self.panicked => Poll::Ready(()),
            Err(_) => {
                self.panicked = true;
                self.shared.telemetry.panicked("session");
                self.closing_until = None;
                self.close(1011, "", Instant::now());
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What every idle connection costs on the heap, beside its socket's own registration. The rest
    /// (the boxed timer, the member, its subscription) is counted here too, so that growth is seen.
    #[test]
    fn an_idle_connection_is_small() {
        let task = size_of::<Session>();
        assert!(task <= 512, "the task's future has {task} bytes");
        let member = size_of::<Member>();
        assert!(member <= 512, "a member has {member} bytes");
        let subscription = size_of::<Subscription>();
        assert!(
            subscription <= 256,
            "a subscription has {subscription} bytes"
        );
        let sleep = size_of::<tokio::time::Sleep>();
        assert!(task + member + subscription + sleep <= 1024 + 256);
    }
}
