//! One stream of a connection as a WebSocket's socket (RFC 8441).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes copied at once.
const PIECE: usize = 16 * 1024;

/// Both halves of a stream, after its `200`. Dropping it before its end resets the stream.
pub struct Lane {
    to: SendStream<Bytes>,
    from: RecvStream,
    /// Read and not delivered.
    held: Bytes,
    is_shut: bool,
}

impl Lane {
    pub(super) fn new(to: SendStream<Bytes>, from: RecvStream) -> Self {
        Lane {
            to,
            from,
            held: Bytes::new(),
            is_shut: false,
        }
    }
}

impl AsyncRead for Lane {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let lane = self.get_mut();
        while lane.held.is_empty() {
            match ready!(lane.from.poll_data(cx)) {
                Some(data) => lane.held = data.map_err(io_error)?,
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = lane.held.len().min(buf.remaining());
        buf.put_slice(&lane.held.split_to(count));
        if lane.held.is_empty() {
            // Its memory goes with it.
            lane.held = Bytes::new();
        }
        // What has been delivered may come again.
        let released = lane.from.flow_control().release_capacity(count);
        Poll::Ready(released.map_err(io_error))
    }
}

impl AsyncWrite for Lane {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let lane = self.get_mut();
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let room = ready!(poll_room(&mut lane.to, buf.len().min(PIECE), cx))?;
        let data = buf.copy_to_bytes(room);
        lane.to.send_data(data, false).map_err(io_error)?;
        Poll::Ready(Ok(room))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The connection's own task sends what it was given.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let lane = self.get_mut();
        if !std::mem::replace(&mut lane.is_shut, true) {
            lane.to.reserve_capacity(0);
            lane.to.send_data(Bytes::new(), true).map_err(io_error)?;
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

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Lane").field(&self.from.stream_id()).finish()
    }
}
