//! Looking at people again while their connection lives: the end of a token, an authority's second answer, what an admin took
//! back, and what a reload asks now.

use std::sync::Arc;

use tokio::time::Instant;

use super::connection::Session;
use super::identity::{Rechecking, Standing};
use super::subscription::Subscription;
use crate::config::Auth;
use crate::edge::auth::expiry::{self, Due, Heard, Held};
use crate::edge::auth::{
    Admission, Check, Credential, Denied, Found, Place, context, credential, unix_time,
};
use crate::error::{Code, Refusal};
use crate::event::End;
use crate::protocol::Output;

impl Session {
    /// Looks at everybody's time: who is over it goes, who is near it is told, who is due is asked for again.
    pub(super) fn watch(&mut self, now: Instant) {
        self.access.watch_at = None;
        for admission in self.member().admissions() {
            if self.closing_until.is_some() {
                return;
            }
            let auth = &admission.found.auth.name;
            let outlook = expiry::look(&self.held(&admission), now.into_std(), unix_time());
            if let Some(expires) = admission.identity.expires.filter(|_| outlook.expires_soon) {
                self.notice_end(auth, expires);
            }
            if let Some(at) = outlook.look_at {
                self.watch_until(Instant::from_std(at));
            }
            match outlook.due {
                Due::Nothing => {}
                // Whatever still asks for somebody asks by another policy.
                Due::Over(Denied::Missing) => self.member().dismiss(auth),
                Due::Over(denied) => self.lose(auth, &denied, now),
                Due::Recheck => self.recheck_person(&admission),
                Due::Judge => self.follow_policy(&admission),
            }
        }
    }

    /// What [`expiry`] has to know of somebody.
    fn held(&self, admission: &Admission) -> Held {
        let name = &admission.found.auth.name;
        let mut waiting = self.access.ask_again_at.iter();
        let ask_at = waiting.find(|(by, _)| by == name).map(|(_, at)| *at);
        let mut asked = self.access.rechecking.iter();
        let is_asked = asked.any(|asked| asked.of.found.auth.name == *name);
        let auth = self.in_force.config.auths.get(&**name);
        let authenticator = &self.shared.authenticator;
        authenticator.held(admission, auth, ask_at, is_asked)
    }

    fn watch_until(&mut self, at: Instant) {
        let before = self.access.watch_at.unwrap_or(at);
        self.access.watch_at = Some(before.min(at));
    }

    fn notice_end(&mut self, auth: &Arc<str>, expires: u64) {
        let noticed = &mut self.access.noticed;
        if noticed.iter().any(|(by, at)| by == auth && *at == expires) {
            return;
        }
        noticed.retain(|(by, _)| by != auth);
        noticed.push((auth.clone(), expires));
        let d = serde_json::value::to_raw_value(&serde_json::json!({"auth_exp": expires}));
        self.say(&Output::Notice {
            level: "warn",
            msg: "auth_expiring",
            d: d.ok().as_deref(),
        });
    }

    /// Leaves an authority alone until then.
    fn ask_again_at(&mut self, auth: &Arc<str>, at: Instant) {
        let waiting = &mut self.access.ask_again_at;
        waiting.retain(|(name, _)| name != auth);
        waiting.push((auth.clone(), at));
    }

    fn recheck_person(&mut self, admission: &Arc<Admission>) {
        let member = self.member().clone();
        let client = &member.client;
        let context = context(&client.host, client.proto, &client.remote);
        let asking = self.shared.authenticator.recheck(admission, context);
        let of = admission.clone();
        let asked = asking.map(|asking| Rechecking { of, asking });
        self.access.rechecking.extend(asked);
    }

    pub(super) fn rechecked(&mut self, auth: &Arc<str>, outcome: Result<Admission, Denied>) {
        let now = Instant::now();
        let Some(known) = self.member().admission(auth) else {
            return;
        };
        let word = outcome.as_ref().map(|newer| newer.word(&known));
        match expiry::hear(word, &self.held(&known), now.into_std()) {
            Heard::Over(denied) => self.lose(auth, &denied, now),
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
                    let is_newer = admission.found.place == Place::Message;
                    let ticketed = known.ticketed.clone().filter(|_| !is_newer);
                    let admission = Admission {
                        ticketed: admission.ticketed.clone().or(ticketed),
                        ..admission
                    };
                    self.replace(Arc::new(admission), now);
                }
            }
        }
    }

    /// Somebody is not who they were: the connection goes with them, or only what they had subscribed to.
    fn lose(&mut self, auth: &Arc<str>, denied: &Denied, now: Instant) {
        self.member().dismiss(auth);
        if self.is_single || self.rules().auth.iter().any(|own| own.name == *auth) {
            return self.close(denied.close_code(), "", now);
        }
        let is_theirs = |sub: &&Subscription| {
            sub.admitted_by(auth).is_some() || !self.others_by(auth, sub).is_empty()
        };
        let theirs: Vec<u32> = (self.subscriptions.iter().filter(is_theirs))
            .map(|sub| sub.ch)
            .collect();
        let code = Refusal::from(denied).code;
        for ch in theirs {
            self.end_sub(ch, code, now);
        }
    }

    pub(super) fn end_sub(&mut self, ch: u32, code: Code, now: Instant) {
        self.subscriptions.retain(|sub| sub.ch != ch);
        let end = End {
            code,
            status: code.status(),
            retry_ms: None,
            is_final: false,
        };
        self.end(ch, &end, now);
    }

    /// Whoever an admin took back is out.
    pub(super) fn drop_revoked(&mut self, now: Instant) {
        for admission in self.member().admissions() {
            let is_here = self.closing_until.is_none();
            if is_here && self.shared.authenticator.is_revoked(&admission) {
                self.lose(&admission.found.auth.name, &Denied::Revoked, now);
            }
        }
    }

    /// Judges everybody anew whose policy was changed by a reload.
    pub(super) fn follow_policies(&mut self, now: Instant) {
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
            self.follow_policy(&admission);
        }
        let own = self.own_auths();
        if self.closing_until.is_none()
            && self.access.hello.is_none()
            && !own.is_empty()
            && self.admission_of(&own).is_none()
        {
            self.enter_anew(&own, now);
        }
    }

    /// What was presented is looked for and judged as the policy is now. Whom an authority has vouched for stays for the time
    /// of one recheck at most: all at once would be a storm.
    fn follow_policy(&mut self, admission: &Arc<Admission>) {
        let name = admission.found.auth.name.clone();
        let Some(auth) = self.in_force.config.auths.get(&*name).cloned() else {
            return;
        };
        let found = match admission.ticketed {
            Some(_) => Some(Found {
                auth: auth.clone(),
                ..admission.found.clone()
            }),
            None => {
                let (headers, extras) = self.access.presented.as_came();
                match credential::find_newest(std::slice::from_ref(&auth), &headers, extras) {
                    Ok(found) => found,
                    Err(denied) => return self.rechecked(&name, Err(denied)),
                }
            }
        };
        let Some(found) = found else {
            return self.rechecked(&name, Err(Denied::Missing));
        };
        if let (Some(every), Credential::Inputs(_)) = (auth.recheck(), &found.credential)
            && matches!(admission.found.credential, Credential::Inputs(_))
        {
            let adopted = admission.adopted(found, every, fastrand::f64());
            return self.rechecked(&name, Ok(adopted));
        }
        let member = self.member().clone();
        let client = &member.client;
        let context = || context(&client.host, client.proto, &client.remote);
        let auths = std::slice::from_ref(&auth);
        match self.shared.authenticator.check(auths, found, context) {
            Check::Done(outcome) => self.rechecked(&name, outcome),
            Check::Asks(asking) => {
                // What was asked by the policy of before is of no use, and reloads may come faster than answers.
                let rechecking = &mut self.access.rechecking;
                rechecking.retain(|asked| asked.of.found.auth.name != name);
                let of = admission.clone();
                rechecking.push(Rechecking { of, asking });
            }
        }
    }

    /// A reload asks for somebody where nobody did, or by another policy.
    fn enter_anew(&mut self, own: &[Arc<Auth>], now: Instant) {
        match self.standing(own, now) {
            Standing::Unasked | Standing::Known(_) => {}
            Standing::Denied(denied) => self.close(denied.close_code(), "", now),
            // The handshake waits for such an answer better than a session can.
            Standing::Asks(_) => self.close(4201, "", now),
        }
    }
}
