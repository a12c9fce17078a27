use tracing::Level;

use super::parser::table::Table;

/// `[log]`: what operators read on stderr.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Log {
    /// Least severity shown: `"error"`, `"warn"`, `"info"`, `"debug"` or `"trace"`.
    pub(crate) level: Level,
    /// `format`: `"text"`, or `"json"` for one JSON object per line.
    pub(crate) json: bool,
    /// One line per request and session.
    pub(crate) access: bool,
}

pub(super) fn read(table: &Table<'_>) -> Log {
    Log {
        level: table.word(
            "level",
            [
                ("info", Level::INFO),
                ("error", Level::ERROR),
                ("warn", Level::WARN),
                ("debug", Level::DEBUG),
                ("trace", Level::TRACE),
            ],
        ),
        json: table.word("format", [("text", false), ("json", true)]),
        access: table.switch("access", true),
    }
}
