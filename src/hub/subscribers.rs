//! The subscribers that a topic wakes, and with whose credentials it is read.

use std::collections::HashMap;
use std::sync::Arc;

use super::key::{Credentials, Owner};
use super::wake::{WakeFlag, WakeFlags};
use crate::event::End;

/// Present subscribers by slot.
#[derive(Default)]
pub(super) struct Subscribers {
    slots: Vec<Option<Listener>>,
    free: Vec<u32>,
    signals: WakeFlags,
    /// What the present ones brought. The last one's stays when no subscriber is left: credentials that no subscriber holds are there alone.
    credentials: HashMap<Arc<Credentials>, Held>,
    /// Counts how often credentials were brought.
    brought: u64,
    /// The subscriber with whose credentials a pool is read.
    pool: Pool,
    /// Against whose number of topics this one counts.
    owner: Owner,
    /// How many of those present are the owner's.
    of_owner: usize,
}

/// With whose credentials a topic is read that several principals share.
#[derive(Default)]
struct Pool {
    /// Those of the reader, as they are now; it stays the reader while it is present, so that no newcomer's are tried in vain.
    reader: Option<Arc<Credentials>>,
    /// Those that the last request went with.
    asked: Option<Arc<Credentials>>,
    /// One was refused, and another is tried.
    is_retrying: bool,
    /// How it ended for the slots whose credentials the backend has refused.
    refused: HashMap<u32, End>,
    /// Another process's reader, which counts as present for a while.
    awaited: Option<Arc<Credentials>>,
}

struct Listener {
    owner: Owner,
    credentials: Arc<Credentials>,
}

/// Credentials that subscribers have brought.
#[derive(Default)]
struct Held {
    holders: usize,
    /// When they were brought last: a number that grows.
    since: u64,
}

/// What becomes of a pool whose reader was refused.
#[derive(Default)]
pub(super) struct Refused {
    /// Subscribers whose subscription is over, to be woken.
    pub(crate) slots: Vec<u32>,
    /// The credentials of another subscriber are to be tried, once.
    pub(crate) has_another: bool,
}

impl Subscribers {
    /// Those of a topic that counts against `owner`.
    pub(crate) fn of(owner: Owner) -> Self {
        Subscribers {
            owner,
            ..Subscribers::default()
        }
    }

    /// Takes a slot.
    pub(crate) fn attach(
        &mut self,
        signal: Arc<WakeFlag>,
        credentials: Credentials,
        owner: Owner,
    ) -> u32 {
        let credentials = self.hold(credentials);
        self.of_owner += usize::from(owner == self.owner);
        let listener = Some(Listener { owner, credentials });
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(None);
                (self.slots.len() - 1) as u32
            }
        };
        if let Some(place) = self.slots.get_mut(slot as usize) {
            *place = listener;
        }
        self.signals.set(slot, Some(signal));
        slot
    }

    /// Gives a slot back.
    pub(crate) fn detach(&mut self, slot: u32) {
        let Some(listener) = self.slots.get_mut(slot as usize).and_then(Option::take) else {
            return;
        };
        self.free.push(slot);
        self.signals.set(slot, None);
        self.pool.refused.remove(&slot);
        self.of_owner -= usize::from(listener.owner == self.owner);
        self.release(&listener.credentials);
        if self.count() == 0 {
            self.slots = Vec::new();
            self.free = Vec::new();
            self.signals = WakeFlags::default();
            self.credentials.shrink_to_fit();
        }
    }

    /// A present client has newer credentials: the next request goes with them.
    pub(crate) fn renew(&mut self, slot: u32, credentials: Credentials) {
        if self.refusal(slot).is_some() {
            return;
        }
        let credentials = self.hold(credentials);
        let listener = self.slots.get_mut(slot as usize).and_then(Option::as_mut);
        let old = match listener {
            Some(listener) => std::mem::replace(&mut listener.credentials, credentials.clone()),
            // No subscriber is there to hold them.
            None => credentials.clone(),
        };
        let was_reader = self.pool.reader.as_ref() == Some(&old);
        self.release(&old);
        if was_reader && !self.is_held(&old) {
            self.pool.reader = Some(credentials);
        }
    }

    /// The credentials that the next request of a pool goes with: the reader's, else those of the subscriber that is here
    /// longest.
    pub(crate) fn ask_as(&mut self) -> Credentials {
        let reader = self.pool.reader.take();
        let reader = reader.filter(|reader| self.credentials.contains_key(reader));
        let longest = || {
            let longest = (self.credentials.iter()).min_by_key(|(_, held)| held.since)?;
            Some(longest.0.clone())
        };
        self.pool.reader = reader.or_else(longest);
        self.pool.asked.clone_from(&self.pool.reader);
        let reader = self.pool.reader.as_ref();
        reader.map_or_else(Credentials::default, |reader| (**reader).clone())
    }

    /// The backend has granted what was asked for last.
    pub(crate) fn granted(&mut self) {
        self.pool.is_retrying = false;
    }

    /// The backend has refused the last request: the subscribers with the same credentials get this end.
    pub(crate) fn refused(&mut self, end: &End) -> Refused {
        let mut refused = Refused::default();
        let Some(asked) = self.pool.asked.take() else {
            return refused;
        };
        if std::mem::replace(&mut self.pool.is_retrying, true) {
            return refused;
        }
        for (slot, listener) in (0..).zip(&self.slots) {
            if let Some(listener) = listener
                && listener.credentials == asked
            {
                self.pool.refused.insert(slot, end.clone());
                refused.slots.push(slot);
            }
        }
        self.credentials.remove(&asked);
        refused.has_another = self.credentials.values().any(|held| held.holders > 0);
        refused
    }

    /// How a subscription ended whose credentials were refused, while the topic goes on.
    pub(crate) fn refusal(&self, slot: u32) -> Option<End> {
        self.pool.refused.get(&slot).cloned()
    }

    /// Whether a pool's reader has gone, and another subscriber is here.
    pub(crate) fn lacks_reader(&self) -> bool {
        let reader = self.pool.reader.as_ref();
        let is_gone = reader.is_some_and(|reader| !self.is_held(reader));
        is_gone && self.count() > self.pool.refused.len()
    }

    /// The reader in another process may still come to this one.
    pub(crate) fn await_reader(&mut self, credentials: Credentials) {
        self.pool.awaited = Some(self.hold(credentials));
    }

    /// They have had their time to come.
    pub(crate) fn stop_awaiting(&mut self) {
        if let Some(awaited) = self.pool.awaited.take() {
            self.release(&awaited);
        }
    }

    fn is_held(&self, credentials: &Arc<Credentials>) -> bool {
        let held = self.credentials.get(credentials);
        held.is_some_and(|held| held.holders > 0)
    }

    /// Against whose number of topics this one counts.
    pub(crate) fn owner(&self) -> Owner {
        self.owner
    }

    /// Counts against this one, which comes where no subscriber is.
    pub(crate) fn set_owner(&mut self, owner: Owner) {
        self.owner = owner;
        let theirs = self.slots.iter().flatten();
        self.of_owner = theirs.filter(|listener| listener.owner == owner).count();
    }

    /// Whether subscribers are present, and none of them is the owner's.
    pub(crate) fn lacks_owner(&self) -> bool {
        self.of_owner == 0 && self.count() > 0
    }

    /// Where the owner has left and others are present, one of them follows.
    pub(crate) fn pass_on(&mut self) -> Option<Owner> {
        if !self.lacks_owner() {
            return None;
        }
        // Any of them: were it the first, subscribers that leave in their order would each have the others counted.
        let any = fastrand::usize(..self.slots.len());
        let mut slots = self.slots.iter().cycle().skip(any).take(self.slots.len());
        let next = slots.find_map(Option::as_ref)?.owner;
        self.set_owner(next);
        Some(next)
    }

    /// Subscribers now.
    pub(crate) fn count(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The signals of the subscribers that are present now.
    pub(crate) fn signals(&self) -> WakeFlags {
        self.signals.clone()
    }

    /// The newest present subscriber's, else the last one's.
    pub(crate) fn credentials(&self) -> Credentials {
        let newest = (self.credentials.iter()).max_by_key(|(_, held)| held.since);
        newest.map_or_else(Credentials::default, |(newest, _)| (**newest).clone())
    }

    /// One subscriber's own.
    pub(crate) fn credentials_of(&self, slot: u32) -> Credentials {
        let listener = self.slots.get(slot as usize).and_then(Option::as_ref);
        listener.map_or_else(Credentials::default, |listener| {
            (*listener.credentials).clone()
        })
    }

    /// Keeps credentials that no present client has brought.
    pub(crate) fn remember(&mut self, credentials: Credentials) {
        if self.credentials.is_empty() {
            let held = Held::default();
            self.credentials.insert(Arc::new(credentials), held);
        }
    }

    fn hold(&mut self, credentials: Credentials) -> Arc<Credentials> {
        if self.credentials.len() == 1 {
            self.credentials.retain(|_, held| held.holders > 0);
        }
        let known = self.credentials.get_key_value(&credentials);
        let shared = match known {
            Some((known, _)) => known.clone(),
            None => Arc::new(credentials),
        };
        self.brought += 1;
        let held = self.credentials.entry(shared.clone()).or_default();
        held.holders += 1;
        held.since = self.brought;
        shared
    }

    fn release(&mut self, credentials: &Arc<Credentials>) {
        // Refused ones are out already, and another subscriber may have brought the same anew.
        let known = self.credentials.get_key_value(credentials);
        if !known.is_some_and(|(known, _)| Arc::ptr_eq(known, credentials)) {
            return;
        }
        let is_last = self.credentials.len() == 1;
        if let Some(held) = self.credentials.get_mut(credentials) {
            held.holders -= 1;
            if held.holders == 0 && !is_last {
                self.credentials.remove(credentials);
            }
        }
    }
}
