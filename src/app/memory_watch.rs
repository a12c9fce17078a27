//! The one task that knows how near the system's memory limit is.
//!
//! Replay windows are what grows by itself, so they get what is left below four fifths of the limit, anew at each look. What
//! goes beyond is not theirs: then new work is refused, and windows are let go.

use std::sync::Arc;
use std::time::Duration;

use crate::memory::{ControlGroups, Memory};
use crate::policy::load_shedding::Level;
use crate::session::Services;

/// Between two looks at a few files of a few bytes, some tens of microseconds.
const CALM_LOOK: Duration = Duration::from_millis(100);
/// The same from [`WATCHFUL`] on.
const WATCHFUL_LOOK: Duration = Duration::from_millis(10);
/// Tenths of the limit.
const WATCHFUL: u64 = 6;
/// Tenths of the limit up to which windows may grow.
const WINDOWS: u64 = 8;
/// What part of the free memory windows may take until the next look: an event costs more than its payload, and others grow.
const SHARE: u64 = 4;

/// Looks until it is stopped: a limit may be set while we run.
pub(super) async fn watch(shared: Arc<Services>) {
    let groups = ControlGroups::find();
    let mut level = Level::Calm;
    loop {
        let memory = groups.tightest();
        if let Some(memory) = memory {
            level = apply(&shared, memory, level);
        }
        let near = memory.is_some_and(|memory| memory.used >= memory.limit / 10 * WATCHFUL);
        let look = if near { WATCHFUL_LOOK } else { CALM_LOOK };
        tokio::time::sleep(look).await;
    }
}

fn apply(shared: &Services, memory: Memory, before: Level) -> Level {
    let level = before.next(memory.used, memory.limit);
    if level != before {
        shared.pressure.set(level);
        shared
            .telemetry
            .downstream
            .memory_pressed(level as u8, level.as_str(), memory);
    }
    let held = shared.hub.held();
    let room = (memory.limit / 10 * WINDOWS).saturating_sub(memory.used) / SHARE;
    shared.hub.set_ceiling(match level {
        Level::Calm | Level::Tight => held.saturating_add(usize::try_from(room).unwrap_or(held)),
        Level::Scarce | Level::Full => held / 4 * 3,
    });
    level
}
