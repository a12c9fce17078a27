//! A subscription's place in a topic: a cursor into the shared log.

use std::sync::Arc;

use super::key::{Credentials, Scope, Target};
use super::log::{Cursor, Log};
use super::place::{self, Placed};
use super::topic::{Topic, now};
use crate::config::Queue;
use crate::event::{End, Event, Position, State};

/// Where a subscription begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Now: a polled route sends its document first, a stream has no replay.
    Live,
    /// After this position.
    After(Position),
    /// After the newest event with this id. Because an event without an id of its own shows the one
    /// before it, "after" is after the first of the newest events that show it: one may come twice,
    /// none is lost. An empty id is [`Start::Live`].
    LastEventId(Arc<str>),
    /// As `After`, by somebody whom a reload moved here: the gap says `config`.
    Moved(Position),
}

/// What joining a topic gave.
pub struct Joined {
    /// The cursor.
    pub subscriber: Subscriber,
    /// The head at joining; replay is `after`+1 … `at`.
    pub at: Position,
    /// True when everything after the asked position will be delivered, and as plain events: no gap,
    /// no snapshot. Never true for [`Start::Live`], which asks for nothing.
    pub recovered: bool,
    /// What goes out before the log: at most one gap, then at most one snapshot.
    pub prelude: Vec<Arc<Event>>,
}

/// How far a topic is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing is known of the backend yet, or again, after nobody wanted to know.
    Opening,
    /// It answered, or the feed said that it does not: subscriptions may be answered.
    Open,
    /// Over for good; what is in the log may still be read. Read until caught up *after* seeing this.
    Ended(End),
}

/// What a read came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Everything published has been handed out.
    CaughtUp,
    /// The limit of this read was reached; there is more.
    More,
    /// The log no longer holds what comes next: nothing was handed out.
    Overrun,
}

/// A cursor into one topic. Dropping it leaves the topic.
pub struct Subscriber {
    topic: Arc<Topic>,
    cursor: Cursor,
    slot: u32,
    /// The number of the state that the client was told.
    told: u32,
    told_live: bool,
    is_paused: bool,
}

impl Subscriber {
    /// Places a new subscriber, whose slot among the listeners is taken already: nothing published
    /// from now on stays unheard.
    pub(super) fn begin(topic: Arc<Topic>, slot: u32, start: Start) -> Joined {
        let resumes = !matches!(start, Start::Live);
        let (placed, cursor, head) = topic.with_trimmed_log(|log, now| {
            let placed = place::begin(log, start, topic.resume_id.as_deref(), now);
            let mut cursor = Cursor::new(placed.cursor);
            log.hold(&mut cursor);
            (placed, cursor, log.head())
        });
        let Placed {
            recovered,
            lost,
            prelude,
            ..
        } = placed;
        if recovered && resumes {
            topic.meters.replays.inc();
        }
        if let Some(why) = lost {
            topic.count_gap(why);
        }
        Joined {
            at: topic.position(head),
            subscriber: Subscriber {
                topic,
                cursor,
                slot,
                told: 0,
                told_live: true,
                is_paused: false,
            },
            recovered,
            prelude,
        }
    }

    /// The channel number of the topic.
    pub fn ch(&self) -> u32 {
        self.topic.ch
    }

    /// What the topic reads, as it was when the topic began.
    pub fn target(&self) -> &Arc<Target> {
        &self.topic.target
    }

    /// The last position handed out (or the place where the subscription began).
    pub fn position(&self) -> Position {
        self.topic.position(self.cursor.offset)
    }

    /// How it ended where the backend has refused these very credentials, though the topic goes on with others': nothing more is
    /// for this subscriber.
    pub fn refusal(&self) -> Option<End> {
        self.topic.refusal(self.slot)
    }

    /// Where the topic stands.
    pub fn phase(&self) -> Phase {
        self.topic.phase()
    }

    /// The state, where the client has been told otherwise; marks it told. A new client believes it is live.
    pub fn state_change(&mut self) -> Option<State> {
        let (version, state) = self.topic.state_since(self.told)?;
        self.told = version;
        let news = !(state.live && self.told_live);
        self.told_live = state.live;
        news.then_some(state)
    }

    /// Takes over what the client was told at another topic, so that it is told of the difference.
    pub fn take_over(&mut self, elsewhere: &Subscriber) {
        self.told_live = elsewhere.told_live;
    }

    /// The credentials that this subscriber brought, or has renewed.
    pub fn credentials(&self) -> Credentials {
        self.topic.credentials_of(self.slot)
    }

    /// The client has newer credentials: the topic's next request goes with them. A public topic has nobody's.
    pub fn renew(&self, credentials: Credentials) {
        if self.topic.target.scope != Scope::Public {
            self.topic.renew(self.slot, credentials);
        }
    }

    /// Wants nothing until [`Subscriber::resume`]: a source that only this one would be asked for may rest, and nothing is kept
    /// for it but the replay window.
    pub fn pause(&mut self) {
        if !std::mem::replace(&mut self.is_paused, true) {
            self.topic.drowse();
            self.let_go();
        }
    }

    /// Wants again what is published.
    pub fn resume(&mut self) {
        if std::mem::take(&mut self.is_paused) {
            self.topic.with_log(|log| log.hold(&mut self.cursor));
            self.topic.rouse();
        }
    }

    /// Nothing is kept for it any more until it reads again: its client takes next to nothing.
    pub fn let_go(&mut self) {
        self.topic.with_log(|log| log.let_go(&mut self.cursor));
    }

    /// Whether [`Subscriber::let_go`] was called and nothing read since.
    pub fn is_let_go(&self) -> bool {
        !self.cursor.is_held()
    }

    /// Cheap (no lock): whether a read would give anything.
    pub fn is_behind(&self) -> bool {
        self.topic.head() > self.cursor.offset
    }

    /// How many entries, and bytes, wait behind the cursor.
    pub fn waiting(&self) -> Queue {
        let offset = self.cursor.offset;
        self.topic.with_log(|log| log.waiting(offset))
    }

    /// Whether more is kept for it than this.
    pub fn is_further_behind(&self, allowed: Queue) -> bool {
        let is_further = |log: &mut Log| log.is_further_behind(self.cursor.offset, allowed);
        self.cursor.is_held() && self.is_behind() && self.topic.with_log(is_further)
    }

    /// Whether what comes next is no longer kept.
    pub fn has_lost(&self) -> bool {
        let offset = self.cursor.offset;
        self.topic.with_log(|log| log.has_lost(offset))
    }

    /// Appends up to `count` entries to `out` and moves the cursor.
    ///
    /// What waits for a present subscriber is kept until it is read, let go, or memory runs short.
    pub fn read(&mut self, out: &mut Vec<Arc<Event>>, count: usize) -> Progress {
        self.topic
            .with_log(|log| log.read(&mut self.cursor, out, count))
    }

    /// After an overrun: goes to the oldest entry that is kept. Returns the gap, and for a polled route the current document's
    /// snapshot instead of the entries (the cursor is then at the head). Nothing is returned where nothing is lost.
    pub fn skip_with_gap(&mut self) -> Vec<Arc<Event>> {
        let offset = self.cursor.offset;
        self.replace(|log, now| place::skip(log, offset, now))
    }

    /// After a pause: returns the gap `expired` (and a polled route's snapshot) where what comes next is no longer kept.
    pub fn go_on(&mut self) -> Vec<Arc<Event>> {
        let offset = self.cursor.offset;
        self.replace(|log, now| place::go_on(log, offset, now))
    }

    /// Goes to the head; returns the current document as a snapshot where the topic has one (coalescing: no loss), else `None` and the cursor stays.
    ///
    /// Also `None` where the cursor is at the head, and where a gap waits that the client has to be told of.
    pub fn skip_to_document(&mut self) -> Option<Arc<Event>> {
        self.topic.with_log(|log| {
            let offset = self.cursor.offset;
            if offset == log.head() || log.last_gap() > offset {
                return None;
            }
            let snapshot = log.snapshot()?;
            log.move_to(&mut self.cursor, log.head());
            Some(snapshot)
        })
    }

    fn replace(
        &mut self,
        find: impl FnOnce(&mut Log, std::time::Instant) -> Placed,
    ) -> Vec<Arc<Event>> {
        let placed = self.topic.with_log(|log| {
            let placed = find(log, now());
            log.move_to(&mut self.cursor, placed.cursor);
            placed
        });
        if let Some(why) = placed.lost {
            self.topic.count_gap(why);
        }
        placed.prelude
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.let_go();
        let node = &self.topic.node;
        node.leave(&self.topic, self.slot, self.is_paused);
    }
}
