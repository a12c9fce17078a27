//! A new process takes over from the running one: its listening sockets, its secret, where its rollouts stand, and its topics.
//!
//! The old process starts the new one and gives it one half of a socket pair. `hello` → `sockets` → (the new one builds
//! everything, without any side effect) → `ready` → topics, as they are and as they go on → `settled` → `go` → `serving`. Up to
//! `go` the old one has changed nothing and forgets the attempt where anything goes wrong; both accept between `go` and
//! `serving`; from `serving` on the old one leaves.

mod channel;
pub(crate) mod executable;
pub(crate) mod incoming;
mod message;
pub(crate) mod outgoing;
pub(crate) mod running;
#[cfg(test)]
mod tests;
mod topic_export;

use std::time::Duration;

/// The variable that tells a process how it meets the one that started it.
pub(crate) const VARIABLE: &str = "CROSSFADE_HANDOVER";

/// From its start until it serves, at most.
const PATIENCE: Duration = Duration::from_secs(30);
