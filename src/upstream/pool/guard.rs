//! The layer below the client engine: every byte of an answer is scanned before the engine sees it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::header::UPGRADE;
use hyper::{Method, Request};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::http::header_case::{Outgoing, Spelling};
use crate::http::parser::response::{Answers, Asked, Told};

/// A connection whose answers are answers. What is none is an [`io::ErrorKind::InvalidData`].
pub(crate) struct Strict<S> {
    io: S,
    answers: Answers,
    /// What the engine gets before anything else: heads that came in pieces, or were rebuilt.
    anew: Bytes,
    outgoing: Outgoing,
    asked: Question,
    /// The backend takes nothing more. It may have answered before it had read everything.
    is_deaf: bool,
}

/// What is asked over a connection, for its reader, and what the reader found in the answer's head. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Question(Arc<Board>);

#[derive(Default)]
struct Board {
    asked: AtomicU8,
    told: Mutex<Option<Told>>,
    /// What the engine spells otherwise than it is to be, in the head that goes out next. Its memory is used again.
    going: Mutex<Spelling>,
    is_respelled: AtomicBool,
}

const NOTHING: u8 = 0;
const HEAD: u8 = 1;
const UPGRADED: u8 = 2;
const OTHER: u8 = 3;

impl Question {
    /// This request is about to be sent.
    pub(crate) fn ask<B>(&self, request: &Request<B>) {
        let asked = match request {
            request if request.headers().contains_key(UPGRADE) => UPGRADED,
            request if request.method() == Method::HEAD => HEAD,
            _ => OTHER,
        };
        let noted = request.extensions().get();
        let mut going = self.0.going.lock().unwrap_or_else(PoisonError::into_inner);
        going.fill(request.headers(), noted);
        (self.0.is_respelled).store(!going.is_empty(), Ordering::Relaxed);
        drop(going);
        self.0.asked.store(asked, Ordering::Release);
    }

    /// Puts the names of a head right whose first bytes are about to go.
    fn respell(&self, outgoing: &mut Outgoing, pieces: &[IoSlice<'_>]) {
        if self.0.is_respelled.load(Ordering::Relaxed) {
            self.0.is_respelled.store(false, Ordering::Relaxed);
            let going = self.0.going.lock().unwrap_or_else(PoisonError::into_inner);
            outgoing.begin(pieces, &going);
        }
    }

    /// What the head of the answer says beside what the engine makes of it.
    pub(crate) fn told(&self) -> Option<Told> {
        self.told_by_now().take()
    }

    fn told_by_now(&self) -> MutexGuard<'_, Option<Told>> {
        self.0.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Asked> {
        if self.0.asked.load(Ordering::Relaxed) == NOTHING {
            return None;
        }
        match self.0.asked.swap(NOTHING, Ordering::Acquire) {
            HEAD => Some(Asked::Head),
            UPGRADED => Some(Asked::Upgrade),
            _ => Some(Asked::Other),
        }
    }
}

impl<S> Strict<S> {
    /// A new connection, for answers of at most so many fields.
    pub(crate) fn new(io: S, fields_limit: usize, asked: Question) -> Self {
        Strict {
            io,
            answers: Answers::new(fields_limit),
            anew: Bytes::new(),
            outgoing: Outgoing::default(),
            asked,
            is_deaf: false,
        }
    }

    /// A backend that answers early and closes refuses the rest of the request. The engine would give up at that and never
    /// read the answer; so the rest is thrown away, and reading shows how the connection ended.
    fn follow<T>(&mut self, outcome: Poll<io::Result<T>>, as_if: T) -> Poll<io::Result<T>> {
        match outcome {
            Poll::Ready(Err(error)) if is_refusal(&error) => {
                self.is_deaf = true;
                Poll::Ready(Ok(as_if))
            }
            outcome => outcome,
        }
    }
}

fn is_refusal(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionReset)
}

impl<S: AsyncRead + Unpin> AsyncRead for Strict<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let strict = self.get_mut();
        let before = buf.filled().len();
        loop {
            if !strict.anew.is_empty() {
                let count = strict.anew.len().min(buf.remaining());
                buf.put_slice(&strict.anew.split_to(count));
                return Poll::Ready(Ok(()));
            }
            match ready!(Pin::new(&mut strict.io).poll_read(cx, buf)) {
                // Many servers end TLS without a word. Where the connection's end is the answer's that is what they mean;
                // where the answer says by itself where it ends the engine knows whether it is whole.
                Err(error)
                    if error.kind() == io::ErrorKind::UnexpectedEof
                        && strict.answers.ends_with_connection() =>
                {
                    return Poll::Ready(Ok(()));
                }
                read => read?,
            }
            if let Some(asked) = strict.asked.take() {
                strict.answers.expect(asked);
            }
            let piece = buf.filled().get(before..).unwrap_or_default();
            let is_end = piece.is_empty();
            let as_it_is = strict.answers.feed(piece).map_err(|flaw| {
                buf.set_filled(before);
                io::Error::new(io::ErrorKind::InvalidData, flaw.detail())
            })?;
            buf.set_filled(before + as_it_is);
            if let Some(told) = strict.answers.told() {
                *strict.asked.told_by_now() = Some(told);
            }
            strict.anew = strict.answers.anew().into();
            // Nothing for the engine means that the head goes on.
            if is_end || as_it_is > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Strict<S> {
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
        let strict = self.get_mut();
        let all = bufs.iter().map(|buf| buf.len()).sum();
        if strict.is_deaf {
            return Poll::Ready(Ok(all));
        }
        strict.asked.respell(&mut strict.outgoing, bufs);
        let io = Pin::new(&mut strict.io);
        let outgoing = &mut strict.outgoing;
        let written = outgoing.poll_write(bufs, |bufs| io.poll_write_vectored(cx, bufs));
        strict.follow(written, all)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let strict = self.get_mut();
        if strict.is_deaf {
            return Poll::Ready(Ok(()));
        }
        let flushed = Pin::new(&mut strict.io).poll_flush(cx);
        strict.follow(flushed, ())
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
