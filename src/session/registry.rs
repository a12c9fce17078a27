//! The present sessions, as the admin API and the rollout see them.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::mpsc::Receiver;
use tokio::time::Instant;

pub(crate) use super::handle::Notice;
use super::handle::{Directive, Emission, SessionHandle, lock};
use super::listing::{self, SessionInfo};
use super::recovery::{LeftSession, Recoveries};
use crate::hub::Reserved;
use crate::policy::auth::Authenticated;
use crate::rollout::change::StageChange;
use crate::transport::engineio::registry::EngineSessions;

/// All sessions of this node. Cheap to clone.
#[derive(Clone, Default)]
pub struct Sessions {
    /// Engine.IO connections that HTTP requests can reach.
    pub(crate) engine: EngineSessions,
    /// Sessions whose clients may come back.
    pub(super) recoveries: Recoveries,
    house: Arc<House>,
}

#[derive(Default)]
struct House {
    present: Mutex<Present>,
    empty: Notify,
    /// How many there have been.
    numbered: AtomicU64,
}

#[derive(Default)]
struct Present {
    /// By connection number: the oldest first.
    members: BTreeMap<u64, Arc<SessionHandle>>,
    /// The drain under way, for sessions that come during it.
    drain: Option<(Duration, &'static str)>,
}

/// Which sessions are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Selector {
    /// These ids.
    Ids(Vec<String>),
    /// Those of a user.
    User(String),
    /// Those with a subscription to this route.
    Route(String),
    /// All sessions.
    All,
}

/// Keeps a session listed while it lives.
pub(super) struct Registration {
    pub(crate) member: Arc<SessionHandle>,
    house: Arc<House>,
}

impl Sessions {
    /// Makes every session look again at configuration and stages (each decides for itself).
    pub(crate) fn recheck(&self) {
        for member in self.members() {
            member.direct(Directive::Recheck);
        }
    }

    /// Makes those sessions look again whose decision these changes may change.
    pub(crate) fn follow_stages(&self, changes: &[StageChange]) {
        // See `Cohort`.
        fence(Ordering::SeqCst);
        let mut members = self.members();
        members.retain(|member| member.is_concerned(changes));
        for member in members {
            member.direct(Directive::Recheck);
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        lock(&self.house.present).members.len()
    }

    /// All of them, the oldest connection first.
    pub(crate) async fn list(&self) -> Vec<SessionInfo> {
        listing::list(&self.members()).await
    }

    /// As many as `limit` behind the connection numbered `after`, the oldest first; and whether there are more behind them.
    pub(crate) async fn page(&self, after: Option<u64>, limit: usize) -> (Vec<SessionInfo>, bool) {
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
    pub(crate) async fn close(&self, whom: &Selector, code: u16) -> usize {
        let mut members = self.members();
        match whom {
            Selector::Ids(ids) => members.retain(|member| ids.iter().any(|id| **id == *member.id)),
            Selector::User(user) => {
                members.retain(|member| member.knows(|known| known.identity.user == *user));
            }
            Selector::Route(route) => members = listing::that_listen_to(route, members).await,
            Selector::All => {}
        }
        let closed = members.iter().filter(|member| member.order_to_close(code));
        closed.count()
    }

    /// Lets every session recheck its users. Returns how many sessions have a user for which `is_meant` is true.
    pub(crate) fn recheck_people(&self, is_meant: impl Fn(&Authenticated) -> bool) -> usize {
        let members = self.members();
        let meant = members.iter().filter(|member| member.knows(&is_meant));
        meant
            .filter(|member| member.direct(Directive::Recheck))
            .count()
    }

    /// The users of one session; `None` where there is no such session.
    pub(crate) fn admissions_of(&self, id: &str) -> Option<Vec<Arc<Authenticated>>> {
        let members = self.members();
        let member = members.iter().find(|member| *member.id == *id)?;
        Some(member.admissions())
    }

    /// Sends a notice to all, or to those with a subscription to `route`. Returns how many.
    pub(crate) async fn notify(&self, notice: Arc<Notice>, route: Option<&str>) -> usize {
        let mut members = self.members();
        if let Some(route) = route {
            members = listing::that_listen_to(route, members).await;
        }
        let notified = members
            .iter()
            .filter(|member| member.direct(Directive::Notice(notice.clone())));
        notified.count()
    }

    /// Asks every client to leave (`drain`, next `same`) and closes each with 4200 at a random instant of the window.
    /// Returns how many are notified. A later call with another window replaces the first.
    pub(crate) fn drain(&self, window: Duration, why: &'static str) -> usize {
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

    /// Sessions that `drain` has asked to leave and that are still here stay.
    pub(crate) fn cancel_drain(&self) {
        lock(&self.house.present).drain = None;
        for member in self.members() {
            member.direct(Directive::Stay);
        }
    }

    /// Resolves when no session is left.
    pub(crate) async fn gone(&self) {
        loop {
            let empty = self.house.empty.notified();
            if self.count() == 0 {
                return;
            }
            empty.await;
        }
    }

    /// Sends an event to all sessions of a user, given by its subject, but to the one that it comes from.
    pub(super) fn emit(&self, from: u64, user: &[u8; 32], emission: &Arc<Emission>) {
        let mut members = self.members();
        members.retain(|member| {
            let is_user = || member.knows(|known| known.identity.principal() == *user);
            member.number != from && is_user()
        });
        for member in members {
            member.direct(Directive::Emit(emission.clone()));
        }
    }

    /// From now on what is known of ended sessions, whose clients may come back, goes to another process.
    pub(crate) fn export_left(&self) -> Receiver<LeftSession> {
        self.recoveries.export()
    }

    /// It stays here again.
    pub(crate) fn keep_left(&self) {
        self.recoveries.stay();
    }

    /// Another process has said what it knew of an ended session. `memory` counts what that takes.
    pub(crate) fn adopt(&self, session: LeftSession, memory: Reserved) {
        self.recoveries.adopt(session, memory, Instant::now());
    }

    /// The client of this session has come back over another connection: this one is lost.
    pub(super) fn supersede(&self, number: u64) {
        let member = lock(&self.house.present).members.get(&number).cloned();
        if let Some(member) = member {
            member.order_to_close(4108);
        }
    }

    /// The next connection's number, from 1.
    pub(super) fn take_number(&self) -> u64 {
        self.house.numbered.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Lists a new session; one that comes during a drain is notified at once.
    pub(super) fn enter(&self, member: SessionHandle) -> Registration {
        let member = Arc::new(member);
        let mut present = lock(&self.house.present);
        present.members.insert(member.number, member.clone());
        if let Some((window, why)) = present.drain {
            member.direct(Directive::Drain(window, why));
        }
        Registration {
            member,
            house: self.house.clone(),
        }
    }

    /// A copy, so that the list is not locked while commands are sent.
    fn members(&self) -> Vec<Arc<SessionHandle>> {
        lock(&self.house.present)
            .members
            .values()
            .cloned()
            .collect()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut present = lock(&self.house.present);
        present.members.remove(&self.member.number);
        if present.members.is_empty() {
            self.house.empty.notify_waiters();
        }
    }
}
