//! What a log keeps, oldest first: each entry at its offset, with the weight of everything up to it, and how many readers it is
//! the next one for.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::config::Queue;
use crate::event::{Event, FLAT_WEIGHT};

/// Bytes of memory that an entry takes beside its event's weight: the event itself, its counts, its place here, and what the allocator
/// adds to three pieces of memory.
pub(crate) const OVERHEAD: usize =
    size_of::<Event>() + size_of::<LogEntry>() * 3 / 2 + 64 - FLAT_WEIGHT;

/// What one read hands out at most, beside its first entry: what a subscriber has taken is no longer counted here.
const READ_BYTES: u64 = 256 * 1024;

pub(crate) struct LogEntry {
    pub(crate) event: Arc<Event>,
    /// Weight of everything up to and with this entry.
    sum: u64,
    /// Readers that have everything before this entry.
    pub(crate) readers: u32,
    /// Bytes of its parsed form and encodings.
    made: u32,
}

/// A reader's place in a log.
#[derive(Debug)]
pub(crate) struct Cursor {
    /// Everything up to here counts as read.
    pub(crate) offset: u64,
    /// The log keeps what follows.
    is_held: bool,
}

impl Cursor {
    /// A place that nothing is kept for yet.
    pub(crate) fn new(offset: u64) -> Self {
        Cursor {
            offset,
            is_held: false,
        }
    }

    /// Whether the log keeps what follows, unless memory has run short.
    pub(crate) fn is_held(&self) -> bool {
        self.is_held
    }
}

/// See the module. Offsets are dense: the entry at offset `o` is `kept[o - first]`.
pub(crate) struct Entries {
    kept: VecDeque<LogEntry>,
    /// Offset of the oldest entry; `head + 1` when there is none.
    first: u64,
    /// Weight of everything before `first`.
    base: u64,
    /// Bytes of the entries' parsed forms and encodings.
    made: usize,
    /// Readers that have everything: the next entry is the first that they need.
    at_head: u32,
}

impl Entries {
    /// None yet.
    pub(crate) fn new() -> Self {
        Entries {
            kept: VecDeque::new(),
            first: 1,
            base: 0,
            made: 0,
            at_head: 0,
        }
    }

    /// Offset of the newest entry, 0 before the first.
    pub(crate) fn head(&self) -> u64 {
        self.first + self.kept.len() as u64 - 1
    }

    /// Oldest offset that is kept.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// How many are kept.
    pub(crate) fn count(&self) -> usize {
        self.kept.len()
    }

    /// Everything that is kept, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Event>> {
        self.kept.iter().map(|entry| &entry.event)
    }

    /// The oldest entry.
    pub(crate) fn oldest(&self) -> Option<&LogEntry> {
        self.kept.front()
    }

    /// The entry at this offset.
    pub(crate) fn get(&self, offset: u64) -> Option<&Arc<Event>> {
        let index = offset.checked_sub(self.first)? as usize;
        self.kept.get(index).map(|entry| &entry.event)
    }

    /// Bytes of memory that all of them take.
    pub(crate) fn held(&self) -> usize {
        (self.total() - self.base) as usize + self.kept.len() * OVERHEAD + self.made
    }

    /// Adds the next one.
    pub(crate) fn push(&mut self, event: Arc<Event>) {
        let sum = self.total() + event.weight() as u64;
        let readers = std::mem::take(&mut self.at_head);
        self.kept.push_back(LogEntry {
            event,
            sum,
            readers,
            made: 0,
        });
    }

    /// Takes the oldest one out.
    pub(crate) fn pop_oldest(&mut self) -> Option<LogEntry> {
        let entry = self.kept.pop_front()?;
        self.first += 1;
        self.base = entry.sum;
        self.made -= entry.made as usize;
        if self.kept.len() * 4 < self.kept.capacity() && self.kept.capacity() > 64 {
            self.kept.shrink_to(self.kept.len() * 2);
        }
        Some(entry)
    }

    /// Where none is kept, the next one is to be this. A reader that has read everything before has lost what is missing.
    pub(crate) fn begin_at(&mut self, first: u64) {
        self.first = first;
        self.at_head = 0;
    }

    /// What was made of this entry is kept with it from now on.
    pub(crate) fn recount(&mut self, event: &Event) {
        let index = event.position.offset.checked_sub(self.first);
        let entry = index.and_then(|index| self.kept.get_mut(index as usize));
        if let Some(entry) = entry.filter(|entry| std::ptr::eq(&*entry.event, event)) {
            let made = event.made_bytes() as u32;
            self.made = self.made + made as usize - entry.made as usize;
            entry.made = made;
        }
    }

    /// Hands out up to `count` entries after the cursor, of [`READ_BYTES`] together where there are several, and moves it;
    /// everything where `count` is `usize::MAX`. From now on what follows is kept.
    pub(crate) fn read(&mut self, cursor: &mut Cursor, out: &mut Vec<Arc<Event>>, count: usize) {
        let before = out.len();
        let read = (cursor.offset + 1 - self.first) as usize;
        let bytes = match count {
            usize::MAX => u64::MAX,
            _ => self.sum_at(cursor.offset) + READ_BYTES,
        };
        let waiting = self.kept.range(read.min(self.kept.len())..);
        let mut is_first = true;
        let fits = |entry: &&LogEntry| std::mem::take(&mut is_first) || entry.sum <= bytes;
        let handed = waiting.take(count).take_while(fits);
        out.extend(handed.map(|entry| entry.event.clone()));
        self.move_to(cursor, cursor.offset + (out.len() - before) as u64);
    }

    /// Keeps what follows the cursor from now on, as far as it is there.
    pub(crate) fn hold(&mut self, cursor: &mut Cursor) {
        if cursor.is_held || self.has_lost(cursor.offset) {
            return;
        }
        if let Some(readers) = self.readers_at(cursor.offset) {
            *readers += 1;
            cursor.is_held = true;
        }
    }

    /// Keeps nothing for this cursor any more.
    pub(crate) fn let_go(&mut self, cursor: &mut Cursor) {
        // What was dropped has taken its readers along.
        if std::mem::take(&mut cursor.is_held)
            && let Some(readers) = self.readers_at(cursor.offset)
        {
            *readers -= 1;
        }
    }

    /// Moves a cursor, and keeps what follows it.
    pub(crate) fn move_to(&mut self, cursor: &mut Cursor, offset: u64) {
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
        self.kept.get_mut(index).map(|entry| &mut entry.readers)
    }

    /// Whether what follows `cursor` is no longer kept.
    pub(crate) fn has_lost(&self, cursor: u64) -> bool {
        cursor + 1 < self.first
    }

    /// Entries and bytes after `cursor`, as far as they are kept.
    pub(crate) fn waiting(&self, cursor: u64) -> Queue {
        let cursor = cursor.min(self.head());
        Queue {
            messages: self.head() - cursor,
            bytes: self.total() - self.sum_at(cursor),
        }
    }

    fn total(&self) -> u64 {
        self.kept.back().map_or(self.base, |entry| entry.sum)
    }

    /// Weight of everything up to and with `offset`; what is no longer kept counts as one.
    fn sum_at(&self, offset: u64) -> u64 {
        let index = offset.checked_sub(self.first);
        let entry = index.and_then(|index| self.kept.get(index as usize));
        entry.map_or(self.base, |entry| entry.sum)
    }
}
