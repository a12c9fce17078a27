//! A polled route's newest document, and the snapshot that shows it.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::event::{Data, Draft, Event, EventKind, Position};

/// See the module.
#[derive(Default)]
pub(crate) struct Document {
    newest: Option<(Data, Instant)>,
    /// Counts documents.
    version: u64,
    /// The document at the head, made when first asked for.
    snapshot: Option<Arc<Event>>,
    /// The newest entry that is a snapshot, 0 for none.
    pub(crate) last_snapshot: u64,
}

impl Document {
    /// Another one; whether it is the first.
    pub(crate) fn set(&mut self, data: Data, at: Instant) -> bool {
        self.version += 1;
        self.snapshot = None;
        self.newest.replace((data, at)).is_none()
    }

    /// The newest, and since when it is that.
    pub(crate) fn newest(&self) -> Option<&(Data, Instant)> {
        self.newest.as_ref()
    }

    /// Counts documents.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// The head has moved on.
    pub(crate) fn head_moved(&mut self) {
        self.snapshot = None;
    }

    /// The entry at the head shows it.
    pub(crate) fn is_shown_by(&mut self, entry: Option<&Arc<Event>>, head: u64) {
        self.last_snapshot = head;
        self.snapshot = entry.cloned();
    }

    /// The document as of this head.
    pub(crate) fn snapshot(&mut self, ch: u32, head: Position) -> Option<Arc<Event>> {
        let (data, at) = self.newest.as_ref()?;
        let made = self.snapshot.get_or_insert_with(|| {
            let draft = Draft::plain(data.clone());
            Arc::new(Event::new(ch, head, EventKind::Snapshot, draft, *at))
        });
        Some(made.clone())
    }

    /// Bytes of memory that it takes where none of these entries shares it.
    pub(crate) fn held<'e>(&self, mut entries: impl Iterator<Item = &'e Arc<Event>>) -> usize {
        let text = self.newest.as_ref().map(|(data, _)| data.bytes());
        let text = text.filter(|text| {
            let is_it = |entry: &Arc<Event>| entry.data.bytes().as_ptr() == text.as_ptr();
            !entries.any(is_it)
        });
        let snapshot = self.snapshot.as_ref();
        let snapshot = snapshot.filter(|made| self.last_snapshot != made.position.offset);
        text.map_or(0, Bytes::len) + snapshot.map_or(0, |made| made.made_bytes())
    }
}
