//! What a WebSocket handshake becomes when it is granted.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::http::Extensions;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use super::http2::Duplex;
use super::stream::Stream;
use super::wire::Wire;

/// A connection, or a stream of one, that will be the client's once its handshake is answered.
pub enum Upgrade {
    /// The whole connection, after its `101`.
    Http1(OnUpgrade),
    /// One stream of an HTTP/2 connection, after its `200` (RFC 8441).
    Http2(oneshot::Receiver<Duplex>),
}

/// The mark of an HTTP/2 handshake on its request.
#[derive(Clone)]
pub struct Promised(Arc<Mutex<Option<oneshot::Receiver<Duplex>>>>);

/// What has been granted.
pub struct Granted {
    /// The client's bytes from here on.
    pub socket: Socket,
    /// What the client had sent behind its handshake.
    pub ahead: Bytes,
}

/// Where a WebSocket's bytes run.
#[derive(Debug)]
pub enum Socket {
    /// The connection that was upgraded.
    Whole(Stream),
    /// A stream of an HTTP/2 connection.
    Duplex(Duplex),
}

impl Promised {
    /// A mark, and where the stream is to be delivered.
    pub fn new() -> (oneshot::Sender<Duplex>, Promised) {
        let (deliver, promise) = oneshot::channel();
        (deliver, Promised(Arc::new(Mutex::new(Some(promise)))))
    }
}

impl Upgrade {
    /// Takes it out of a handshake.
    pub fn of(handshake: &mut Extensions) -> Option<Upgrade> {
        if let Some(upgrade) = handshake.remove::<OnUpgrade>() {
            return Some(Upgrade::Http1(upgrade));
        }
        let Promised(promise) = handshake.remove()?;
        let mut promise = promise.lock().unwrap_or_else(PoisonError::into_inner);
        promise.take().map(Upgrade::Http2)
    }

    /// Waits for the engine to let go of it.
    ///
    /// # Errors
    /// The connection broke before the answer was out.
    pub async fn granted(self) -> io::Result<Granted> {
        match self {
            Upgrade::Http1(upgrade) => {
                let upgraded = upgrade.await.map_err(io::Error::other)?;
                let parts = upgraded.downcast::<TokioIo<Wire>>();
                let parts = parts.expect("every connection of HTTP/1 is a wire");
                let (stream, held) = parts.io.into_inner().into_parts();
                // The wire delivers nothing behind a handshake, so the engine's own buffer is empty.
                Ok(Granted {
                    socket: Socket::Whole(stream),
                    ahead: [parts.read_buf, held].concat().into(),
                })
            }
            Upgrade::Http2(promise) => Ok(Granted {
                socket: Socket::Duplex(promise.await.map_err(io::Error::other)?),
                ahead: Bytes::new(),
            }),
        }
    }
}

impl Socket {
    /// Keeps what a client is slow to take out of the kernel's buffers.
    pub fn bound_unsent(&self) {
        // A duplex shares its connection's buffer, and has a window of its own.
        if let Socket::Whole(stream) = self {
            stream.line().bound_unsent();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Whole(stream) => Pin::new(stream).poll_read(cx, buf),
            Socket::Duplex(duplex) => Pin::new(duplex).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Whole(stream) => Pin::new(stream).poll_write(cx, buf),
            Socket::Duplex(duplex) => Pin::new(duplex).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Whole(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Socket::Duplex(duplex) => Pin::new(duplex).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Socket::Whole(stream) => stream.is_write_vectored(),
            Socket::Duplex(duplex) => duplex.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Whole(stream) => Pin::new(stream).poll_flush(cx),
            Socket::Duplex(duplex) => Pin::new(duplex).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Whole(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Duplex(duplex) => Pin::new(duplex).poll_shutdown(cx),
        }
    }
}
