//! How long a credential holds for what no session looks after: the backend's own WebSockets, and answers that pass through.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::authenticator::unix_time;
use super::credential::Found;
use super::expiry::{self, ASK_AGAIN, Due, Heard, Held, Policy};
use super::{Asking, AuthError, Authenticated, Authenticator, Check, Context, Credential};
use crate::config::Auth;

/// How often the clock on the wall is looked at: it may have been set.
const LOOK: Duration = Duration::from_secs(30);

impl Authenticator {
    /// Resolves when a credential does not hold any longer, and says why: it has ended, its authority does not know it at its
    /// second answer, an operator revoked it, or a reload asks for another.
    pub(crate) async fn until_over(
        self: Arc<Self>,
        mut admission: Arc<Authenticated>,
        context: Context,
    ) -> AuthError {
        let mut changes = self.changes();
        let (mut ask_at, mut asking) = (None, None);
        loop {
            let auth = self.policy(&admission.found.auth.name);
            let held = self.held(&admission, auth.as_ref(), ask_at, asking.is_some());
            let now = Instant::now();
            let outlook = expiry::look(&held, now.into_std(), unix_time());
            match outlook.due {
                Due::Nothing => {}
                Due::Over(denied) => return denied,
                Due::Recheck => {
                    asking = self.recheck(&admission, context.clone());
                    if asking.is_none() {
                        ask_at = Some(now + ASK_AGAIN);
                    }
                    continue;
                }
                Due::Judge => {
                    if let Some(auth) = auth {
                        asking = self.judge_anew(&mut admission, auth, &context);
                    }
                    continue;
                }
            }
            let look = now + LOOK;
            let due = outlook.look_at.map(Instant::from_std);
            tokio::select! {
                outcome = answered(&mut asking) => {
                    asking = None;
                    let word = outcome.as_ref().map(|newer| newer.word(&admission));
                    match expiry::hear(word, &held, Instant::now().into_std()) {
                        Heard::Over(denied) => return denied,
                        Heard::Unknown(at) => ask_at = Some(Instant::from_std(at)),
                        Heard::Holds(at) => {
                            ask_at = at.map(Instant::from_std);
                            if let Ok(newer) = outcome {
                                admission = Arc::new(newer);
                            }
                        }
                    }
                }
                () = sleep_until(due.map_or(look, |due| due.min(look))) => {}
                changed = changes.changed() => {
                    if changed.is_err() {
                        // The process ends, and all connections with it.
                        std::future::pending::<()>().await;
                    }
                }
            }
        }
    }

    /// What [`expiry`] has to know of a credential; `auth` is its policy as it is now.
    pub(crate) fn held(
        &self,
        admission: &Authenticated,
        auth: Option<&Arc<Auth>>,
        ask_at: Option<Instant>,
        is_asked: bool,
    ) -> Held {
        let identity = &admission.identity;
        Held {
            is_revoked: self.is_revoked(admission),
            expires: identity.expires,
            ends: identity.ends(),
            policy: match auth {
                None => Policy::Gone,
                Some(auth) if *auth == admission.found.auth => Policy::Same,
                Some(_) => Policy::Changed,
            },
            vouched_at: admission.vouched_at.into_std(),
            recheck: admission.found.auth.recheck(),
            ask_at: ask_at.map(Instant::into_std),
            is_asked,
        }
    }

    /// A credential that was accepted under an older version of its policy is verified again. A verdict of a remote authority
    /// stays for one recheck at most: rechecking all at once would flood the authority.
    fn judge_anew(
        self: &Arc<Self>,
        admission: &mut Arc<Authenticated>,
        auth: Arc<Auth>,
        context: &Context,
    ) -> Option<Asking> {
        let found = Found {
            auth: auth.clone(),
            ..admission.found.clone()
        };
        if let (Some(every), Credential::Inputs(_)) = (auth.recheck(), &found.credential) {
            *admission = Arc::new(admission.adopted(found, every, fastrand::f64()));
            return None;
        }
        Some(match self.check(&[auth], found, || context.clone()) {
            Check::Done(outcome) => Box::pin(std::future::ready(outcome)),
            Check::Asks(asking) => asking,
        })
    }
}

async fn answered(asking: &mut Option<Asking>) -> Result<Authenticated, AuthError> {
    match asking {
        Some(asking) => asking.await,
        None => std::future::pending().await,
    }
}
