//! Looking at people again while their connection lives: the end of a token, an authority's second answer, what an admin took
//! back, and what a reload asks now.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::connection::Connection;
use super::identity::{Rechecking, Standing};
use super::subscription::Subscription;
use crate::config::Auth;
use crate::edge::auth::{Admission, Check, Denied, context};
use crate::error::{Code, Refusal};
use crate::event::End;
use crate::protocol::Output;

/// How long before a token's end its client is told.
const NOTICE: Duration = Duration::from_secs(30);

/// Between two questions to an authority that cannot tell.
const ASK_AGAIN: Duration = Duration::from_secs(5);

impl<Io: AsyncRead + AsyncWrite + Unpin> Connection<Io> {
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

    pub(super) fn rechecked(
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
                    // Nobody could tell, and for a while that is forgiven.
                    self.access.ask_again_at = Some(now + ASK_AGAIN);
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
    fn lose(
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

    pub(super) fn end_sub(
        &mut self,
        ch: u32,
        code: Code,
        subs: &mut Vec<Subscription>,
        now: Instant,
    ) {
        subs.retain(|sub| sub.ch != ch);
        let end = End {
            code,
            status: code.status(),
            retry_ms: None,
            is_final: false,
        };
        self.end(ch, &end, subs, now);
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
}
