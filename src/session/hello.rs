//! Saying who one is over the connection: the first word, and newer credentials of the same person.

use std::sync::Arc;

use tokio::time::Instant;

use super::connection::Session;
use super::identity::{Standing, Then, claims_of, fits, may, still_fits};
use super::opening::Mode;
use crate::edge::auth::{Admission, Denied, credential};
use crate::error::{Code, Refusal};
use crate::protocol::Output;

/// The first word that is awaited, and what it opens.
pub(super) struct Hello {
    pub mode: Mode,
    pub until: Instant,
}

impl Session {
    /// The first word has come.
    pub(super) fn hear_hello(&mut self, token: Option<String>, now: Instant) {
        if let Some(token) = token
            && let Err(denied) = self.access.presented.take_token(token)
        {
            return self.greet(Err(denied), now);
        }
        match self.judge(&self.own_auths()) {
            Standing::Known(admission) => self.greet(Ok(Admission::clone(&admission)), now),
            Standing::Denied(denied) => self.greet(Err(denied), now),
            Standing::Asks(asking) => self.ask(asking, Then::Welcome),
            // The policy was taken away meanwhile.
            Standing::Unasked => self.welcome(now),
        }
    }

    pub(super) fn greet(&mut self, outcome: Result<Admission, Denied>, now: Instant) {
        match outcome {
            Ok(admission) => {
                let admission = Arc::new(admission);
                self.remember(admission.clone());
                let own = self.own_auths();
                if !own.contains(&admission.found.auth) {
                    // A reload asks by another policy than the one that has answered.
                    return self.hear_hello(None, now);
                }
                match self.check_hello(&admission) {
                    Some(code) => self.close(code, "", now),
                    None => self.welcome(now),
                }
            }
            Err(denied) => self.close(denied.close_code(), "", now),
        }
    }

    /// A token in place of another: of the same person.
    pub(super) fn renew(&mut self, id: Option<u64>, token: Option<String>, now: Instant) {
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
        // Whose token it is, it says itself: the first policy that takes it decides.
        let mut denied = None;
        for auth in &auths {
            match self.judge(std::slice::from_ref(auth)) {
                Standing::Unasked => {}
                Standing::Known(admission) => {
                    let outcome = Ok(Admission::clone(&admission));
                    return self.renewed(id, before, outcome, now);
                }
                Standing::Denied(why) => denied = Some(why),
                Standing::Asks(asking) => return self.ask(asking, Then::Renew(id, before)),
            }
        }
        match denied {
            Some(denied) => self.renewed(id, before, Err(denied), now),
            None => self.accept(id),
        }
    }

    pub(super) fn renewed(
        &mut self,
        id: Option<u64>,
        before: Option<String>,
        outcome: Result<Admission, Denied>,
        now: Instant,
    ) {
        match outcome {
            Err(denied) => {
                self.access.presented.extras.message = before;
                self.refuse(id, &Refusal::from(&denied));
            }
            Ok(admission) => {
                let auth = &admission.found.auth.name;
                let held = self
                    .subscriptions
                    .iter()
                    .find_map(|sub| sub.admitted_by(auth))
                    .cloned();
                let known = held.or_else(|| self.member().admission(auth));
                // Whichever policy has let them in at the door: it is one person's connection.
                let own = self.own_auths();
                let is_own = own.iter().any(|own| own.name == *auth);
                let known = known.or_else(|| self.admission_of(&own).filter(|_| is_own));
                if known.is_some_and(|known| !known.identity.is_same_subject(&admission.identity)) {
                    return self.close(4401, "another subject", now);
                }
                let auth = auth.clone();
                self.replace(Arc::new(admission), now);
                self.renew_others(&auth, now);
                self.accept(id);
            }
        }
    }

    /// Every other policy that knows somebody here and takes the token too knows them by it from now on.
    fn renew_others(&mut self, renewed: &str, now: Instant) {
        for known in self.member().admissions() {
            let auth = known.found.auth.clone();
            if *auth.name == *renewed || !credential::awaits_message(std::slice::from_ref(&auth)) {
                continue;
            }
            match self.judge(std::slice::from_ref(&auth)) {
                Standing::Known(admission)
                    if admission.identity.is_same_subject(&known.identity) =>
                {
                    self.replace(admission, now);
                }
                // It goes on by what it has until that ends.
                _ => {}
            }
        }
    }

    /// Somebody goes on as who they are now; subscriptions that this no longer suffices for end.
    pub(super) fn replace(&mut self, admission: Arc<Admission>, now: Instant) {
        self.remember(admission.clone());
        let mut ended: Vec<u32> = Vec::new();
        // Taken out meanwhile: what else a path may be read as, the session knows.
        let mut subscriptions = std::mem::take(&mut self.subscriptions);
        for sub in &mut subscriptions {
            let auth = &admission.found.auth.name;
            let others = self.others_by(auth, sub);
            if (others.iter()).any(|other| fits(other, &admission.identity).is_err()) {
                ended.push(sub.ch);
                continue;
            }
            if sub.admitted_by(auth).is_none() {
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
        self.subscriptions = subscriptions;
        for ch in ended {
            self.end_sub(ch, Code::Forbidden, now);
        }
    }

    fn accept(&mut self, id: Option<u64>) {
        if let Some(id) = id {
            self.reply(&Output::Ok { id, sub: None });
        }
    }
}
