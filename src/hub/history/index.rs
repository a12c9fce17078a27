//! Where a log's events stand, for subscribers that look for the place of what they have read by a request of their own.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::History;
use super::entries::Cursor;
use crate::event::Event;
use crate::hub::delivered::{Delivered, Marks, has_place};

/// Where the events of a log stand, by their marks; kept only while a subscriber reads a request of its own.
#[derive(Debug)]
pub(crate) struct Index {
    marks: Marks,
    readers: usize,
    /// The entries' marks, oldest first.
    entries: VecDeque<Option<u64>>,
    /// The newest offset that bears a mark, and how many do.
    places: HashMap<u64, (u64, usize)>,
}

impl Index {
    fn new<'e>(first: u64, events: impl Iterator<Item = &'e Arc<Event>>) -> Self {
        let mut index = Index {
            marks: Marks::default(),
            readers: 0,
            entries: VecDeque::new(),
            places: HashMap::new(),
        };
        for (offset, event) in (first..).zip(events) {
            index.push(offset, event);
        }
        index
    }

    pub(crate) fn push(&mut self, offset: u64, event: &Event) {
        let mark = has_place(event).then(|| self.marks.of(event));
        self.entries.push_back(mark);
        if let Some(mark) = mark {
            let (newest, count) = self.places.entry(mark).or_default();
            *newest = offset;
            *count += 1;
        }
    }

    /// The oldest entry goes.
    pub(crate) fn drop_oldest(&mut self) {
        let Some(Some(mark)) = self.entries.pop_front() else {
            return;
        };
        if let Some((_, count)) = self.places.get_mut(&mark) {
            *count -= 1;
            if *count == 0 {
                self.places.remove(&mark);
            }
        }
    }

    fn find(&self, mark: u64) -> Option<u64> {
        let (offset, count) = self.places.get(&mark)?;
        (*count == 1).then_some(*offset)
    }
}

impl History {
    /// A subscriber begins to read a request of its own; what makes the marks here.
    pub(crate) fn index(&mut self) -> Marks {
        let fresh = || Box::new(Index::new(self.entries.first(), self.entries.iter()));
        let index = self.index.get_or_insert_with(fresh);
        index.readers += 1;
        index.marks.clone()
    }

    /// They no longer do.
    pub(crate) fn unindex(&mut self) {
        if let Some(index) = &mut self.index {
            index.readers -= 1;
            if index.readers == 0 {
                self.index = None;
            }
        }
    }

    /// Moves a cursor behind the one event with this mark; false where there is none.
    pub(crate) fn go_to(&mut self, cursor: &mut Cursor, mark: u64) -> bool {
        let found = self.index.as_ref().and_then(|index| index.find(mark));
        if let Some(offset) = found {
            self.move_to(cursor, offset);
        }
        found.is_some()
    }

    /// Moves a cursor behind the first entry after it that its reader has read elsewhere, and returns what it has read there
    /// after that; to the head where there is none.
    pub(crate) fn meet(
        &mut self,
        cursor: &mut Cursor,
        delivered: &Delivered,
    ) -> Option<VecDeque<u64>> {
        let from = (cursor.offset + 1).max(self.first());
        let skip = (from - self.first()) as usize;
        let met = self.index.as_ref().and_then(|index| {
            let mut marks = (from..).zip(index.entries.iter().skip(skip));
            marks.find_map(|(offset, mark)| {
                let ahead = delivered.after((*mark)?)?;
                (index.find((*mark)?) == Some(offset)).then_some((offset, ahead))
            })
        });
        let offset = met.as_ref().map_or(self.head(), |(offset, _)| *offset);
        self.move_to(cursor, offset);
        met.map(|(_, ahead)| ahead)
    }
}
