//! A subscription's place in a topic: a cursor into the shared log.

use std::sync::Arc;

use crate::config::Queue;
use crate::event::{End, Event, Position, State};

/// Where a subscription begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Now: a polled route sends its document first, a stream has no replay.
    Live,
    /// After this position.
    After(Position),
    /// After the newest event with this id.
    LastEventId(Arc<str>),
}

/// What joining a topic gave.
pub struct Joined {
    /// The cursor.
    pub subscriber: Subscriber,
    /// The head at joining; replay is `after`+1 … `at`.
    pub at: Position,
    /// True when everything after the asked position will be delivered.
    pub recovered: bool,
    /// What goes out before the log: at most one gap, then at most one snapshot.
    pub prelude: Vec<Arc<Event>>,
}

/// How far a topic is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No response head yet.
    Opening,
    /// Answers have been seen.
    Open,
    /// Over for good; what is in the log may still be read.
    Ended(End),
}

/// What a read came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Everything published has been handed out.
    CaughtUp,
    /// The limit of this read was reached; there is more.
    More,
    /// The log no longer holds what comes next, or the subscription lags further than allowed: nothing was handed out.
    Overrun,
}

/// A cursor into one topic. Dropping it leaves the topic.
pub struct Subscriber {}

impl Subscriber {
    /// The channel number of the topic.
    pub fn ch(&self) -> u32 {
        todo!()
    }
    /// The last position handed out (or the place where the subscription began).
    pub fn position(&self) -> Position {
        todo!()
    }
    /// Where the topic stands.
    pub fn phase(&self) -> Phase {
        todo!()
    }
    /// The state, where the client has been told otherwise; marks it told. A new client believes it is live.
    pub fn state_change(&mut self) -> Option<State> {
        todo!()
    }
    /// Cheap (no lock): whether a read would give anything.
    pub fn is_behind(&self) -> bool {
        todo!()
    }
    /// How many entries, and bytes, wait behind the cursor.
    pub fn waiting(&self) -> Queue {
        todo!()
    }
    /// Appends up to `count` entries to `out` and moves the cursor. What was there at joining does not count as lag.
    pub fn read(&mut self, out: &mut Vec<Arc<Event>>, count: usize, allowed: Queue) -> Progress {
        todo!()
    }
    /// After an overrun: goes to the oldest entry that is kept and within the allowed lag. Returns the gap, and for a polled route
    /// the current document's snapshot instead of the entries (the cursor is then at the head).
    pub fn skip_with_gap(&mut self, allowed: Queue) -> Vec<Arc<Event>> {
        todo!()
    }
    /// Goes to the head; returns the current document as a snapshot where the topic has one (coalescing: no loss), else `None` and the cursor stays.
    pub fn skip_to_document(&mut self) -> Option<Arc<Event>> {
        todo!()
    }
}
