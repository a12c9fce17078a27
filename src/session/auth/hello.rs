//! Saying over the connection which user it is: the first word, and newer credentials of the same user.

use std::sync::Arc;

use super::{Access, AuthState, Then};
use crate::config::Route;
use crate::error::{Code, Refusal};
use crate::policy::auth::{AuthError, Authenticated, Identity, credential};
use crate::policy::{
    self, Ask, Carrier, CheckProgress, Known, Policies, PolicyDecision, Reason, Step, View,
};
use crate::protocol::Tag;
use crate::rollout::{Decision, TransportKind};
use crate::session::context::Context;
use crate::session::context::{Effect, Effects};
use crate::session::drain::exit;
use crate::session::subscription::Subscription;

impl Access {
    /// The first word has come.
    pub(crate) fn hear_hello(
        &mut self,
        cx: &Context,
        token: Option<String>,
        effects: &mut Effects,
    ) {
        if let Some(token) = token
            && let Err(denied) = self.presented.take_token(token)
        {
            return self.greet(cx, Err(denied), effects);
        }
        match self.judge(cx, cx.own_auths()) {
            AuthState::Known(admission) => {
                self.greet(cx, Ok(Authenticated::clone(&admission)), effects);
            }
            AuthState::Denied(denied) => self.greet(cx, Err(denied), effects),
            AuthState::Asks(asking) => self.ask(asking, Then::Welcome),
            // There is none, or it was taken away meanwhile.
            AuthState::Unasked => self.judge_hello(cx, None, effects),
        }
    }

    /// The first word's user is known, or no policy takes it.
    pub(crate) fn greet(
        &mut self,
        cx: &Context,
        outcome: Result<Authenticated, AuthError>,
        effects: &mut Effects,
    ) {
        match outcome {
            Ok(admission) => {
                let admission = Arc::new(admission);
                self.remember(cx, admission.clone());
                if !cx.own_auths().contains(&admission.found.auth) {
                    // A reload asks by another policy than the one that has answered.
                    return self.hear_hello(cx, None, effects);
                }
                self.judge_hello(cx, Some(&admission), effects);
            }
            Err(denied) => effects.push(Effect::Close(denied.close_code(), "")),
        }
    }

    fn judge_hello(
        &mut self,
        cx: &Context,
        admission: Option<&Authenticated>,
        effects: &mut Effects,
    ) {
        effects.push(match self.check_hello(cx, admission) {
            Some(code) => Effect::Close(code, ""),
            None => Effect::Welcome,
        });
    }

    /// Why a client is sent away though no policy denies it; a close code.
    fn check_hello(&mut self, cx: &Context, admission: Option<&Authenticated>) -> Option<u16> {
        let (route, namespace) = (cx.own_route(), cx.realm.namespace(&cx.in_force));
        let place = match (route, namespace) {
            (Some(route), _) => Policies::of_route(route),
            (None, Some(namespace)) => Policies::of_namespace(namespace),
            (None, None) => Policies::of_websocket(&cx.in_force.config),
        };
        let known = admission.map_or(Known::Nothing, |admission| Known::Admitted {
            identity: &admission.identity,
            csrf: false,
        });
        // Where no policy asks, no user is known.
        let place = match admission {
            Some(_) => place,
            None => Policies { auth: &[], ..place },
        };
        let mut progress = CheckProgress::default();
        loop {
            let view = View {
                ask: Ask::Hello,
                place,
                carrier: Carrier::default(),
                known,
                progress,
            };
            let step = match policy::check(&view) {
                PolicyDecision::Allow | PolicyDecision::AwaitHello => return None,
                PolicyDecision::Deny(Reason::Denied(denied)) => return Some(denied.close_code()),
                PolicyDecision::Deny(Reason::Unfit(_)) => return Some(4003),
                PolicyDecision::Count { step, .. } | PolicyDecision::Run(step) => step,
            };
            match step {
                Step::UserConnections
                    if admission.is_some_and(|admission| !self.take_seat_for(cx, admission)) =>
                {
                    return Some(4029);
                }
                Step::Rollout => {
                    let identity = admission.map(|admission| &*admission.identity);
                    if let Some(code) = legacy(cx, route, identity) {
                        return Some(code);
                    }
                }
                _ => {}
            }
            progress.note(step);
        }
    }

    /// A token in place of another: of the same user.
    pub(crate) fn renew(
        &mut self,
        cx: &Context,
        subs: &[Subscription],
        id: Tag,
        token: Option<String>,
        effects: &mut Effects,
    ) {
        let Some(token) = token else {
            return effects.push(Effect::Accept(id));
        };
        let mut auths = cx.own_auths().to_vec();
        if !auths.is_empty() && !credential::awaits_message(&auths) {
            let detail = "a token in a message is not taken here";
            let refusal = Refusal::new(Code::Unauthorized, detail);
            return effects.push(Effect::Refuse(id, refusal));
        }
        let before = self.presented.extras.message.clone();
        if let Err(denied) = self.presented.take_token(token) {
            let refusal = Refusal::new(Code::BadFrame, denied.detail());
            return effects.push(Effect::Refuse(id, refusal));
        }
        if auths.is_empty() {
            auths = cx.member().policies();
        }
        auths.retain(|auth| credential::awaits_message(std::slice::from_ref(auth)));
        // The token itself names its user: the first policy that takes it decides.
        let mut denied = None;
        for auth in &auths {
            match self.judge(cx, std::slice::from_ref(auth)) {
                AuthState::Unasked => {}
                AuthState::Known(admission) => {
                    let outcome = Ok(Authenticated::clone(&admission));
                    return self.renewed(cx, subs, (id, before), outcome, effects);
                }
                AuthState::Denied(why) => denied = Some(why),
                AuthState::Asks(asking) => return self.ask(asking, Then::Renew(id, before)),
            }
        }
        match denied {
            Some(denied) => self.renewed(cx, subs, (id, before), Err(denied), effects),
            None => effects.push(Effect::Accept(id)),
        }
    }

    /// The newer token's user is known, or no policy takes it. It came with this tag, in place of the token `before`.
    pub(crate) fn renewed(
        &mut self,
        cx: &Context,
        subs: &[Subscription],
        (id, before): (Tag, Option<String>),
        outcome: Result<Authenticated, AuthError>,
        effects: &mut Effects,
    ) {
        let admission = match outcome {
            Ok(admission) => admission,
            Err(denied) => {
                self.presented.extras.message = before;
                return effects.push(Effect::Refuse(id, Refusal::from(&denied)));
            }
        };
        let auth = admission.found.auth.name.clone();
        let held = subs.iter().find_map(|sub| sub.admitted_by(&auth)).cloned();
        let known = held.or_else(|| cx.member().admission(&auth));
        // The connection is one user's, whichever policy has let that user in with the handshake.
        let own = cx.own_auths();
        let is_own = own.iter().any(|own| own.name == auth);
        let known = known.or_else(|| cx.admission_of(own).filter(|_| is_own));
        if known.is_some_and(|known| !known.identity.is_same_subject(&admission.identity)) {
            return effects.push(Effect::Close(4401, "another subject"));
        }
        self.replace(cx, Arc::new(admission), effects);
        self.renew_others(cx, &auth, effects);
        effects.push(Effect::Accept(id));
    }

    /// Every other policy that knows a user here and takes the token too knows them by it from now on.
    fn renew_others(&mut self, cx: &Context, renewed: &str, effects: &mut Effects) {
        for known in cx.member().admissions() {
            let auth = known.found.auth.clone();
            if *auth.name == *renewed || !credential::awaits_message(std::slice::from_ref(&auth)) {
                continue;
            }
            match self.judge(cx, std::slice::from_ref(&auth)) {
                AuthState::Known(admission)
                    if admission.identity.is_same_subject(&known.identity) =>
                {
                    self.replace(cx, admission, effects);
                }
                // It goes on by what it has until that ends.
                _ => {}
            }
        }
    }
}

/// The close code for a user whose rollout says legacy: of the one stream's route, or of all bridged ones.
fn legacy(cx: &Context, route: Option<&Arc<Route>>, identity: Option<&Identity>) -> Option<u16> {
    let stages = cx.shared.stages.load();
    let client = &cx.member().client;
    let code = |decision: Decision| {
        (decision.transport == TransportKind::Legacy).then(|| exit(decision.reason).0)
    };
    if let Some(namespace) = cx.realm.namespace(&cx.in_force) {
        let rollout = namespace.rollout.as_deref();
        let refused = code(client.decide_by(rollout, &stages, identity));
        return refused.filter(|_| !cx.realm.keeps_legacy(&cx.in_force));
    }
    let decide = |route: &Arc<Route>| code(client.decide(route, &stages, identity));
    if let Some(route) = route {
        return decide(route);
    }
    let mut bridged = cx.in_force.routes.bridged();
    let first = decide(bridged.next()?)?;
    let all_refuse = bridged.all(|route| decide(route).is_some());
    all_refuse.then_some(first)
}
