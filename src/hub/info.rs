//! One topic as the admin API shows it.

use std::sync::Arc;

use crate::event::{Position, State};

/// One topic as the admin API shows it.
#[derive(Clone, Debug)]
pub struct TopicInfo {
    /// Route name.
    pub(crate) route: Arc<str>,
    /// Path and query.
    pub path: String,
    /// Scope word.
    pub scope: &'static str,
    /// Subscribers now.
    pub subscribers: usize,
    /// Head.
    pub at: Position,
    /// Following its backend.
    pub(crate) state: State,
    /// Source kind: `sse` or `poll`.
    pub(crate) kind: &'static str,
    /// Unix seconds of the last success.
    pub(crate) last_ok: Option<u64>,
    /// Polled, and without a subscriber that wants to know: the backend is not asked.
    pub is_idle: bool,
    /// Entries in the replay window.
    pub(crate) events: usize,
    /// Bytes of the replay window.
    pub(crate) bytes: usize,
}
