//! An accepted socket, whatever its kind.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::write_timeout::Taking;

/// One accepted socket, with what was read of it ahead.
#[derive(Debug)]
pub struct ClientSocket {
    end: End,
    ahead: Bytes,
    /// Only while a client that takes too little is to be cut off.
    taking: Option<Box<Taking>>,
}

#[derive(Debug)]
enum End {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl ClientSocket {
    /// Over TCP.
    pub fn tcp(stream: TcpStream) -> Self {
        ClientSocket::new(End::Tcp(stream))
    }

    /// Over a unix socket.
    pub fn unix(stream: UnixStream) -> Self {
        ClientSocket::new(End::Unix(stream))
    }

    fn new(end: End) -> Self {
        ClientSocket {
            end,
            ahead: Bytes::new(),
            taking: None,
        }
    }

    /// The next read gets these bytes first. Nothing else may have been put back.
    pub fn put_back(&mut self, bytes: Bytes) {
        self.ahead = bytes;
    }

    /// From now on writing fails where the client takes less than `rate` bytes per second of what waits for it. This is below
    /// TLS: above it a write has succeeded before the client has taken it.
    pub fn demand(&mut self, rate: u64) {
        self.taking = Some(Box::new(Taking::new(rate)));
    }

    /// Takes [`ClientSocket::demand`] back.
    pub fn demand_nothing(&mut self) {
        self.taking = None;
    }

    fn follow(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let Some(taking) = &mut self.taking else {
            return written;
        };
        let written = taking.poll(cx, written);
        if let Poll::Ready(Err(error)) = &written
            && error.kind() == io::ErrorKind::TimedOut
        {
            self.abandon();
        }
        written
    }

    /// Closing will throw away what the client has not taken. The kernel would keep it, megabytes of it, for as long as the
    /// peer answers.
    fn abandon(&self) {
        if let End::Tcp(stream) = &self.end {
            // Where this fails the connection is gone already.
            let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }
}

impl AsyncRead for ClientSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let line = self.get_mut();
        if !line.ahead.is_empty() {
            let count = line.ahead.len().min(buf.remaining());
            line.ahead.copy_to_slice(buf.initialize_unfilled_to(count));
            buf.advance(count);
            if line.ahead.is_empty() {
                // Its memory goes with it.
                line.ahead = Bytes::new();
            }
            return Poll::Ready(Ok(()));
        }
        match &mut line.end {
            End::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            End::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let line = self.get_mut();
        let written = match &mut line.end {
            End::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            End::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        };
        line.follow(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let line = self.get_mut();
        let written = match &mut line.end {
            End::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            End::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        };
        line.follow(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A socket holds nothing back.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().end {
            End::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            End::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
