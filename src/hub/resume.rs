//! Where a subscription begins, and what it gets first: at most one gap, then the snapshot or
//! the replay, then what is live. Pure: time is an argument.
//!
//! A gap that one subscriber gets ends just before what it gets next: before the snapshot's
//! position on a polled route, before the oldest entry that is kept on a stream.

use std::sync::Arc;
use std::time::Instant;

use super::history::History;
use super::history::stream::{Brought, Newcomer};
use super::types::Start;
use crate::config::Join;
use crate::event::{Event, GapWhy, Position};

/// A cursor's new place.
pub(super) struct ResumePoint {
    /// Everything up to here counts as handed out.
    pub(crate) cursor: u64,
    /// Whether the replay is complete and plain: no gap, no snapshot in it.
    pub(crate) recovered: bool,
    /// The loss to report.
    pub(crate) lost: Option<GapWhy>,
    /// At most one gap, then at most one snapshot.
    pub(crate) prelude: Vec<Arc<Event>>,
    /// It is to begin with a request of its own.
    pub(crate) reads_own: bool,
    /// The backend has not said whether it goes on after the id that this one brought.
    pub(crate) awaits: bool,
}

/// Finds the place for a new subscription. `join` says what it gets where it names none.
pub(super) fn begin(log: &mut History, start: Start, join: Join, now: Instant) -> ResumePoint {
    match start {
        Start::Live => newcomer(log, join, now),
        Start::LastEventId(id) if id.is_empty() => newcomer(log, join, now),
        // The id names the place before the first event: a client that brought it may have seen no event of this stream.
        Start::LastEventId(id) if log.stream().began_after(&id) && log.window() == 1 => {
            ResumePoint {
                recovered: false,
                awaits: matches!(log.stream().brought(), Brought::Asked(_)),
                ..after(log, 0)
            }
        }
        Start::LastEventId(id) if log.stream().began_after(&id) => {
            expired(log, log.position(0), now)
        }
        Start::LastEventId(id) => match log.find_id(&id) {
            Some(offset) => after(log, offset),
            None => expired(log, log.position(0), now),
        },
        Start::After(position) | Start::Moved(position) if log.knows(position) => {
            match position.offset + 1 < log.window() {
                true => expired(log, position, now),
                false => after(log, position.offset),
            }
        }
        Start::After(position) => lose(log, position, log.head(), GapWhy::Epoch, now),
        Start::Lost(from) => {
            let is_known = from.is_none_or(|from| log.knows(from));
            let why = match is_known {
                true => GapWhy::Expired,
                false => GapWhy::Epoch,
            };
            let cursor = newcomer(log, join, now).cursor;
            let from = from.unwrap_or_else(|| log.position(cursor));
            lose(log, from, cursor, why, now)
        }
        Start::Moved(position) => lose(log, position, log.head(), GapWhy::Config, now),
    }
}

/// Goes on where a pause began; what is still kept counts as history, not as lag.
pub(super) fn go_on(log: &mut History, cursor: u64, now: Instant) -> ResumePoint {
    match log.has_lost(cursor) {
        true => expired(log, log.position(cursor), now),
        false => after(log, cursor),
    }
}

/// Goes to the oldest entry that is kept, or to the document. Nothing changes where nothing is lost.
pub(super) fn skip(log: &mut History, cursor: u64, now: Instant) -> ResumePoint {
    match log.has_lost(cursor) {
        true => {
            let from = log.position(cursor);
            lose(log, from, log.first() - 1, GapWhy::Slow, now)
        }
        false => after(log, cursor),
    }
}

/// For a subscription whose own request is not possible: all that the topic holds since its connection began, after a gap.
pub(super) fn without_beginning(
    log: &mut History,
    from: Position,
    why: GapWhy,
    now: Instant,
) -> ResumePoint {
    let kept = newcomer(log, Join::Window, now).cursor;
    lose(log, from, kept, why, now)
}

/// The topic's stream does not go on after the id that this subscription brought.
pub(super) fn not_resumed(log: &mut History, cursor: u64, now: Instant) -> ResumePoint {
    lose(
        log,
        log.position(cursor),
        cursor,
        GapWhy::UpstreamReconnect,
        now,
    )
}

fn newcomer(log: &mut History, join: Join, now: Instant) -> ResumePoint {
    let newcomer = log.newcomer(join, now);
    let live = ResumePoint {
        cursor: log.head(),
        recovered: false,
        lost: None,
        prelude: log.snapshot().into_iter().collect(),
        reads_own: newcomer == Newcomer::Own,
        awaits: false,
    };
    match newcomer {
        Newcomer::Live | Newcomer::Own => live,
        Newcomer::Window(cursor) => ResumePoint { cursor, ..live },
    }
}

fn after(log: &History, offset: u64) -> ResumePoint {
    ResumePoint {
        cursor: offset,
        recovered: offset >= log.last_break(),
        lost: None,
        prelude: Vec::new(),
        reads_own: false,
        awaits: false,
    }
}

fn expired(log: &mut History, from: Position, now: Instant) -> ResumePoint {
    lose(log, from, log.window() - 1, GapWhy::Expired, now)
}

/// One gap; then the document where there is one, else what follows `cursor`.
fn lose(log: &mut History, from: Position, cursor: u64, why: GapWhy, now: Instant) -> ResumePoint {
    let snapshot = log.snapshot();
    let (cursor, to) = match snapshot {
        Some(_) => (log.head(), log.head() - 1),
        None => {
            let cursor = log.beyond_gaps(cursor);
            (cursor, cursor)
        }
    };
    let gap = log.gap(from, to, why, now);
    ResumePoint {
        cursor,
        recovered: false,
        lost: Some(why),
        prelude: [gap].into_iter().chain(snapshot).collect(),
        reads_own: false,
        awaits: false,
    }
}
