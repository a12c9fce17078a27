//! Which subscribers a topic has, which of them want what is published, and with whose credentials it is read.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::key::{Credentials, Owner};
use super::shards::lock;
use super::subscribers::Subscribers;
use super::wake::{WakeFlag, WakeFlags};
use crate::event::End;

pub(super) struct Presence {
    /// Several principals share the topic.
    is_pooled: bool,
    /// Those present, and those that are about to be.
    count: AtomicUsize,
    /// Those among them that wait for what the backend says of the id that they brought.
    pub(crate) awaiting: AtomicUsize,
    /// Those of them that have not paused.
    active: AtomicUsize,
    /// Notifies when there is one again.
    attention: Notify,
    /// Notifies where a pool's reader has gone and another subscriber is here.
    reader_gone: Notify,
    /// The backend has refused a subscriber's credentials while the topic goes on.
    has_refused: AtomicBool,
    listeners: Mutex<Subscribers>,
}

impl Presence {
    /// No subscriber yet, of a topic that counts against this owner.
    pub(crate) fn new(owner: Owner, is_pooled: bool) -> Self {
        Presence {
            is_pooled,
            count: AtomicUsize::new(0),
            awaiting: AtomicUsize::new(0),
            active: AtomicUsize::new(0),
            attention: Notify::new(),
            reader_gone: Notify::new(),
            has_refused: AtomicBool::new(false),
            listeners: Mutex::new(Subscribers::of(owner)),
        }
    }

    /// Subscribers that are present, or expected.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// One more subscriber counts from now on, and will attach: the topic stays. Under its shard's lock.
    pub(crate) fn expect(&self) {
        self.count.fetch_add(1, Ordering::AcqRel);
    }

    /// The slot of a subscriber that was expected, and whether none of those that are present is the owner's.
    pub(crate) fn attach(
        &self,
        signal: Arc<WakeFlag>,
        credentials: Credentials,
        owner: Owner,
    ) -> (u32, bool) {
        let attached = self.with_listeners(|listeners| {
            let slot = listeners.attach(signal, credentials, owner);
            (slot, listeners.lacks_owner())
        });
        self.rouse();
        attached
    }

    /// How many are left, and whether none of those that are present is the owner's.
    pub(crate) fn detach(&self, slot: u32, is_paused: bool) -> (usize, bool) {
        let lacks_owner = self.with_listeners(|listeners| {
            listeners.detach(slot);
            listeners.lacks_owner()
        });
        if !is_paused {
            self.drowse();
        }
        let left = self.count.fetch_sub(1, Ordering::AcqRel) - 1;
        (left, lacks_owner)
    }

    /// Changes which subscribers are present; where a pool lacks its reader then, its feed is notified.
    fn with_listeners<T>(&self, change: impl FnOnce(&mut Subscribers) -> T) -> T {
        let (changed, lacks_reader) = {
            let mut listeners = lock(&self.listeners);
            (change(&mut listeners), listeners.lacks_reader())
        };
        if lacks_reader {
            self.reader_gone.notify_one();
        }
        changed
    }

    /// The client against whose number of topics it counts: the one that it was made for, or another subscriber once that
    /// one has left.
    pub(crate) fn owner(&self) -> Owner {
        lock(&self.listeners).owner()
    }

    /// A client without others beside it owns it from now on; under its shard's lock only, which keeps the numbers.
    pub(crate) fn set_owner(&self, owner: Owner) {
        lock(&self.listeners).set_owner(owner);
    }

    /// See [`Subscribers::pass_on`]; under its shard's lock only, which keeps the numbers.
    pub(crate) fn pass_on(&self) -> Option<Owner> {
        lock(&self.listeners).pass_on()
    }

    /// One more subscriber wants what is published.
    pub(crate) fn rouse(&self) {
        if self.active.fetch_add(1, Ordering::AcqRel) == 0 {
            self.attention.notify_waiters();
        }
    }

    /// One subscriber less wants what is published.
    pub(crate) fn drowse(&self) {
        self.active.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether a subscriber wants what is published.
    pub(crate) fn is_attended(&self) -> bool {
        self.active.load(Ordering::Acquire) > 0
    }

    /// Resolves when there may be one again, from this call on.
    pub(crate) fn attention(&self) -> impl Future<Output = ()> {
        self.attention.notified()
    }

    /// What one subscriber has brought.
    pub(crate) fn credentials_of(&self, slot: u32) -> Credentials {
        lock(&self.listeners).credentials_of(slot)
    }

    /// A subscriber has newer credentials.
    pub(crate) fn renew(&self, slot: u32, credentials: Credentials) {
        lock(&self.listeners).renew(slot, credentials);
    }

    /// The credentials to read with until a subscriber brings others; a pool's reader is waited for.
    pub(crate) fn remember(&self, credentials: Credentials) {
        let mut listeners = lock(&self.listeners);
        match self.is_pooled {
            true => listeners.await_reader(credentials),
            false => listeners.remember(credentials),
        }
    }

    /// A pool's reader from another process has had its time to come.
    pub(crate) fn stop_awaiting(&self) {
        self.with_listeners(Subscribers::stop_awaiting);
    }

    /// Whether several principals share the topic.
    pub(crate) fn is_pooled(&self) -> bool {
        self.is_pooled
    }

    /// Resolves when a pool's reader has gone and another subscriber is here.
    pub(crate) async fn reader_gone(&self) {
        if !self.is_pooled {
            return std::future::pending().await;
        }
        while !lock(&self.listeners).lacks_reader() {
            self.reader_gone.notified().await;
        }
    }

    /// See [`Subscribers::credentials`].
    pub(crate) fn credentials(&self) -> Credentials {
        lock(&self.listeners).credentials()
    }

    /// The credentials of the next request.
    pub(crate) fn ask_as(&self) -> Credentials {
        let mut listeners = lock(&self.listeners);
        match self.is_pooled {
            true => listeners.ask_as(),
            false => listeners.credentials(),
        }
    }

    /// See [`Subscribers::granted`].
    pub(crate) fn granted(&self) {
        if self.is_pooled {
            lock(&self.listeners).granted();
        }
    }

    /// See [`Subscribers::refused`].
    pub(crate) fn refused(&self, end: &End) -> bool {
        // Before the slots are woken.
        self.has_refused.store(true, Ordering::Release);
        let (refused, signals) = {
            let mut listeners = lock(&self.listeners);
            (listeners.refused(end), listeners.signals())
        };
        let slots = refused.slots.iter();
        slots.for_each(|slot| signals.ring_one(*slot));
        refused.has_another
    }

    /// See [`Subscribers::refusal`]; no lock where no subscriber was refused.
    pub(crate) fn refusal(&self, slot: u32) -> Option<End> {
        let has_refused = self.has_refused.load(Ordering::Acquire);
        has_refused.then(|| lock(&self.listeners).refusal(slot))?
    }

    /// The signals of those present.
    pub(crate) fn signals(&self) -> WakeFlags {
        lock(&self.listeners).signals()
    }
}
