//! All authorities of this node behind one interface: a credential in, an identity or a denial out.

mod engine;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use hyper::header::HeaderValue;
use tokio::sync::watch;
use tokio::time::Instant;

use super::credential::{Credential, Found};
use super::forward::{Asked, Context, Verified};
use super::jwt;
use super::revocation::{Revocations, Revoked};
use super::ticket::Tickets;
use super::token_cache::KnownTokens;
use super::{AuthError, Authenticated, Identity, Ticketed, api_key};
use crate::config::{Auth, AuthKind, Config, Jwt};
use crate::http::cdn_loop::Way;
use crate::telemetry::Telemetry;
use crate::upstream::Upstreams;
use engine::{Engine, Kind, Verifiers};

/// What is still to be found out.
pub(crate) type Asking = Pin<Box<dyn Future<Output = Result<Authenticated, AuthError>> + Send>>;

/// A credential's judgement: at once where all is at hand.
pub enum Check {
    /// It is known.
    Done(Result<Authenticated, AuthError>),
    /// An authority has to be asked.
    Asks(Asking),
}

/// See the module. It outlives reloads: what is known of users stays.
pub struct Authenticator {
    upstreams: Upstreams,
    telemetry: Arc<Telemetry>,
    engines: ArcSwap<HashMap<Arc<str>, Arc<Engine>>>,
    known: KnownTokens,
    tickets: Tickets<Authenticated>,
    revocations: Mutex<Revocations>,
    changed: watch::Sender<()>,
}

impl Authenticator {
    /// Starts with empty caches.
    pub fn new(upstreams: Upstreams, telemetry: Arc<Telemetry>, revocations: Revocations) -> Self {
        Authenticator {
            upstreams,
            telemetry,
            engines: ArcSwap::default(),
            known: KnownTokens::default(),
            tickets: Tickets::default(),
            revocations: Mutex::new(revocations),
            changed: watch::Sender::new(()),
        }
    }

    /// Puts this configuration's policies in force; those that did not change keep what they know.
    pub fn adopt(&self, config: &Config) {
        let before = self.engines.load();
        let engines = config.auths.iter().map(|(name, auth)| {
            let kept = before
                .get(name.as_str())
                .filter(|engine| engine.auth == *auth);
            let build = || Arc::new(Engine::new(auth, &self.upstreams, &self.telemetry));
            let engine = kept.cloned().unwrap_or_else(build);
            (auth.name.clone(), engine)
        });
        let engines: HashMap<_, _> = engines.collect();
        self.engines.store(Arc::new(engines));
        self.changed.send_modify(|_| {});
    }

    /// Judges what was found, where these policies hold.
    pub fn check(
        self: &Arc<Self>,
        auths: &[Arc<Auth>],
        found: Found,
        context: impl Fn() -> Context,
    ) -> Check {
        let engines = self.engines.load();
        let Some(engine) = engines.get(&found.auth.name) else {
            // Taken out of the file at this moment.
            return self.done(&found.auth.name.clone(), Err(AuthError::Missing));
        };
        let now = unix_now();
        match (&found.credential, &engine.kind) {
            (Credential::Ticket(ticket), _) => {
                let name = found.auth.name.clone();
                self.done(&name, self.redeem(auths, ticket, now))
            }
            (Credential::Token(token), Kind::ApiKey) => {
                let AuthKind::ApiKey(keys) = &engine.auth.kind else {
                    return self.done(&found.auth.name, Err(AuthError::Missing));
                };
                let identity = api_key::find(&engine.auth.name, keys, token, now);
                self.admit(found, identity.map(Arc::new))
            }
            (Credential::Token(_), Kind::Jwt(jwt, verifiers)) => {
                self.check_token(found, jwt, verifiers, now)
            }
            (Credential::Inputs(inputs), Kind::Forward(authority)) => {
                let mut asked = authority.ask(inputs.clone(), context());
                // An answer of the second in which its user was revoked would deny that user as long as it is cached.
                if let Asked::Now(Ok(vouched)) = &asked
                    && self.is_out(vouched)
                {
                    authority.forget_user(&vouched.identity.user);
                    asked = authority.ask(inputs.clone(), context());
                }
                self.await_authority(found, asked)
            }
            // The policy has become one of another kind at this moment.
            _ => self.done(&found.auth.name, Err(AuthError::Missing)),
        }
    }

    /// The subject that a ticket stands for, if one of these policies accepted it, has not changed since, and it is not
    /// revoked.
    fn redeem(
        &self,
        auths: &[Arc<Auth>],
        ticket: &str,
        now: u64,
    ) -> Result<Authenticated, AuthError> {
        let redeemed = self.tickets.redeem(std::time::Instant::now(), ticket);
        let none = || AuthError::Invalid("the ticket is none, or was used".into());
        let admission = redeemed.ok_or_else(none)?;
        let mut takes = auths.iter().filter(|auth| auth.takes_tickets());
        let auth = takes.find(|auth| auth.name == admission.found.auth.name);
        if *auth.ok_or_else(none)? != admission.found.auth {
            // A reload has changed the policy meanwhile: with another ticket they are judged by it.
            return Err(AuthError::Expired);
        }
        if admission.identity.ends().is_some_and(|ends| now >= ends) {
            return Err(AuthError::Expired);
        }
        match self.is_revoked(&admission) {
            true => Err(AuthError::Revoked),
            false => Ok(admission),
        }
    }

    fn check_token(
        self: &Arc<Self>,
        found: Found,
        jwt: &Jwt,
        verifiers: &Verifiers,
        now: u64,
    ) -> Check {
        let Credential::Token(token) = &found.credential else {
            return self.done(&found.auth.name, Err(AuthError::Missing));
        };
        let keys = match verifiers {
            Verifiers::Local(keys) => keys.clone(),
            Verifiers::Set(set) => set.current(),
        };
        let mut unknown = None;
        if let Some(keys) = &keys {
            let digest = found.credential.digest();
            if let Some(identity) = self.known.find(&found.auth, keys, &digest, now) {
                return self.admit(found, Ok(identity));
            }
            match jwt::verify(&found.auth.name, jwt, keys, token, now) {
                jwt::JwtVerdict::Known(identity) => {
                    let identity = Arc::new(*identity);
                    self.known.keep(&found.auth, keys, digest, &identity);
                    return self.admit(found, Ok(identity));
                }
                jwt::JwtVerdict::Denied(denied) => return self.done(&found.auth.name, Err(denied)),
                jwt::JwtVerdict::UnknownKey(kid) => unknown = kid,
            }
        }
        let Verifiers::Set(set) = verifiers else {
            let denied = AuthError::Invalid("the token is signed with another key".into());
            return self.done(&found.auth.name, Err(denied));
        };
        let (this, set, jwt) = (self.clone(), set.clone(), jwt.clone());
        Check::Asks(Box::pin(async move {
            let Credential::Token(token) = &found.credential else {
                return Err(AuthError::Missing);
            };
            let unknown_key = || {
                AuthError::Invalid(
                    "the token is signed with a key that is not in the key set".into(),
                )
            };
            let verdict = match set.fetch_for(unknown.as_deref()).await {
                None if set.current().is_some() => Err(unknown_key()),
                None => Err(AuthError::Unavailable(RETRY)),
                Some(keys) => match jwt::verify(&found.auth.name, &jwt, &keys, token, unix_now()) {
                    jwt::JwtVerdict::Known(identity) => Ok(Arc::new(*identity)),
                    jwt::JwtVerdict::Denied(denied) => Err(denied),
                    jwt::JwtVerdict::UnknownKey(_) => Err(unknown_key()),
                },
            };
            this.judge(found, verdict.map(vouched_now))
        }))
    }

    fn await_authority(self: &Arc<Self>, found: Found, asked: Asked) -> Check {
        match asked {
            Asked::Now(verdict) => Check::Done(self.judge(found, verdict)),
            Asked::Soon(asking) => {
                let this = self.clone();
                Check::Asks(Box::pin(async move { this.judge(found, asking.await) }))
            }
        }
    }

    /// Verifies the subject again, past all caches. `None` where the credential itself says how long it holds.
    pub(crate) fn recheck(
        self: &Arc<Self>,
        known: &Authenticated,
        context: Context,
    ) -> Option<Asking> {
        let Credential::Inputs(inputs) = &known.found.credential else {
            return None;
        };
        let engines = self.engines.load();
        let Kind::Forward(authority) = &engines.get(&known.found.auth.name)?.kind else {
            return None;
        };
        let vouched = Verified {
            identity: known.identity.clone(),
            at: known.vouched_at,
            unix: known.vouched_unix,
        };
        let asking = authority.recheck(inputs.clone(), context, vouched);
        let (this, found, ticketed) = (self.clone(), known.found.clone(), known.ticketed.clone());
        Some(Box::pin(async move {
            let admitted = this.judge(found, asking.await)?;
            Ok(Authenticated {
                ticketed,
                ..admitted
            })
        }))
    }

    fn admit(&self, found: Found, identity: Result<Arc<Identity>, AuthError>) -> Check {
        Check::Done(self.judge(found, identity.map(vouched_now)))
    }

    fn done(&self, auth: &str, outcome: Result<Authenticated, AuthError>) -> Check {
        let result = outcome.as_ref().map_or_else(AuthError::result, |_| "ok");
        self.telemetry.edge.authenticated(auth, result);
        Check::Done(outcome)
    }

    /// Checks revocations last: a revoked subject is denied, whatever an authority says.
    fn judge(
        &self,
        found: Found,
        verdict: Result<Verified, AuthError>,
    ) -> Result<Authenticated, AuthError> {
        let auth = found.auth.name.clone();
        let outcome = verdict.and_then(|vouched| {
            let admission = Authenticated {
                found,
                identity: vouched.identity,
                vouched_at: vouched.at,
                vouched_unix: vouched.unix,
                ticketed: None,
            };
            match self.is_revoked(&admission) {
                true => Err(AuthError::Revoked),
                false => Ok(admission),
            }
        });
        let result = outcome.as_ref().map_or_else(AuthError::result, |_| "ok");
        self.telemetry.edge.authenticated(&auth, result);
        outcome
    }

    /// A policy asked for a credential, and there was none.
    pub(crate) fn missed(&self, auth: &str) -> AuthError {
        self.telemetry
            .edge
            .authenticated(auth, AuthError::Missing.result());
        AuthError::Missing
    }

    /// Issues a ticket for an accepted subject and its credentials; see [`super::ticket`]. `None` where the system has no
    /// randomness: a ticket that can be guessed is worthless.
    pub(crate) fn give_ticket(&self, known: Authenticated, ticketed: Ticketed) -> Option<String> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).ok()?;
        let principal = known.identity.principal();
        let admission = Authenticated {
            ticketed: Some(Box::new(ticketed)),
            ..known
        };
        let now = std::time::Instant::now();
        Some(self.tickets.issue(now, random, principal, admission))
    }

    /// Revokes a user, a token or a credential, from now on.
    pub(crate) fn revoke(&self, what: Revoked<'_>) {
        let now = unix_now();
        lock(&self.revocations).revoke(what, now);
        let engines = self.engines.load();
        for engine in engines.values() {
            match (&engine.kind, &engine.auth.kind, what) {
                (Kind::Forward(authority), _, Revoked::User(user)) => authority.forget_user(user),
                (Kind::Forward(authority), _, Revoked::Credential(digest)) => {
                    authority.forget_credential(&digest);
                }
                // A key does not say when it was issued: those that there are now are meant, and none that comes later.
                (Kind::ApiKey, AuthKind::ApiKey(keys), Revoked::User(user)) => {
                    for key in keys.iter().filter(|key| key.user == user) {
                        lock(&self.revocations).revoke(Revoked::Token(&key.id), now);
                    }
                }
                _ => {}
            }
        }
        self.changed.send_modify(|_| {});
    }

    /// Whether a connected subject was revoked.
    pub(crate) fn is_revoked(&self, admission: &Authenticated) -> bool {
        let since = match (&admission.found.credential, &admission.found.auth.kind) {
            // What an authority was asked holds from then.
            (Credential::Inputs(_), _) => Some(admission.vouched_unix),
            // Each key of a user was revoked by its id.
            (_, AuthKind::ApiKey(_)) => Some(u64::MAX),
            _ => admission.identity.issued,
        };
        lock(&self.revocations).is_revoked(&admission.identity, since, unix_now())
    }

    /// Notified whenever users or policies may have changed.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// A policy as it is now.
    pub(super) fn policy(&self, name: &str) -> Option<Arc<Auth>> {
        let engines = self.engines.load();
        engines.get(name).map(|engine| engine.auth.clone())
    }

    /// Whether the authority has to verify the subject again.
    fn is_out(&self, vouched: &Verified) -> bool {
        let user = &vouched.identity.user;
        let revocations = lock(&self.revocations);
        !revocations.is_empty() && revocations.is_out(user, Some(vouched.unix), unix_now())
    }

    /// All revocations, as `state_dir` keeps them.
    pub(crate) fn revocations(&self) -> String {
        lock(&self.revocations).to_json()
    }
}

/// When a client retries while the authority is out of reach.
const RETRY: Duration = Duration::from_secs(2);

/// Verified without a request to an authority.
fn vouched_now(identity: Arc<Identity>) -> Verified {
    Verified {
        identity,
        at: Instant::now(),
        unix: unix_now(),
    }
}

/// What an authority gets to know of a request.
pub fn context(host: &HeaderValue, proto: &'static str, remote: &str) -> Context {
    Context {
        host: host.clone(),
        proto,
        remote: remote.to_owned(),
        way: Way::default(),
    }
}

/// Unix seconds, by the clock on the wall: tokens are dated by it.
pub(crate) fn unix_now() -> u64 {
    unix_time().as_secs()
}

/// The same, finer.
pub(crate) fn unix_time() -> Duration {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
