//! Fewer events with the same result: what changed during a pause, and the newest of each name.
//! Pure.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::{Emit, Poll};
use crate::event::{Change, ChangeKind, Data, Draft, Event, EventKind};
use crate::json::{self, Scalar, Value};

/// The net change of a polled topic's entries, in log order: what a client that saw none of them has
/// to see. Patches are as they were: several of them are better replaced by the document.
pub(crate) fn net_change(mut entries: Vec<Arc<Event>>, poll: &Poll) -> Vec<Arc<Event>> {
    let is_gap = |event: &Arc<Event>| matches!(event.kind, EventKind::Gap { .. });
    if entries.iter().any(is_gap) {
        // Loss is sent as it happened.
        return entries;
    }
    let last_snapshot = entries
        .iter()
        .rposition(|event| event.kind == EventKind::Snapshot);
    let changes = entries.split_off(last_snapshot.map_or(0, |at| at + 1));
    let snapshot = entries.pop();
    match poll.emit {
        Emit::Document => changes.last().cloned().or(snapshot).into_iter().collect(),
        Emit::Changes => {
            let changes = fold_items(&changes, poll).unwrap_or(changes);
            snapshot.into_iter().chain(changes).collect()
        }
        Emit::JsonPatch | Emit::MergePatch => snapshot.into_iter().chain(changes).collect(),
    }
}

/// One item's story: what it was at the beginning, and how it ended.
struct Story {
    began: bool,
    /// The item at the beginning, where that is known.
    before: Option<Arc<[u8]>>,
    is_there: bool,
    last: Arc<Event>,
}

/// At most one event per item, by what happened to it and not by the names that clients see; `None` where that or an item's
/// key is not known.
fn fold_items(changes: &[Arc<Event>], poll: &Poll) -> Option<Vec<Arc<Event>>> {
    let mut stories: HashMap<Scalar, Story> = HashMap::new();
    let key = json::tokens(&poll.key);
    for event in changes {
        let change = event.change.as_ref()?;
        let item = Value::read(event.data.bytes()).ok()?;
        let key = item.pointer(&key)?.scalar()?;
        let story = stories.entry(key).or_insert_with(|| Story {
            began: change.kind != ChangeKind::Created,
            before: before(event, change),
            is_there: true,
            last: event.clone(),
        });
        story.is_there = change.kind != ChangeKind::Deleted;
        story.last = event.clone();
    }
    let told = stories.into_values().filter_map(|story| {
        let kind = match (story.began, story.is_there) {
            (false, false) => return None,
            (false, true) => ChangeKind::Created,
            (true, true) => ChangeKind::Updated,
            (true, false) => ChangeKind::Deleted,
        };
        let change = Change {
            kind,
            before: story.before,
        };
        Some(match story.last.change.as_ref() == Some(&change) {
            true => story.last,
            false => (story.last).reworded(poll.events.of(kind), story.last.data.clone(), change),
        })
    });
    let mut told: Vec<_> = told.collect();
    told.sort_by_key(|event| event.position.offset);
    Some(told)
}

/// The item before a change.
fn before(event: &Event, change: &Change) -> Option<Arc<[u8]>> {
    match (&change.before, change.kind) {
        (None, ChangeKind::Deleted) => Some(Arc::from(&event.data.bytes()[..])),
        (before, _) => before.clone(),
    }
}

/// Makes one event of those of one name that follow one another, where clients see it as a list; its data is theirs with commas
/// between.
pub(crate) fn join_items(entries: &mut Vec<Arc<Event>>, is_list: impl Fn(&Event) -> bool) {
    let mut joined: Vec<Arc<Event>> = Vec::with_capacity(entries.len());
    for event in entries.drain(..) {
        let is_item = event.kind == EventKind::Event && matches!(event.data, Data::Json(_));
        match joined.last_mut() {
            Some(last) if is_item && last.kind == event.kind && last.name == event.name => {
                match (&last.data, is_list(&event)) {
                    (Data::Json(_), true) => *last = Arc::new(with_items(last, &event)),
                    _ => joined.push(event),
                }
            }
            _ => joined.push(event),
        }
    }
    *entries = joined;
}

/// The later event, with the items of an earlier one before its own.
fn with_items(before: &Event, event: &Event) -> Event {
    let data = [&before.data.bytes()[..], b",", &event.data.bytes()[..]].concat();
    let draft = Draft {
        name: event.name.clone(),
        id: event.id.clone(),
        has_own_id: event.has_own_id,
        data: Data::Json(data.into()),
        change: None,
    };
    Event::new(
        event.ch,
        event.position,
        event.kind.clone(),
        draft,
        event.at,
    )
}

/// Keeps the newest event of each name; gaps and snapshots stay.
pub(crate) fn keep_newest(entries: &mut Vec<Arc<Event>>) {
    let mut newest: HashMap<Option<Arc<str>>, u64> = HashMap::new();
    for event in entries
        .iter()
        .filter(|event| event.kind == EventKind::Event)
    {
        newest.insert(event.name.clone(), event.position.offset);
    }
    entries.retain(|event| {
        event.kind != EventKind::Event || newest.get(&event.name) == Some(&event.position.offset)
    });
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use bytes::Bytes;
    use hyper::Method;

    use super::*;
    use crate::config::ChangeNames;
    use crate::event::{Epoch, GapWhy, Position};

    fn poll(emit: Emit) -> Poll {
        Poll {
            every: Duration::from_secs(1),
            adaptive: None,
            jitter: 0.0,
            method: Method::GET,
            body: None,
            emit,
            items: String::new(),
            key: "/id".into(),
            ignore: Vec::new(),
            events: ChangeNames {
                created: "created".into(),
                updated: "updated".into(),
                deleted: "deleted".into(),
                snapshot: "snapshot".into(),
            },
            mass_delete_guard: 100.0,
            max_body: 1024,
        }
    }

    fn at(offset: u64) -> Position {
        Position {
            epoch: Epoch(1),
            offset,
        }
    }

    fn log(entries: &[(EventKind, &str, &str)]) -> Vec<Arc<Event>> {
        let entries = entries.iter().enumerate().map(|(index, entry)| {
            let (kind, name, data) = entry;
            let mut kinds = ChangeKind::ALL.into_iter();
            let change = kinds.find(|kind| kind.as_str() == *name);
            let draft = Draft {
                name: (!name.is_empty()).then(|| Arc::from(*name)),
                id: None,
                has_own_id: false,
                data: Data::classify(Bytes::copy_from_slice(data.as_bytes())),
                change: change.map(|kind| Change { kind, before: None }),
            };
            let position = at(index as u64 + 1);
            Arc::new(Event::new(1, position, kind.clone(), draft, Instant::now()))
        });
        entries.collect()
    }

    fn told(events: Vec<Arc<Event>>) -> Vec<(u64, String, String)> {
        let told = events.iter().map(|event| {
            let name = event.name.as_deref().unwrap_or_default();
            let data = String::from_utf8_lossy(event.data.bytes());
            (event.position.offset, name.to_string(), data.to_string())
        });
        told.collect()
    }

    fn line(offset: u64, name: &str, data: &str) -> (u64, String, String) {
        (offset, name.into(), data.into())
    }

    #[test]
    fn items_of_one_name_that_follow_one_another_are_one_list() {
        let mut entries = log(&[
            (EventKind::Event, "created", r#"{"id":1}"#),
            (EventKind::Event, "created", r#"{"id":2}"#),
            (EventKind::Event, "created", r#"{"id":3}"#),
            (EventKind::Event, "updated", r#"{"id":1}"#),
            (EventKind::Event, "created", r#"{"id":4}"#),
            (EventKind::Snapshot, "", "[]"),
            (EventKind::Snapshot, "", "[1]"),
            (EventKind::Event, "deleted", r#"{"id":4}"#),
            (EventKind::Event, "deleted", r#"{"id":5}"#),
        ]);
        join_items(&mut entries, |event| {
            event.name.as_deref() != Some("deleted")
        });
        let expected = [
            line(3, "created", r#"{"id":1},{"id":2},{"id":3}"#),
            line(4, "updated", r#"{"id":1}"#),
            line(5, "created", r#"{"id":4}"#),
            line(6, "", "[]"),
            line(7, "", "[1]"),
            line(8, "deleted", r#"{"id":4}"#),
            line(9, "deleted", r#"{"id":5}"#),
        ];
        assert_eq!(told(entries), expected);
    }

    #[test]
    fn each_item_is_told_once_and_by_its_net_change() {
        let entries = log(&[
            (EventKind::Event, "created", r#"{"id":1}"#),
            (EventKind::Event, "updated", r#"{"id":2,"v":1}"#),
            (EventKind::Event, "updated", r#"{"id":1,"v":2}"#),
            (EventKind::Event, "created", r#"{"id":3}"#),
            (EventKind::Event, "deleted", r#"{"id":3}"#),
            (EventKind::Event, "updated", r#"{"id":2,"v":2}"#),
            (EventKind::Event, "deleted", r#"{"id":4}"#),
            (EventKind::Event, "deleted", r#"{"id":5}"#),
            (EventKind::Event, "created", r#"{"id":5,"v":9}"#),
        ]);
        assert_eq!(
            told(net_change(entries, &poll(Emit::Changes))),
            [
                line(3, "created", r#"{"id":1,"v":2}"#),
                line(6, "updated", r#"{"id":2,"v":2}"#),
                line(7, "deleted", r#"{"id":4}"#),
                line(9, "updated", r#"{"id":5,"v":9}"#),
            ]
        );
    }

    #[test]
    fn what_happened_counts_and_not_what_it_is_called() {
        let mut poll = poll(Emit::Changes);
        let changes = [
            (ChangeKind::Created, r#"{"id":1}"#),
            (ChangeKind::Updated, r#"{"id":2,"v":1}"#),
            (ChangeKind::Deleted, r#"{"id":1}"#),
            (ChangeKind::Deleted, r#"{"id":2,"v":1}"#),
            (ChangeKind::Updated, r#"{"id":3,"v":1}"#),
        ];
        for names in [["changed", "changed", "gone"], ["item", "item", "item"]] {
            let [created, updated, deleted] = names.map(Arc::from);
            poll.events = ChangeNames {
                created,
                updated,
                deleted,
                snapshot: "snapshot".into(),
            };
            let entries = changes.iter().zip(1..).map(|((kind, data), offset)| {
                let draft = Draft {
                    name: Some(poll.events.of(*kind).clone()),
                    id: None,
                    has_own_id: false,
                    data: Data::Json(Bytes::from_static(data.as_bytes())),
                    change: Some(Change {
                        kind: *kind,
                        before: (*kind == ChangeKind::Updated).then(|| Arc::from(&b"{}"[..])),
                    }),
                };
                Arc::new(Event::new(
                    1,
                    at(offset),
                    EventKind::Event,
                    draft,
                    Instant::now(),
                ))
            });
            let net = net_change(entries.collect(), &poll);
            assert_eq!(
                net[0].change.as_ref().unwrap().before.as_deref(),
                Some(&b"{}"[..])
            );
            assert_eq!(
                told(net),
                [
                    line(4, names[2], r#"{"id":2,"v":1}"#),
                    line(5, names[1], r#"{"id":3,"v":1}"#),
                ]
            );
        }
    }

    #[test]
    fn the_newest_document_says_it_all() {
        let entries = log(&[
            (EventKind::Snapshot, "", "0"),
            (EventKind::Event, "", "1"),
            (EventKind::Event, "", "2"),
        ]);
        let net = net_change(entries, &poll(Emit::Document));
        assert_eq!(told(net), [line(3, "", "2")]);
    }

    #[test]
    fn a_snapshot_makes_what_was_before_it_superfluous() {
        let entries = log(&[
            (EventKind::Event, "created", r#"{"id":1}"#),
            (EventKind::Snapshot, "", "[]"),
            (EventKind::Event, "created", r#"{"id":2}"#),
        ]);
        assert_eq!(
            told(net_change(entries, &poll(Emit::Changes))),
            [line(2, "", "[]"), line(3, "created", r#"{"id":2}"#)]
        );
    }

    #[test]
    fn items_without_keys_are_told_as_they_came() {
        let entries = log(&[
            (EventKind::Event, "created", r#"{"no":1}"#),
            (EventKind::Event, "deleted", r#"{"no":1}"#),
        ]);
        let net = net_change(entries, &poll(Emit::Changes));
        assert_eq!(net.len(), 2);
    }

    #[test]
    fn loss_is_never_coalesced_away() {
        let gap = EventKind::Gap {
            from: at(1),
            why: GapWhy::TooLarge,
        };
        let entries = log(&[
            (EventKind::Event, "", "1"),
            (gap, "", ""),
            (EventKind::Snapshot, "", "3"),
        ]);
        let net = net_change(entries, &poll(Emit::Document));
        assert_eq!(told(net).len(), 3);
    }

    #[test]
    fn the_newest_of_each_name_is_kept() {
        let mut entries = log(&[
            (EventKind::Event, "a", "1"),
            (EventKind::Snapshot, "", "2"),
            (EventKind::Event, "b", "3"),
            (EventKind::Event, "a", "4"),
            (EventKind::Event, "", "5"),
            (EventKind::Event, "", "6"),
        ]);
        keep_newest(&mut entries);
        let kept: Vec<u64> = entries.iter().map(|event| event.position.offset).collect();
        assert_eq!(kept, [2, 3, 4, 6]);
    }
}
