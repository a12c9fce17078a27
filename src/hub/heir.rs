//! A topic that another process still reads: what it tells is taken in, in its order, until it lets go. Only then this
//! process's own feed publishes.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::Hub;
use super::carried::{self, News};
use super::node::Node;
use super::subscriber::Phase;
use super::topic::{Topic, now};
use crate::config::Route;
use crate::event::Event;

/// What this process wants of the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The backend's stream is open here: let this topic go.
    Taken(u64),
    /// A write was observed: poll this topic now.
    Refresh(u64),
}

/// Who reads an inherited topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keeper {
    /// The other process.
    Predecessor,
    /// We; it told everything before.
    We,
    /// We; it vanished.
    Nobody,
}

/// The way to whoever kept a topic before.
pub(super) struct Inheritance {
    number: u64,
    wishes: mpsc::Sender<Wish>,
    keeper: watch::Sender<Keeper>,
}

impl Inheritance {
    pub fn is_kept(&self) -> bool {
        *self.keeper.borrow() == Keeper::Predecessor
    }

    /// A wish that finds no room is one that comes true by itself: the next poll, or the end of the other process.
    fn wish(&self, wish: fn(u64) -> Wish) {
        let _ = self.wishes.try_send(wish(self.number));
    }

    pub fn wish_for_refresh(&self) {
        self.wish(Wish::Refresh);
    }

    pub fn wish_to_take(&self) {
        if self.is_kept() {
            self.wish(Wish::Taken);
        }
    }

    /// Resolves when nobody else publishes any more; false where something may be missing.
    pub async fn taken(&self) -> bool {
        self.wish_to_take();
        let mut keeper = self.keeper.subscribe();
        let is_free = keeper.wait_for(|keeper| *keeper != Keeper::Predecessor);
        is_free.await.is_ok_and(|keeper| *keeper == Keeper::We)
    }
}

/// Where a feed begins that goes on as another one did.
#[derive(Clone, Debug)]
pub struct Legacy {
    /// The newest id that the stream itself has sent.
    pub last_event_id: Option<Arc<str>>,
    /// The newest document.
    pub document: Option<bytes::Bytes>,
    /// What is kept, oldest first.
    pub events: Vec<Arc<Event>>,
    /// The backend had answered.
    pub was_open: bool,
}

/// One inherited topic, as the other process tells of it.
pub struct Heir {
    node: Arc<Node>,
    topic: Arc<Topic>,
}

impl Hub {
    /// Takes a topic over. `None` where it is none of ours: the route reads something else now, the topic is there already, or
    /// there is no room. Whoever comes for it then gets a new one.
    pub fn inherit(
        &self,
        number: u64,
        topic: &carried::Topic,
        find: impl FnOnce(&str) -> Option<Arc<Route>>,
        wishes: mpsc::Sender<Wish>,
    ) -> Option<Heir> {
        let identity = topic.read(find)?;
        let inheritance = Inheritance {
            number,
            wishes,
            keeper: watch::Sender::new(Keeper::Predecessor),
        };
        let topic = self.node.adopt(identity, inheritance)?;
        Some(Heir {
            node: self.node.clone(),
            topic,
        })
    }
}

impl Heir {
    /// Takes in what is told.
    pub fn hear(&self, news: News) {
        match news {
            News::Exists(_) | News::Unknown => {}
            News::Grown(grown) => {
                let epoch = self.topic.epoch;
                let arrival = grown.read(epoch, now());
                // Nothing is taken in any more where it is over.
                let _is_going_on = self.topic.extend(|log, _| log.take_in(arrival));
            }
            News::Stands(standing) => self.topic.stand(&standing),
            News::Overlap => self.node.start(&self.topic),
            News::Released => self.release(Keeper::We),
            News::Ended(ended) => {
                // First, so that nothing is read any more.
                self.node.end(&self.topic, ended.read());
                self.release(Keeper::We);
            }
        }
    }

    /// The other process is gone without a word.
    pub fn lose(&self) {
        self.release(Keeper::Nobody);
    }

    fn release(&self, keeper: Keeper) {
        let Some(inheritance) = self.topic.inheritance.get() else {
            return;
        };
        if !inheritance.is_kept() {
            return;
        }
        let is_going_on = self.topic.extend(|log, now| {
            log.set_followed(false);
            if keeper == Keeper::Nobody {
                log.keep_promises(now);
            }
        });
        self.node.linger_anew(&self.topic);
        if self.topic.is_pooled() {
            let (age, topic) = (
                self.topic.route.load().replay.age,
                Arc::downgrade(&self.topic),
            );
            self.topic.runtime.spawn(async move {
                tokio::time::sleep(age).await;
                if let Some(topic) = topic.upgrade() {
                    topic.stop_awaiting();
                }
            });
        }
        inheritance.keeper.send_replace(keeper);
        if is_going_on {
            self.node.start(&self.topic);
        }
    }
}

impl Topic {
    /// What its feed goes on from; `None` for a topic of our own.
    pub fn legacy(&self) -> Option<Legacy> {
        self.inheritance.get()?;
        let was_open = self.phase() != Phase::Opening;
        Some(self.with_log(|log| Legacy {
            last_event_id: log.stream().last_id().cloned(),
            document: log.document().map(|data| data.bytes().clone()),
            events: log.events().cloned().collect(),
            was_open,
        }))
    }

    /// Whether another process publishes on it.
    pub fn is_kept(&self) -> bool {
        self.inheritance.get().is_some_and(Inheritance::is_kept)
    }
}
