//! One WebSocket on a raw byte stream, handshake done: the two halves and how it ends.
//!
//! It ends as RFC 6455 section 7 wants it: a close frame each way, then the server shuts TCP down
//! first. Where the client broke the protocol, what it still sends is read away, so that no reset
//! overtakes the close frame.
//! Time is the caller's: it drops a socket whose ending takes too long.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::inbound::{Inbound, Incoming, Limits};
use super::outbox::Outbox;
use crate::protocol::frame;

/// Bytes taken from the kernel at once, on the stack: an idle connection has no read buffer.
const CHUNK: usize = 8 * 1024;

/// Bytes that a client which does not read may make us owe it before we stop reading, too.
const OWED: usize = 8 * 1024;

/// A WebSocket server's end of a connection.
#[derive(Debug)]
pub struct Socket<Io> {
    io: Io,
    inbound: Inbound,
    outbox: Outbox,
    /// Bytes in the outbox that answer what the client sent.
    owed: usize,
    ending: Ending,
    /// Bytes read from the client.
    read: u64,
}

/// How far the end of the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Not at all.
    No,
    /// Our close frame is on its way or written; the client's is awaited.
    Asked,
    /// Both close frames are there: write the rest, then shut down.
    Agreed,
    /// None can come any more: the same, and then read away what still comes.
    Failed,
    /// TCP is shut down in our direction; the client's is awaited.
    Shut,
}

impl<Io> Socket<Io> {
    /// Bytes read from the client, and written to it.
    pub fn counts(&self) -> (u64, u64) {
        (self.read, self.outbox.taken())
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Socket<Io> {
    /// Takes over after the 101; `leftover` is what the client sent right behind its handshake.
    pub fn new(io: Io, limits: Limits, leftover: &[u8]) -> Self {
        let mut inbound = Inbound::new(limits);
        if !leftover.is_empty() {
            inbound.feed(leftover);
        }
        Socket {
            io,
            inbound,
            outbox: Outbox::default(),
            owed: 0,
            ending: Ending::No,
            read: leftover.len() as u64,
        }
    }

    /// From now on a message of the client may be so long.
    pub fn limit_messages(&mut self, bytes: usize) {
        self.inbound.limit_messages(bytes);
    }

    /// What waits to be written.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// For whoever adds many frames at once, and only while the end has not begun.
    pub(super) fn outbox_mut(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// Puts a finished frame behind all others; after [`Socket::close`] it is dropped.
    pub fn send(&mut self, frame: Bytes) {
        if self.ending == Ending::No {
            self.outbox.push(frame);
        }
    }

    /// As [`Socket::send`], for a frame that answers one of the client's: too many of these, not
    /// taken, and the client is not read any further.
    pub fn answer(&mut self, frame: Bytes) {
        self.owed += frame.len();
        self.send(frame);
    }

    /// Puts a finished control frame before all others.
    pub fn send_first(&mut self, frame: Bytes) {
        if self.ending == Ending::No {
            self.outbox.push_first(frame);
        }
    }

    /// Begins the closing handshake behind everything that waits.
    pub fn close(&mut self, code: u16, reason: &str) {
        if self.ending == Ending::No {
            self.outbox.push(frame::close(code, reason));
            self.ending = Ending::Asked;
        }
    }

    /// As [`Socket::close`], before everything that has not begun: for a client that does not read.
    pub fn close_first(&mut self, code: u16, reason: &str) {
        if self.ending == Ending::No {
            self.outbox.drop_unbegun();
            self.close(code, reason);
        }
    }

    /// Whether the end has begun, from either side: nothing more can be sent.
    pub fn is_ending(&self) -> bool {
        self.ending != Ending::No
    }

    /// Bytes that wait and answer what the client sent.
    pub fn owed(&self) -> usize {
        self.owed.min(self.outbox.bytes())
    }

    /// Whether the client is not read because of what it is owed.
    pub fn is_held(&self) -> bool {
        self.owed > OWED
    }

    /// The next message. A client that does not take what it is owed is not read further, so
    /// after a successful [`Socket::poll_send`] look here again.
    ///
    /// # Errors
    /// The connection is gone. After [`Incoming::Close`] or [`Incoming::Broken`] call
    /// [`Socket::poll_end`] only.
    pub fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Incoming>> {
        loop {
            let next = self.inbound.read();
            self.take_replies();
            if let Some(incoming) = next {
                match incoming {
                    Incoming::Close(_) => self.ending = Ending::Agreed,
                    Incoming::Broken(code) => {
                        self.close(code, "");
                        self.ending = Ending::Failed;
                    }
                    _ => {}
                }
                return Poll::Ready(Ok(incoming));
            }
            if self.is_held() {
                ready!(self.poll_send(cx))?;
            }
            let mut chunk = [MaybeUninit::uninit(); CHUNK];
            let mut buffer = ReadBuf::uninit(&mut chunk);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            self.read += buffer.filled().len() as u64;
            self.inbound.feed(buffer.filled());
        }
    }

    /// Writes until nothing waits.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.outbox.poll_write(&mut self.io, cx))?;
        self.owed = 0;
        Poll::Ready(Ok(()))
    }

    /// Carries the end through, once it has begun.
    pub fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Every error means the same here: there is nobody left to part from in order.
        self.poll_part(cx).map(drop)
    }

    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.ending == Ending::Asked {
            let _written_or_waiting = self.poll_send(cx)?;
            while self.ending == Ending::Asked {
                ready!(self.poll_receive(cx))?;
            }
        }
        if self.ending != Ending::Shut {
            ready!(self.poll_send(cx))?;
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
            if self.ending == Ending::Agreed {
                return Poll::Ready(Ok(()));
            }
            self.ending = Ending::Shut;
        }
        loop {
            let mut chunk = [MaybeUninit::uninit(); CHUNK];
            let mut buffer = ReadBuf::uninit(&mut chunk);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Pongs, in their order, and the echo of a close; once we have said goodbye ourselves nothing
    /// follows it.
    fn take_replies(&mut self) {
        if let Some(replies) = self.inbound.take_replies() {
            self.answer(replies);
        }
    }
}
