//! A log that another process follows: what is exported of it, and how that is imported there.

use std::sync::Arc;
use std::time::Instant;

use super::History;
use super::lineage::Epochs;
use super::stream::StreamState;
use crate::event::{Data, Draft, Epoch, Event, EventKind, GapWhy};

/// Offsets that a log can have reached.
const FURTHEST: u64 = 1 << 48;

/// How far an export has come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exported {
    /// Up to which offset; `None` before the first time.
    cursor: Option<u64>,
    /// Counts documents.
    document: u64,
    /// Counts what changes of the stream without an entry.
    stream: u64,
    epoch: Option<Epoch>,
}

/// What is new in a log.
#[derive(Debug)]
pub(crate) struct Delta<E> {
    /// Offset of the first of these.
    pub(crate) first: u64,
    /// The oldest offset that may be replayed.
    pub(crate) window: u64,
    /// The entries themselves.
    pub(crate) entries: Vec<E>,
    /// The document behind them, where it is another.
    pub(crate) document: Option<(Data, Instant)>,
    /// What is known of the stream.
    pub(crate) stream: StreamState,
    /// The epochs, where they are others than before.
    pub(crate) epochs: Option<Epochs>,
}

/// An entry on its way into a log: what it is, what it says, and since when.
pub(crate) type Imported = (EventKind, Draft, Instant);

impl History {
    /// Everything after what was `exported` before, up to the head and with the document as of there; `None` where that is nothing.
    /// The first time it is the replay window: what only present readers need they get here.
    pub(crate) fn export(&self, exported: &mut Exported) -> Option<Delta<Arc<Event>>> {
        let is_first = exported.cursor.is_none();
        let next = exported.cursor.map_or(self.window, |cursor| cursor + 1);
        let first = next.max(self.first());
        let epochs = self.lineage.epochs();
        let has_document = self.document.version() != exported.document;
        let is_changed = self.stream.version() != exported.stream;
        let is_diverged = exported.epoch.is_some_and(|epoch| epoch != epochs.now);
        if !is_first && first > self.head() && !has_document && !is_changed && !is_diverged {
            return None;
        }
        // The first time the epoch goes over with the topic itself.
        let is_news = is_diverged || (is_first && !epochs.former.is_empty());
        *exported = Exported {
            cursor: Some(self.head()),
            document: self.document.version(),
            stream: self.stream.version(),
            epoch: Some(epochs.now),
        };
        let entries = self.events().skip((first - self.first()) as usize);
        let document = self.document.newest().filter(|_| has_document);
        Some(Delta {
            first,
            window: self.window,
            entries: entries.cloned().collect(),
            document: document.cloned(),
            stream: self.stream.export(is_first || first > next),
            epochs: is_news.then(|| epochs.clone()),
        })
    }

    /// Goes on as the log did elsewhere. What is known already is passed over; where something between is missing, what is here
    /// is let go, so that no subscriber reads across the hole.
    pub(crate) fn import(&mut self, delta: Delta<Imported>) {
        let Delta {
            first,
            window,
            entries,
            document,
            stream,
            epochs,
        } = delta;
        if let Some(epochs) = epochs {
            self.lineage.import(epochs);
        }
        let first = first.clamp(1, FURTHEST);
        if first > self.head() + 1 {
            self.begin_at(first);
        }
        let known = (self.head() + 1 - first) as usize;
        for (kind, draft, at) in entries.into_iter().skip(known) {
            let is_gap = matches!(kind, EventKind::Gap { .. });
            let is_snapshot = kind == EventKind::Snapshot;
            self.push(kind, draft, at);
            if is_gap {
                self.last_gap = self.head();
            }
            if is_snapshot {
                self.document.last_snapshot = self.head();
            }
        }
        if let Some((data, at)) = document {
            self.document.set(data, at);
        }
        self.window = self.window.max(window.min(self.head() + 1));
        self.stream.import(stream);
    }

    /// From now on another process appends.
    pub(crate) fn follow(&mut self) {
        self.lineage.follow();
    }

    /// From now on this process appends; the leader has sent everything.
    pub(crate) fn lead(&mut self) {
        self.lineage.lead();
    }

    /// From now on this process appends, in this epoch: the leader is gone, and may have given positions to events that never came
    /// here. A client that has come with one of these already waits for what follows it, so the log begins anew behind it, with the
    /// loss; every other one is known by its epoch when its client comes. The loss is also reported where the backend's stream has no
    /// ids to go on after, and there is no document to read again.
    pub(crate) fn lead_on(&mut self, epoch: Epoch, at: Instant) {
        self.lineage.lead();
        let promised = self.lineage.diverge(epoch, self.entries.head());
        if let Some(promised) = promised {
            self.begin_at(promised + 1);
        }
        let is_resumed = self.stream.last_id().is_some() || self.document().is_some();
        if promised.is_some() || !is_resumed {
            self.append_gap(GapWhy::UpstreamReconnect, at);
        }
    }

    fn begin_at(&mut self, first: u64) {
        while self.entries.count() > 0 {
            self.drop_oldest();
        }
        self.entries.begin_at(first);
        self.window = first;
        self.document.head_moved();
    }
}
