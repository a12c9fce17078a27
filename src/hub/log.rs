//! A topic's one log: what was published, how long it is kept, and who may read on from where.
//! Pure: time is an argument.
//!
//! Offsets are dense: the entry at offset `o` is `entries[o - first]`. Each entry knows the weight
//! of everything up to it, so that a lag in bytes is a subtraction. Three bounds say what is kept:
//! the replay window (who comes back), the allowed lag (who is here), and the pins (who is here and
//! still reads what was there when it joined).

pub(super) mod carry;
mod index;
pub mod stream;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use self::index::Index;
use self::stream::Stream;
use super::subscriber::Progress;
use crate::config::{Queue, Replay};
use crate::event::{Cause, Data, Draft, Epoch, Event, GapWhy, Kind, Position};

/// The lag kept for subscribers before one of them has said how far it may lag.
const USUAL_LAG: Queue = Queue {
    messages: 256,
    bytes: 1 << 20,
};

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
    /// Head before the newest publish: what came in one publish counts as one message of lag.
    previous: u64,
    /// Oldest offset that a resume may ask for.
    window: u64,
    /// Oldest offset that a present subscriber within its allowed lag may still need.
    within_lag: u64,
    /// The largest lag that any subscriber was allowed.
    lag: Queue,
    /// Replays under way, by the head at joining.
    pins: BTreeMap<u64, Pin>,
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
    /// While somebody reads a request of their own.
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
}

/// Subscribers that joined at one head and have not reached it yet.
struct Pin {
    /// The lowest cursor among them when they joined.
    floor: u64,
    readers: u32,
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
            previous: 0,
            window: 1,
            within_lag: 1,
            lag: USUAL_LAG,
            pins: BTreeMap::new(),
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
    pub fn because(&mut self, cause: Option<Arc<Cause>>) {
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

    /// Weight of what is kept, the document counted beside the entries.
    pub fn held(&self) -> usize {
        let document = self.document.as_ref().map_or(0, |d| d.data.bytes().len());
        (self.total() - self.base) as usize + document
    }

    /// Entries and bytes of the replay window.
    pub fn replayable(&self) -> (usize, usize) {
        let bytes = self.total() - self.sum_at(self.window - 1);
        ((self.head() + 1 - self.window) as usize, bytes as usize)
    }

    /// Appends one publish: its entries count as one message of lag.
    pub fn append(&mut self, drafts: Vec<Draft>, at: Instant) {
        self.previous = self.head();
        for draft in drafts {
            self.push(Kind::Event, draft, at);
        }
    }

    /// Appends a gap, and the document behind it where there is one: no client is left with a gap only.
    pub fn append_gap(&mut self, why: GapWhy, at: Instant) {
        self.previous = self.head();
        let from = self.position(self.head());
        self.push(Kind::Gap { from, why }, nothing(), at);
        self.last_gap = self.head();
        self.push_document(at);
    }

    /// Keeps the document, and appends what is emitted for it; the whole document where `drafts` is `None`.
    pub fn append_document(&mut self, data: Data, drafts: Option<Vec<Draft>>, at: Instant) {
        self.previous = self.head();
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

    /// The last position that somebody may be given whose newest event shows this id: just behind the first event of all that
    /// bear it, just before one that only shows it, because whoever shows an id may have seen any of them. `None` where that
    /// one may be gone.
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

    /// Whether someone who has everything up to `seen` lags further than allowed.
    ///
    /// The newest publish counts as one message and no bytes: it always fits whoever had read
    /// everything before it, however large it is.
    pub fn overruns(&self, seen: u64, allowed: Queue) -> bool {
        if seen >= self.previous {
            return false;
        }
        let newest = self.head() - self.previous;
        let messages = (self.head() - seen).saturating_sub(newest.saturating_sub(1));
        let bytes = self.sum_at(self.previous).saturating_sub(self.sum_at(seen));
        messages > allowed.messages || bytes > allowed.bytes
    }

    /// Hands out up to `count` entries after `cursor` and moves it. `joined` is the head at joining.
    pub fn read(
        &mut self,
        cursor: &mut u64,
        joined: u64,
        out: &mut Vec<Arc<Event>>,
        count: usize,
        allowed: Queue,
    ) -> Progress {
        self.learn(allowed);
        if self.has_lost(*cursor) || self.overruns(joined.max(*cursor), allowed) {
            return Progress::Overrun;
        }
        let skip = (*cursor + 1 - self.first) as usize;
        let before = out.len();
        let waiting = self.entries.iter().skip(skip).take(count);
        out.extend(waiting.map(|entry| entry.event.clone()));
        *cursor += (out.len() - before) as u64;
        match *cursor == self.head() {
            true => Progress::CaughtUp,
            false => Progress::More,
        }
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

    /// Keeps what a reader at `cursor` needs until it has reached `joined`, the present head.
    pub fn pin(&mut self, cursor: u64, joined: u64) {
        if cursor < joined {
            let fresh = Pin {
                floor: cursor,
                readers: 0,
            };
            let pin = self.pins.entry(joined).or_insert(fresh);
            pin.floor = pin.floor.min(cursor);
            pin.readers += 1;
        }
    }

    /// A reader that joined at `joined` has reached it, or left.
    pub fn unpin(&mut self, joined: u64) {
        // Absent where its reader lagged further than anybody may.
        if let Some(pin) = self.pins.get_mut(&joined) {
            pin.readers -= 1;
            if pin.readers == 0 {
                self.pins.remove(&joined);
            }
        }
    }

    /// Lets go of what nobody can ask for. `attended`: somebody subscribes.
    pub fn trim(&mut self, replay: &Replay, now: Instant, attended: bool) {
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
        while self.within_lag <= self.head() && self.overruns(self.within_lag - 1, self.lag) {
            self.within_lag += 1;
        }
        while let Some((&joined, _)) = self.pins.first_key_value()
            && self.overruns(joined, self.lag)
        {
            self.pins.remove(&joined);
        }
        let mut keep = self.window;
        if attended {
            keep = keep.min(self.within_lag);
            let pinned = self.pins.values().map(|pin| pin.floor + 1).min();
            keep = keep.min(pinned.unwrap_or(keep));
        }
        while self.first < keep && self.drop_oldest() {}
    }

    /// Lets go of the oldest entries, whoever needs them, until `excess` bytes are free or one entry is left.
    pub fn squeeze(&mut self, excess: usize) {
        let target = self.held().saturating_sub(excess);
        while self.held() > target && self.entries.len() > 1 && self.drop_oldest() {}
        self.window = self.window.max(self.first);
        self.within_lag = self.within_lag.max(self.first);
    }

    /// Keeps what a subscriber may lag. One that may lag without bound does not say how much to keep.
    fn learn(&mut self, allowed: Queue) {
        if allowed.messages < u64::MAX && allowed.bytes < u64::MAX {
            self.lag.messages = self.lag.messages.max(allowed.messages);
            self.lag.bytes = self.lag.bytes.max(allowed.bytes);
        }
    }

    fn drop_oldest(&mut self) -> bool {
        let Some(entry) = self.entries.pop_front() else {
            return false;
        };
        self.first += 1;
        self.base = entry.sum;
        self.stream.let_go(&entry.event);
        if let Some(index) = &mut self.index {
            index.drop_oldest();
        }
        if self.entries.len() * 4 < self.entries.capacity() && self.entries.capacity() > 64 {
            self.entries.shrink_to(self.entries.len() * 2);
        }
        true
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
        self.entries.push_back(Entry { event, sum });
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
