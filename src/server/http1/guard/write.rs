//! What the engine writes, and the end of a connection.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use super::Http1Guard;
use crate::http::parser::ScanPlace;

impl AsyncWrite for Http1Guard {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        wire.traffic.set_unsent(true);
        if let Some(spelling) = wire.traffic.going() {
            let outgoing = wire.outgoing.get_or_insert_default();
            outgoing.begin(bufs, &spelling);
        }
        let io = Pin::new(&mut wire.io);
        let written = match &mut wire.outgoing {
            Some(outgoing) => outgoing.poll_write(bufs, |bufs| io.poll_write_vectored(cx, bufs)),
            None => io.poll_write_vectored(cx, bufs),
        };
        // An idle connection keeps no buffer.
        wire.outgoing.take_if(|outgoing| outgoing.is_idle());
        wire.note_written(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        ready!(Pin::new(&mut wire.io).poll_flush(cx))?;
        // The engine flushes what it has written to the end.
        wire.traffic.set_unsent(false);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        if !wire.is_shut {
            ready!(Pin::new(&mut wire.io).poll_shutdown(cx))?;
            wire.is_shut = true;
        }
        let is_cut_off =
            wire.traffic.fault().is_some() || wire.scanner.place() == ScanPlace::Body || wire.ahead;
        if is_cut_off {
            ready!(wire.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}
