//! What time it is.

use std::time::{Instant, SystemTime};

/// The monotonic clock, as the runtime shows it.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Seconds since 1970.
pub(super) fn unix_now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
