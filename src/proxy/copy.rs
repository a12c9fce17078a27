//! One direction of a tunnel.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

/// How much is carried at once.
const PIECE: usize = 8 * 1024;

/// Carries what comes from one side to the other until there is no more, and passes the end on.
/// While nothing comes it has no buffer: most tunnels are silent most of the time.
pub(super) async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    let mut way = OneWay::default();
    // Either side may break at any time; neither is left to notify.
    let _ = poll_fn(|cx| way.poll(&mut from, &mut to, cx)).await;
    let _ = to.shutdown().await;
}

#[derive(Default)]
struct OneWay {
    /// What the other side did not take at once.
    waiting: Bytes,
    needs_flush: bool,
}

impl OneWay {
    fn poll(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_waiting(to, cx))?;
            let mut room = [const { MaybeUninit::uninit() }; PIECE];
            let mut room = ReadBuf::uninit(&mut room);
            if Pin::new(&mut *from).poll_read(cx, &mut room)?.is_pending() {
                if self.needs_flush {
                    ready!(Pin::new(&mut *to).poll_flush(cx))?;
                    self.needs_flush = false;
                }
                return Poll::Pending;
            }
            let piece = room.filled();
            if piece.is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.needs_flush = true;
            let taken = match Pin::new(&mut *to).poll_write(cx, piece)? {
                Poll::Ready(count) => count,
                Poll::Pending => 0,
            };
            self.waiting = Bytes::copy_from_slice(piece.get(taken..).unwrap_or_default());
        }
    }

    fn poll_waiting(
        &mut self,
        to: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.waiting.is_empty() {
            let taken = ready!(Pin::new(&mut *to).poll_write(cx, &self.waiting))?;
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.waiting.advance(taken);
        }
        // Its memory goes with it.
        self.waiting = Bytes::new();
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, duplex};

    use super::*;

    #[tokio::test]
    async fn bytes_arrive_in_order_however_little_the_peer_takes() {
        let (mut source, from) = duplex(64 * 1024);
        let (to, mut sink) = duplex(7);
        let sent: Vec<u8> = (0..40_000u32).map(|n| n as u8).collect();
        let carried = tokio::spawn(carry(from, to));
        source.write_all(&sent).await.unwrap();
        drop(source);
        let mut received = Vec::new();
        sink.read_to_end(&mut received).await.unwrap();
        assert!(received == sent, "{} of {}", received.len(), sent.len());
        carried.await.unwrap();
    }

    #[tokio::test]
    async fn a_side_that_is_gone_ends_it() {
        let (mut source, from) = duplex(1024);
        let (to, sink) = duplex(1024);
        drop(sink);
        source.write_all(b"never read").await.unwrap();
        carry(from, to).await;
    }
}
