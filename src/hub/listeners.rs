//! Who is woken by a topic, and with whose credentials it is read.

use std::sync::Arc;

use super::{Credentials, Owner, Signal};
use crate::event::End;

/// Present subscribers by slot.
#[derive(Default)]
pub(super) struct Listeners {
    slots: Vec<Option<Listener>>,
    free: Vec<u32>,
    /// What the present ones brought, the newest last; the last one's stays when nobody is left.
    /// Mostly one: a topic's subscribers have the same unless a claim binds them.
    credentials: Vec<Held>,
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
    /// Slots whose credentials the backend has refused.
    refused: Vec<(u32, End)>,
    /// Another process's reader, which counts as present for a while.
    awaited: Option<Arc<Credentials>>,
}

struct Listener {
    signal: Arc<Signal>,
    owner: Owner,
    credentials: Arc<Credentials>,
}

struct Held {
    credentials: Arc<Credentials>,
    holders: usize,
}

impl Listeners {
    /// Those of a topic that counts against `owner`.
    pub fn of(owner: Owner) -> Self {
        Listeners {
            owner,
            ..Listeners::default()
        }
    }

    /// Takes a slot.
    pub fn attach(&mut self, signal: Arc<Signal>, credentials: Credentials, owner: Owner) -> u32 {
        let credentials = self.hold(credentials);
        self.of_owner += usize::from(owner == self.owner);
        let listener = Some(Listener {
            signal,
            owner,
            credentials,
        });
        if let Some(slot) = self.free.pop()
            && let Some(place) = self.slots.get_mut(slot as usize)
        {
            *place = listener;
            return slot;
        }
        self.slots.push(listener);
        (self.slots.len() - 1) as u32
    }

    /// Gives a slot back.
    pub fn detach(&mut self, slot: u32) {
        let Some(listener) = self.slots.get_mut(slot as usize).and_then(Option::take) else {
            return;
        };
        self.free.push(slot);
        self.pool.refused.retain(|(refused, _)| *refused != slot);
        self.of_owner -= usize::from(listener.owner == self.owner);
        if self.count() == 0 {
            self.slots = Vec::new();
            self.free = Vec::new();
        }
        self.release(&listener.credentials);
    }

    /// Somebody present has newer credentials: the next request goes with them.
    pub fn renew(&mut self, slot: u32, credentials: Credentials) {
        if self.refusal(slot).is_some() {
            return;
        }
        let credentials = self.hold(credentials);
        let listener = self.slots.get_mut(slot as usize).and_then(Option::as_mut);
        let old = match listener {
            Some(listener) => std::mem::replace(&mut listener.credentials, credentials.clone()),
            // Nobody is there to hold them.
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
    pub fn ask_as(&mut self) -> Credentials {
        let reader = self.pool.reader.take();
        let reader = reader.filter(|reader| self.held(reader).is_some());
        let longest = || Some(self.credentials.first()?.credentials.clone());
        self.pool.reader = reader.or_else(longest);
        self.pool.asked.clone_from(&self.pool.reader);
        let reader = self.pool.reader.as_ref();
        reader.map_or_else(Credentials::default, |reader| (**reader).clone())
    }

    /// The backend has granted what was asked for last.
    pub fn granted(&mut self) {
        self.pool.is_retrying = false;
    }

    /// The backend has refused the last request: the subscribers with the same credentials get this end. Whether the
    /// credentials of another subscriber are to be tried, once.
    pub fn refused(&mut self, end: &End) -> bool {
        let Some(asked) = self.pool.asked.take() else {
            return false;
        };
        if std::mem::replace(&mut self.pool.is_retrying, true) {
            return false;
        }
        for (slot, listener) in (0..).zip(&self.slots) {
            if let Some(listener) = listener
                && listener.credentials == asked
            {
                self.pool.refused.push((slot, end.clone()));
                listener.signal.ring();
            }
        }
        self.credentials.retain(|held| held.credentials != asked);
        self.credentials.iter().any(|held| held.holders > 0)
    }

    /// How a subscription ended whose credentials were refused, while the topic goes on.
    pub fn refusal(&self, slot: u32) -> Option<End> {
        let mut refused = self.pool.refused.iter();
        let (_, end) = refused.find(|(refused, _)| *refused == slot)?;
        Some(end.clone())
    }

    /// Whether a pool's reader has gone, and another subscriber is here.
    pub fn lacks_reader(&self) -> bool {
        let reader = self.pool.reader.as_ref();
        let is_gone = reader.is_some_and(|reader| !self.is_held(reader));
        is_gone && self.count() > self.pool.refused.len()
    }

    /// The reader in another process may still come to this one.
    pub fn await_reader(&mut self, credentials: Credentials) {
        self.pool.awaited = Some(self.hold(credentials));
    }

    /// They have had their time to come.
    pub fn stop_awaiting(&mut self) {
        if let Some(awaited) = self.pool.awaited.take() {
            self.release(&awaited);
        }
    }

    fn held(&self, credentials: &Arc<Credentials>) -> Option<&Held> {
        let mut held = self.credentials.iter();
        held.find(|held| held.credentials == *credentials)
    }

    fn is_held(&self, credentials: &Arc<Credentials>) -> bool {
        self.held(credentials).is_some_and(|held| held.holders > 0)
    }

    /// Against whose number of topics this one counts.
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// Whether subscribers are present, and none of them is the owner's.
    pub fn lacks_owner(&self) -> bool {
        self.of_owner == 0 && self.count() > 0
    }

    /// Where the owner has left and others are present, one of them follows: the owner before, and the new one.
    pub fn pass_on(&mut self) -> Option<(Owner, Owner)> {
        if !self.lacks_owner() {
            return None;
        }
        let next = self.slots.iter().flatten().next()?.owner;
        let before = std::mem::replace(&mut self.owner, next);
        let theirs = self.slots.iter().flatten();
        self.of_owner = theirs.filter(|listener| listener.owner == next).count();
        Some((before, next))
    }

    /// Subscribers now.
    pub fn count(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Rings everybody.
    pub fn ring(&self) {
        for listener in self.slots.iter().flatten() {
            listener.signal.ring();
        }
    }

    /// The newest present subscriber's, else the last one's.
    pub fn credentials(&self) -> Credentials {
        let newest = self.credentials.last();
        newest.map_or_else(Credentials::default, |held| (*held.credentials).clone())
    }

    /// One subscriber's own.
    pub fn credentials_of(&self, slot: u32) -> Credentials {
        let listener = self.slots.get(slot as usize).and_then(Option::as_ref);
        listener.map_or_else(Credentials::default, |listener| {
            (*listener.credentials).clone()
        })
    }

    /// Keeps credentials that nobody present has brought.
    pub fn remember(&mut self, credentials: Credentials) {
        if self.credentials.is_empty() {
            self.credentials.push(Held {
                credentials: Arc::new(credentials),
                holders: 0,
            });
        }
    }

    fn hold(&mut self, credentials: Credentials) -> Arc<Credentials> {
        self.credentials.retain(|held| held.holders > 0);
        let known = self
            .credentials
            .iter()
            .position(|held| *held.credentials == credentials);
        let mut held = match known {
            Some(at) => self.credentials.remove(at),
            None => Held {
                credentials: Arc::new(credentials),
                holders: 0,
            },
        };
        held.holders += 1;
        let shared = held.credentials.clone();
        self.credentials.push(held);
        shared
    }

    fn release(&mut self, credentials: &Arc<Credentials>) {
        let mut held = self.credentials.iter();
        let Some(at) = held.position(|held| Arc::ptr_eq(&held.credentials, credentials)) else {
            return;
        };
        if let Some(held) = self.credentials.get_mut(at) {
            held.holders -= 1;
            if held.holders == 0 && self.credentials.len() > 1 {
                self.credentials.remove(at);
            }
        }
    }
}
