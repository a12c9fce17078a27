//! For what a request goes upstream.

/// For what a request goes upstream (metric label `kind`, and which timeouts hold).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A client's own request.
    Passthrough,
    /// A poll.
    Poll,
    /// An SSE stream: no response timeout.
    Sse,
    /// A `req`: no response timeout here, the caller keeps the route's own.
    Call,
    /// A credential check of the edge. The caller keeps the time.
    Auth,
}

impl Purpose {
    /// The word in metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Purpose::Passthrough => "passthrough",
            Purpose::Poll => "poll",
            Purpose::Sse => "sse",
            Purpose::Call => "call",
            Purpose::Auth => "auth",
        }
    }

    /// Whether the request tells that it comes from here. What a source sends is fixed, and tells nothing: where it leads back
    /// here it becomes a passthrough, which does.
    pub(crate) fn is_tagged(self) -> bool {
        match self {
            Purpose::Passthrough | Purpose::Call | Purpose::Auth => true,
            Purpose::Poll | Purpose::Sse => false,
        }
    }
}
