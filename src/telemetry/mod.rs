//! Each happening is one function: its log line and its metric together.
//!
//! The metrics' names stand in `names`; rooms add their happenings in a file of their own here.

/// All counters and gauges, made once by `app` and handed to every room.
#[derive(Debug, Default)]
pub struct Telemetry {}
