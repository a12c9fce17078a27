//! The layer below the engine of HTTP/2: every frame's head is seen here, and the connection's own clocks run here.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::super::detect_http::PREFACE;
use super::super::lazy_timer::Clock;
use super::super::socket::{self, MaybeTls};
use super::conn_state::Http2State;
use crate::config::Limits;
use crate::http::http2_frame_budget::{FrameAbuse, FrameBudget, FrameKind, Walk};

/// A connection as the engine sees it.
pub(crate) struct Http2Guard {
    io: MaybeTls,
    /// Read before the engine was chosen.
    ahead: Bytes,
    board: Arc<Http2State>,
    begun: Instant,
    preface_left: usize,
    budget: FrameBudget,
    coming: Walk,
    going: Walk,
    head_timeout: Duration,
    /// Since when a header block is under way.
    block: Option<Instant>,
    block_clock: Clock,
}

impl Http2Guard {
    /// For a new connection, of which `ahead` was read.
    pub(crate) fn new(
        mut io: MaybeTls,
        ahead: Bytes,
        limits: &Limits,
        board: Arc<Http2State>,
    ) -> Self {
        // A connection that takes nothing ends below.
        socket::below(&mut io).demand(limits.body_min_rate);
        Http2Guard {
            io,
            ahead,
            board,
            begun: Instant::now(),
            preface_left: PREFACE.len(),
            budget: FrameBudget::default(),
            coming: Walk::default(),
            going: Walk::default(),
            head_timeout: limits.header_timeout,
            block: None,
            block_clock: Clock::default(),
        }
    }

    fn receive(&mut self, bytes: &[u8]) {
        let skipped = bytes.len().min(self.preface_left);
        self.preface_left -= skipped;
        let frames = bytes.get(skipped..).unwrap_or_default();
        let now = self.begun.elapsed();
        let budget = &mut self.budget;
        if let Err(abuse) = self.coming.feed(frames, |head| budget.receive(head, now)) {
            self.board.accuse(abuse);
        }
        let under_way = self.coming.under_way();
        let is_head = matches!(
            under_way,
            Some((head, _)) if matches!(head.kind, FrameKind::Headers | FrameKind::Continuation)
        );
        self.block = match is_head || self.budget.in_block() {
            true => self.block.or_else(|| Some(Instant::now())),
            false => None,
        };
        match under_way {
            Some((head, come)) if head.kind == FrameKind::Data => {
                self.board.show(head.stream, come)
            }
            _ => self.board.show(0, 0),
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        let now = self.begun.elapsed();
        let (budget, board) = (&mut self.budget, &self.board);
        let sent = self.going.feed(bytes, |head| {
            if head.blames_the_client() {
                board.count_malformed();
            }
            budget.send(head, now)
        });
        if let Err(abuse) = sent {
            board.accuse(abuse);
        }
    }
}

impl AsyncRead for Http2Guard {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let seam = self.get_mut();
        if seam.board.abuse().is_some() {
            // Nothing more is read; the task that drives the connection looks at the board.
            return Poll::Pending;
        }
        let before = buf.filled().len();
        if seam.ahead.is_empty() {
            match Pin::new(&mut seam.io).poll_read(cx, buf) {
                Poll::Ready(read) => read?,
                Poll::Pending => {
                    if let Some(since) = seam.block {
                        let deadline = since + seam.head_timeout;
                        ready!(seam.block_clock.poll_until(deadline, cx));
                        seam.board.accuse(FrameAbuse::SlowHead);
                    }
                    return Poll::Pending;
                }
            }
        } else {
            let count = seam.ahead.len().min(buf.remaining());
            buf.put_slice(&seam.ahead.split_to(count));
            if seam.ahead.is_empty() {
                seam.ahead = Bytes::new();
            }
        }
        seam.receive(buf.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Http2Guard {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let seam = self.get_mut();
        let written = Pin::new(&mut seam.io).poll_write(cx, buf);
        if let Poll::Ready(Ok(count)) = &written {
            seam.send(buf.get(..*count).unwrap_or_default());
        }
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let seam = self.get_mut();
        let written = Pin::new(&mut seam.io).poll_write_vectored(cx, bufs);
        if let Poll::Ready(Ok(count)) = &written {
            let mut left = *count;
            for buf in bufs {
                let taken = left.min(buf.len());
                seam.send(buf.get(..taken).unwrap_or_default());
                left -= taken;
            }
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
