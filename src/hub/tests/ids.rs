//! A client that comes back by the id that its newest event showed gets everything after that event, or a gap.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;

use crate::config::{Join, Replay};
use crate::event::{Data, Draft, Epoch, Event, EventKind, GapWhy};
use crate::hub::history::History;
use crate::hub::history::entries::Cursor;
use crate::hub::history::stream::{Stream, StreamConnection};
use crate::hub::history::transfer::Exported;
use crate::hub::replication::message::Append;
use crate::hub::{Start, resume};

const REPLAY: Replay = Replay {
    events: 5,
    age: Duration::from_secs(60),
    bytes: 1 << 20,
};

#[derive(Clone, Copy, Debug)]
enum Step {
    /// An event with an id of its own, that some earlier event may have had too.
    Own(u8),
    /// One without.
    None,
    /// The stream is lost; it goes on after its id, or anew.
    Reconnect {
        is_resumed: bool,
    },
    Trim,
    /// Another process takes over.
    Upgrade,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..4u8).prop_map(Step::Own),
        4 => Just(Step::None),
        1 => any::<bool>().prop_map(|is_resumed| Step::Reconnect { is_resumed }),
        1 => Just(Step::Trim),
        1 => Just(Step::Upgrade),
    ];
    proptest::collection::vec(step, 1..24)
}

struct World {
    log: History,
    at: Instant,
    /// The id that events show.
    shown: Option<Arc<str>>,
    /// Everything that ever was in the log.
    all: Vec<Arc<Event>>,
}

impl World {
    fn take(&mut self, step: Step) {
        match step {
            Step::Own(id) => {
                self.shown = Some(id.to_string().into());
                self.publish(true);
            }
            Step::None => self.publish(false),
            Step::Reconnect { is_resumed } => {
                let own = self.log.stream().last_id().cloned();
                let is_resumed = is_resumed && own.is_some();
                self.shown = own.filter(|_| is_resumed);
                let connection = match is_resumed {
                    true => StreamConnection::Resumed,
                    false => StreamConnection::Fresh,
                };
                if !is_resumed {
                    self.log.append_gap(GapWhy::UpstreamReconnect, self.at);
                }
                self.log.connected(connection, self.at);
            }
            Step::Trim => self.log.trim(&REPLAY, self.at),
            Step::Upgrade => self.upgrade(),
        }
        let known = self.all.last().map_or(0, |event| event.position.offset);
        let new = self
            .log
            .events()
            .filter(|event| event.position.offset > known);
        self.all.extend(new.cloned().collect::<Vec<_>>());
    }

    fn publish(&mut self, has_own_id: bool) {
        let draft = Draft {
            name: None,
            id: self.shown.clone(),
            has_own_id,
            data: Data::Text(Bytes::from_static(b"x")),
            change: None,
        };
        self.log.append(vec![draft], self.at);
    }

    fn upgrade(&mut self) {
        let delta = self.log.export(&mut Exported::default()).expect("news");
        let bytes = serde_json::to_vec(&Append::write(delta, self.at)).unwrap();
        let append: Append = serde_json::from_slice(&bytes).unwrap();
        self.log = History::new(1, Epoch(1), Stream::default());
        self.log.import(append.read(Epoch(1), self.at));
    }

    /// Offsets that a client gets that comes with this id, and whether it is confirmed that this is all.
    fn resume(&mut self, id: &Arc<str>) -> (Vec<u64>, bool, bool) {
        let start = Start::LastEventId(id.clone());
        let placed = resume::begin(&mut self.log, start, Join::Auto, self.at);
        let mut cursor = Cursor::new(placed.cursor);
        let mut out = Vec::new();
        self.log.read(&mut cursor, &mut out, usize::MAX);
        self.log.let_go(&mut cursor);
        let offsets = out.iter().map(|event| event.position.offset).collect();
        (offsets, placed.recovered, placed.lost.is_some())
    }
}

fn check(brought: bool, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let id: Option<Arc<str>> = brought.then(|| "0".into());
    let at = Instant::now();
    let mut world = World {
        log: History::new(1, Epoch(1), Stream::resumed_after(id.clone())),
        at,
        shown: id,
        all: Vec::new(),
    };
    let first = match brought {
        true => StreamConnection::Brought,
        false => StreamConnection::Fresh,
    };
    world.log.connected(first, at);
    for step in steps {
        world.take(step);
    }
    let all = world.all.clone();
    for seen in all.iter().filter(|event| event.kind == EventKind::Event) {
        let Some(id) = &seen.id else { continue };
        let (got, recovered, is_told) = world.resume(id);
        let missed = (all.iter())
            .map(|event| event.position.offset)
            .find(|offset| *offset > seen.position.offset && !got.contains(offset));
        if missed.is_some() {
            prop_assert!(is_told && !recovered, "{id}: {missed:?} of {got:?}");
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_resume_by_id_misses_an_event_silently(brought: bool, steps in steps()) {
        check(brought, steps)?;
    }
}

#[test]
fn an_event_that_shows_a_clients_id_is_not_behind_it() {
    check(true, vec![Step::None, Step::None]).unwrap();
    check(true, vec![Step::None, Step::Upgrade, Step::None]).unwrap();
}
