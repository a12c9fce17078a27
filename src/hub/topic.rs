//! stub
/// What may change under a running topic: its route's pace and limits.
pub struct Spec {}
/// One topic as the admin API shows it.
pub struct TopicInfo {
    /// Route name.
    pub route: std::sync::Arc<str>,
    /// Path and query.
    pub path: String,
    /// Scope word.
    pub scope: &'static str,
    /// Subscribers now.
    pub subscribers: usize,
    /// Head.
    pub at: crate::event::Position,
    /// Following its backend.
    pub state: crate::event::State,
    /// Source kind: `sse` or `poll`.
    pub kind: &'static str,
    /// Unix seconds of the last success.
    pub last_ok: Option<u64>,
    /// Entries in the replay window.
    pub events: usize,
    /// Bytes of the replay window.
    pub bytes: usize,
}
