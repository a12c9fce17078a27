//! One WebSocket on a raw byte stream, handshake done: the two halves and how it ends.
//!
//! It ends as RFC 6455 section 7 wants it: a close frame each way, then the server shuts TCP down
//! first. Where the client broke the protocol, what it still sends is read away, so that no reset
//! overtakes the close frame.

mod frame;
pub mod reader;

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::outbox::{Framing, Outbox};
use super::{Incoming, Transport};
use reader::{MessageLimits, Reader};

/// Bytes taken from the kernel at once, on the stack: an idle connection has no read buffer.
const CHUNK: usize = 8 * 1024;

/// A WebSocket server's end of a connection.
#[derive(Debug)]
pub struct WebSocketTransport<Io> {
    io: Io,
    reader: Reader,
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

impl<Io: AsyncRead + AsyncWrite + Unpin + Send> WebSocketTransport<Io> {
    /// Takes over after the 101; `leftover` is what the client sent right behind its handshake.
    pub fn new(io: Io, limits: MessageLimits, leftover: &[u8]) -> Self {
        let mut reader = Reader::new(limits);
        if !leftover.is_empty() {
            reader.feed(leftover);
        }
        WebSocketTransport {
            io,
            reader,
            ending: Ending::No,
            read: leftover.len() as u64,
        }
    }

    fn poll_part(&mut self, outbox: &mut Outbox, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.ending == Ending::Asked {
            let _written_or_waiting = self.poll_send(outbox, cx)?;
            while self.ending == Ending::Asked {
                ready!(self.poll_receive(outbox, cx))?;
            }
        }
        if self.ending != Ending::Shut {
            ready!(self.poll_send(outbox, cx))?;
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

    /// Pongs, in their order, and the echo of a close; once our own close frame is on its way nothing follows it.
    fn take_replies(&mut self, outbox: &mut Outbox) {
        if let Some(replies) = self.reader.take_replies()
            && self.ending == Ending::No
        {
            outbox.control_answer(replies);
        }
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin + Send> Transport for WebSocketTransport<Io> {
    fn framing(&self) -> Framing {
        Framing::WebSocket
    }

    fn poll_receive(
        &mut self,
        outbox: &mut Outbox,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Incoming>> {
        loop {
            let next = self.reader.read();
            self.take_replies(outbox);
            if let Some(incoming) = next {
                match incoming {
                    Incoming::Close(_) => {
                        self.ending = Ending::Agreed;
                        outbox.seal();
                    }
                    Incoming::Broken(code) => {
                        self.close(outbox, code, "");
                        self.ending = Ending::Failed;
                    }
                    _ => {}
                }
                return Poll::Ready(Ok(incoming));
            }
            if outbox.is_held() {
                ready!(self.poll_send(outbox, cx))?;
            }
            let mut chunk = [MaybeUninit::uninit(); CHUNK];
            let mut buffer = ReadBuf::uninit(&mut chunk);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            self.read += buffer.filled().len() as u64;
            self.reader.feed(buffer.filled());
        }
    }

    fn poll_send(&mut self, outbox: &mut Outbox, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        outbox.poll_write(&mut self.io, cx)
    }

    fn ping(&mut self, outbox: &mut Outbox) {
        if self.ending == Ending::No {
            outbox.control_first(frame::ping());
        }
    }

    fn close(&mut self, outbox: &mut Outbox, code: u16, reason: &str) {
        if self.ending == Ending::No {
            outbox.control(frame::close(code, reason));
            outbox.seal();
            self.ending = Ending::Asked;
        }
    }

    fn poll_end(&mut self, outbox: &mut Outbox, cx: &mut Context<'_>) -> Poll<()> {
        // Every error means the same here: nothing is left that could end in order.
        self.poll_part(outbox, cx).map(drop)
    }

    fn limit_messages(&mut self, bytes: usize) {
        self.reader.limit_messages(bytes);
    }

    fn bytes_read(&self) -> u64 {
        self.read
    }
}
