//! The present sessions, as the admin API and the rollout see them.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::Notify;

use super::client::Client;
use super::cohort::Cohort;
use super::listing::{self, Asked, SessionInfo};
use super::parking::{Places, SecretId};
use crate::config::Auth;
use crate::edge::auth::Admission;
use crate::hub::Signal;
use crate::rollout::change::StageChange;
use crate::transport::Transport;

/// Directives that one session may have waiting; notices above it are not accepted.
const INBOX: usize = 64;

/// All sessions of this node. Cheap to clone.
#[derive(Clone, Default)]
pub struct Sessions {
    house: Arc<House>,
}

#[derive(Default)]
struct House {
    present: Mutex<Present>,
    parked: Places,
    empty: Notify,
}

#[derive(Default)]
struct Present {
    /// By connection number: the oldest first.
    members: BTreeMap<u64, Arc<Member>>,
    /// The numbers of those whose clients may come back.
    kept: HashMap<SecretId, u64>,
    /// The drain under way, for those who come while it is.
    drain: Option<(Duration, &'static str)>,
}

/// Which sessions are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// These ids.
    Ids(Vec<String>),
    /// Those of a user.
    User(String),
    /// Those with a subscription to this route.
    Route(String),
    /// Everyone.
    All,
}

/// A message to people.
#[derive(Clone, Debug)]
pub struct Notice {
    /// `info`, `warn` or `error`.
    pub level: String,
    /// Text.
    pub msg: String,
    /// JSON.
    pub d: Option<Box<RawValue>>,
}

/// What somebody else wants of a session.
pub(super) enum Directive {
    /// Look again at configuration and stages.
    Recheck,
    /// Close with this code.
    Close(u16),
    /// Tell people.
    Notice(Arc<Notice>),
    /// Leave at a random instant of the window.
    Drain(Duration, &'static str),
    /// Stay after all.
    Stay,
    /// Show what you do.
    Show(Asked),
    /// The client is back: go on over this.
    Attach(Box<dyn Transport>),
}

/// A session's public half: who it is, how to reach it, what it listens to.
pub(super) struct Member {
    pub number: u64,
    pub id: Box<str>,
    pub client: Client,
    pub protocol: &'static str,
    pub connected_at: u64,
    /// Wakes the session: topics ring it, and so does every directive.
    pub signal: Arc<Signal>,
    /// Who it is, by each policy that has asked.
    admissions: Mutex<Vec<Arc<Admission>>>,
    /// What waits for the session; `None` when it has ended.
    directives: Mutex<Option<Vec<Directive>>>,
    /// Somebody ordered it to close.
    is_to_close: AtomicBool,
    /// What its rollout wants for it.
    pub cohort: Cohort,
}

/// Keeps a session listed while it lives.
pub(super) struct Membership {
    pub member: Arc<Member>,
    house: Arc<House>,
}

/// That a session is found by its id, where its client may come back.
pub(super) struct Findable {
    id: SecretId,
    house: Arc<House>,
}

impl Sessions {
    /// Makes every session look again at configuration and stages (each decides for itself).
    pub fn recheck(&self) {
        for member in self.members() {
            member.direct(Directive::Recheck);
        }
    }

    /// Makes those sessions look again whose decision these changes may change.
    pub fn follow_stages(&self, changes: &[StageChange]) {
        // See `Cohort`.
        fence(Ordering::SeqCst);
        let mut members = self.members();
        members.retain(|member| {
            let known = lock(&member.admissions);
            let mut changes = changes.iter();
            changes.any(|change| member.cohort.is_concerned(change, &member.client, &known))
        });
        for member in members {
            member.direct(Directive::Recheck);
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        lock(&self.house.present).members.len()
    }

    /// All of them, the oldest connection first.
    pub async fn list(&self) -> Vec<SessionInfo> {
        listing::list(&self.members()).await
    }

    /// As many as `limit` behind the connection numbered `after`, the oldest first; and whether there are more behind them.
    pub async fn page(&self, after: Option<u64>, limit: usize) -> (Vec<SessionInfo>, bool) {
        let (page, has_more) = {
            let present = lock(&self.house.present);
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            let mut behind = present.members.range((from, Bound::Unbounded));
            let page: Vec<_> = behind
                .by_ref()
                .take(limit)
                .map(|(_, m)| m.clone())
                .collect();
            (page, behind.next().is_some())
        };
        (listing::list(&page).await, has_more)
    }

    /// Closes those meant with this code, soon. Returns how many.
    pub async fn close(&self, whom: &Whom, code: u16) -> usize {
        let mut members = self.members();
        match whom {
            Whom::Ids(ids) => members.retain(|member| ids.iter().any(|id| **id == *member.id)),
            Whom::User(user) => members.retain(|member| {
                let admissions = lock(&member.admissions);
                admissions.iter().any(|known| known.identity.user == *user)
            }),
            Whom::Route(route) => members = listing::that_listen_to(route, members).await,
            Whom::All => {}
        }
        let closed = members.iter().filter(|member| member.order_to_close(code));
        closed.count()
    }

    /// Lets every session look again at whom it has let in. Returns how many have somebody for whom `is_meant` says so.
    pub fn recheck_people(&self, is_meant: impl Fn(&Admission) -> bool) -> usize {
        let meant = self.members().into_iter().filter(|member| {
            let admissions = lock(&member.admissions);
            admissions.iter().any(|known| is_meant(known))
        });
        meant
            .filter(|member| member.direct(Directive::Recheck))
            .count()
    }

    /// Whom one session has let in; `None` where there is no such session.
    pub fn admissions_of(&self, id: &str) -> Option<Vec<Arc<Admission>>> {
        let members = self.members();
        let member = members.iter().find(|member| *member.id == *id)?;
        Some(member.admissions())
    }

    /// Sends a notice to all, or to those with a subscription to `route`. Returns how many.
    pub async fn notify(&self, notice: Arc<Notice>, route: Option<&str>) -> usize {
        let mut members = self.members();
        if let Some(route) = route {
            members = listing::that_listen_to(route, members).await;
        }
        let notified = members
            .iter()
            .filter(|member| member.direct(Directive::Notice(notice.clone())));
        notified.count()
    }

    /// Tells everyone to leave (`drain`, next `same`) and closes each with 4200 at a random instant of the window.
    /// Returns how many are told. A later call with another window replaces the first.
    pub fn drain(&self, window: Duration, why: &'static str) -> usize {
        let members: Vec<_> = {
            let mut present = lock(&self.house.present);
            present.drain = Some((window, why));
            present.members.values().cloned().collect()
        };
        for member in &members {
            member.direct(Directive::Drain(window, why));
        }
        members.len()
    }

    /// Those that were told to leave by `drain` and are still here stay.
    pub fn cancel_drain(&self) {
        lock(&self.house.present).drain = None;
        for member in self.members() {
            member.direct(Directive::Stay);
        }
    }

    /// Resolves when no session is left.
    pub async fn gone(&self) {
        loop {
            let empty = self.house.empty.notified();
            if self.count() == 0 {
                return;
            }
            empty.await;
        }
    }

    /// Goes on with the session of this id over another transport, whether it is parked or not.
    ///
    /// # Errors
    /// There is none, or not any more; the transport comes back.
    pub fn attach(
        &self,
        id: &SecretId,
        transport: Box<dyn Transport>,
    ) -> Result<(), Box<dyn Transport>> {
        let member = {
            let present = lock(&self.house.present);
            let number = present.kept.get(id);
            number.and_then(|number| present.members.get(number).cloned())
        };
        match member {
            Some(member) => member.attach(transport),
            None => Err(transport),
        }
    }

    /// How many sessions wait for their clients to come back.
    pub fn parked(&self) -> usize {
        self.house.parked.taken()
    }

    /// Lets [`Sessions::attach`] find the session of this number by an id.
    pub(super) fn find_by(&self, id: SecretId, number: u64) -> Findable {
        let house = self.house.clone();
        lock(&house.present).kept.insert(id.clone(), number);
        Findable { id, house }
    }

    /// Lists a new session; one that comes during a drain is told at once.
    pub(super) fn enter(&self, member: Member) -> Membership {
        let member = Arc::new(member);
        let mut present = lock(&self.house.present);
        present.members.insert(member.number, member.clone());
        if let Some((window, why)) = present.drain {
            member.direct(Directive::Drain(window, why));
        }
        Membership {
            member,
            house: self.house.clone(),
        }
    }

    /// A copy, so that nobody waits for the list while sessions are told something.
    fn members(&self) -> Vec<Arc<Member>> {
        lock(&self.house.present)
            .members
            .values()
            .cloned()
            .collect()
    }
}

impl Member {
    pub fn new(
        number: u64,
        id: String,
        client: Client,
        protocol: &'static str,
        connected_at: u64,
    ) -> Self {
        Member {
            number,
            id: id.into(),
            client,
            protocol,
            connected_at,
            signal: Arc::default(),
            admissions: Mutex::default(),
            directives: Mutex::new(Some(Vec::new())),
            is_to_close: AtomicBool::new(false),
            cohort: Cohort::default(),
        }
    }

    /// From now on this is who its policy knows here.
    pub fn admit(&self, admission: Arc<Admission>) {
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

    /// A policy knows nobody here any more.
    pub fn dismiss(&self, auth: &str) {
        lock(&self.admissions).retain(|known| *known.found.auth.name != *auth);
    }

    /// Who a policy knows here.
    pub fn admission(&self, auth: &str) -> Option<Arc<Admission>> {
        let admissions = lock(&self.admissions);
        let mut known = admissions.iter();
        known.find(|known| *known.found.auth.name == *auth).cloned()
    }

    /// Everybody who is known here.
    pub fn admissions(&self) -> Vec<Arc<Admission>> {
        lock(&self.admissions).clone()
    }

    /// The policies that know somebody here.
    pub fn policies(&self) -> Vec<Arc<Auth>> {
        let admissions = lock(&self.admissions);
        admissions
            .iter()
            .map(|known| known.found.auth.clone())
            .collect()
    }

    /// The user, as the first policy that asked knows them.
    pub fn user(&self) -> Option<String> {
        let admissions = lock(&self.admissions);
        let first = admissions.first();
        first.map(|known| known.identity.user.clone())
    }

    /// What the others want; notices stay while the client does not take what it has.
    pub fn take_directives(&self, with_notices: bool) -> Vec<Directive> {
        let mut directives = lock(&self.directives);
        let Some(directives) = &mut *directives else {
            return Vec::new();
        };
        if with_notices {
            return std::mem::take(directives);
        }
        let (notices, urgent) = std::mem::take(directives)
            .into_iter()
            .partition(|directive| matches!(directive, Directive::Notice(_)));
        *directives = notices;
        urgent
    }

    /// The session has ended: what waits for it is dropped, and nothing more is taken.
    pub fn end(&self) {
        *lock(&self.directives) = None;
    }

    fn attach(&self, transport: Box<dyn Transport>) -> Result<(), Box<dyn Transport>> {
        match &mut *lock(&self.directives) {
            Some(directives) => {
                // The newest transport counts: a client that comes back again and again leaves no others waiting.
                directives.retain(|waiting| !matches!(waiting, Directive::Attach(_)));
                directives.push(Directive::Attach(transport));
            }
            None => return Err(transport),
        }
        self.signal.ring();
        Ok(())
    }

    /// False where it was ordered before: until its client has answered, it is still among the others.
    fn order_to_close(&self, code: u16) -> bool {
        !self.is_to_close.swap(true, Ordering::Relaxed) && self.direct(Directive::Close(code))
    }

    /// Leaves a directive and wakes the session; false where too many wait already, or the session has ended.
    pub(super) fn direct(&self, directive: Directive) -> bool {
        {
            let mut directives = lock(&self.directives);
            let Some(directives) = &mut *directives else {
                return false;
            };
            let is_notice = matches!(directive, Directive::Notice(_));
            if is_notice && directives.len() >= INBOX {
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

impl Drop for Membership {
    fn drop(&mut self) {
        let mut present = lock(&self.house.present);
        present.members.remove(&self.member.number);
        if present.members.is_empty() {
            self.house.empty.notify_waiters();
        }
    }
}

impl Findable {
    /// Where it is parked.
    pub fn places(&self) -> &Places {
        &self.house.parked
    }
}

impl Drop for Findable {
    fn drop(&mut self) {
        lock(&self.house.present).kept.remove(&self.id);
    }
}

/// A lock whose holder panicked is still a lock: what it guards is valid between any two statements.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
