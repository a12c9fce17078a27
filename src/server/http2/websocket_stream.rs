//! One stream of a connection as a WebSocket's socket (RFC 8441).

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

/// Bytes copied at once.
const PIECE: usize = 16 * 1024;

/// Both halves of a stream, after its `200`. Dropping it before its end resets the stream.
pub(crate) struct Duplex {
    to: SendStream<Bytes>,
    from: RecvStream,
    /// Read and not delivered.
    held: Bytes,
    is_shut: bool,
}

/// The mark of a handshake on its request: where its stream is delivered once it is granted.
#[derive(Clone)]
pub(crate) struct Promised(Arc<Mutex<Option<oneshot::Receiver<Duplex>>>>);

impl Promised {
    /// A mark, and what delivers the stream.
    pub(super) fn new() -> (oneshot::Sender<Duplex>, Promised) {
        let (deliver, promise) = oneshot::channel();
        (deliver, Promised(Arc::new(Mutex::new(Some(promise)))))
    }

    /// The stream to come; there is one.
    pub(crate) fn take(&self) -> Option<oneshot::Receiver<Duplex>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Duplex {
    pub(super) fn new(to: SendStream<Bytes>, from: RecvStream) -> Self {
        Duplex {
            to,
            from,
            held: Bytes::new(),
            is_shut: false,
        }
    }
}

impl AsyncRead for Duplex {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let duplex = self.get_mut();
        while duplex.held.is_empty() {
            match ready!(duplex.from.poll_data(cx)) {
                Some(data) => duplex.held = data.map_err(io_error)?,
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = duplex.held.len().min(buf.remaining());
        buf.put_slice(&duplex.held.split_to(count));
        if duplex.held.is_empty() {
            // Its memory goes with it.
            duplex.held = Bytes::new();
        }
        // What has been delivered may come again.
        let released = duplex.from.flow_control().release_capacity(count);
        Poll::Ready(released.map_err(io_error))
    }
}

impl AsyncWrite for Duplex {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let duplex = self.get_mut();
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let room = ready!(poll_room(&mut duplex.to, buf.len().min(PIECE), cx))?;
        let data = buf.copy_to_bytes(room);
        duplex.to.send_data(data, false).map_err(io_error)?;
        Poll::Ready(Ok(room))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The connection's own task sends what it was given.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let duplex = self.get_mut();
        if !std::mem::replace(&mut duplex.is_shut, true) {
            duplex.to.reserve_capacity(0);
            duplex.to.send_data(Bytes::new(), true).map_err(io_error)?;
        }
        Poll::Ready(Ok(()))
    }
}

/// Waits until the client takes something: ready with how much of `wanted` it takes.
///
/// # Errors
/// The stream was reset, or its connection is gone.
pub(super) fn poll_room(
    to: &mut SendStream<Bytes>,
    wanted: usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    to.reserve_capacity(wanted);
    loop {
        let room = to.capacity().min(wanted);
        if room > 0 {
            return Poll::Ready(Ok(room));
        }
        match ready!(to.poll_capacity(cx)) {
            Some(Ok(_)) => {}
            Some(Err(error)) => return Poll::Ready(Err(io_error(error))),
            None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

fn io_error(error: h2::Error) -> io::Error {
    match error.reason() {
        Some(Reason::CANCEL | Reason::NO_ERROR) => io::ErrorKind::ConnectionReset.into(),
        _ => io::Error::other(error),
    }
}

impl std::fmt::Debug for Duplex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Duplex")
            .field(&self.from.stream_id())
            .finish()
    }
}
