//! Messages on their way to the client: everything that waits leaves in one write.

mod piece;

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Bytes, BytesMut};
use tokio::io::AsyncWrite;

use crate::packet::{self, Packet, Payload};
use piece::{OutboxPart, Piece};

/// Pieces in one vectored write.
const SLICES: usize = 64;

/// Room for so many pieces comes first: an event, in a piece or two, and a ping.
const FEW: usize = 3;

/// Room for so many pieces stays when nothing waits: most events come one by one.
const KEPT: usize = 4;

/// Bytes copied together for a socket that cannot write several buffers at once.
const TOGETHER: usize = 64 * 1024;

/// Bytes that a client which does not read may make us owe it before it is not read any further.
const OWED: usize = 8 * 1024;

/// How messages are separated in the bytes that leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// As frames of RFC 6455.
    #[default]
    WebSocket,
    /// As packets of an Engine.IO payload, one piece each: text as it is, binary as `b` and base64. The transport separates them.
    EngineIo,
}

/// What waits to be written. Its bound is its filler's: events of subscriptions are added only when
/// it is empty, so that a stalled client holds one batch and its lag stays in the shared log.
#[derive(Debug, Default)]
pub struct Outbox {
    framing: Framing,
    /// Frames, or parts of them.
    pieces: VecDeque<Piece>,
    /// How much of the first piece is written.
    written: usize,
    bytes: usize,
    /// Bytes that answer what the client sent, since everything was written.
    owed: usize,
    /// Bytes that the socket has taken, ever.
    taken: u64,
    /// Nothing more may be added.
    is_sealed: bool,
}

impl Outbox {
    /// For a transport that frames messages like this.
    pub fn new(framing: Framing) -> Self {
        Outbox {
            framing,
            ..Outbox::default()
        }
    }

    /// Puts a message behind all others; dropped after [`Outbox::seal`]. Returns its bytes as they leave.
    pub(crate) fn push(&mut self, packet: Packet) -> usize {
        if self.is_sealed {
            return 0;
        }
        let before = self.bytes;
        for piece in self.pieces_of(packet).into_iter().flatten() {
            self.append(piece);
        }
        self.bytes - before
    }

    /// As [`Outbox::push`], for a message that answers one of the client's: too many of these, not taken, and the client is
    /// not read any further.
    pub fn answer(&mut self, packet: Packet) {
        self.owed += self.push(packet);
    }

    /// Puts a message before all others that have not begun.
    pub(crate) fn push_first(&mut self, packet: Packet) {
        if self.is_sealed {
            return;
        }
        for piece in self.pieces_of(packet).into_iter().flatten().rev() {
            self.insert(piece);
        }
    }

    /// Puts what only the transport has a word for, framed by it, behind everything.
    pub(crate) fn control(&mut self, frame: Bytes) {
        self.append(Piece {
            bytes: frame,
            part: OutboxPart::Control,
        });
    }

    /// As [`Outbox::control`], where it answers one of the client's frames.
    pub(crate) fn control_answer(&mut self, frame: Bytes) {
        self.owed += frame.len();
        self.control(frame);
    }

    /// As [`Outbox::control`], before all messages that have not begun.
    pub(crate) fn control_first(&mut self, frame: Bytes) {
        self.insert(Piece {
            bytes: frame,
            part: OutboxPart::Control,
        });
    }

    /// From now on no message is added: what the transport says last has no other behind it.
    pub(crate) fn seal(&mut self) {
        self.is_sealed = true;
    }

    /// Drops every message that has not begun: what comes now is the last.
    pub(crate) fn drop_unbegun(&mut self) {
        self.pieces.truncate(self.begun());
        let left: usize = self.pieces.iter().map(|piece| piece.bytes.len()).sum();
        self.bytes = left - self.written;
    }

    /// Goes on for a transport that frames messages like this: what waits is framed anew, and what only the other transport had
    /// a word for is dropped.
    pub(crate) fn reframe(&mut self, framing: Framing) {
        if framing == self.framing {
            return;
        }
        let mut pieces = std::mem::take(&mut self.pieces).into_iter().peekable();
        let before = std::mem::replace(&mut self.framing, framing);
        self.bytes = 0;
        while let Some(piece) = pieces.next() {
            let OutboxPart::Message(start) = piece.part else {
                continue;
            };
            let is_binary = before == Framing::WebSocket && packet::is_binary(&piece.bytes);
            let mut message = piece.rest(usize::from(start)).to_vec();
            while let Some(rest) = pieces.next_if(Piece::continues) {
                message.extend_from_slice(&rest.bytes);
            }
            let payload = match (before, message.split_first()) {
                (Framing::EngineIo, Some((b'b', base64))) => {
                    // What is not base64 was not written here.
                    Payload::binary(&BASE64.decode(base64).unwrap_or_default())
                }
                _ if is_binary => Payload::binary(&message),
                _ => Payload::copy_of(&message),
            };
            self.push(payload.into());
        }
    }

    /// Takes all messages of another outbox, none of which has begun, behind what waits here. What is owed there is owed here.
    pub(crate) fn take_from(&mut self, other: &mut Outbox) {
        self.owed += std::mem::take(&mut other.owed).min(other.bytes);
        other.taken += other.bytes as u64;
        other.bytes = 0;
        let mut pieces = std::mem::take(&mut other.pieces);
        if self.framing == other.framing {
            pieces.drain(..).for_each(|piece| self.append(piece));
        } else {
            let mut rest = Outbox {
                pieces: std::mem::take(&mut pieces),
                framing: other.framing,
                ..Outbox::default()
            };
            rest.reframe(self.framing);
            rest.pieces.drain(..).for_each(|piece| self.append(piece));
        }
        // Room for the next message.
        if pieces.capacity() <= KEPT {
            other.pieces = pieces;
        }
    }

    fn pieces_of(&self, packet: Packet) -> [Option<Piece>; 2] {
        match self.framing {
            Framing::WebSocket => {
                let (first, rest, start) = packet.frame();
                let first = Piece {
                    bytes: first,
                    part: OutboxPart::Message(start),
                };
                let rest = rest.map(|bytes| Piece {
                    bytes,
                    part: OutboxPart::Rest,
                });
                [Some(first), rest]
            }
            Framing::EngineIo => {
                let is_binary = packet.is_binary();
                let message = packet.into_bytes();
                let bytes = match is_binary {
                    true => format!("b{}", BASE64.encode(&message)).into(),
                    false => message,
                };
                let part = OutboxPart::Message(0);
                [Some(Piece { bytes, part }), None]
            }
        }
    }

    fn append(&mut self, piece: Piece) {
        self.make_room();
        self.bytes += piece.bytes.len();
        self.pieces.push_back(piece);
    }

    /// Room for one piece more: as little as is needed while an idle connection keeps it.
    fn make_room(&mut self) {
        let count = self.pieces.len();
        if count == self.pieces.capacity() && count < KEPT {
            let most = if count < FEW { FEW } else { KEPT };
            self.pieces.reserve_exact(most - count);
        }
    }

    fn insert(&mut self, piece: Piece) {
        self.make_room();
        self.bytes += piece.bytes.len();
        self.pieces.insert(self.begun(), piece);
    }

    /// Pieces of the message that has begun to leave.
    fn begun(&self) -> usize {
        let has_begun = |piece: &Piece| self.written > 0 || piece.continues();
        if !self.pieces.front().is_some_and(has_begun) {
            return 0;
        }
        let rest = self.pieces.iter().skip(1);
        1 + rest.take_while(|piece| piece.continues()).count()
    }

    /// Whether everything is written.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Messages that wait, the one under way among them.
    pub(crate) fn len(&self) -> usize {
        let pieces = self.pieces.iter().enumerate();
        pieces
            .filter(|(at, piece)| *at == 0 || !piece.continues())
            .count()
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes that wait and answer what the client sent.
    pub(crate) fn owed(&self) -> usize {
        self.owed.min(self.bytes)
    }

    /// Whether the client is not read because of what it is owed.
    pub(crate) fn is_held(&self) -> bool {
        self.owed > OWED
    }

    /// Bytes that the socket has taken since the beginning.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// Takes the next piece out, for a transport that carries messages and no stream of bytes.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        let piece = self.pieces.pop_front()?;
        let bytes = piece.bytes.len();
        self.bytes -= bytes;
        self.taken += bytes as u64;
        if self.pieces.is_empty() {
            self.owed = 0;
        }
        Some(piece.bytes)
    }

    /// Writes until nothing waits, neither here nor behind TLS, or the socket takes no more.
    pub(crate) fn poll_write<Io>(
        &mut self,
        io: &mut Io,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>>
    where
        Io: AsyncWrite + Unpin,
    {
        while let Some(first) = self.pieces.front() {
            let written = match self.pieces.len() {
                1 => Pin::new(&mut *io).poll_write(cx, first.rest(self.written)),
                _ if io.is_write_vectored() => {
                    let mut slices = [IoSlice::new(&[]); SLICES];
                    let used = self.fill(&mut slices);
                    Pin::new(&mut *io).poll_write_vectored(cx, &slices[..used])
                }
                _ => {
                    self.join();
                    continue;
                }
            };
            match written {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => self.advance(count),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        ready!(Pin::new(io).poll_flush(cx))?;
        self.owed = 0;
        Poll::Ready(Ok(()))
    }

    fn fill<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut skip = self.written;
        let mut used = 0;
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            *slice = IoSlice::new(piece.rest(skip));
            skip = 0;
            used += 1;
        }
        used
    }

    /// Makes the first few pieces one; always at least two, so that it gets shorter. All of them count as begun from now on.
    fn join(&mut self) {
        let mut joined = BytesMut::with_capacity(self.bytes.min(TOGETHER));
        let mut count = 0;
        while let Some(piece) = self.pieces.front() {
            let rest = piece.rest(self.written);
            if count >= 2 && joined.len() + rest.len() > TOGETHER {
                break;
            }
            joined.extend_from_slice(rest);
            self.written = 0;
            self.pieces.pop_front();
            count += 1;
        }
        self.pieces.push_front(Piece {
            bytes: joined.freeze(),
            part: OutboxPart::Rest,
        });
    }

    fn advance(&mut self, mut count: usize) {
        self.bytes = self.bytes.saturating_sub(count);
        self.taken += count as u64;
        while let Some(first) = self.pieces.front() {
            let rest = first.bytes.len() - self.written;
            if count < rest {
                self.written += count;
                return;
            }
            count -= rest;
            self.written = 0;
            self.pieces.pop_front();
        }
        // An idle connection keeps next to nothing.
        if self.pieces.capacity() > KEPT {
            self.pieces = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests;
