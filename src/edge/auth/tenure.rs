//! How long somebody stays let in who holds a connection that no session looks after: the backend's own WebSockets.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::authenticator::unix_now;
use super::credential::Found;
use super::{ASK_AGAIN, Admission, Authenticator, Check, Context, Credential, Denied};

/// How often the clock on the wall is looked at: it may have been set.
const LOOK: Duration = Duration::from_secs(30);

impl Authenticator {
    /// Resolves when somebody is not let in any more, and says why: their credential has ended, their authority does not
    /// know them at its second answer, an admin took them back, or a reload asks for another.
    pub async fn until_over(self: Arc<Self>, mut admission: Admission, context: Context) -> Denied {
        let mut changes = self.changes();
        let mut ask_at = Instant::now();
        loop {
            if let Err(denied) = self
                .still_holds(&mut admission, &mut ask_at, &context)
                .await
            {
                return denied;
            }
            let ends = admission.identity.ends();
            let left = ends.map(|ends| Duration::from_secs(ends.saturating_sub(unix_now())));
            let look = Instant::now() + left.unwrap_or(LOOK).min(LOOK);
            let due = match admission.found.auth.recheck() {
                Some(every) => (admission.vouched_at + every).max(ask_at).min(look),
                None if ask_at > Instant::now() => ask_at.min(look),
                None => look,
            };
            tokio::select! {
                () = sleep_until(due) => {}
                changed = changes.changed() => {
                    if changed.is_err() {
                        // The process ends, and all connections with it.
                        std::future::pending::<()>().await;
                    }
                }
            }
        }
    }

    async fn still_holds(
        self: &Arc<Self>,
        admission: &mut Admission,
        ask_at: &mut Instant,
        context: &Context,
    ) -> Result<(), Denied> {
        if self.is_revoked(admission) {
            return Err(Denied::Revoked);
        }
        if (admission.identity.ends()).is_some_and(|ends| unix_now() >= ends) {
            return Err(Denied::Expired);
        }
        let name = admission.found.auth.name.clone();
        let auth = self.policy(&name).ok_or(Denied::Missing)?;
        let now = Instant::now();
        let is_due = |every| now >= admission.vouched_at + every && now >= *ask_at;
        let outcome = if auth != admission.found.auth {
            let found = Found {
                auth: auth.clone(),
                ..admission.found.clone()
            };
            if let (Some(every), Credential::Inputs(_)) = (auth.recheck(), &found.credential) {
                *admission = admission.adopted(found, every, fastrand::f64());
                return Ok(());
            }
            if now < *ask_at {
                return Ok(());
            }
            let outcome = match self.check(&[auth], found, || context.clone()) {
                Check::Done(outcome) => outcome,
                Check::Asks(asking) => asking.await,
            };
            if matches!(outcome, Err(Denied::Unavailable(_))) {
                // As they were, until somebody can tell.
                *ask_at = now + ASK_AGAIN;
                return Ok(());
            }
            outcome
        } else if auth.recheck().is_some_and(is_due) {
            match self.recheck(admission, context.clone()) {
                Some(asking) => asking.await,
                None => {
                    *ask_at = now + ASK_AGAIN;
                    return Ok(());
                }
            }
        } else {
            return Ok(());
        };
        let before = admission.vouched_at;
        match outcome {
            Ok(newer) if newer.identity.is_same_subject(&admission.identity) => {
                *admission = newer;
            }
            Ok(_) => return Err(Denied::Expired),
            Err(denied) => return Err(denied),
        }
        if admission.vouched_at == before {
            // Nobody could tell, and for a while that is forgiven.
            *ask_at = admission.ask_again_at(now);
        }
        Ok(())
    }
}
