//! What is written as it is, and what it is of a message.

use bytes::Bytes;

/// What is written as it is.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) bytes: Bytes,
    pub(super) part: OutboxPart,
}

/// What a piece is of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutboxPart {
    /// Its beginning, or all of it; the payload begins there.
    Message(u8),
    /// The rest of the message of the piece before it.
    Rest,
    /// No message: a word of the transport's own.
    Control,
}

impl Piece {
    pub(super) fn continues(&self) -> bool {
        self.part == OutboxPart::Rest
    }

    /// What is left of it behind so many bytes.
    pub(super) fn rest(&self, written: usize) -> &[u8] {
        self.bytes.get(written..).unwrap_or_default()
    }
}
