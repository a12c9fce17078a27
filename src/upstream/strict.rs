//! The seam below the client engine: every byte of an answer is scanned before the engine sees it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};

use hyper::header::UPGRADE;
use hyper::{Method, Request};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::edge::hygiene::scan::answer::{Answers, Asked};

/// A connection whose answers are answers. What is none is an [`io::ErrorKind::InvalidData`].
pub(super) struct Strict<S> {
    io: S,
    answers: Answers,
    asked: Question,
}

/// What is asked over a connection, told to whoever reads there. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Question(Arc<AtomicU8>);

const NOTHING: u8 = 0;
const HEAD: u8 = 1;
const UPGRADED: u8 = 2;
const OTHER: u8 = 3;

impl Question {
    /// This request is about to be sent.
    pub(super) fn ask<B>(&self, request: &Request<B>) {
        let asked = match request {
            request if request.headers().contains_key(UPGRADE) => UPGRADED,
            request if request.method() == Method::HEAD => HEAD,
            _ => OTHER,
        };
        self.0.store(asked, Ordering::Release);
    }

    fn take(&self) -> Option<Asked> {
        if self.0.load(Ordering::Relaxed) == NOTHING {
            return None;
        }
        match self.0.swap(NOTHING, Ordering::Acquire) {
            HEAD => Some(Asked::Head),
            UPGRADED => Some(Asked::Upgrade),
            _ => Some(Asked::Other),
        }
    }
}

impl<S> Strict<S> {
    /// A new connection.
    pub(super) fn new(io: S, asked: Question) -> Self {
        Strict {
            io,
            answers: Answers::new(),
            asked,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Strict<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let strict = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut strict.io).poll_read(cx, buf))?;
        if let Some(asked) = strict.asked.take() {
            strict.answers.expect(asked);
        }
        let piece = buf.filled().get(before..).unwrap_or_default();
        if let Err(flaw) = strict.answers.feed(piece) {
            buf.set_filled(before);
            let error = io::Error::new(io::ErrorKind::InvalidData, flaw.detail());
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Strict<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, bufs)
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
