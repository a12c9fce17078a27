//! A log that is replicated elsewhere: a subscriber there gets what it would have got here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;

use crate::config::{Join, Replay};
use crate::event::{Change, ChangeKind, Data, Draft, Epoch, Event, EventKind, GapWhy, Position};
use crate::hub::history::History;
use crate::hub::history::entries::Cursor;
use crate::hub::history::stream::{Stream, StreamConnection};
use crate::hub::history::transfer::Exported;
use crate::hub::replication::message::Append;
use crate::hub::resume::{self, ResumePoint};
use crate::hub::{ReadProgress, Start};

const EPOCH: Epoch = Epoch(7);

const REPLAY: Replay = Replay {
    events: 6,
    age: Duration::from_secs(60),
    bytes: 1 << 20,
};

/// What happens to a log.
#[derive(Clone, Debug)]
enum Step {
    Events(Vec<(Option<u8>, bool)>),
    Gap,
    Connect(StreamConnection),
    Document(bool),
    /// What is too much is let go here.
    Trim,
    /// Everything so far is sent.
    Tell,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let event = (proptest::option::of(0..6u8), any::<bool>());
    let connection = prop_oneof![
        Just(StreamConnection::Resumed),
        Just(StreamConnection::Brought),
        Just(StreamConnection::Fresh)
    ];
    let step = prop_oneof![
        4 => proptest::collection::vec(event, 1..4).prop_map(Step::Events),
        1 => Just(Step::Gap),
        1 => connection.prop_map(Step::Connect),
        1 => any::<bool>().prop_map(Step::Document),
        1 => Just(Step::Trim),
        2 => Just(Step::Tell),
    ];
    proptest::collection::vec(step, 0..30)
}

/// The same log, here and where it is sent to.
struct Pair {
    here: History,
    there: History,
    exported: Exported,
    count: u32,
    at: Instant,
}

fn brought() -> Stream {
    Stream::resumed_after(Some("6".into()))
}

impl Pair {
    fn new() -> Self {
        Pair {
            here: History::new(1, EPOCH, brought()),
            there: History::new(2, EPOCH, Stream::default()),
            exported: Exported::default(),
            count: 0,
            at: Instant::now(),
        }
    }

    fn take(&mut self, step: Step) {
        self.count += 1;
        let text = |count| Data::classify(Bytes::from(format!("{{\"n\":{count}}}")));
        match step {
            Step::Events(events) => {
                let drafts = events.into_iter().map(|(id, is_named)| Draft {
                    name: is_named.then(|| "named".into()),
                    id: id.map(|id| id.to_string().into()),
                    has_own_id: id.is_some_and(|id| id % 2 == 0),
                    data: text(self.count),
                    change: is_named.then(|| Change {
                        kind: ChangeKind::ALL[self.count as usize % 3],
                        before: id.map(|id| Arc::from([b'0' + id])),
                    }),
                });
                self.here.append(drafts.collect(), self.at);
            }
            Step::Gap => self.here.append_gap(GapWhy::TooLarge, self.at),
            Step::Connect(connection) => self.here.connected(connection, self.at),
            Step::Document(is_whole) => {
                let drafts = (!is_whole).then(|| vec![Draft::plain(text(self.count))]);
                self.here.append_document(text(self.count), drafts, self.at);
            }
            Step::Trim => self.here.trim(&REPLAY, self.at),
            Step::Tell => self.tell(),
        }
    }

    /// By way of the bytes that go over.
    fn tell(&mut self) {
        let Some(delta) = self.here.export(&mut self.exported) else {
            return;
        };
        let bytes = serde_json::to_vec(&Append::write(delta, self.at)).unwrap();
        let append: Append = serde_json::from_slice(&bytes).unwrap();
        self.there.import(append.read(EPOCH, self.at));
    }
}

/// An event without the number of its channel.
fn told(event: &Arc<Event>) -> String {
    let Event {
        position,
        kind,
        name,
        id,
        data,
        change,
        ..
    } = &**event;
    format!("{position} {kind:?} {name:?} {id:?} {data:?} {change:?}")
}

/// Everything that a subscriber gets that begins like this and reads to the end.
fn walk(log: &mut History, start: Start, at: Instant) -> Vec<String> {
    let joined = log.head();
    let ResumePoint {
        cursor,
        recovered,
        lost,
        prelude,
        reads_own,
        awaits,
    } = resume::begin(log, start, Join::Auto, at);
    let mut all: Vec<String> = vec![format!(
        "{recovered} {lost:?} {reads_own} {awaits} at {joined}"
    )];
    all.extend(prelude.iter().map(told));
    let mut out = Vec::new();
    let mut cursor = Cursor::new(cursor);
    let progress = log.read(&mut cursor, &mut out, usize::MAX);
    assert_eq!(progress, ReadProgress::CaughtUp);
    log.let_go(&mut cursor);
    all.extend(out.iter().map(told));
    all
}

proptest! {
    #[test]
    fn a_reader_there_gets_what_it_would_have_got_here(steps in steps()) {
        let mut pair = Pair::new();
        for step in steps {
            pair.take(step);
        }
        // As after the last subscriber: then the log is sent to its end.
        pair.take(Step::Trim);
        pair.tell();
        pair.there.trim(&REPLAY, pair.at);
        prop_assert_eq!(pair.here.stream().last_id(), pair.there.stream().last_id());
        let positions = (0..pair.here.head() + 2).map(|offset| Position { epoch: EPOCH, offset });
        let foreign = Position { epoch: Epoch(8), offset: 1 };
        let starts = positions
            .chain([foreign])
            .flat_map(|at| [Start::After(at), Start::Moved(at)])
            .chain((0..7).map(|id| Start::LastEventId(id.to_string().into())))
            .chain([Start::Live]);
        for start in starts {
            let here = walk(&mut pair.here, start.clone(), pair.at);
            let there = walk(&mut pair.there, start.clone(), pair.at);
            prop_assert_eq!(here, there, "{:?}", start);
        }
    }

    /// Nothing that comes over the way can break the log.
    #[test]
    fn nonsense_is_taken_in_without_a_panic(first: u64, window: u64, count in 0..5usize, again: u64) {
        let mut log = History::new(1, EPOCH, Stream::default());
        for first in [first, again] {
            let entry = serde_json::json!({"data": "x", "age_ms": u64::MAX});
            let grown = serde_json::json!({
                "first": first, "window": window, "entries": vec![entry; count], "last_id": null,
            });
            let append: Append = serde_json::from_value(grown).unwrap();
            log.import(append.read(EPOCH, Instant::now()));
            prop_assert!(log.window() <= log.head() + 1);
            let after = Start::After(Position { epoch: EPOCH, offset: first });
            resume::begin(&mut log, after, Join::Auto, Instant::now());
        }
    }
}

#[test]
fn a_position_that_is_on_its_way_is_waited_for_and_no_other() {
    let mut pair = Pair::new();
    pair.take(Step::Events(vec![(None, false)]));
    pair.tell();
    pair.there.follow();
    pair.take(Step::Events(vec![(None, false)]));
    let ahead = |offset| {
        Start::After(Position {
            epoch: EPOCH,
            offset,
        })
    };
    let placed = resume::begin(&mut pair.there, ahead(2), Join::Auto, pair.at);
    assert!(placed.recovered && placed.prelude.is_empty());
    assert_eq!(placed.cursor, 2);
    pair.tell();
    pair.take(Step::Events(vec![(None, false)]));
    pair.tell();
    let mut cursor = Cursor::new(placed.cursor);
    let mut out = Vec::new();
    pair.there.read(&mut cursor, &mut out, 9);
    assert_eq!(out.len(), 1);
    assert_eq!(out[0].position.offset, 3);
    for offset in [1 << 20, u64::MAX] {
        let placed = resume::begin(&mut pair.there, ahead(offset), Join::Auto, pair.at);
        assert_eq!(placed.lost, Some(GapWhy::Epoch));
    }
}

/// A position of a dead leader that never came here names no event of the process that goes on; what had come is still there.
#[test]
fn a_position_that_never_came_belongs_to_no_other_event() {
    let next = Epoch(8);
    for (id, has_document) in [(Some(2), false), (None, true), (None, false)] {
        let mut pair = Pair::new();
        if has_document {
            pair.take(Step::Document(true));
        }
        pair.take(Step::Events(vec![(id, false); 3]));
        pair.tell();
        pair.there.follow();
        let head = pair.there.head();
        pair.there.lead_on(next, pair.at);
        let event = vec![Draft::plain(Data::Text(Bytes::from_static(b"another")))];
        pair.there.append(event, pair.at);
        let mut after = |epoch, offset| {
            let start = Start::After(Position { epoch, offset });
            let placed = resume::begin(&mut pair.there, start, Join::Auto, pair.at);
            (placed.cursor, placed.lost)
        };
        let newest = after(next, head + 1);
        assert_eq!(newest, (head + 1, None));
        // The newest of them is just before what the dead leader may have named otherwise.
        assert_eq!(after(EPOCH, head - 1), (head - 1, None));
        assert_eq!(after(EPOCH, head), (head, None));
        for offset in [head + 1, head + 2, head + 9] {
            assert_eq!(after(EPOCH, offset).1, Some(GapWhy::Epoch), "{id:?}");
        }
    }
}

#[test]
fn a_client_ahead_of_a_dead_leader_is_told_of_a_loss() {
    let mut pair = Pair::new();
    pair.take(Step::Events(vec![(Some(2), false)]));
    pair.tell();
    pair.there.follow();
    let after = Position {
        epoch: EPOCH,
        offset: 5,
    };
    let placed = resume::begin(&mut pair.there, Start::After(after), Join::Auto, pair.at);
    let mut cursor = Cursor::new(placed.cursor);
    pair.there.lead_on(Epoch(8), pair.at);
    let mut out = Vec::new();
    pair.there.read(&mut cursor, &mut out, 9);
    assert!(matches!(out[0].kind, EventKind::Gap { .. }) && out[0].position.offset == 6);
}

/// A process that follows one that went on after a dead one knows what that one knows.
#[test]
fn epochs_go_over_with_the_log() {
    let mut pair = Pair::new();
    pair.take(Step::Events(vec![(Some(2), false); 2]));
    pair.tell();
    pair.here.follow();
    pair.here.lead_on(Epoch(8), pair.at);
    pair.take(Step::Events(vec![(Some(4), false)]));
    let mut third = History::new(3, Epoch(8), Stream::default());
    std::mem::swap(&mut pair.there, &mut third);
    // Once with the first word, once while it goes on.
    pair.tell();
    std::mem::swap(&mut pair.there, &mut third);
    pair.exported = Exported::default();
    pair.tell();
    for log in [&mut pair.here, &mut pair.there, &mut third] {
        let mut knows = |epoch, offset| log.knows(Position { epoch, offset });
        assert!(knows(EPOCH, 2) && knows(Epoch(8), 3) && knows(Epoch(8), 1));
        assert!(!knows(EPOCH, 3) && !knows(Epoch(8), 4) && !knows(Epoch(9), 1));
    }
}
