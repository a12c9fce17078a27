//! Which events have been delivered already when a resumed stream repeats some.

use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;

use bytes::Bytes;

use super::decode::SseEvent;
use crate::event::{Event, EventKind};

/// More than this many are not remembered, however long the replay window.
const MOST: usize = 10_000;

/// The newest events that had an id of their own, and whether the stream may be repeating them.
///
/// A backend may answer `Last-Event-ID` with events that it sent before. Such an event is known
/// by its id *and* its content: a backend whose counter began anew after a restart uses old ids
/// for new events, and dropping those would be silent loss. For the same reason an event that
/// occurred twice before is no proof of repetition, and the first new event ends the search: in
/// a live stream ids may repeat as they like.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    seen: VecDeque<u64>,
    hasher: RandomState,
    is_resuming: bool,
}

impl Recent {
    /// What another process has delivered, oldest first, among `capacity`.
    pub(crate) fn of(events: &[Arc<Event>], capacity: usize) -> Self {
        let mut recent = Recent::default();
        for event in events.iter().filter(|event| event.kind == EventKind::Event) {
            if event.has_own_id {
                let mark = recent.mark(&event.id, &event.name, event.data.bytes());
                recent.remember(mark, capacity);
            }
        }
        recent
    }

    /// The stream was asked to go on after an event.
    pub(crate) fn resumed(&mut self) {
        self.is_resuming = true;
    }

    /// Whether this message was delivered before; remembers it otherwise, among `capacity`.
    pub(crate) fn is_repeated(&mut self, message: &SseEvent, capacity: usize) -> bool {
        if !message.has_own_id {
            return false;
        }
        let mark = self.mark(&message.id, &message.name, &message.data);
        if self.is_resuming {
            let times = self.seen.iter().filter(|seen| **seen == mark).take(2);
            if times.count() == 1 {
                return true;
            }
            self.is_resuming = false;
        }
        self.remember(mark, capacity);
        false
    }

    fn mark(&self, id: &Option<Arc<str>>, name: &Option<Arc<str>>, data: &Bytes) -> u64 {
        self.hasher.hash_one((id, name, data))
    }

    fn remember(&mut self, mark: u64, capacity: usize) {
        while self.seen.len() >= capacity.clamp(1, MOST) {
            self.seen.pop_front();
        }
        self.seen.push_back(mark);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Data, Draft, Epoch, Position};

    fn message(id: Option<&str>, data: &'static str) -> SseEvent {
        SseEvent {
            name: None,
            id: id.map(Into::into),
            has_own_id: id.is_some(),
            data: Bytes::from_static(data.as_bytes()),
        }
    }

    fn fresh(recent: &mut Recent, messages: &[(Option<&str>, &'static str)]) -> Vec<&'static str> {
        let fresh = messages
            .iter()
            .filter(|(id, data)| !recent.is_repeated(&message(*id, data), 3));
        fresh.map(|(_, data)| *data).collect()
    }

    #[test]
    fn what_a_resumed_stream_repeats_is_dropped() {
        let mut recent = Recent::default();
        fresh(
            &mut recent,
            &[(Some("1"), "a"), (Some("2"), "b"), (Some("3"), "c")],
        );
        recent.resumed();
        let again = [
            (Some("2"), "b"),
            (Some("3"), "c"),
            (Some("4"), "d"),
            (Some("3"), "c"),
        ];
        assert_eq!(fresh(&mut recent, &again), ["d", "c"]);
    }

    #[test]
    fn what_another_process_delivered_is_known_by_its_own_ids() {
        let event = |offset, id: Option<&str>, has_own_id, data: &'static str| {
            let epoch = Epoch(1);
            let draft = Draft {
                name: None,
                id: id.map(Into::into),
                has_own_id,
                data: Data::classify(Bytes::from_static(data.as_bytes())),
                change: None,
            };
            let at = std::time::Instant::now();
            Arc::new(Event::new(
                1,
                Position { epoch, offset },
                EventKind::Event,
                draft,
                at,
            ))
        };
        let told = [
            event(1, None, false, "0"),
            event(2, Some("1"), true, "a"),
            event(3, Some("1"), false, "without its own"),
            event(4, Some("2"), true, "{}"),
        ];
        let mut recent = Recent::of(&told, 10);
        recent.resumed();
        let again = [
            (Some("1"), "a"),
            (None, "0"),
            (Some("2"), "{}"),
            (Some("1"), "without its own"),
        ];
        assert_eq!(fresh(&mut recent, &again), ["0", "without its own"]);
    }

    #[test]
    fn ids_repeat_freely_in_a_live_stream() {
        let mut recent = Recent::default();
        let live = [(Some("1"), "a"), (Some("1"), "a"), (Some("0"), "b")];
        assert_eq!(fresh(&mut recent, &live), ["a", "a", "b"]);
    }

    #[test]
    fn an_old_id_with_new_content_is_a_new_event() {
        let mut recent = Recent::default();
        fresh(&mut recent, &[(Some("1"), "a"), (Some("2"), "b")]);
        recent.resumed();
        let restarted = [(Some("1"), "x"), (Some("2"), "b")];
        assert_eq!(fresh(&mut recent, &restarted), ["x", "b"]);
    }

    #[test]
    fn an_event_seen_twice_or_without_an_id_is_never_dropped() {
        let mut recent = Recent::default();
        fresh(
            &mut recent,
            &[(Some("1"), "tick"), (Some("1"), "tick"), (None, "a")],
        );
        recent.resumed();
        let again = [(None, "a"), (Some("1"), "tick")];
        assert_eq!(fresh(&mut recent, &again), ["a", "tick"]);
    }

    #[test]
    fn what_fell_out_of_the_window_is_not_known() {
        let mut recent = Recent::default();
        fresh(
            &mut recent,
            &[
                (Some("1"), "a"),
                (Some("2"), "b"),
                (Some("3"), "c"),
                (Some("4"), "d"),
            ],
        );
        recent.resumed();
        assert_eq!(fresh(&mut recent, &[(Some("1"), "a")]), ["a"]);
    }
}
