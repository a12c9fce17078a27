//! The end of a connection whose caller may still be sending what is not wanted.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::server::linger::{Linger, SILENCE};

/// Whether a part of the request under way may be unread.
#[derive(Clone, Default)]
pub(crate) struct Unread(Arc<AtomicBool>);

impl Unread {
    pub(crate) fn set(&self, is_unread: bool) {
        self.0.store(is_unread, Ordering::Relaxed);
    }
}

/// A connection that, once it is shut, reads on for a while where something is unread: else the system would reset it, and the
/// answer would be lost.
pub(crate) struct Parting<Io> {
    io: Io,
    unread: Unread,
    linger: Option<Linger>,
}

impl<Io> Parting<Io> {
    pub(crate) fn new(io: Io, unread: Unread) -> Self {
        Parting {
            io,
            unread,
            linger: None,
        }
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Parting<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Parting<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
        }
        if this.unread.0.load(Ordering::Relaxed) {
            let end = || Linger::new(None, Instant::now() + SILENCE);
            let linger = this.linger.get_or_insert_with(end);
            ready!(linger.poll(&mut this.io, cx));
        }
        Poll::Ready(Ok(()))
    }
}
