//! The toy world: a backend that records what reaches it, a client that says exactly what it is
//! told to, and crossfade between them, started from a configuration's text.

pub mod backend;
pub mod bridge;
pub mod peer;
pub mod sidecar;

pub use backend::Backend;
pub use peer::{Message, Peer};
pub use sidecar::Sidecar;

use std::time::Duration;

/// Longer than anything here takes; a test that waits for it has failed.
pub const LONG: Duration = Duration::from_secs(20);

/// Waits for a fact, at most [`LONG`].
pub async fn within<T>(what: &str, fact: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, fact)
        .await
        .unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// Waits until `is_so`, looking again and again.
pub async fn until(what: &str, is_so: impl Fn() -> bool) {
    within(what, async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// Seconds of a core that a process, or `thread-self`, has used.
pub fn cpu_seconds(whose: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{whose}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}
