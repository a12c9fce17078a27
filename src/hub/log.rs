//! A topic's one log: what was published, how long it is kept, and who may read on from where.
//! Pure: time is an argument.
//!
//! Offsets are dense: the entry at offset `o` is `entries[o - first]`. Each entry knows the weight
//! of everything up to it, so that a lag in bytes is a subtraction, and how many readers it is the
//! next one for. What is kept is the replay window, and everything from the first entry that a
//! reader needs; only [`Log::squeeze`] takes more.

pub(super) mod carry;
mod index;
pub mod stream;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use self::index::Index;
use self::stream::Stream;
use super::subscriber::Progress;
use crate::config::{Queue, Replay};
use crate::event::{Cause, Data, Draft, Epoch, Event, FLAT_WEIGHT, GapWhy, Kind, Position};

/// Bytes of memory that an entry takes beside its event's weight: the event itself, its counts, its place here, and what the allocator
/// adds to three pieces of memory.
pub(super) const OVERHEAD: usize =
    size_of::<Event>() + size_of::<Entry>() * 3 / 2 + 64 - FLAT_WEIGHT;

/// What one read hands out at most, beside its first entry: what a subscriber has taken is no longer counted here.
const READ_BYTES: u64 = 256 * 1024;

/// Positions beyond the head that may be on their way from another process: more than it can have published meanwhile.
const UNDERWAY: u64 = 1 << 16;

pub(super) struct Log {
    ch: u32,
    epoch: Epoch,
    entries: VecDeque<Entry>,
    /// Offset of the oldest entry; `head + 1` when there is none.
    first: u64,
    /// Weight of everything before `first`.
    base: u64,
    /// Bytes of what was made of the entries for those who read them.
    made: usize,
    /// Oldest offset that a resume may ask for.
    window: u64,
    /// Readers that have everything: the next entry is the first that they need.
    at_head: u32,
    /// Newest entry that is a gap, 0 for none.
    last_gap: u64,
    /// Newest entry that is a snapshot, 0 for none.
    last_snapshot: u64,
    document: Option<Document>,
    /// Counts documents.
    documents: u64,
    /// The document at the head, made when first asked for.
    snapshot: Option<Arc<Event>>,
    stream: Stream,
    /// While a subscriber reads a request of its own.
    index: Option<Box<Index>>,
    /// Another process still adds to it: a position beyond the head is one that is on its way here.
    is_followed: bool,
    /// The furthest such position that somebody has come with.
    promised: u64,
    closed: bool,
    /// What led to the entries that are appended now.
    cause: Option<Arc<Cause>>,
}

struct Entry {
    event: Arc<Event>,
    /// Weight of everything up to and with this entry.
    sum: u64,
    /// Readers that have everything before this entry.
    readers: u32,
    /// Bytes of what was made of it for those who read it.
    made: u32,
}

/// A reader's place in a log.
#[derive(Debug)]
pub(super) struct Cursor {
    /// Everything up to here counts as read.
    pub offset: u64,
    /// The log keeps what follows.
    is_held: bool,
}

impl Cursor {
    /// A place that nothing is kept for yet.
    pub fn new(offset: u64) -> Self {
        Cursor {
            offset,
            is_held: false,
        }
    }

    /// Whether the log keeps what follows, unless memory has run short.
    pub fn is_held(&self) -> bool {
        self.is_held
    }
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

struct Document {
    data: Data,
    at: Instant,
}

impl Log {
    pub fn new(ch: u32, epoch: Epoch, stream: Stream) -> Self {
        Log {
            ch,
            epoch,
            entries: VecDeque::new(),
            first: 1,
            base: 0,
            made: 0,
            window: 1,
            at_head: 0,
            last_gap: 0,
            last_snapshot: 0,
            document: None,
            documents: 0,
            snapshot: None,
            stream,
            index: None,
            is_followed: false,
            promised: 0,
            closed: false,
            cause: None,
        }
    }

    /// Names what leads to the entries that come from now on.
    pub fn set_cause(&mut self, cause: Option<Arc<Cause>>) {
        self.cause = cause;
    }

    /// Offset of the newest entry, 0 before the first.
    pub fn head(&self) -> u64 {
        self.first + self.entries.len() as u64 - 1
    }

    pub fn position(&self, offset: u64) -> Position {
        Position {
            epoch: self.epoch,
            offset,
        }
    }

    /// Oldest offset that is kept.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Oldest offset that may be replayed.
    pub fn window(&self) -> u64 {
        self.window
    }

    /// Newest offset that is a gap or a snapshot: a replay that holds one is no plain one.
    pub fn last_break(&self) -> u64 {
        self.last_gap.max(self.last_snapshot)
    }

    pub fn last_gap(&self) -> u64 {
        self.last_gap
    }

    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Nothing is appended any more.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Bytes of memory that it takes: the entries, and the document where none of the entries shares it.
    pub fn held(&self) -> usize {
        let entries = (self.total() - self.base) as usize + self.entries.len() * OVERHEAD;
        let shares = |text: &Bytes| {
            let newest = [self.entry(self.last_snapshot), self.entry(self.head())];
            let is_it = |entry: &Entry| entry.event.data.bytes().as_ptr() == text.as_ptr();
            newest.into_iter().flatten().any(is_it)
        };
        let text = self.document.as_ref().map(|document| document.data.bytes());
        let document = text.filter(|text| !shares(text)).map_or(0, Bytes::len);
        let snapshot = self.snapshot.as_ref();
        let snapshot = snapshot.filter(|snapshot| self.last_snapshot != snapshot.position.offset);
        let made = snapshot.map_or(0, |snapshot| snapshot.made_bytes());
        entries + self.made + document + made
    }

    /// What was made of this entry for those who read it, its parsed form and its encodings, is kept with it from now on.
    pub fn recount(&mut self, event: &Event) {
        let index = event.position.offset.checked_sub(self.first);
        let entry = index.and_then(|index| self.entries.get_mut(index as usize));
        if let Some(entry) = entry.filter(|entry| std::ptr::eq(&*entry.event, event)) {
            let made = event.made_bytes() as u32;
            self.made = self.made + made as usize - entry.made as usize;
            entry.made = made;
        }
    }

    /// Whether a reader that has not taken the oldest entry needs it.
    pub fn is_needed(&self) -> bool {
        self.entries.front().is_some_and(|entry| entry.readers > 0)
    }

    /// Entries and bytes of the replay window.
    pub fn replayable(&self) -> (usize, usize) {
        let bytes = self.total() - self.sum_at(self.window - 1);
        ((self.head() + 1 - self.window) as usize, bytes as usize)
    }

    /// Appends one publish.
    pub fn append(&mut self, drafts: Vec<Draft>, at: Instant) {
        for draft in drafts {
            self.push(Kind::Event, draft, at);
        }
    }

    /// Appends a gap, and the document behind it where there is one: no client is left with a gap only.
    pub fn append_gap(&mut self, why: GapWhy, at: Instant) {
        let from = self.position(self.head());
        self.push(Kind::Gap { from, why }, nothing(), at);
        self.last_gap = self.head();
        self.push_document(at);
    }

    /// Keeps the document, and appends what is emitted for it; the whole document where `drafts` is `None`.
    pub fn append_document(&mut self, data: Data, drafts: Option<Vec<Draft>>, at: Instant) {
        let first = self.document.replace(Document { data, at }).is_none();
        self.documents += 1;
        self.snapshot = None;
        match drafts {
            Some(drafts) if !first => {
                for draft in drafts {
                    self.push(Kind::Event, draft, at);
                }
            }
            _ => self.push_document(at),
        }
    }

    /// The document as of the head.
    pub fn snapshot(&mut self) -> Option<Arc<Event>> {
        let document = self.document.as_ref()?;
        let position = self.position(self.head());
        let made = self.snapshot.get_or_insert_with(|| {
            let draft = Draft::plain(document.data.clone());
            let event = Event::new(self.ch, position, Kind::Snapshot, draft, document.at);
            Arc::new(event)
        });
        Some(made.clone())
    }

    /// A gap for one subscriber, beside the log.
    pub fn gap(&self, from: Position, to: u64, why: GapWhy, at: Instant) -> Arc<Event> {
        let kind = Kind::Gap { from, why };
        Arc::new(Event::new(self.ch, self.position(to), kind, nothing(), at))
    }

    /// The position at which a client goes on whose newest event showed this id. It may have seen any of the events that
    /// show it, so it goes on at the first of them: after that event where it bears the id, before it where it only shows
    /// it. `None` where that event may be gone.
    pub fn find_id(&self, id: &str) -> Option<u64> {
        let is_gap = |entry: &Entry| matches!(entry.event.kind, Kind::Gap { .. });
        let mut kept = self.entries.iter();
        let index = kept.position(|entry| entry.event.id.as_deref() == Some(id))?;
        let has_own_id = self.entries.get(index)?.event.has_own_id;
        let is_oldest = self.entries.iter().take(index).all(is_gap);
        if self.stream.had(id) || (is_oldest && self.first > 1 && !has_own_id) {
            return None;
        }
        let offset = self.first + index as u64 - u64::from(!has_own_id);
        (offset + 1 >= self.window).then_some(offset)
    }

    /// Whether this offset of this epoch has been given to an event, here or in the process that this log comes from.
    pub fn knows(&mut self, offset: u64) -> bool {
        let ahead = offset.saturating_sub(self.head());
        if ahead == 0 {
            return true;
        }
        let is_underway = self.is_followed && ahead <= UNDERWAY;
        if is_underway {
            self.promised = self.promised.max(offset);
        }
        is_underway
    }

    /// Moves up over gaps that follow directly: one gap before what comes next is enough.
    pub fn beyond_gaps(&self, mut cursor: u64) -> u64 {
        while let Some(entry) = self.entry(cursor + 1)
            && matches!(entry.event.kind, Kind::Gap { .. })
        {
            cursor += 1;
        }
        cursor
    }

    /// Hands out up to `count` entries after the cursor, of [`READ_BYTES`] together where there are several, and moves it;
    /// everything where `count` is `usize::MAX`. From now on what follows is kept.
    pub fn read(
        &mut self,
        cursor: &mut Cursor,
        out: &mut Vec<Arc<Event>>,
        count: usize,
    ) -> Progress {
        if self.has_lost(cursor.offset) {
            return Progress::Overrun;
        }
        let before = out.len();
        let read = (cursor.offset + 1 - self.first) as usize;
        let bytes = match count {
            usize::MAX => u64::MAX,
            _ => self.sum_at(cursor.offset) + READ_BYTES,
        };
        let waiting = self.entries.range(read.min(self.entries.len())..);
        let mut is_first = true;
        let fits = |entry: &&Entry| std::mem::take(&mut is_first) || entry.sum <= bytes;
        let handed = waiting.take(count).take_while(fits);
        out.extend(handed.map(|entry| entry.event.clone()));
        self.move_to(cursor, cursor.offset + (out.len() - before) as u64);
        match cursor.offset >= self.head() {
            true => Progress::CaughtUp,
            false => Progress::More,
        }
    }

    /// Keeps what follows the cursor from now on, as far as it is there.
    pub fn hold(&mut self, cursor: &mut Cursor) {
        if cursor.is_held || self.has_lost(cursor.offset) {
            return;
        }
        if let Some(readers) = self.readers_at(cursor.offset) {
            *readers += 1;
            cursor.is_held = true;
        }
    }

    /// Keeps nothing for this cursor any more.
    pub fn let_go(&mut self, cursor: &mut Cursor) {
        // What was dropped has taken its readers along.
        if std::mem::take(&mut cursor.is_held)
            && let Some(readers) = self.readers_at(cursor.offset)
        {
            *readers -= 1;
        }
    }

    /// Moves a cursor, and keeps what follows it.
    pub fn move_to(&mut self, cursor: &mut Cursor, offset: u64) {
        self.let_go(cursor);
        cursor.offset = offset;
        self.hold(cursor);
    }

    /// The readers that have everything up to `offset`; `None` where that is not kept, or not there yet.
    fn readers_at(&mut self, offset: u64) -> Option<&mut u32> {
        if offset == self.head() {
            return Some(&mut self.at_head);
        }
        let index = (offset + 1).checked_sub(self.first)? as usize;
        self.entries.get_mut(index).map(|entry| &mut entry.readers)
    }

    /// Whether more waits behind `offset` than this.
    pub fn is_further_behind(&self, offset: u64, allowed: Queue) -> bool {
        let waiting = self.waiting(offset);
        waiting.messages > allowed.messages || waiting.bytes > allowed.bytes
    }

    /// Whether what follows `cursor` is no longer kept.
    pub fn has_lost(&self, cursor: u64) -> bool {
        cursor + 1 < self.first
    }

    /// Entries and bytes after `cursor`, as far as they are kept.
    pub fn waiting(&self, cursor: u64) -> Queue {
        let cursor = cursor.min(self.head());
        Queue {
            messages: self.head() - cursor,
            bytes: self.total() - self.sum_at(cursor),
        }
    }

    /// Lets go of what is older than the replay window and needed by no reader.
    pub fn trim(&mut self, replay: &Replay, now: Instant) {
        while let Some(entry) = self.entry(self.window) {
            let count = self.head() - self.window + 1;
            let bytes = self.total() - self.sum_at(self.window - 1);
            let age = now.saturating_duration_since(entry.event.at);
            let fits = count <= replay.events as u64 && bytes <= replay.bytes as u64;
            if fits && age <= replay.age {
                break;
            }
            self.window += 1;
        }
        self.drop_unneeded();
    }

    /// Lets go of what was kept for readers beyond the window and is needed by none any more; whether there was something.
    pub fn drop_unneeded(&mut self) -> bool {
        let before = self.first;
        while self.first < self.window
            && self.entries.front().is_some_and(|entry| entry.readers == 0)
        {
            self.drop_oldest();
        }
        self.first > before
    }

    /// Lets go of everything up to `offset` that no reader needs, the replay window with it.
    pub fn forget(&mut self, offset: u64) {
        while self.first <= offset && self.entries.front().is_some_and(|entry| entry.readers == 0) {
            self.drop_oldest();
        }
        self.window = self.window.max(self.first);
    }

    /// Lets go of the oldest entries, as far as they may be spared, until `excess` bytes are free or one entry is left.
    pub fn squeeze(&mut self, excess: usize, spare: Spare) {
        let may_go = |entry: &Entry| match spare {
            Spare::Unneeded => entry.readers == 0,
            Spare::Left(since) => entry.readers == 0 || entry.event.at < since,
            Spare::All => true,
        };
        let target = self.held().saturating_sub(excess);
        while self.held() > target
            && self.entries.len() > 1
            && self.entries.front().is_some_and(may_go)
        {
            self.drop_oldest();
        }
        self.window = self.window.max(self.first);
    }

    fn drop_oldest(&mut self) {
        let Some(entry) = self.entries.pop_front() else {
            return;
        };
        self.first += 1;
        self.base = entry.sum;
        self.made -= entry.made as usize;
        self.stream.let_go(&entry.event);
        if let Some(index) = &mut self.index {
            index.drop_oldest();
        }
        if self.entries.len() * 4 < self.entries.capacity() && self.entries.capacity() > 64 {
            self.entries.shrink_to(self.entries.len() * 2);
        }
    }

    fn push(&mut self, kind: Kind, draft: Draft, at: Instant) {
        if kind == Kind::Event {
            self.stream.take(&draft, at);
        }
        let position = self.position(self.head() + 1);
        let mut event = Event::new(self.ch, position, kind, draft, at);
        event.cause.clone_from(&self.cause);
        let event = Arc::new(event);
        let sum = self.total() + event.weight() as u64;
        if let Some(index) = &mut self.index {
            index.push(position.offset, &event);
        }
        let readers = std::mem::take(&mut self.at_head);
        self.entries.push_back(Entry {
            event,
            sum,
            readers,
            made: 0,
        });
        self.snapshot = None;
    }

    fn push_document(&mut self, at: Instant) {
        let Some(document) = &self.document else {
            return;
        };
        let draft = Draft::plain(document.data.clone());
        self.push(Kind::Snapshot, draft, at);
        self.last_snapshot = self.head();
        self.snapshot = self.entries.back().map(|entry| entry.event.clone());
    }

    fn entry(&self, offset: u64) -> Option<&Entry> {
        self.entries.get(offset.checked_sub(self.first)? as usize)
    }

    fn total(&self) -> u64 {
        self.entries.back().map_or(self.base, |entry| entry.sum)
    }

    /// Weight of everything up to and with `offset`; what is no longer kept counts as one.
    fn sum_at(&self, offset: u64) -> u64 {
        self.entry(offset).map_or(self.base, |entry| entry.sum)
    }
}

fn nothing() -> Draft {
    Draft::plain(Data::Text(Default::default()))
}
