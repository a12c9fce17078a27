//! One session as the rest of the process sees it: its client, its users, and how it gets commands.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::value::RawValue;

use super::client::Client;
use super::cohort::SessionCohort;
use super::listing::Asked;
use super::upstream_request::AnswerBody;
use crate::config::Auth;
use crate::hub::WakeFlag;
use crate::policy::auth::Authenticated;
use crate::rollout::change::StageChange;

/// Directives that one session may have waiting; notices above it are not accepted.
const INBOX: usize = 64;

/// A message to clients.
#[derive(Clone, Debug)]
pub(crate) struct Notice {
    /// `info`, `warn` or `error`.
    pub(crate) level: String,
    /// Text.
    pub(crate) msg: String,
    /// JSON.
    pub(crate) d: Option<Box<RawValue>>,
}

/// An event of a namespace that is no topic's.
#[derive(Clone, Debug)]
pub(super) struct Emission {
    /// The namespace whose sockets it is for.
    pub(crate) namespace: Arc<str>,
    /// Its name.
    pub(crate) event: Arc<str>,
    /// What it bears.
    pub(crate) body: AnswerBody,
}

/// What the rest of the process wants of a session.
pub(super) enum Directive {
    /// Look again at configuration and stages.
    Recheck,
    /// Close with this code.
    Close(u16),
    /// Send the client this.
    Notice(Arc<Notice>),
    /// Send the client this, of Socket.IO.
    Emit(Arc<Emission>),
    /// Leave at a random instant of the window.
    Drain(Duration, &'static str),
    /// Stay after all.
    Stay,
    /// Answer the admin API.
    Show(Asked),
}

impl Directive {
    /// Whether it waits while the client takes nothing, and is not accepted where many do.
    fn may_wait(&self) -> bool {
        matches!(self, Directive::Notice(_) | Directive::Emit(_))
    }
}

/// A session's public half: its client, its users, and its commands.
pub(super) struct SessionHandle {
    pub(crate) number: u64,
    pub(crate) id: Box<str>,
    pub(crate) client: Client,
    pub(crate) protocol: &'static str,
    pub(crate) connected_at: u64,
    /// Wakes the session: topics notify it, and so does every command.
    pub(crate) signal: Arc<WakeFlag>,
    /// Its users, one by each policy that has asked.
    admissions: Mutex<Vec<Arc<Authenticated>>>,
    /// What waits for the session; `None` when it has ended.
    directives: Mutex<Option<Vec<Directive>>>,
    /// An admin has ordered it to close.
    is_to_close: AtomicBool,
    /// What its rollout wants for it.
    pub(crate) cohort: SessionCohort,
}

impl SessionHandle {
    pub(crate) fn new(
        number: u64,
        id: String,
        client: Client,
        protocol: &'static str,
        connected_at: u64,
    ) -> Self {
        SessionHandle {
            number,
            id: id.into(),
            client,
            protocol,
            connected_at,
            signal: Arc::default(),
            admissions: Mutex::default(),
            directives: Mutex::new(Some(Vec::new())),
            is_to_close: AtomicBool::new(false),
            cohort: SessionCohort::default(),
        }
    }

    /// From now on this is the user that its policy knows here.
    pub(crate) fn admit(&self, admission: Arc<Authenticated>) {
        let mut admissions = lock(&self.admissions);
        let auth = &admission.found.auth.name;
        match admissions
            .iter_mut()
            .find(|known| known.found.auth.name == *auth)
        {
            Some(known) => *known = admission,
            None => {
                if admissions.is_empty() {
                    // Most connections have one, ever.
                    admissions.reserve_exact(1);
                }
                admissions.push(admission);
            }
        }
    }

    /// A policy knows no user here any more.
    pub(crate) fn dismiss(&self, auth: &str) {
        lock(&self.admissions).retain(|known| *known.found.auth.name != *auth);
    }

    /// The user that a policy knows here.
    pub(crate) fn admission(&self, auth: &str) -> Option<Arc<Authenticated>> {
        let admissions = lock(&self.admissions);
        let mut known = admissions.iter();
        known.find(|known| *known.found.auth.name == *auth).cloned()
    }

    /// All users that are known here.
    pub(crate) fn admissions(&self) -> Vec<Arc<Authenticated>> {
        lock(&self.admissions).clone()
    }

    /// Whether `is_meant` is true for a user that is known here.
    pub(crate) fn knows(&self, is_meant: impl Fn(&Authenticated) -> bool) -> bool {
        let admissions = lock(&self.admissions);
        admissions.iter().any(|known| is_meant(known))
    }

    /// Whether one of these changes may change what was decided here.
    pub(crate) fn is_concerned(&self, changes: &[StageChange]) -> bool {
        let known = lock(&self.admissions);
        let mut changes = changes.iter();
        changes.any(|change| self.cohort.is_concerned(change, &self.client, &known))
    }

    /// The policies that know a user here.
    pub(crate) fn policies(&self) -> Vec<Arc<Auth>> {
        let admissions = lock(&self.admissions);
        admissions
            .iter()
            .map(|known| known.found.auth.clone())
            .collect()
    }

    /// The user, as the first policy that asked knows them.
    pub(crate) fn user(&self) -> Option<String> {
        let admissions = lock(&self.admissions);
        let first = admissions.first();
        first.map(|known| known.identity.user.clone())
    }

    /// What waits for the session; notices stay while the client does not take what it has.
    pub(crate) fn take_directives(&self, with_notices: bool) -> Vec<Directive> {
        let mut directives = lock(&self.directives);
        let Some(directives) = &mut *directives else {
            return Vec::new();
        };
        if with_notices {
            return std::mem::take(directives);
        }
        let (notices, urgent) = std::mem::take(directives)
            .into_iter()
            .partition(Directive::may_wait);
        *directives = notices;
        urgent
    }

    /// The session has ended: what waits for it is dropped, and nothing more is taken.
    pub(crate) fn end(&self) {
        *lock(&self.directives) = None;
    }

    /// False where it was ordered before: until its client has answered, it is still among the others.
    pub(crate) fn order_to_close(&self, code: u16) -> bool {
        !self.is_to_close.swap(true, Ordering::Relaxed) && self.direct(Directive::Close(code))
    }

    /// Leaves a directive and wakes the session; false where too many wait already, or the session has ended.
    pub(super) fn direct(&self, directive: Directive) -> bool {
        {
            let mut directives = lock(&self.directives);
            let Some(directives) = &mut *directives else {
                return false;
            };
            if directive.may_wait() && directives.len() >= INBOX {
                return false;
            }
            let is_known = matches!(
                (&directive, directives.last()),
                (Directive::Recheck, Some(Directive::Recheck))
            );
            if !is_known {
                directives.push(directive);
            }
        }
        self.signal.ring();
        true
    }
}

/// A lock whose holder panicked is still a lock: what it guards is valid between any two statements.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
