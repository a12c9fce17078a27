use std::time::Duration;

use super::parser::table::Table;
use super::parser::units;

/// `replay`: the window in which a client that comes back misses nothing. What present clients have not read yet is kept beyond it, within `limits.memory`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Replay {
    /// Events kept.
    pub(crate) events: usize,
    /// Age kept; a topic lingers as long after its last subscriber: a stream is read on, a poll is not.
    pub(crate) age: Duration,
    /// Size kept.
    pub(crate) bytes: usize,
}

/// What happens to a subscription whose client is too slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slow {
    /// Close 4113.
    Close,
    /// Skip to the oldest kept, with one `gap`.
    Gap,
    /// Skip to the newest document.
    Latest,
}

/// `deliver`: fewer, larger frames for high-frequency events. Without it everything goes out at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deliver {
    /// Between two deliveries.
    pub(crate) every: Duration,
    /// `"batch"` (all that waited) or `"latest"` (the newest of each name).
    pub(crate) mode: DeliverMode,
    /// This many waiting events are not held back further.
    pub(crate) max: usize,
}

/// See [`Deliver::mode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeliverMode {
    /// All that waited.
    Batch,
    /// The newest of each name.
    Latest,
}

pub(super) fn replay(table: &Table<'_>) -> Replay {
    Replay {
        events: table.integer("events", 1_000, 1..=units::MANY),
        age: table.duration("age", "60s"),
        bytes: table.size("bytes", "4MiB"),
    }
}

pub(super) fn slow(table: &Table<'_>) -> Slow {
    let words = [
        ("close", Slow::Close),
        ("gap", Slow::Gap),
        ("latest", Slow::Latest),
    ];
    table.word("slow", words)
}

pub(super) fn deliver(table: &Table<'_>) -> Deliver {
    Deliver {
        every: table.duration("every", "100ms"),
        mode: table.word(
            "mode",
            [
                ("batch", DeliverMode::Batch),
                ("latest", DeliverMode::Latest),
            ],
        ),
        max: table.integer("max", 50, 1..=units::MANY),
    }
}
