//! How a session leaves: told at once, closed at a random instant of a window; and whether it has to.

use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use tokio::time::Instant;

use super::client::Person;
use super::connection::Session;
use super::identity::{Standing, claims_of, may};
use super::opening::Mode;
use super::registry::{Directive, Member};
use super::subscription::Subscription;
use crate::config::{Rollout, Route};
use crate::edge::auth::Identity;
use crate::edge::cors;
use crate::error::{Code, Refusal};
use crate::event::End;
use crate::hub::{Scope, Start, TopicKey};
use crate::protocol::Output;
use crate::rollout::{Decision, Reason, Transport};

/// When clients come back, or go native, after a `drain`, milliseconds.
const RETRY_MS: (u64, u64) = (500, 4000);

/// A session on its way out, for one reason or two: what takes one of them back leaves the other.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    /// The node leaves, or is to be empty.
    with_node: Option<Exit>,
    /// Its rollout sends it to the legacy transport.
    to_legacy: Option<Exit>,
}

/// When it closes, and with which code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exit {
    pub at: Instant,
    pub code: u16,
}

impl Leaving {
    /// What comes first.
    pub fn exit(&self) -> Option<Exit> {
        let exits = [self.to_legacy, self.with_node];
        exits.into_iter().flatten().min_by_key(|exit| exit.at)
    }
}

impl Session {
    /// The node is leaving, or an admin wants it empty. Coming back meets another instance.
    pub(super) fn leave_with_the_node(&mut self, window: Duration, why: &str, now: Instant) {
        let exit = Exit {
            at: now + window.mul_f64(fastrand::f64()),
            code: 4200,
        };
        let leaving = self.leaving.get_or_insert_default();
        leaving.with_node = Some(exit);
        // A client that goes native leaves this process as well, and is told so already.
        if leaving.to_legacy.is_none_or(|exit| exit.at > now + window) {
            self.announce(exit, "same", why, now);
        }
    }

    /// The node stays after all.
    pub(super) fn stay_with_the_node(&mut self) {
        self.stay(|leaving| leaving.with_node = None);
    }

    /// One reason to leave is none any more.
    fn stay(&mut self, forget: impl FnOnce(&mut Leaving)) {
        if let Some(leaving) = &mut self.leaving {
            forget(leaving);
        }
        self.leaving.take_if(|leaving| leaving.exit().is_none());
    }

    /// Looks again where something else is in force than what this session was told of: what is asked for now goes by the newest.
    /// False where the session is over by that.
    pub(super) fn keeps_up(&mut self, now: Instant) -> bool {
        if self.shared.in_force.load().generation != self.in_force.generation {
            self.recheck(now);
        }
        self.closing_until.is_none()
    }

    /// Looks again at configuration and stages.
    pub(super) fn recheck(&mut self, now: Instant) {
        let in_force = self.shared.in_force.load_full();
        if in_force.generation != self.in_force.generation {
            self.in_force = in_force;
            let hello = self.access.hello.as_ref().map(|hello| &hello.mode);
            let url = match (hello, self.subscriptions.first()) {
                (Some(Mode::Single { url, .. }), _) => Some(url.clone()),
                (None, Some(sub)) if self.is_single => Some(sub.subscriber().target().url.clone()),
                _ => None,
            };
            if let Some(url) = url {
                self.follow_name(&url);
            }
            let max_message = self.max_message();
            self.link.limit_messages(max_message);
            self.follow_origins(now);
            if self.closing_until.is_none() {
                self.follow_policies(now);
            }
            if self.closing_until.is_none() {
                self.follow_routes(now);
            }
        }
        self.drop_revoked(now);
        if self.closing_until.is_none() {
            self.obey_rollouts(now);
        }
    }

    /// The one stream's route may have another name now.
    pub(super) fn follow_name(&mut self, url: &str) {
        let client = &self.member().client;
        if let Ok((found, _)) = client.find(&self.in_force, &Method::GET, url) {
            self.life.place = found.route.name.clone();
            if self.is_single {
                self.member().cohort.live_by(&found.route);
            }
        }
    }

    /// A page that is listed no longer loses its connection: it would not be let in again.
    fn follow_origins(&mut self, now: Instant) {
        let member = self.member().clone();
        let Some(origin) = member
            .client
            .origin
            .as_ref()
            .filter(|_| member.client.is_foreign)
        else {
            return;
        };
        let cors = match self.own_route() {
            Some(route) => route.cors.clone(),
            // Its route is gone, and that is what it is told.
            None if self.is_single => return,
            None => self.rules().cors.clone(),
        };
        let public_url = self.in_force.config.server.public_url.clone();
        let has_cookie = self.access.presented.cookie().is_some();
        if !cors::still_admits(origin, has_cookie, public_url.as_deref(), cors.as_deref()) {
            self.close(4003, "origin", now);
        }
    }

    /// Every subscription goes on as its route is configured now.
    fn follow_routes(&mut self, now: Instant) {
        let member = self.member().clone();
        let mut ended: Vec<(u32, End)> = Vec::new();
        // Taken out meanwhile: what a subscription may go on as, the session knows.
        let mut subscriptions = std::mem::take(&mut self.subscriptions);
        for sub in &mut subscriptions {
            if let Err(refusal) = self.follow_route(sub, &member, now) {
                ended.push((sub.ch, ended_by(refusal.code, refusal.retry_ms)));
            }
        }
        self.subscriptions = subscriptions;
        for (ch, end) in ended {
            self.subscriptions.retain(|sub| sub.ch != ch);
            self.end(ch, &end, now);
        }
    }

    /// # Errors
    /// Why the subscription ends.
    fn follow_route(
        &mut self,
        sub: &mut Subscription,
        member: &Member,
        now: Instant,
    ) -> Result<(), Refusal> {
        let old = sub.subscriber().target().clone();
        let removed = |_| Refusal::new(Code::RouteRemoved, "its route is gone");
        let found = member.client.find(&self.in_force, &Method::GET, &old.url);
        let (found, url) = found.map_err(removed)?;
        let route = found.route.clone();
        let admission = match self.stands(&route.auth) {
            Standing::Unasked => None,
            Standing::Known(admission) => {
                self.remember(admission.clone());
                Some(admission)
            }
            Standing::Denied(denied) => return Err(Refusal::from(&denied)),
            Standing::Asks(_) => {
                // Whoever was let in by the same policy stays until its authority has said otherwise.
                let names = route.auth.iter().map(|auth| &auth.name);
                let before = names
                    .filter_map(|name| sub.admitted_by(name).cloned())
                    .next();
                let unknown = || Refusal::new(Code::Unauthorized, "this route asks who it is now");
                Some(before.ok_or_else(unknown)?)
            }
        };
        let identity = admission.as_ref().map(|admission| &*admission.identity);
        if let Some(identity) = identity {
            may(&route, identity)?;
        }
        self.still_stands_at(&found.others)?;
        let credentials = match &admission {
            Some(admission) => self.access.presented.verified(admission, claims_of(&route)),
            // Where nobody asks, a running subscription keeps the credentials that it began with.
            None if sub.admission().is_none() && old.scope != Scope::Public => {
                sub.subscriber().credentials()
            }
            None => self.access.presented.unverified(),
        };
        let person = identity.map_or(Person::Unknown(&credentials), Person::Known);
        let judged = self.judged(admission.as_ref());
        let judged = judged.as_ref().map(|admission| &*admission.identity);
        let target = member
            .client
            .target(found, url, member.number, person, judged);
        let target = target.map_err(|refusal| match refusal.code {
            Code::NotFound => removed(refusal),
            _ => refusal,
        })?;
        let is_moved = TopicKey::of(&target) != TopicKey::of(&old);
        sub.follow(route, admission.clone());
        if !is_moved {
            if let Some(admission) = admission {
                sub.renew(admission, credentials);
            }
            return Ok(());
        }
        let joined = self.shared.hub.join(
            Arc::new(target),
            credentials,
            Start::Moved(sub.subscriber().position()),
            Some(sub.ch),
            member.signal.clone(),
        )?;
        sub.move_to(joined, now);
        Ok(())
    }

    /// Decides again who is in: the whole session where nothing is left for it, else each
    /// subscription for itself.
    fn obey_rollouts(&mut self, now: Instant) {
        let stages = self.shared.stages.load_full();
        let member = self.member().clone();
        let judge = |route: &Route, identity: Option<&Identity>| {
            let decision = member.client.decide(route, &stages, identity);
            (decision.transport == Transport::Legacy).then_some(decision)
        };
        let refuses = |route: &Arc<Route>| {
            let known = self.judged(self.admission_of(&route.auth).as_ref());
            judge(route, known.as_ref().map(|known| &*known.identity))
        };
        let out: Vec<(u32, Arc<Route>, Decision)> = self
            .subscriptions
            .iter()
            .filter_map(|sub| {
                let known = self.judged(sub.admission());
                let decision = judge(sub.route(), known.as_ref().map(|known| &*known.identity))?;
                Some((sub.ch, sub.route().clone(), decision))
            })
            .collect();
        let all_refuse = || {
            let mut bridged = self.in_force.routes.bridged();
            bridged.all(|route| refuses(route).is_some())
        };
        let first = match out.first() {
            Some((_, route, decision)) => Some((route.clone(), decision.clone())),
            None if self.is_single || !self.subscriptions.is_empty() => None,
            None => self
                .in_force
                .routes
                .bridged()
                .find_map(|route| refuses(route).map(|decision| (route.clone(), decision))),
        };
        match first {
            Some((route, decision)) if self.is_single || all_refuse() => {
                self.leave_for_legacy(&route, &decision, now);
                // Whatever became of the stages before this was known of the session rang no bell here.
                if !Arc::ptr_eq(&stages, &self.shared.stages.load()) {
                    member.direct(Directive::Recheck);
                }
            }
            _ => {
                self.stay(|leaving| leaving.to_legacy = None);
                self.join_cohort(Transport::WebSocket);
                for (ch, route, decision) in out {
                    self.subscriptions.retain(|sub| sub.ch != ch);
                    self.shared.telemetry.sent_to_legacy(&route.name);
                    let end = ended_by(Code::Legacy, spread(&route, &decision));
                    self.end(ch, &end, now);
                }
            }
        }
    }

    /// Counts among those whom their rollout sends to this transport.
    pub(super) fn join_cohort(&mut self, cohort: Transport) {
        if self.member().cohort.transport() == cohort {
            return;
        }
        self.member().cohort.join(cohort);
        let (place, protocol) = (&self.life.place, self.link.codec().name());
        let telemetry = &self.shared.telemetry;
        let meters = telemetry.route_meters(place, protocol, cohort.as_str());
        meters.sessions.inc();
        let before = std::mem::replace(&mut self.life.meters, meters);
        before.sessions.dec();
    }

    fn leave_for_legacy(&mut self, route: &Route, decision: &Decision, now: Instant) {
        self.join_cohort(Transport::Legacy);
        let (code, why) = exit(decision.reason);
        let window = window(route.rollout.as_deref(), decision.reason);
        let leaving = self.leaving.get_or_insert_default();
        if leaving.to_legacy.is_some_and(|exit| exit.code == code) {
            return;
        }
        let mut at = now + window.mul_f64(fastrand::f64());
        if let Some(sooner) = leaving.exit() {
            at = at.min(sooner.at);
        }
        let exit = Exit { at, code };
        leaving.to_legacy = Some(exit);
        self.shared.telemetry.sent_to_legacy(&route.name);
        self.announce(exit, "native", why, now);
    }

    fn announce(&mut self, exit: Exit, next: &'static str, why: &str, now: Instant) {
        self.say(&Output::Drain {
            in_ms: exit.at.saturating_duration_since(now).as_millis() as u64,
            retry_ms: RETRY_MS,
            next,
            why,
        });
    }
}

/// Whether a connection that is closed with this code goes to the legacy transport.
pub(super) fn is_exit(code: u16) -> bool {
    (4300..=4399).contains(&code)
}

/// Close code and the word for it.
pub(super) fn exit(reason: Reason) -> (u16, &'static str) {
    match reason {
        Reason::Killed => (4302, "killed"),
        Reason::RolledBack => (4301, "rolled_back"),
        _ => (4300, "rollout"),
    }
}

fn window(rollout: Option<&Rollout>, reason: Reason) -> Duration {
    rollout.map_or(Duration::ZERO, |rollout| match reason {
        Reason::Killed => rollout.kill_drain,
        _ => rollout.drain,
    })
}

/// When a subscription that ends goes native: not all of them at once.
fn spread(route: &Route, decision: &Decision) -> Option<u64> {
    let window = window(route.rollout.as_deref(), decision.reason);
    Some(window.mul_f64(fastrand::f64()).as_millis() as u64)
}

fn ended_by(code: Code, retry_ms: Option<u64>) -> End {
    End {
        code,
        status: code.status(),
        retry_ms,
        is_final: false,
    }
}
