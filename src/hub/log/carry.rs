//! A log that goes on in another process: what is told of it there, and how it is taken in.

use std::sync::Arc;
use std::time::Instant;

use super::stream::Handed;
use super::{Document, Log, UNDERWAY};
use crate::event::{Data, Draft, Event, GapWhy, Kind};

/// Offsets of a log that anybody could have reached.
const FURTHEST: u64 = 1 << 48;

/// How far somebody who tells of a log has come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    /// Up to which offset; `None` before the first time.
    cursor: Option<u64>,
    documents: u64,
    /// Counts what changes of the stream without an entry.
    stream: u64,
}

/// What is new in a log.
#[derive(Debug)]
pub struct Extract {
    /// Offset of the first of these.
    pub first: u64,
    /// The oldest offset that may be replayed.
    pub window: u64,
    /// The entries themselves.
    pub entries: Vec<Arc<Event>>,
    /// The document behind them, where it is another.
    pub document: Option<(Data, Instant)>,
    /// What is known of the stream.
    pub stream: Handed,
}

/// An entry on its way into a log: what it is, what it says, and since when.
pub type Arrived = (Kind, Draft, Instant);

/// What is new in a log, as it arrives elsewhere.
#[derive(Debug)]
pub struct Arrival {
    /// As in [`Extract`].
    pub first: u64,
    /// As in [`Extract`].
    pub window: u64,
    /// As in [`Extract`].
    pub entries: Vec<Arrived>,
    /// As in [`Extract`].
    pub document: Option<(Data, Instant)>,
    /// As in [`Extract`].
    pub stream: Handed,
}

impl Log {
    /// Everything that `told` has not heard of, up to the head and with the document as of there; `None` where that is nothing.
    /// The first time it is the replay window: what only present readers need they get here.
    pub fn extract(&self, told: &mut Told) -> Option<Extract> {
        let is_first = told.cursor.is_none();
        let next = told.cursor.map_or(self.window, |cursor| cursor + 1);
        let first = next.max(self.first);
        let skip = (first - self.first) as usize;
        let is_news = self.documents != told.documents;
        let is_changed = self.stream.version() != told.stream;
        if !is_first && skip >= self.entries.len() && !is_news && !is_changed {
            return None;
        }
        told.stream = self.stream.version();
        told.cursor = Some(self.head());
        told.documents = self.documents;
        let entries = self.entries.iter().skip(skip);
        let document = self.document.as_ref().filter(|_| is_news);
        Some(Extract {
            first,
            window: self.window,
            entries: entries.map(|entry| entry.event.clone()).collect(),
            document: document.map(|document| (document.data.clone(), document.at)),
            stream: self.stream.hand_over(is_first || first > next),
        })
    }

    /// Goes on as the log did elsewhere. What is known already is passed over; where something between is missing, what is here
    /// is let go, so that nobody reads across the hole.
    pub fn take_in(&mut self, arrival: Arrival) {
        let Arrival {
            first,
            window,
            entries,
            document,
            stream,
        } = arrival;
        let first = first.clamp(1, FURTHEST);
        if first > self.head() + 1 {
            self.begin_at(first);
        }
        let known = (self.head() + 1 - first) as usize;
        for (kind, draft, at) in entries.into_iter().skip(known) {
            let is_gap = matches!(kind, Kind::Gap { .. });
            let is_snapshot = kind == Kind::Snapshot;
            self.push(kind, draft, at);
            if is_gap {
                self.last_gap = self.head();
            }
            if is_snapshot {
                self.last_snapshot = self.head();
            }
        }
        if let Some((data, at)) = document {
            self.document = Some(Document { data, at });
            self.documents += 1;
            self.snapshot = None;
        }
        self.window = self.window.max(window.min(self.head() + 1));
        self.stream.take_over(stream);
    }

    /// From now on, or no longer, another process adds to it.
    pub fn set_followed(&mut self, is_followed: bool) {
        self.is_followed = is_followed;
    }

    /// The process that added to it is gone, and may have given positions to events that never came here. No other event gets
    /// one of these: the loss is told behind them. Where the backend's stream goes on after an id, or a document is read again,
    /// only positions that a client has come with already are passed over.
    pub fn keep_promises(&mut self, at: Instant) {
        if self.stream.last_id().is_none() && self.document.is_none() {
            self.promised = self.head() + UNDERWAY;
        }
        if self.promised > self.head() {
            self.begin_at(self.promised + 1);
            self.append_gap(GapWhy::UpstreamReconnect, at);
        }
    }

    /// The document's text as of the head.
    pub fn document(&self) -> Option<&Data> {
        self.document.as_ref().map(|document| &document.data)
    }

    /// Everything that is kept, oldest first.
    pub fn events(&self) -> impl Iterator<Item = &Arc<Event>> {
        self.entries.iter().map(|entry| &entry.event)
    }

    fn begin_at(&mut self, first: u64) {
        self.base = self.total();
        while !self.entries.is_empty() {
            self.drop_oldest();
        }
        self.first = first;
        self.window = first;
        // A reader that has read everything before has lost what is missing.
        self.at_head = 0;
        self.snapshot = None;
    }
}
