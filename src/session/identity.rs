//! Who is at the other end, by each policy that has asked: what is presented is judged where a subscription, a request or the
//! connection itself needs it. [`super::hello`] is how they say it, [`super::watch`] how long it holds.

use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::Method;
use tokio::time::Instant;

use super::checks::Frame;
use super::connection::Session;
use super::hello::Hello;
use super::pace::Pace;
use super::presented::Presented;
use super::subscription::Subscription;
use crate::config::{Auth, Route, Share};
use crate::edge::auth::{Admission, Asking, Check, Denied, Found, Identity, context, credential};
use crate::edge::rate_limit::Seat;
use crate::error::{Code, Refusal};
use crate::hub::{Principal, Scope};

/// A session's half of the edge.
pub(super) struct Access {
    pub presented: Presented,
    /// Nothing but a `hello` is wanted yet.
    pub hello: Option<Box<Hello>>,
    /// What a frame of the client waits for; no other is read meanwhile.
    pub asking: Option<Box<Question>>,
    /// Those who are asked for again.
    pub rechecking: Vec<Rechecking>,
    /// When to look at people again.
    pub watch_at: Option<Instant>,
    /// Authorities that could not tell are left alone until then, by their policies.
    pub ask_again_at: Vec<(Arc<str>, Instant)>,
    /// The ends of tokens that the client was told of, by the policy that takes them.
    pub noticed: Vec<(Arc<str>, u64)>,
    /// A seat under the caps of a policy, given back with the connection.
    pub seat: Option<Seat>,
    /// How fast the client has spoken.
    pub pace: Pace,
}

/// Who is this? And what for.
pub(super) struct Question {
    asking: Asking,
    then: Then,
}

/// What waits for an answer.
pub(super) enum Then {
    /// The first frame.
    Welcome,
    /// A token in place of another; the one before.
    Renew(Option<u64>, Option<String>),
    /// A `sub` or a `req`.
    Frame(Frame),
}

/// Is this still who it was?
pub(super) struct Rechecking {
    pub of: Arc<Admission>,
    pub asking: Asking,
}

/// How somebody stands with a place's policies.
pub(super) enum Standing {
    /// None asks.
    Unasked,
    /// They are let in.
    Known(Arc<Admission>),
    /// They are not.
    Denied(Denied),
    /// Somebody has to be asked.
    Asks(Asking),
}

impl Access {
    pub fn new(presented: Presented, seat: Option<Seat>) -> Self {
        Access {
            presented,
            hello: None,
            asking: None,
            rechecking: Vec::new(),
            watch_at: None,
            ask_again_at: Vec::new(),
            noticed: Vec::new(),
            seat,
            pace: Pace::default(),
        }
    }

    /// When something is due here.
    pub fn deadline(&self) -> Option<Instant> {
        // Who waits for an authority has said it in time.
        let hello = self.hello.as_ref().filter(|_| self.asking.is_none());
        let hello = hello.map(|hello| hello.until);
        [hello, self.watch_at].into_iter().flatten().min()
    }
}

impl Session {
    /// Looks for a credential that these policies take, judges it, and remembers whose it is.
    pub(super) fn standing(&mut self, auths: &[Arc<Auth>], now: Instant) -> Standing {
        match self.stands(auths) {
            Standing::Known(admission) => match self.take_in(&admission, now) {
                true => Standing::Known(admission),
                false => Standing::Denied(Denied::Expired),
            },
            standing => standing,
        }
    }

    /// Routes that guard other readings of what a subscription reads, and ask by this policy who it is.
    pub(super) fn others_by(&self, auth: &str, sub: &Subscription) -> Vec<Arc<Route>> {
        let url = &sub.subscriber().target().url;
        let found = self.member().client.find(&self.in_force, &Method::GET, url);
        let mut others = found.map_or_else(|_| Vec::new(), |(found, _)| found.others);
        others.retain(|other| other.auth.iter().any(|asked| *asked.name == *auth));
        others
    }

    /// Whether a subscription may still have what else its path can be read as, after a reload.
    ///
    /// # Errors
    /// It may not.
    pub(super) fn still_stands_at(&self, others: &[Arc<Route>]) -> Result<(), Refusal> {
        for other in others {
            let admission = match self.stands(&other.auth) {
                Standing::Unasked => continue,
                Standing::Known(admission) => admission,
                Standing::Denied(denied) => return Err(Refusal::from(&denied)),
                // Whoever was let in stays until an authority has said otherwise.
                Standing::Asks(_) => self.admission_of(&other.auth).ok_or_else(|| {
                    Refusal::new(
                        Code::Unauthorized,
                        "another reading of the path asks who it is",
                    )
                })?,
            };
            fits(other, &admission.identity)?;
        }
        Ok(())
    }

    /// As [`Session::standing`], and remembers nobody.
    pub(super) fn stands(&self, auths: &[Arc<Auth>]) -> Standing {
        match self.judge(auths) {
            Standing::Denied(denied) if denied.is_guess() => match self.known_otherwise(auths) {
                Some(known) => Standing::Known(known),
                None => Standing::Denied(denied),
            },
            standing => standing,
        }
    }

    /// Whom one of these policies knows by something that did not come in a message: a token that another policy has taken
    /// there says nothing of them.
    fn known_otherwise(&self, auths: &[Arc<Auth>]) -> Option<Arc<Admission>> {
        self.access.presented.extras.message.as_ref()?;
        let mut known = auths.iter().filter_map(|auth| {
            let known = self.member().admission(&auth.name)?;
            (known.found.auth == *auth).then_some(known)
        });
        known.find(|known| known.found.place != credential::Place::Message)
    }

    /// Somebody whom a policy knows from now on, with all that stands by it; false where it has known somebody else, and the
    /// connection ends.
    fn take_in(&mut self, admission: &Arc<Admission>, now: Instant) -> bool {
        match self.member().admission(&admission.found.auth.name) {
            None => self.remember(admission.clone()),
            Some(known) if Arc::ptr_eq(&known, admission) => {}
            Some(known) if known.identity.is_same_subject(&admission.identity) => {
                self.replace(admission.clone(), now);
            }
            Some(_) => {
                self.close(4401, "another subject", now);
                return false;
            }
        }
        true
    }

    /// What was presented, judged by these policies.
    pub(super) fn judge(&self, auths: &[Arc<Auth>]) -> Standing {
        let Some(first) = auths.first() else {
            return Standing::Unasked;
        };
        let (headers, extras) = self.access.presented.as_came();
        let found = match credential::find_newest(auths, &headers, extras) {
            Ok(found) => found,
            Err(denied) => return Standing::Denied(denied),
        };
        // A ticket was good once; what it stands for holds until something newer comes in a message.
        let is_newer = |found: &Found| found.place == credential::Place::Message;
        let ticket = self.admission_of(auths);
        let ticket = ticket.filter(|known| known.ticketed.is_some());
        let ticket = ticket.filter(|_| !found.as_ref().is_some_and(is_newer));
        let found = match &ticket {
            Some(known) => {
                let mut auths = auths.iter();
                let auth = auths.find(|auth| auth.name == known.found.auth.name);
                auth.map(|auth| Found {
                    auth: auth.clone(),
                    ..known.found.clone()
                })
            }
            None => found,
        };
        let Some(found) = found else {
            return Standing::Denied(self.shared.authenticator.missed(&first.name));
        };
        let name = &found.auth.name;
        let known = self.member().admission(name);
        let is_judged = |known: &Arc<Admission>| {
            known.found.credential == found.credential && known.found.auth == found.auth
        };
        if let Some(known) = known.filter(is_judged) {
            return Standing::Known(known);
        }
        let member = self.member().clone();
        let client = &member.client;
        let context = || context(&client.host, client.proto, &client.remote);
        let check = self.shared.authenticator.check(auths, found, context);
        // What the ticket's page had sent stands for them under a changed policy too.
        let ticketed = ticket.and_then(|known| known.ticketed.clone());
        let with_it = |admission: Admission| Admission {
            ticketed,
            ..admission
        };
        match check {
            Check::Done(Ok(admission)) => Standing::Known(Arc::new(with_it(admission))),
            Check::Done(Err(denied)) => Standing::Denied(denied),
            Check::Asks(asking) => {
                Standing::Asks(Box::pin(async move { asking.await.map(with_it) }))
            }
        }
    }

    /// Who was let in by one of these policies.
    pub(super) fn admission_of(&self, auths: &[Arc<Auth>]) -> Option<Arc<Admission>> {
        let mut names = auths.iter().map(|auth| &auth.name);
        names.find_map(|name| self.member().admission(name))
    }

    /// From now on this is who the policy knows here.
    pub(super) fn remember(&mut self, admission: Arc<Admission>) {
        self.member().admit(admission);
        self.access.watch_at = Some(Instant::now());
    }

    /// Whom a route's rollout judges: whoever its policy has let in, else whoever the connection's own has.
    pub(super) fn judged(&self, admitted: Option<&Arc<Admission>>) -> Option<Arc<Admission>> {
        admitted
            .cloned()
            .or_else(|| self.admission_of(&self.own_auths()))
    }

    /// A frame waits until this is answered.
    pub(super) fn ask(&mut self, asking: Asking, then: Then) {
        self.access.asking = Some(Box::new(Question { asking, then }));
    }

    /// Whether what was asked is answered; acts on it.
    pub(super) fn learn(&mut self, cx: &mut Context<'_>) -> bool {
        if self.closing_until.is_some() {
            // Nothing comes behind a close.
            return false;
        }
        let mut has_learnt = false;
        let mut index = 0;
        while let Some(rechecking) = self.access.rechecking.get_mut(index) {
            let Poll::Ready(outcome) = rechecking.asking.as_mut().poll(cx) else {
                index += 1;
                continue;
            };
            has_learnt = true;
            let Rechecking { of, .. } = self.access.rechecking.swap_remove(index);
            let auth = of.found.auth.name.clone();
            let known = self.member().admission(&auth);
            match known.is_some_and(|known| Arc::ptr_eq(&known, &of)) {
                true => self.rechecked(&auth, outcome),
                // They have shown something newer meanwhile.
                false => self.access.watch_at = Some(Instant::now()),
            }
        }
        if self.closing_until.is_none()
            && let Some(question) = &mut self.access.asking
            && let Poll::Ready(outcome) = question.asking.as_mut().poll(cx)
        {
            has_learnt = true;
            if let Some(question) = self.access.asking.take() {
                self.answered(outcome, question.then);
            }
        }
        has_learnt
    }

    fn answered(&mut self, outcome: Result<Admission, Denied>, then: Then) {
        let now = Instant::now();
        let asks = matches!(then, Then::Frame(_));
        if asks && !self.keeps_up(now) {
            return;
        }
        match (then, outcome) {
            (Then::Welcome, outcome) => self.greet(outcome, now),
            (Then::Renew(id, before), outcome) => self.renewed(id, before, outcome, now),
            // The credential of another reading may have been asked for, so all policies look again.
            (Then::Frame(frame), Ok(admission)) => {
                if self.take_in(&Arc::new(admission), now) {
                    self.advance(frame, None, now);
                }
            }
            (Then::Frame(frame), Err(denied)) => self.advance(frame, Some(denied), now),
        }
    }

    /// The policies of the connection itself: those of `PREFIX/ws`, or of the one stream's route.
    pub(super) fn own_auths(&self) -> Vec<Arc<Auth>> {
        match self.own_route() {
            Some(route) => route.auth.clone(),
            None if self.is_single => Vec::new(),
            None => self.rules().auth.clone(),
        }
    }

    /// The route of the one stream; `None` where there are many, or a reload has taken it away.
    pub(super) fn own_route(&self) -> Option<Arc<Route>> {
        if !self.is_single {
            return None;
        }
        let mut routes = self.in_force.routes.bridged();
        routes.find(|route| route.name == self.life.place).cloned()
    }

    /// Whose the connection is: whom its own policies have let in, or, where it has none, whom a route's has first.
    pub(super) fn owner(&self) -> Option<Arc<Admission>> {
        let own = self.own_auths();
        match own.is_empty() {
            true => self.member().admissions().into_iter().next(),
            false => self.admission_of(&own),
        }
    }

    /// Counts the connection for a user who has just become known; false where they have too many.
    pub(super) fn take_seat_for(&mut self, admission: &Admission) -> bool {
        let Some(seat) = &mut self.access.seat else {
            return true;
        };
        let is_counted = seat.count_for(&admission.identity.principal()).is_ok();
        if !is_counted {
            let policy = self.own_policy();
            let name = policy.as_ref().map_or("", |policy| &policy.name);
            self.shared.telemetry.rate_limited(name);
        }
        is_counted
    }
}

/// Whether somebody may use a route.
///
/// # Errors
/// `forbidden`, and what they lack.
pub(super) fn may(route: &Route, identity: &Identity) -> Result<(), Refusal> {
    let fits = identity.may_follow(route);
    fits.map_err(|unfit| Refusal::new(Code::Forbidden, unfit.detail()))
}

/// Whether somebody is what a route requires.
pub(super) fn fits(route: &Route, identity: &Identity) -> Result<(), Refusal> {
    match &route.require {
        Some(require) => {
            (identity.fits(require)).map_err(|unfit| Refusal::new(Code::Forbidden, unfit.detail()))
        }
        None => Ok(()),
    }
}

/// The claims that a route's topics are shared by: none of them, where all admitted users share.
pub(super) fn claims_of(route: &Route) -> Option<&[String]> {
    match &route.share {
        Share::Claims(claims) => Some(claims),
        Share::Authenticated => Some(&[]),
        Share::Public | Share::User | Share::Connection => None,
    }
}

/// Whether a subscription's topic is still one of this person's.
pub(super) fn still_fits(route: &Route, scope: Scope, admission: &Admission) -> bool {
    let identity = &admission.identity;
    match scope {
        Scope::Public | Scope::Connection(_) => true,
        Scope::User(principal) => principal == Principal(identity.principal()),
        Scope::Claims(pool) => {
            let claims = claims_of(route).unwrap_or_default();
            identity.pool(claims).map(Principal) == Ok(pool)
        }
        Scope::Authenticated(admitted) => admitted == Principal(identity.admitted()),
    }
}
