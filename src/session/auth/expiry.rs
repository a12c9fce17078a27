//! What ends a user on a connection that lives: its token expires, an authority's second answer, a revocation, a reload.

use std::sync::Arc;
use std::task::{self, Poll};

use tokio::time::Instant;

use super::{Access, AuthState, Rechecking};
use crate::error::Refusal;
use crate::policy::auth::expiry::{self, Due, Heard, Held};
use crate::policy::auth::{
    AuthError, Authenticated, Check, Credential, CredentialPlace, Found, context, credential,
    unix_time,
};
use crate::session::context::Context;
use crate::session::context::{Effect, Effects};

impl Access {
    /// Looks at every user's time: an expired user is out, a soon end is announced, a due user is asked for again.
    pub(crate) fn watch(&mut self, cx: &Context, now: Instant, effects: &mut Effects) {
        self.watch_at = None;
        for admission in cx.member().admissions() {
            if effects.closes() {
                return;
            }
            let auth = &admission.found.auth.name;
            let outlook = expiry::look(&self.held_of(cx, &admission), now.into_std(), unix_time());
            if let Some(expires) = admission.identity.expires.filter(|_| outlook.expires_soon) {
                self.notice_end(auth, expires, effects);
            }
            if let Some(at) = outlook.look_at {
                self.watch_until(Instant::from_std(at));
            }
            match outlook.due {
                Due::Nothing => {}
                // What still asks for a user asks by another policy.
                Due::Over(AuthError::Missing) => cx.member().dismiss(auth),
                Due::Over(denied) => lose(cx, auth, &denied, effects),
                Due::Recheck => self.recheck(cx, &admission),
                Due::Judge => self.follow_policy(cx, &admission, now, effects),
            }
        }
    }

    /// Acts on what authorities have said to second questions. Returns whether one has.
    pub(crate) fn hear_rechecks(
        &mut self,
        cx: &Context,
        now: Instant,
        task: &mut task::Context<'_>,
        effects: &mut Effects,
    ) -> bool {
        let mut has_heard = false;
        let mut index = 0;
        while let Some(rechecking) = self.rechecking.get_mut(index) {
            let Poll::Ready(outcome) = rechecking.asking.as_mut().poll(task) else {
                index += 1;
                continue;
            };
            has_heard = true;
            let Rechecking { of, .. } = self.rechecking.swap_remove(index);
            let auth = of.found.auth.name.clone();
            let known = cx.member().admission(&auth);
            match known.is_some_and(|known| Arc::ptr_eq(&known, &of)) {
                true => self.rechecked(cx, &auth, outcome, now, effects),
                // The client has shown something newer meanwhile.
                false => self.watch_at = Some(now),
            }
        }
        has_heard
    }

    /// What [`expiry`] has to know of a user.
    fn held_of(&self, cx: &Context, admission: &Authenticated) -> Held {
        let name = &admission.found.auth.name;
        let mut waiting = self.ask_again_at.iter();
        let ask_at = waiting.find(|(by, _)| by == name).map(|(_, at)| *at);
        let mut asked = self.rechecking.iter();
        let is_asked = asked.any(|asked| asked.of.found.auth.name == *name);
        let auth = cx.in_force.config.auths.get(&**name);
        let authenticator = &cx.shared.authenticator;
        authenticator.held(admission, auth, ask_at, is_asked)
    }

    fn watch_until(&mut self, at: Instant) {
        let before = self.watch_at.unwrap_or(at);
        self.watch_at = Some(before.min(at));
    }

    fn notice_end(&mut self, auth: &Arc<str>, expires: u64, effects: &mut Effects) {
        let noticed = &mut self.noticed;
        if noticed.iter().any(|(by, at)| by == auth && *at == expires) {
            return;
        }
        noticed.retain(|(by, _)| by != auth);
        noticed.push((auth.clone(), expires));
        effects.push(Effect::Expires(expires));
    }

    /// Leaves an authority alone until then.
    fn ask_again_at(&mut self, auth: &Arc<str>, at: Instant) {
        let waiting = &mut self.ask_again_at;
        waiting.retain(|(name, _)| name != auth);
        waiting.push((auth.clone(), at));
    }

    fn recheck(&mut self, cx: &Context, admission: &Arc<Authenticated>) {
        let client = &cx.member().client;
        let context = context(&client.host, client.proto, &client.remote);
        let asking = cx.shared.authenticator.recheck(admission, context);
        let of = admission.clone();
        let asked = asking.map(|asking| Rechecking { of, asking });
        self.rechecking.extend(asked);
    }

    fn rechecked(
        &mut self,
        cx: &Context,
        auth: &Arc<str>,
        outcome: Result<Authenticated, AuthError>,
        now: Instant,
        effects: &mut Effects,
    ) {
        let Some(known) = cx.member().admission(auth) else {
            return;
        };
        let word = outcome.as_ref().map(|newer| newer.word(&known));
        match expiry::hear(word, &self.held_of(cx, &known), now.into_std()) {
            Heard::Over(denied) => lose(cx, auth, &denied, effects),
            Heard::Unknown(at) => {
                let at = Instant::from_std(at);
                self.ask_again_at(auth, at);
                self.watch_until(at);
            }
            Heard::Holds(at) => {
                if let Some(at) = at {
                    self.ask_again_at(auth, Instant::from_std(at));
                }
                if let Ok(admission) = outcome {
                    let is_newer = admission.found.place == CredentialPlace::Message;
                    let ticketed = known.ticketed.clone().filter(|_| !is_newer);
                    let admission = Authenticated {
                        ticketed: admission.ticketed.clone().or(ticketed),
                        ..admission
                    };
                    self.replace(cx, Arc::new(admission), effects);
                }
            }
        }
    }

    /// Judges all users anew whose policy was changed by a reload.
    pub(crate) fn follow_policies(&mut self, cx: &Context, now: Instant, effects: &mut Effects) {
        for admission in cx.member().admissions() {
            let before = &admission.found.auth;
            let Some(auth) = cx.in_force.config.auths.get(&*before.name) else {
                // What still asks for a user asks by another policy.
                cx.member().dismiss(&before.name);
                continue;
            };
            if auth != before && !effects.closes() {
                self.follow_policy(cx, &admission, now, effects);
            }
        }
        let own = cx.own_auths();
        let is_unknown = || !own.is_empty() && cx.admission_of(own).is_none();
        if !effects.closes() && self.hello.is_none() && is_unknown() {
            self.enter_anew(cx, effects);
        }
    }

    /// What was presented is looked for and judged as the policy is now. A user that an authority has verified stays for the
    /// time of one recheck at most: all at once would be a storm.
    fn follow_policy(
        &mut self,
        cx: &Context,
        admission: &Arc<Authenticated>,
        now: Instant,
        effects: &mut Effects,
    ) {
        let name = admission.found.auth.name.clone();
        let Some(auth) = cx.in_force.config.auths.get(&*name).cloned() else {
            return;
        };
        let found = match admission.ticketed {
            Some(_) => Ok(Some(Found {
                auth: auth.clone(),
                ..admission.found.clone()
            })),
            None => {
                let (headers, extras) = self.presented.as_came();
                credential::find_newest(std::slice::from_ref(&auth), &headers, extras)
            }
        };
        let found = match found {
            Ok(Some(found)) => found,
            Ok(None) => return self.rechecked(cx, &name, Err(AuthError::Missing), now, effects),
            Err(denied) => return self.rechecked(cx, &name, Err(denied), now, effects),
        };
        if let (Some(every), Credential::Inputs(_)) = (auth.recheck(), &found.credential)
            && matches!(admission.found.credential, Credential::Inputs(_))
        {
            let adopted = admission.adopted(found, every, fastrand::f64());
            return self.rechecked(cx, &name, Ok(adopted), now, effects);
        }
        let client = &cx.member().client;
        let context = || context(&client.host, client.proto, &client.remote);
        let auths = std::slice::from_ref(&auth);
        match cx.shared.authenticator.check(auths, found, context) {
            Check::Done(outcome) => self.rechecked(cx, &name, outcome, now, effects),
            Check::Asks(asking) => {
                // What was asked by the policy of before is of no use, and reloads may come faster than answers.
                let rechecking = &mut self.rechecking;
                rechecking.retain(|asked| asked.of.found.auth.name != name);
                let of = admission.clone();
                rechecking.push(Rechecking { of, asking });
            }
        }
    }

    /// A reload asks for a user where no policy did, or by another policy.
    fn enter_anew(&mut self, cx: &Context, effects: &mut Effects) {
        match self.standing(cx, cx.own_auths(), effects) {
            AuthState::Unasked | AuthState::Known(_) => {}
            AuthState::Denied(denied) => effects.push(Effect::Close(denied.close_code(), "")),
            // The handshake waits for such an answer better than a session can.
            AuthState::Asks(_) => effects.push(Effect::Close(4201, "")),
        }
    }
}

/// Users that an operator has revoked are out.
pub(crate) fn drop_revoked(cx: &Context, effects: &mut Effects) {
    for admission in cx.member().admissions() {
        if !effects.closes() && cx.shared.authenticator.is_revoked(&admission) {
            lose(cx, &admission.found.auth.name, &AuthError::Revoked, effects);
        }
    }
}

/// A user is not valid any more: its connection ends, or only what it had subscribed to.
fn lose(cx: &Context, auth: &Arc<str>, denied: &AuthError, effects: &mut Effects) {
    cx.member().dismiss(auth);
    let is_own = cx.realm.is_stream() || cx.own_auths().iter().any(|own| own.name == *auth);
    effects.push(match is_own {
        true => Effect::Close(denied.close_code(), ""),
        false => Effect::Lose(auth.clone(), Refusal::from(denied).code),
    });
}
