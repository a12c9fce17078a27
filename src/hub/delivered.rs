//! The marks by which events are known in two logs, and what a subscriber's own request has delivered.
//!
//! Events are the same where id, name and data are. Only one that bore an id of its own says where the shared log stands, and
//! only where neither side has met it twice: an id that repeats proves nothing.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};

use crate::event::{Event, EventKind};

/// The newest delivered events that are remembered.
const MOST: usize = 1000;

/// Makes the marks of one topic's events.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks(RandomState);

/// See the module.
#[derive(Default)]
pub(super) struct Delivered {
    newest: VecDeque<Mark>,
}

struct Mark {
    mark: u64,
    has_place: bool,
}

impl Marks {
    pub(crate) fn of(&self, event: &Event) -> u64 {
        let Event {
            id,
            has_own_id,
            name,
            data,
            ..
        } = event;
        self.0.hash_one((id, has_own_id, name, data.bytes()))
    }
}

/// Whether this event's mark may say where a log stands.
pub(super) fn has_place(event: &Event) -> bool {
    event.kind == EventKind::Event && event.has_own_id && event.id.is_some()
}

impl Delivered {
    /// An event goes out; its mark, where that may say where the shared log stands.
    pub(crate) fn deliver(&mut self, event: &Event, marks: &Marks) -> Option<u64> {
        if event.kind != EventKind::Event {
            return None;
        }
        let (mark, has_place) = (marks.of(event), has_place(event));
        let is_known = self.newest.iter().any(|known| known.mark == mark);
        if self.newest.len() == MOST {
            self.newest.pop_front();
        }
        self.newest.push_back(Mark { mark, has_place });
        (has_place && !is_known).then_some(mark)
    }

    /// What was delivered after the one event with this mark; `None` where it was not, or more than once.
    pub(crate) fn after(&self, mark: u64) -> Option<VecDeque<u64>> {
        let mut found = (self.newest.iter().enumerate())
            .filter(|(_, delivered)| delivered.has_place && delivered.mark == mark);
        let (at, _) = found.next()?;
        if found.next().is_some() {
            return None;
        }
        let later = self.newest.iter().skip(at + 1);
        Some(later.map(|delivered| delivered.mark).collect())
    }
}
