//! Authorities that are asked over HTTP: one request for all clients that wait for the same answer.
//!
//! Successes are cached for `cache`, denials for five seconds, outages not at all. Open connections are verified again past the
//! cache ([`Authority::recheck`]), once for all connections of a session.

mod cache;
mod request;
mod response;
mod single_flight;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::AuthError;
use super::credential::Inputs;
use super::identity::Identity;
use crate::config;
use crate::telemetry::Telemetry;
use crate::upstream::{Purpose, Upstreams};
use request::AuthRequest;
pub(crate) use request::{Context, request};
pub(crate) use response::{AuthResponse, judge};
use single_flight::{FlightState, Landing};

/// From the question to the end of its answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Questions that an authority has before it at once; more wait, within their time.
const AT_ONCE: usize = 256;
/// The same failure is not logged again so soon, another one not sooner than [`NEWS`].
const REMINDER: Duration = Duration::from_secs(60);
const NEWS: Duration = Duration::from_secs(1);

const UNKNOWN: &str = "the backend does not know these credentials: log in there";

/// What came of a question.
pub(crate) type AuthorityVerdict = Result<Verified, AuthError>;

/// An answer that is on its way. Dropping it takes it from no other waiter.
pub(crate) type Asking = Pin<Box<dyn Future<Output = AuthorityVerdict> + Send>>;

/// A verified identity, and when it was verified last.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Verified {
    /// The identity.
    pub(crate) identity: Arc<Identity>,
    /// When the authority was asked. The next recheck is due a `recheck` after it, not after the last one: its answer may have
    /// been an older one that another connection got.
    pub(crate) at: Instant,
    /// The same in Unix seconds, for another process.
    pub(crate) unix: u64,
}

/// See [`Authority::ask`].
pub(crate) enum Asked {
    /// It is known already.
    Now(AuthorityVerdict),
    /// It has to be waited for.
    Soon(Asking),
}

/// One `[auth.NAME]` of kind `forward`: its questions and what is known from their answers.
pub(crate) struct Authority {
    auth: Arc<str>,
    forward: config::Forward,
    upstreams: Upstreams,
    telemetry: Arc<Telemetry>,
    turns: Semaphore,
    state: Mutex<FlightState>,
    told: Mutex<Option<(Instant, Cow<'static, str>)>>,
}

impl Authority {
    /// One that has not been asked yet.
    pub(crate) fn new(
        auth: Arc<str>,
        forward: config::Forward,
        upstreams: Upstreams,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        Authority {
            auth,
            state: Mutex::new(FlightState::new(forward.cache.max(forward.recheck / 2))),
            forward,
            upstreams,
            telemetry,
            turns: Semaphore::new(AT_ONCE),
            told: Mutex::default(),
        }
    }

    /// The identity behind these credentials, from the cache where that holds an answer. While the authority is out of reach no
    /// new client is accepted.
    pub(crate) fn ask(self: &Arc<Self>, inputs: Inputs, context: Context) -> Asked {
        self.find(inputs, context, self.forward.cache)
    }

    /// Verifies `known` again. Asks past the cache, except for an answer that another connection of the same session got within
    /// half of a `recheck`. A caller that gets another identity than `known` has to close the connection.
    ///
    /// While the authority is out of reach, `known` stays valid with the same instant, until `stale_if_error` after the recheck
    /// that was due.
    pub(crate) fn recheck(
        self: &Arc<Self>,
        inputs: Inputs,
        context: Context,
        known: Verified,
    ) -> Asking {
        let asked = self.find(inputs, context, self.forward.recheck / 2);
        let good_for = self.forward.good_for();
        Box::pin(async move {
            match asked.answer().await {
                Err(AuthError::Unavailable(_)) if known.at.elapsed() < good_for => Ok(known),
                verdict => verdict,
            }
        })
    }

    /// All answers that name this user are worthless, also those that are on their way.
    pub(crate) fn forget_user(&self, user: &str) {
        self.state().forget(|identity| identity.user == user);
    }

    /// The same for the client that presented this credential, by its digest.
    pub(crate) fn forget_credential(&self, digest: &[u8; 32]) {
        self.state()
            .forget(|identity| identity.credential == *digest);
    }

    fn find(self: &Arc<Self>, inputs: Inputs, context: Context, age: Duration) -> Asked {
        let question = AuthRequest::new(&self.auth, inputs, context);
        let mut state = self.state();
        if let Some(verdict) = state.recall(&question.key, age, Instant::now()) {
            return Asked::Now(verdict);
        }
        if !question.comes_back()
            && let Some(answer) = state.join(&question.key)
        {
            return Asked::Soon(Box::pin(single_flight::wait(answer)));
        }
        let Some((number, tell, answer)) = state.set_out(question.key) else {
            return Asked::Now(Err(come_back()));
        };
        drop(state);
        let landing = Landing::new(self.clone(), question.key, number, tell);
        // A task of its own: the first caller may be the first to leave.
        tokio::spawn(self.clone().fly(question, landing));
        Asked::Soon(Box::pin(single_flight::wait(answer)))
    }

    async fn fly(self: Arc<Self>, question: AuthRequest, landing: Landing) {
        let asked = async {
            // Never closed.
            let _turn = self.turns.acquire().await;
            let at = (Instant::now(), SystemTime::now());
            (self.put(&question).await, at)
        };
        let (answer, bytes, at) = match timeout(PATIENCE, asked).await {
            Ok(((answer, bytes), at)) => (answer, bytes, at),
            Err(_) => {
                let answer = AuthResponse::Failed("no whole answer within 2 s".into());
                (answer, 0, (Instant::now(), SystemTime::now()))
            }
        };
        landing.land(self.verdict(answer, at), at.0, bytes);
    }

    /// One request, and what its answer says; with the length of its body.
    async fn put(&self, question: &AuthRequest) -> (AuthResponse, usize) {
        let failed = |why: Cow<'static, str>| (AuthResponse::Failed(why), 0);
        let request = match question.request(&self.forward) {
            Ok(request) => request,
            Err(error) => return failed(error.detail),
        };
        let upstream = &self.forward.upstream;
        // It belongs to no route, so its own name stands in the metric's label.
        let sent = self
            .upstreams
            .send(upstream, &self.auth, Purpose::Auth, request);
        let (head, body) = match sent.await {
            Ok(answer) => answer.into_parts(),
            Err(error) => return failed(error.detail),
        };
        if let Some(answer) = response::of_head(head.status, &head.headers) {
            return (answer, 0);
        }
        let body = match Limited::new(body, response::LONGEST).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                return failed("its answer is longer than 64 KiB".into());
            }
            Err(_) => return failed("its answer broke off".into()),
        };
        let answer = response::of_body(&self.auth, &self.forward, &body, question.credential);
        (answer, body.len())
    }

    fn verdict(&self, answer: AuthResponse, (at, wall): (Instant, SystemTime)) -> AuthorityVerdict {
        match answer {
            AuthResponse::Known(identity) => {
                self.telemetry.edge.authority_answered(&self.auth, true);
                let unix = wall.duration_since(UNIX_EPOCH);
                Ok(Verified {
                    identity,
                    at,
                    unix: unix.map_or(0, |since| since.as_secs()),
                })
            }
            AuthResponse::Unknown => {
                self.telemetry.edge.authority_answered(&self.auth, false);
                Err(AuthError::Invalid(UNKNOWN.into()))
            }
            AuthResponse::Beside(why) => {
                self.failed(why);
                Err(AuthError::Invalid(UNKNOWN.into()))
            }
            AuthResponse::Failed(why) => {
                self.failed(why);
                Err(come_back())
            }
        }
    }

    fn failed(&self, why: Cow<'static, str>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = match &*told {
            None => true,
            Some((at, last)) if *last == why => at.elapsed() >= REMINDER,
            Some((at, _)) => at.elapsed() >= NEWS,
        };
        self.telemetry
            .edge
            .authority_failed(&self.auth, &why, is_news);
        if is_news {
            *told = Some((Instant::now(), why));
        }
    }

    fn state(&self) -> MutexGuard<'_, FlightState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asked {
    /// Waits for it where it has to be waited for.
    pub(crate) async fn answer(self) -> AuthorityVerdict {
        match self {
            Asked::Now(verdict) => verdict,
            Asked::Soon(asking) => asking.await,
        }
    }
}

/// Spread, so that refused clients do not all come back at once.
fn come_back() -> AuthError {
    AuthError::Unavailable(Duration::from_millis(fastrand::u64(1000..=5000)))
}
