//! Words that all of the hub has in common.

use std::sync::Arc;

use crate::event::{End, Position};

/// What the hub may hold.
#[derive(Clone, Copy, Debug)]
pub struct HubLimits {
    /// Bytes of all replay windows together.
    pub memory: usize,
    /// Topics on this node.
    pub topics: usize,
    /// Topics of one route and one [`super::key::Owner`], unless that is unknown.
    pub topics_per_principal: usize,
}

impl HubLimits {
    /// As the configuration says.
    pub(crate) fn of(limits: &crate::config::Limits) -> Self {
        HubLimits {
            memory: limits.memory,
            topics: limits.topics,
            topics_per_principal: limits.topics_per_principal,
        }
    }
}

/// Where a subscription begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// A polled route sends its document first, a stream what its `join` says.
    Live,
    /// After this position.
    After(Position),
    /// After the event with this id. Because a client that brings an id may have seen any of the events that show it,
    /// "after" is after the first of them: some may come twice, none is lost. An empty id is [`Start::Live`].
    LastEventId(Arc<str>),
    /// As a newcomer, for a client that was here before, and could not come back to its session: a gap from this position, where it
    /// is known, comes first.
    Lost(Option<Position>),
    /// As `After`, for a client that a reload moved here: the gap says `config`.
    Moved(Position),
}

/// How far a topic is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing is known of the backend: not yet, or not any more after the topic was idle.
    Opening,
    /// It answered, or the feed said that it does not: subscriptions may be answered.
    Open,
    /// Over for good; what is in the log may still be read. Read until caught up *after* seeing this.
    Ended(End),
}

/// What a read came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadProgress {
    /// Everything published has been handed out.
    CaughtUp,
    /// The limit of this read was reached; there is more.
    More,
    /// The log no longer holds what comes next: nothing was handed out.
    Overrun,
}
