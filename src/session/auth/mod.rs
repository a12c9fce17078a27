//! Which user is at the other end, by each policy that has asked: what is presented is judged where a subscription, a request or
//! the connection itself needs it. [`hello`] is how clients say it, [`expiry`] how long it holds.

pub(crate) mod expiry;
pub(crate) mod hello;

use std::sync::Arc;
use std::task::{self, Poll};

use tokio::time::Instant;

use super::accepted::{Mode, Seat};
use super::context::Context;
use super::context::{Effect, Effects};
use super::frame::Frame;
use super::handle::lock;
use super::joined_namespace::NamespaceState;
use super::message_limit::MessageLimit;
use crate::config::{Auth, Route, Share};
use crate::error::{Code, Refusal};
use crate::hub::{Principal, Scope};
use crate::policy::auth::{
    Asking, AuthError, Authenticated, Check, Found, Identity, context, credential,
};
use crate::protocol::{Input, Tag};
use crate::session::credentials::Presented;

/// Authorities that may be asked at once for what a client wants.
const QUESTIONS: usize = 8;

/// What a session knows of its users.
pub(crate) struct Access {
    pub(crate) presented: Presented,
    /// Nothing but a `hello` is wanted yet.
    pub(crate) hello: Option<Box<Hello>>,
    /// What waits for authorities, each for its own.
    questions: Vec<Question>,
    /// What came behind questions, and is read only when they are answered: it may change which user it is.
    held: Vec<Input>,
    /// Users that authorities are asked about again.
    pub(crate) rechecking: Vec<Rechecking>,
    /// When to look at the users again.
    pub(crate) watch_at: Option<Instant>,
    /// Authorities that could not answer are left alone until then, by their policies.
    pub(crate) ask_again_at: Vec<(Arc<str>, Instant)>,
    /// The ends of tokens that the client was warned of, by the policy that takes them.
    pub(crate) noticed: Vec<(Arc<str>, u64)>,
    /// A seat under the caps of a policy, given back with the connection.
    seat: Option<Seat>,
    /// What a client of Socket.IO has brought beside its credentials; most sessions have none.
    pub(crate) namespace: Option<Box<NamespaceState>>,
    /// How fast the client has spoken.
    pub(crate) pace: MessageLimit,
}

/// The first word that is awaited, and what it opens.
pub(crate) struct Hello {
    pub(crate) mode: Mode,
    /// The number of the configuration that the handshake was judged by.
    pub(crate) judged_by: u64,
    pub(crate) until: Instant,
}

/// Which user is this? And what for.
struct Question {
    asking: Asking,
    then: Then,
}

/// What waits for an answer.
pub(crate) enum Then {
    /// The first frame.
    Welcome,
    /// A token in place of another; the one before.
    Renew(Tag, Option<String>),
    /// A `sub` or a `req`.
    Frame(Box<Frame>),
}

/// Is this still the same user?
pub(crate) struct Rechecking {
    pub(crate) of: Arc<Authenticated>,
    pub(crate) asking: Asking,
}

/// What a place's policies say of the client.
pub(crate) enum AuthState {
    /// None asks.
    Unasked,
    /// It is let in.
    Known(Arc<Authenticated>),
    /// It is not.
    Denied(AuthError),
    /// An authority has to be asked.
    Asks(Asking),
}

impl Access {
    pub(crate) fn new(presented: Presented, seat: Option<Seat>) -> Self {
        Access {
            presented,
            hello: None,
            questions: Vec::new(),
            held: Vec::new(),
            rechecking: Vec::new(),
            watch_at: None,
            ask_again_at: Vec::new(),
            noticed: Vec::new(),
            seat,
            namespace: None,
            pace: MessageLimit::default(),
        }
    }

    /// When something is due here.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let hello = self.hello.as_ref().filter(|_| self.questions.is_empty());
        let hello = hello.map(|hello| hello.until);
        [hello, self.watch_at].into_iter().flatten().min()
    }

    /// Whether a `hello` is overdue. A client that waits for an authority has said it in time.
    pub(crate) fn is_hello_late(&self, now: Instant) -> bool {
        let is_late = |hello: &Hello| now >= hello.until;
        self.questions.is_empty() && self.hello.as_deref().is_some_and(is_late)
    }

    /// Whether the CONNECT of a Socket.IO client waits for its subscriptions of before.
    pub(crate) fn is_coming_back(&self) -> bool {
        let namespace = self.namespace.as_ref();
        namespace.is_some_and(|namespace| namespace.coming_back.is_some())
    }

    /// Something waits for this answer.
    pub(crate) fn ask(&mut self, asking: Asking, then: Then) {
        self.questions.push(Question { asking, then });
    }

    /// Whether the next message of the client is looked at. Subscriptions and requests wait side by side; what says which user it
    /// is, alone.
    pub(crate) fn may_read(&self) -> bool {
        let waits = |question: &Question| matches!(question.then, Then::Frame(_));
        self.held.is_empty() && self.questions.len() < QUESTIONS && self.questions.iter().all(waits)
    }

    /// Subscriptions that wait for an authority.
    pub(crate) fn subs_asked(&self) -> usize {
        self.frames().filter(|frame| frame.is_sub()).count()
    }

    /// Requests that wait for an authority.
    pub(crate) fn reqs_asked(&self) -> usize {
        self.frames().filter(|frame| !frame.is_sub()).count()
    }

    fn frames(&self) -> impl Iterator<Item = &Frame> {
        self.questions
            .iter()
            .filter_map(|question| match &question.then {
                Then::Frame(frame) => Some(&**frame),
                Then::Welcome | Then::Renew(..) => None,
            })
    }

    /// Holds a message back where something before it has to be known first; else gives it back.
    pub(crate) fn hold(&mut self, input: Input) -> Option<Input> {
        let changes_user = matches!(input, Input::Hello { .. } | Input::Auth { .. });
        let may_go = self.may_read() && (self.questions.is_empty() || !changes_user);
        if !may_go {
            self.held.push(input);
            return None;
        }
        Some(input)
    }

    /// What was held back, once nothing is asked any more.
    pub(crate) fn release(&mut self) -> Vec<Input> {
        match self.questions.is_empty() {
            true => std::mem::take(&mut self.held),
            false => Vec::new(),
        }
    }

    /// The next answer that was waited for, and what for.
    pub(crate) fn poll_answer(
        &mut self,
        task: &mut task::Context<'_>,
    ) -> Poll<(Then, Result<Authenticated, AuthError>)> {
        let mut ready = None;
        for (index, question) in self.questions.iter_mut().enumerate() {
            if let Poll::Ready(outcome) = question.asking.as_mut().poll(task) {
                ready = Some((index, outcome));
                break;
            }
        }
        match ready {
            Some((index, outcome)) => {
                let question = self.questions.remove(index);
                if self.questions.is_empty() {
                    self.questions = Vec::new();
                }
                Poll::Ready((question.then, outcome))
            }
            None => Poll::Pending,
        }
    }

    /// Looks for a credential that these policies take, judges it, and remembers whose it is.
    pub(crate) fn standing(
        &mut self,
        cx: &Context,
        auths: &[Arc<Auth>],
        effects: &mut Effects,
    ) -> AuthState {
        match self.stands(cx, auths) {
            AuthState::Known(admission) => match self.take_in(cx, &admission, effects) {
                true => AuthState::Known(admission),
                false => AuthState::Denied(AuthError::Expired),
            },
            standing => standing,
        }
    }

    /// As [`Access::standing`], and remembers no user.
    pub(crate) fn stands(&self, cx: &Context, auths: &[Arc<Auth>]) -> AuthState {
        match self.judge(cx, auths) {
            AuthState::Denied(denied) if denied.is_guess() => {
                match self.known_otherwise(cx, auths) {
                    Some(known) => AuthState::Known(known),
                    None => AuthState::Denied(denied),
                }
            }
            standing => standing,
        }
    }

    /// The user that one of these policies knows by something that did not come in a message: a token that another policy has
    /// taken there says nothing of them.
    fn known_otherwise(&self, cx: &Context, auths: &[Arc<Auth>]) -> Option<Arc<Authenticated>> {
        self.presented.extras.message.as_ref()?;
        let mut known = auths.iter().filter_map(|auth| {
            let known = cx.member().admission(&auth.name)?;
            (known.found.auth == *auth).then_some(known)
        });
        known.find(|known| known.found.place != credential::CredentialPlace::Message)
    }

    /// A policy knows this user from now on, with all that stands by it; false where it has known another, and the connection
    /// ends.
    pub(crate) fn take_in(
        &mut self,
        cx: &Context,
        admission: &Arc<Authenticated>,
        effects: &mut Effects,
    ) -> bool {
        match cx.member().admission(&admission.found.auth.name) {
            None => self.remember(cx, admission.clone()),
            Some(known) if Arc::ptr_eq(&known, admission) => {}
            Some(known) if known.identity.is_same_subject(&admission.identity) => {
                self.replace(cx, admission.clone(), effects);
            }
            Some(_) => {
                effects.push(Effect::Close(4401, "another subject"));
                return false;
            }
        }
        true
    }

    /// What was presented, judged by these policies.
    pub(crate) fn judge(&self, cx: &Context, auths: &[Arc<Auth>]) -> AuthState {
        let Some(first) = auths.first() else {
            return AuthState::Unasked;
        };
        let (headers, extras) = self.presented.as_came();
        let found = match credential::find_newest(auths, &headers, extras) {
            Ok(found) => found,
            Err(denied) => return AuthState::Denied(denied),
        };
        // A ticket was good once; what it stands for holds until something newer comes in a message.
        let is_newer = |found: &Found| found.place == credential::CredentialPlace::Message;
        let ticket = cx.admission_of(auths);
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
        let authenticator = &cx.shared.authenticator;
        let Some(found) = found else {
            return AuthState::Denied(authenticator.missed(&first.name));
        };
        let known = cx.member().admission(&found.auth.name);
        let is_judged = |known: &Arc<Authenticated>| {
            known.found.credential == found.credential && known.found.auth == found.auth
        };
        if let Some(known) = known.filter(is_judged) {
            return AuthState::Known(known);
        }
        let client = &cx.member().client;
        let context = || context(&client.host, client.proto, &client.remote);
        let check = authenticator.check(auths, found, context);
        // What the ticket's page had sent stands for them under a changed policy too.
        let ticketed = ticket.and_then(|known| known.ticketed.clone());
        let with_it = |admission: Authenticated| Authenticated {
            ticketed,
            ..admission
        };
        match check {
            Check::Done(Ok(admission)) => AuthState::Known(Arc::new(with_it(admission))),
            Check::Done(Err(denied)) => AuthState::Denied(denied),
            Check::Asks(asking) => {
                AuthState::Asks(Box::pin(async move { asking.await.map(with_it) }))
            }
        }
    }

    /// From now on this is the user that the policy knows here.
    pub(crate) fn remember(&mut self, cx: &Context, admission: Arc<Authenticated>) {
        cx.member().admit(admission);
        self.watch_at = Some(Instant::now());
    }

    /// The same user goes on by this; subscriptions that it no longer suffices for end.
    pub(crate) fn replace(
        &mut self,
        cx: &Context,
        admission: Arc<Authenticated>,
        effects: &mut Effects,
    ) {
        self.remember(cx, admission.clone());
        effects.push(Effect::Renew(admission));
    }

    /// Counts the connection for a user that has just become known; false where it has too many.
    pub(crate) fn take_seat_for(&mut self, cx: &Context, admission: &Authenticated) -> bool {
        let Some(seat) = &self.seat else {
            return true;
        };
        let principal = admission.identity.principal();
        let is_counted = lock(seat).count_for(&principal).is_ok();
        if !is_counted {
            let name = cx.own_limit().map_or("", |limit| &limit.name);
            cx.shared.telemetry.edge.rate_limited(name);
        }
        is_counted
    }
}

/// Whether a user may use a route.
///
/// # Errors
/// `forbidden`, and what they lack.
pub(crate) fn may(route: &Route, identity: &Identity) -> Result<(), Refusal> {
    let fits = identity.may_follow(route);
    fits.map_err(|unfit| Refusal::new(Code::Forbidden, unfit.detail()))
}

/// Whether a user is what a route requires.
pub(crate) fn fits(route: &Route, identity: &Identity) -> Result<(), Refusal> {
    match &route.require {
        Some(require) => {
            (identity.fits(require)).map_err(|unfit| Refusal::new(Code::Forbidden, unfit.detail()))
        }
        None => Ok(()),
    }
}

/// The claims that a route's topics are shared by: none of them, where all admitted users share.
pub(crate) fn claims_of(route: &Route) -> Option<&[String]> {
    match &route.share {
        Share::Claims(claims) => Some(claims),
        Share::Authenticated => Some(&[]),
        Share::Public | Share::User | Share::Connection => None,
    }
}

/// Whether a subscription's topic is still one of this user's.
pub(crate) fn still_fits(route: &Route, scope: Scope, admission: &Authenticated) -> bool {
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

#[cfg(test)]
mod tests;
