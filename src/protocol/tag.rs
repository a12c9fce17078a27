//! How answers find what they answer.

use std::sync::Arc;

/// How a client matches answers with its messages. The session gives it back as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Tag {
    /// It wants no answer, or cannot match it.
    #[default]
    None,
    /// `id` of `crossfade.v1.json`.
    Number(u64),
    /// An event of Socket.IO. Boxed because most tags are numbers.
    Event(Box<EventTag>),
}

/// How a client of Socket.IO is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventTag {
    /// The number of its acknowledgement, where it asked for one.
    pub(crate) ack: Option<u64>,
    /// The event's name.
    pub(crate) event: Arc<str>,
    /// The event that tells a refusal where no acknowledgement does.
    pub(crate) error: Option<Arc<str>>,
    /// The event that tells all sockets of the user what came of it.
    pub(crate) reply: Option<Arc<str>>,
}
