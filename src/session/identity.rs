//! Who is at the other end, by each policy that has asked, and for how long: what is found out at first, looked at again while
//! the connection lives, and what becomes of it when somebody is not who they were.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::connection::Connection;
use super::opening::Mode;
use super::pace::Pace;
use super::presented::Presented;
use super::requests::Wish;
use super::subscription::Subscription;
use crate::config::{Auth, By, Route, Share};
use crate::edge::auth::{Admission, Asking, Check, Denied, Identity, context, credential};
use crate::edge::rate_limit::Place;
use crate::error::{Code, Refusal};
use crate::event::End;
use crate::hub::{Principal, Scope};
use crate::protocol::{Output, Req};

/// How long before a token's end its client is told.
const NOTICE: Duration = Duration::from_secs(30);

/// Between two questions to an authority that cannot tell.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// A session's half of the edge.
pub(super) struct Access {
    pub presented: Presented,
    /// Nothing but a `hello` is wanted yet.
    pub hello: Option<Box<Hello>>,
    /// What a frame of the client waits for; no other is read meanwhile.
    pub asking: Option<Box<Question>>,
    /// Somebody is asked for again.
    rechecking: Option<Box<Rechecking>>,
    /// When to look at people again.
    pub watch_at: Option<Instant>,
    /// An authority that could not tell is left alone until then.
    ask_again_at: Option<Instant>,
    /// The end of a token that the client was told of.
    noticed: Option<u64>,
    /// A place under the caps of a policy, given back with the connection.
    place: Option<Place>,
    /// How fast the client has spoken.
    pub pace: Pace,
}

/// The first word that is awaited, and what it opens.
pub(super) struct Hello {
    pub mode: Mode,
    pub until: Instant,
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
    /// A `sub`.
    Subscribe(u64, Wish),
    /// A `req`.
    Call(Req),
}

struct Rechecking {
    auth: Arc<str>,
    asking: Asking,
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
    pub fn new(presented: Presented, place: Option<Place>) -> Self {
        Access {
            presented,
            hello: None,
            asking: None,
            rechecking: None,
            watch_at: None,
            ask_again_at: None,
            noticed: None,
            place,
            pace: Pace::default(),
        }
    }

    /// When something is due here.
    pub fn deadline(&self) -> Option<Instant> {
        let hello = self.hello.as_ref().map(|hello| hello.until);
        [hello, self.watch_at].into_iter().flatten().min()
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Connection<Io> {
    /// Looks for a credential that these policies take, judges it, and remembers whose it is.
    pub(super) fn standing(&mut self, auths: &[Arc<Auth>]) -> Standing {
        let standing = self.judge(auths);
        if let Standing::Known(admission) = &standing {
            let name = &admission.found.auth.name;
            let known = self.member().admission(name);
            if known.is_none_or(|known| !Arc::ptr_eq(&known, admission)) {
                self.remember(admission.clone());
            }
        }
        standing
    }

    fn judge(&self, auths: &[Arc<Auth>]) -> Standing {
        let Some(first) = auths.first() else {
            return Standing::Unasked;
        };
        let presented = &self.access.presented;
        let found = match credential::find_newest(auths, &presented.headers(), &presented.extras) {
            Ok(found) => found,
            Err(denied) => return Standing::Denied(denied),
        };
        // A ticket was good once; what it stands for holds until something newer comes in a message.
        let is_newer =
            (found.as_ref()).is_some_and(|found| found.place == credential::Place::Message);
        let ticket = self
            .admission_of(auths)
            .filter(|known| known.ticketed.is_some());
        if let Some(known) = ticket.filter(|_| !is_newer) {
            return Standing::Known(known);
        }
        let Some(found) = found else {
            return Standing::Denied(self.shared.authenticator.missed(&first.name));
        };
        let name = &found.auth.name;
        let known = self.member().admission(name);
        if let Some(known) = known.filter(|known| known.found.credential == found.credential) {
            return Standing::Known(known);
        }
        let member = self.member().clone();
        let client = &member.client;
        let context = || context(&client.host, client.proto, &client.remote);
        match self.shared.authenticator.check(found, context) {
            Check::Done(Ok(admission)) => Standing::Known(Arc::new(admission)),
            Check::Done(Err(denied)) => Standing::Denied(denied),
            Check::Asks(asking) => Standing::Asks(asking),
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
    pub(super) fn learn(&mut self, subs: &mut Vec<Subscription>, cx: &mut Context<'_>) -> bool {
        if self.closing_until.is_some() {
            // Nothing comes behind a close.
            return false;
        }
        let mut has_learnt = false;
        if let Some(rechecking) = &mut self.access.rechecking
            && let Poll::Ready(outcome) = rechecking.asking.as_mut().poll(cx)
        {
            has_learnt = true;
            let auth = rechecking.auth.clone();
            self.access.rechecking = None;
            self.rechecked(&auth, outcome, subs);
        }
        if self.closing_until.is_none()
            && let Some(question) = &mut self.access.asking
            && let Poll::Ready(outcome) = question.asking.as_mut().poll(cx)
        {
            has_learnt = true;
            if let Some(question) = self.access.asking.take() {
                self.answered(outcome, question.then, subs);
            }
        }
        has_learnt
    }

    fn answered(
        &mut self,
        outcome: Result<Admission, Denied>,
        then: Then,
        subs: &mut Vec<Subscription>,
    ) {
        let now = Instant::now();
        match (then, outcome) {
            (Then::Welcome, outcome) => self.greet(outcome, subs, now),
            (Then::Renew(id, before), outcome) => self.renewed(id, before, outcome, subs, now),
            (Then::Subscribe(id, wish), Ok(admission)) => {
                let admission = Arc::new(admission);
                self.remember(admission.clone());
                if let Err(refusal) = self.subscribe_as(id, wish, Some(admission), subs, now) {
                    self.refuse_sub(id, &refusal, subs, now);
                }
            }
            (Then::Subscribe(id, _), Err(denied)) => {
                self.refuse_sub(id, &Refusal::from(&denied), subs, now);
            }
            (Then::Call(request), Ok(admission)) => {
                let admission = Arc::new(admission);
                self.remember(admission.clone());
                self.call_as(request, Some(admission));
            }
            (Then::Call(request), Err(denied)) => {
                self.refuse(Some(request.id), &Refusal::from(&denied));
            }
        }
    }

    /// The first word has come.
    pub(super) fn hear_hello(
        &mut self,
        token: Option<String>,
        subs: &mut Vec<Subscription>,
        now: Instant,
    ) {
        if let Some(token) = token
            && let Err(denied) = self.access.presented.take_token(token)
        {
            return self.greet(Err(denied), subs, now);
        }
        match self.judge(&self.own_auths()) {
            Standing::Known(admission) => self.greet(Ok(Admission::clone(&admission)), subs, now),
            Standing::Denied(denied) => self.greet(Err(denied), subs, now),
            Standing::Asks(asking) => self.ask(asking, Then::Welcome),
            // The policy was taken away meanwhile.
            Standing::Unasked => self.welcome(subs, now),
        }
    }

    fn greet(
        &mut self,
        outcome: Result<Admission, Denied>,
        subs: &mut Vec<Subscription>,
        now: Instant,
    ) {
        match outcome {
            Ok(admission) => {
                let admission = Arc::new(admission);
                self.remember(admission.clone());
                let turned_away = self.turned_away(&admission);
                match turned_away.or_else(|| self.crowded_out(&admission)) {
                    Some(code) => self.close(code, "", subs, now),
                    None => self.welcome(subs, now),
                }
            }
            Err(denied) => self.close(denied.close_code(), "", subs, now),
        }
    }

    /// Counts the connection for a user who has just said who they are.
    fn crowded_out(&mut self, admission: &Admission) -> Option<u16> {
        let principal = admission.identity.principal();
        let place = self.access.place.as_mut()?;
        place.count_for(&principal).is_err().then(|| {
            let policy = self.own_policy();
            let name = policy.as_ref().map_or("", |policy| &policy.name);
            self.shared.telemetry.rate_limited(name);
            4029
        })
    }

    /// The policies of the connection itself: those of `PREFIX/ws`, or of the one stream's route.
    pub(super) fn own_auths(&self) -> Vec<Arc<Auth>> {
        match self.own_route() {
            Some(route) => route.auth.clone(),
            None => self.rules().auth.clone(),
        }
    }

    /// The route of the one stream.
    pub(super) fn own_route(&self) -> Option<Arc<Route>> {
        let place = &self.life.place;
        let mut routes = self.in_force.routes.bridged();
        let own = routes.find(|route| self.is_single && route.name == *place);
        own.cloned()
    }

    /// A token in place of another: of the same person.
    pub(super) fn renew(
        &mut self,
        id: Option<u64>,
        token: Option<String>,
        subs: &mut Vec<Subscription>,
        now: Instant,
    ) {
        let Some(token) = token else {
            return self.accept(id);
        };
        let mut auths = self.own_auths();
        if !auths.is_empty() && !credential::awaits_message(&auths) {
            let detail = "a token in a message is not taken here";
            return self.refuse(id, &Refusal::new(Code::Unauthorized, detail));
        }
        let before = self.access.presented.extras.message.clone();
        if let Err(denied) = self.access.presented.take_token(token) {
            let refusal = Refusal::new(Code::BadFrame, denied.detail());
            return self.refuse(id, &refusal);
        }
        if auths.is_empty() {
            auths = self.member().policies();
        }
        auths.retain(|auth| credential::awaits_message(std::slice::from_ref(auth)));
        match self.judge(&auths) {
            Standing::Unasked => self.accept(id),
            Standing::Known(admission) => {
                let outcome = Ok(Admission::clone(&admission));
                self.renewed(id, before, outcome, subs, now);
            }
            Standing::Denied(denied) => self.renewed(id, before, Err(denied), subs, now),
            Standing::Asks(asking) => self.ask(asking, Then::Renew(id, before)),
        }
    }

    fn renewed(
        &mut self,
        id: Option<u64>,
        before: Option<String>,
        outcome: Result<Admission, Denied>,
        subs: &mut Vec<Subscription>,
        now: Instant,
    ) {
        match outcome {
            Err(denied) => {
                self.access.presented.extras.message = before;
                self.refuse(id, &Refusal::from(&denied));
            }
            Ok(admission) => {
                let held = subs
                    .iter()
                    .find_map(|sub| sub.admitted_by(&admission.found.auth.name));
                let known = held.cloned();
                let known = known.or_else(|| self.member().admission(&admission.found.auth.name));
                if known.is_some_and(|known| !known.identity.is_same_subject(&admission.identity)) {
                    return self.close(4401, "another subject", subs, now);
                }
                self.replace(admission, subs, now);
                self.accept(id);
            }
        }
    }

    /// Somebody goes on as who they are now; subscriptions that this no longer suffices for end.
    fn replace(&mut self, admission: Admission, subs: &mut Vec<Subscription>, now: Instant) {
        let admission = Arc::new(admission);
        self.remember(admission.clone());
        let mut ended: Vec<u32> = Vec::new();
        for sub in subs.iter_mut() {
            if sub.admitted_by(&admission.found.auth.name).is_none() {
                continue;
            }
            let route = sub.route().clone();
            let scope = sub.subscriber().target().scope;
            if may(&route, &admission.identity).is_err() || !still_fits(&route, scope, &admission) {
                ended.push(sub.ch);
                continue;
            }
            let credentials = self
                .access
                .presented
                .verified(&admission, claims_of(&route));
            sub.renew(admission.clone(), credentials);
        }
        for ch in ended {
            self.end_sub(ch, Code::Forbidden, subs, now);
        }
    }

    fn rechecked(
        &mut self,
        auth: &Arc<str>,
        outcome: Result<Admission, Denied>,
        subs: &mut Vec<Subscription>,
    ) {
        let now = Instant::now();
        let Some(known) = self.member().admission(auth) else {
            return;
        };
        match outcome {
            Ok(admission) if admission.identity.is_same_subject(&known.identity) => {
                if admission.vouched_at == known.vouched_at {
                    // Nobody could tell, and for a while that is forgiven; once more at its end, and not later.
                    let good_for = admission.found.auth.good_for();
                    let end = good_for.and_then(|time| admission.vouched_at.checked_add(time));
                    let soon = now + ASK_AGAIN;
                    self.access.ask_again_at = Some(end.map_or(soon, |end| end.min(soon)));
                }
                self.replace(admission, subs, now);
            }
            Ok(_) => self.lose(auth, &Denied::Expired, subs, now),
            // It was good before: its session is over.
            Err(Denied::Invalid(_) | Denied::Missing) => {
                self.lose(auth, &Denied::Expired, subs, now);
            }
            Err(denied) => self.lose(auth, &denied, subs, now),
        }
    }

    /// Somebody is not who they were: the connection goes with them, or only what they had subscribed to.
    pub(super) fn lose(
        &mut self,
        auth: &Arc<str>,
        denied: &Denied,
        subs: &mut Vec<Subscription>,
        now: Instant,
    ) {
        self.member().dismiss(auth);
        if self.is_single || self.rules().auth.iter().any(|own| own.name == *auth) {
            return self.close(denied.close_code(), "", subs, now);
        }
        let theirs = subs.iter().filter(|sub| sub.admitted_by(auth).is_some());
        let theirs: Vec<u32> = theirs.map(|sub| sub.ch).collect();
        let code = Refusal::from(denied).code;
        for ch in theirs {
            self.end_sub(ch, code, subs, now);
        }
    }

    fn end_sub(&mut self, ch: u32, code: Code, subs: &mut Vec<Subscription>, now: Instant) {
        subs.retain(|sub| sub.ch != ch);
        let end = End {
            code,
            status: code.status(),
            retry_ms: None,
            is_final: false,
        };
        self.end(ch, &end, subs, now);
    }

    /// Looks at everybody's time: who is over it goes, who is near it is told, who is due is asked for again.
    pub(super) fn watch(&mut self, subs: &mut Vec<Subscription>, now: Instant) {
        self.access.watch_at = None;
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let unix = since.unwrap_or_default();
        for admission in self.member().admissions() {
            if self.closing_until.is_some() {
                return;
            }
            let auth = &admission.found.auth;
            if let (Some(expires), Some(ends)) =
                (admission.identity.expires, admission.identity.ends())
            {
                let (expires, ends) = (Duration::from_secs(expires), Duration::from_secs(ends));
                if unix >= ends {
                    self.lose(&auth.name, &Denied::Expired, subs, now);
                    continue;
                }
                if unix + NOTICE < expires {
                    self.watch_until(now + (expires - NOTICE - unix));
                } else {
                    self.notice_end(expires.as_secs());
                    self.watch_until(now + (ends - unix));
                }
            }
            if let Some(every) = auth.recheck() {
                let due = admission.vouched_at + every;
                let due = self.access.ask_again_at.map_or(due, |at| due.max(at));
                if now >= due && self.access.rechecking.is_none() {
                    self.recheck_person(&admission);
                } else {
                    self.watch_until(due.max(now + Duration::from_millis(100)));
                }
            }
        }
    }

    fn watch_until(&mut self, at: Instant) {
        let before = self.access.watch_at.unwrap_or(at);
        self.access.watch_at = Some(before.min(at));
    }

    fn notice_end(&mut self, expires: u64) {
        if self.access.noticed.replace(expires) == Some(expires) {
            return;
        }
        let d = serde_json::value::to_raw_value(&serde_json::json!({"auth_exp": expires}));
        self.say(&Output::Notice {
            level: "warn",
            msg: "auth_expiring",
            d: d.ok().as_deref(),
        });
    }

    fn recheck_person(&mut self, admission: &Admission) {
        let member = self.member().clone();
        let client = &member.client;
        let context = context(&client.host, client.proto, &client.remote);
        let asking = self.shared.authenticator.recheck(admission, context);
        self.access.rechecking = asking.map(|asking| {
            let auth = admission.found.auth.name.clone();
            Box::new(Rechecking { auth, asking })
        });
    }

    /// Whoever an admin took back is out.
    pub(super) fn drop_revoked(&mut self, subs: &mut Vec<Subscription>, now: Instant) {
        for admission in self.member().admissions() {
            let is_here = self.closing_until.is_none();
            if is_here && self.shared.authenticator.is_revoked(&admission) {
                self.lose(&admission.found.auth.name, &Denied::Revoked, subs, now);
            }
        }
    }

    /// Judges everybody anew whose policy was changed by a reload.
    pub(super) fn follow_policies(&mut self, subs: &mut Vec<Subscription>, now: Instant) {
        let config = self.in_force.config.clone();
        for admission in self.member().admissions() {
            let before = &admission.found.auth;
            let Some(auth) = config.auths.get(&*before.name) else {
                // Whatever still asks for somebody asks by another policy.
                self.member().dismiss(&before.name);
                continue;
            };
            if auth == before || self.closing_until.is_some() {
                continue;
            }
            let mut found = admission.found.clone();
            found.auth = auth.clone();
            let member = self.member().clone();
            let client = &member.client;
            let context = || context(&client.host, client.proto, &client.remote);
            match self.shared.authenticator.check(found, context) {
                Check::Done(outcome) => self.rechecked(&before.name, outcome, subs),
                Check::Asks(asking) => {
                    let auth = before.name.clone();
                    self.access.rechecking = Some(Box::new(Rechecking { auth, asking }));
                }
            }
        }
        let own = self.own_auths();
        if self.closing_until.is_none()
            && self.access.hello.is_none()
            && !own.is_empty()
            && self.admission_of(&own).is_none()
        {
            self.enter_anew(&own, subs, now);
        }
    }

    /// A reload asks for somebody where nobody did, or by another policy.
    fn enter_anew(&mut self, own: &[Arc<Auth>], subs: &mut Vec<Subscription>, now: Instant) {
        match self.standing(own) {
            Standing::Unasked | Standing::Known(_) => {}
            Standing::Denied(denied) => self.close(denied.close_code(), "", subs, now),
            // The handshake waits for such an answer better than a session can.
            Standing::Asks(_) => self.close(4201, "", subs, now),
        }
    }

    fn accept(&mut self, id: Option<u64>) {
        if let Some(id) = id {
            self.reply(&Output::Ok { id, sub: None });
        }
    }
}

/// Whether somebody may use a route: what it requires, and what its rollout goes by.
///
/// # Errors
/// `forbidden`.
pub(super) fn may(route: &Route, identity: &Identity) -> Result<(), Refusal> {
    if let Some(require) = &route.require {
        let fits = identity.fits(require);
        fits.map_err(|unfit| Refusal::new(Code::Forbidden, unfit.detail()))?;
    }
    let by_tenant = (route.rollout.as_ref()).is_some_and(|rollout| rollout.by == By::Tenant);
    match by_tenant && identity.tenant.is_none() {
        true => Err(Refusal::new(
            Code::Forbidden,
            "this route's rollout goes by tenant, and there is none",
        )),
        false => Ok(()),
    }
}

/// The claims that a route's topics are shared by.
pub(super) fn claims_of(route: &Route) -> Option<&[String]> {
    match &route.share {
        Share::Claims(claims) => Some(claims),
        Share::Public | Share::User | Share::Connection => None,
    }
}

/// Whether a subscription's topic is still one of this person's.
fn still_fits(route: &Route, scope: Scope, admission: &Admission) -> bool {
    let identity = &admission.identity;
    match scope {
        Scope::Public | Scope::Connection(_) => true,
        Scope::User(principal) => principal == Principal(identity.principal()),
        Scope::Claims(pool) => {
            let claims = claims_of(route).unwrap_or_default();
            identity.pool(claims).map(Principal) == Some(pool)
        }
    }
}
