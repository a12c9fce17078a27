//! A topic's one log: what was published, how long it is kept, and from which positions a client may resume.
//! Pure: time is an argument.
//!
//! What is kept is the replay window, and everything from the first entry that a reader needs; only [`History::squeeze`] takes more.

mod document;
pub(super) mod entries;
pub(super) mod index;
pub(super) mod lineage;
pub(crate) mod stream;
pub(super) mod transfer;

use std::sync::Arc;
use std::time::Instant;

use self::document::Document;
use self::entries::{Cursor, Entries, LogEntry};
use self::index::Index;
use self::lineage::{Lineage, Writer};
use self::stream::{Newcomer, Stream, StreamConnection};
use super::types::ReadProgress;
use crate::config::{Join, Queue, Replay};
use crate::event::{Cause, Data, Draft, End, Epoch, Event, EventKind, GapWhy, Position};

pub(super) struct History {
    ch: u32,
    lineage: Lineage,
    entries: Entries,
    /// Oldest offset that a resume may ask for.
    window: u64,
    /// Newest entry that is a gap, 0 for none.
    last_gap: u64,
    document: Document,
    stream: Stream,
    /// While a subscriber reads a request of its own.
    index: Option<Box<Index>>,
    closed: bool,
    /// What led to the entries that are appended now.
    cause: Option<Arc<Cause>>,
}

/// What a squeeze may take.
#[derive(Clone, Copy, Debug)]
pub(super) enum Spare {
    /// What no reader needs.
    Unneeded,
    /// Also what readers have not taken that had it before this instant.
    Left(Instant),
    /// Everything but the newest entry.
    All,
}

impl History {
    pub(crate) fn new(ch: u32, epoch: Epoch, stream: Stream) -> Self {
        History {
            ch,
            lineage: Lineage::new(epoch),
            entries: Entries::new(),
            window: 1,
            last_gap: 0,
            document: Document::default(),
            stream,
            index: None,
            closed: false,
            cause: None,
        }
    }

    /// Names what leads to the entries that come from now on.
    pub(crate) fn set_cause(&mut self, cause: Option<Arc<Cause>>) {
        self.cause = cause;
    }

    /// Offset of the newest entry, 0 before the first.
    pub(crate) fn head(&self) -> u64 {
        self.entries.head()
    }

    pub(crate) fn position(&self, offset: u64) -> Position {
        Position {
            epoch: self.lineage.epochs().now,
            offset,
        }
    }

    /// Which writer may append.
    pub(crate) fn writer(&self) -> Writer {
        self.lineage.writer()
    }

    /// Oldest offset that is kept.
    pub(crate) fn first(&self) -> u64 {
        self.entries.first()
    }

    /// Oldest offset that may be replayed.
    pub(crate) fn window(&self) -> u64 {
        self.window
    }

    /// Newest offset that is a gap or a snapshot: a replay that holds one is no plain one.
    pub(crate) fn last_break(&self) -> u64 {
        self.last_gap.max(self.document.last_snapshot)
    }

    pub(crate) fn last_gap(&self) -> u64 {
        self.last_gap
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Nothing is appended any more.
    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    /// Bytes of memory that it takes: the entries, and the document where none of the entries shares it.
    pub(crate) fn held(&self) -> usize {
        let newest = [self.document.last_snapshot, self.head()];
        let newest = newest.into_iter().filter_map(|at| self.entries.get(at));
        self.entries.held() + self.document.held(newest)
    }

    /// The parsed form and the encodings that were made of this entry are kept with it from now on.
    pub(crate) fn recount(&mut self, event: &Event) {
        self.entries.recount(event);
    }

    /// Whether a reader that has not taken the oldest entry needs it.
    pub(crate) fn is_needed(&self) -> bool {
        self.entries.oldest().is_some_and(|entry| entry.readers > 0)
    }

    /// Entries and bytes of the replay window.
    pub(crate) fn replayable(&self) -> (usize, usize) {
        let Queue { messages, bytes } = self.entries.waiting(self.window - 1);
        (messages as usize, bytes as usize)
    }

    /// The event at this offset, while it is kept.
    pub(crate) fn event(&self, offset: u64) -> Option<&Arc<Event>> {
        self.entries.get(offset)
    }

    /// Everything that is kept, oldest first.
    pub(crate) fn events(&self) -> impl Iterator<Item = &Arc<Event>> {
        self.entries.iter()
    }

    /// The document's text as of the head.
    pub(crate) fn document(&self) -> Option<&Data> {
        self.document.newest().map(|(data, _)| data)
    }

    /// See [`Stream`].
    pub(crate) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Another connection to the backend stands; what was lost before it has been reported.
    pub(crate) fn connected(&mut self, connection: StreamConnection, head_at: Instant) {
        let head = self.head();
        self.stream.connected(connection, head_at, head);
    }

    /// The backend has nothing more for the clients that brought the id.
    pub(crate) fn end_brought(&mut self, end: End) {
        self.stream.end_brought(end);
    }

    /// What a client gets that comes without a position.
    pub(crate) fn newcomer(&self, join: Join, now: Instant) -> Newcomer {
        self.stream.newcomer(join, now, self.window, self.head())
    }

    /// Appends one publish.
    pub(crate) fn append(&mut self, drafts: Vec<Draft>, at: Instant) {
        for draft in drafts {
            self.push(EventKind::Event, draft, at);
        }
    }

    /// Appends a gap, and the document behind it where there is one: no client is left with a gap only.
    pub(crate) fn append_gap(&mut self, why: GapWhy, at: Instant) {
        let from = self.position(self.head());
        self.push(EventKind::Gap { from, why }, nothing(), at);
        self.last_gap = self.head();
        self.push_document(at);
    }

    /// Keeps the document, and appends what is emitted for it; the whole document where `drafts` is `None`.
    pub(crate) fn append_document(&mut self, data: Data, drafts: Option<Vec<Draft>>, at: Instant) {
        let is_first = self.document.set(data, at);
        match drafts {
            Some(drafts) if !is_first => self.append(drafts, at),
            _ => self.push_document(at),
        }
    }

    /// The document as of the head.
    pub(crate) fn snapshot(&mut self) -> Option<Arc<Event>> {
        let head = self.position(self.head());
        self.document.snapshot(self.ch, head)
    }

    /// A gap for one subscriber, beside the log.
    pub(crate) fn gap(&self, from: Position, to: u64, why: GapWhy, at: Instant) -> Arc<Event> {
        let kind = EventKind::Gap { from, why };
        Arc::new(Event::new(self.ch, self.position(to), kind, nothing(), at))
    }

    /// The position at which a client goes on whose newest event showed this id. It may have seen any of the events that
    /// show it, so it goes on at the first of them: after that event where it bears the id, before it where it only shows
    /// it. `None` where that event may be gone.
    pub(crate) fn find_id(&self, id: &str) -> Option<u64> {
        let is_gap = |event: &Arc<Event>| matches!(event.kind, EventKind::Gap { .. });
        let mut kept = self.events();
        let index = kept.position(|event| event.id.as_deref() == Some(id))? as u64;
        let has_own_id = self.entries.get(self.first() + index)?.has_own_id;
        let is_oldest = self.events().take(index as usize).all(is_gap);
        if self.stream.had(id) || (is_oldest && self.first() > 1 && !has_own_id) {
            return None;
        }
        let offset = self.first() + index - u64::from(!has_own_id);
        (offset + 1 >= self.window).then_some(offset)
    }

    /// Whether this position has been given to an event, here or in the process that this log comes from.
    pub(crate) fn knows(&mut self, position: Position) -> bool {
        self.lineage.knows(position, self.entries.head())
    }

    /// Moves up over gaps that follow directly: one gap before what comes next is enough.
    pub(crate) fn beyond_gaps(&self, mut cursor: u64) -> u64 {
        while let Some(event) = self.entries.get(cursor + 1)
            && matches!(event.kind, EventKind::Gap { .. })
        {
            cursor += 1;
        }
        cursor
    }

    /// See [`Entries::read`].
    pub(crate) fn read(
        &mut self,
        cursor: &mut Cursor,
        out: &mut Vec<Arc<Event>>,
        count: usize,
    ) -> ReadProgress {
        if self.has_lost(cursor.offset) {
            return ReadProgress::Overrun;
        }
        self.entries.read(cursor, out, count);
        match cursor.offset >= self.head() {
            true => ReadProgress::CaughtUp,
            false => ReadProgress::More,
        }
    }

    /// See [`Entries::hold`].
    pub(crate) fn hold(&mut self, cursor: &mut Cursor) {
        self.entries.hold(cursor);
    }

    /// See [`Entries::let_go`].
    pub(crate) fn let_go(&mut self, cursor: &mut Cursor) {
        self.entries.let_go(cursor);
    }

    /// See [`Entries::move_to`].
    pub(crate) fn move_to(&mut self, cursor: &mut Cursor, offset: u64) {
        self.entries.move_to(cursor, offset);
    }

    /// Whether more waits behind `offset` than this.
    pub(crate) fn is_further_behind(&self, offset: u64, allowed: Queue) -> bool {
        let waiting = self.waiting(offset);
        waiting.messages > allowed.messages || waiting.bytes > allowed.bytes
    }

    /// See [`Entries::has_lost`].
    pub(crate) fn has_lost(&self, cursor: u64) -> bool {
        self.entries.has_lost(cursor)
    }

    /// See [`Entries::waiting`].
    pub(crate) fn waiting(&self, cursor: u64) -> Queue {
        self.entries.waiting(cursor)
    }

    /// Lets go of what is older than the replay window and needed by no reader.
    pub(crate) fn trim(&mut self, replay: &Replay, now: Instant) {
        while let Some(event) = self.entries.get(self.window) {
            let Queue { messages, bytes } = self.entries.waiting(self.window - 1);
            let age = now.saturating_duration_since(event.at);
            let fits = messages <= replay.events as u64 && bytes <= replay.bytes as u64;
            if fits && age <= replay.age {
                break;
            }
            self.window += 1;
        }
        self.drop_unneeded();
    }

    /// Lets go of what was kept for readers beyond the window and is needed by none any more; whether there was something.
    pub(crate) fn drop_unneeded(&mut self) -> bool {
        let before = self.first();
        while self.first() < self.window && self.has_unneeded() {
            self.drop_oldest();
        }
        self.first() > before
    }

    /// Lets go of everything up to `offset` that no reader needs, the replay window with it.
    pub(crate) fn forget(&mut self, offset: u64) {
        while self.first() <= offset && self.has_unneeded() {
            self.drop_oldest();
        }
        self.window = self.window.max(self.first());
    }

    fn has_unneeded(&self) -> bool {
        let oldest = self.entries.oldest();
        oldest.is_some_and(|entry| entry.readers == 0)
    }

    /// Lets go of the oldest entries, as far as they may be spared, until `excess` bytes are free or one entry is left.
    pub(crate) fn squeeze(&mut self, excess: usize, spare: Spare) {
        let may_go = |entry: &LogEntry| match spare {
            Spare::Unneeded => entry.readers == 0,
            Spare::Left(since) => entry.readers == 0 || entry.event.at < since,
            Spare::All => true,
        };
        let target = self.held().saturating_sub(excess);
        while self.held() > target
            && self.entries.count() > 1
            && self.entries.oldest().is_some_and(may_go)
        {
            self.drop_oldest();
        }
        self.window = self.window.max(self.first());
    }

    fn drop_oldest(&mut self) {
        let Some(entry) = self.entries.pop_oldest() else {
            return;
        };
        self.stream.let_go(&entry.event);
        if let Some(index) = &mut self.index {
            index.drop_oldest();
        }
    }

    fn push(&mut self, kind: EventKind, draft: Draft, at: Instant) {
        if kind == EventKind::Event {
            self.stream.take(&draft, at);
        }
        let position = self.position(self.head() + 1);
        let mut event = Event::new(self.ch, position, kind, draft, at);
        event.cause.clone_from(&self.cause);
        let event = Arc::new(event);
        if let Some(index) = &mut self.index {
            index.push(position.offset, &event);
        }
        self.entries.push(event);
        self.document.head_moved();
    }

    fn push_document(&mut self, at: Instant) {
        let Some((data, _)) = self.document.newest() else {
            return;
        };
        let draft = Draft::plain(data.clone());
        self.push(EventKind::Snapshot, draft, at);
        let head = self.head();
        self.document.is_shown_by(self.entries.get(head), head);
    }
}

fn nothing() -> Draft {
    Draft::plain(Data::Text(Default::default()))
}
