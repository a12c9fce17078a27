//! A request body that survives a failed attempt to connect, and ends with its answer.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use bytes::{Buf, Bytes};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};

use super::Body;
use crate::error::{Error, Kind};

/// The engine gets a clone: where it never polled (no connection was made), the body is whole
/// and the next attempt gets it.
#[derive(Clone)]
pub(super) struct Lent(Arc<Mutex<State>>);

struct State {
    body: Body,
    moved: Option<Instant>,
    done: bool,
    failed: Option<Error>,
    withdrawn: bool,
    engine: Option<Waker>,
}

impl Lent {
    pub(super) fn new(body: Body) -> Self {
        let done = body.is_end_stream();
        Lent(Arc::new(Mutex::new(State {
            body,
            moved: None,
            done,
            failed: None,
            withdrawn: false,
            engine: None,
        })))
    }

    /// Whether there was never anything to send, or everything has been taken.
    pub(super) fn is_done(&self) -> bool {
        self.lock().done
    }

    /// Whether the body has no bytes at all; asked before it is sent.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().body.is_end_stream()
    }

    /// When a piece was last taken; `None` before the first.
    pub(super) fn last_moved(&self) -> Option<Instant> {
        self.lock().moved
    }

    /// Why the body broke, where it did: then the exchange failed for that and no other reason.
    pub(super) fn failed(&self) -> Option<Error> {
        self.lock().failed.clone()
    }

    /// The answer is over: nothing more of this is sent. What has not gone yet would reach the
    /// backend as the beginning of another request; the engine closes the connection instead.
    fn withdraw(&self) {
        let mut state = self.lock();
        if state.done {
            return;
        }
        state.withdrawn = true;
        if let Some(engine) = state.engine.take() {
            engine.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl hyper::body::Body for Lent {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let mut state = self.lock();
        if state.withdrawn {
            let error = Error::upstream(Kind::Other, "it answered before it had the whole request");
            return Poll::Ready(Some(Err(error)));
        }
        let Poll::Ready(frame) = Pin::new(&mut state.body).poll_frame(cx) else {
            state.engine = Some(cx.waker().clone());
            return Poll::Pending;
        };
        state.moved = Some(Instant::now());
        let more = match &frame {
            Some(Ok(frame)) => frame.data_ref().is_some_and(Buf::has_remaining),
            Some(Err(error)) => {
                state.failed = Some(error.clone());
                false
            }
            None => false,
        };
        // With a declared length the engine stops asking at its last byte.
        state.done = !more || state.body.is_end_stream();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.lock().body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.lock().body.size_hint()
    }
}

/// The body of an answer, which withdraws the rest of its request when it has ended.
pub(super) struct Answer {
    body: Incoming,
    request: Lent,
}

impl Answer {
    pub(super) fn new(body: Incoming, request: Lent) -> Self {
        let answer = Answer { body, request };
        answer.look();
        answer
    }

    fn look(&self) {
        if self.body.is_end_stream() {
            self.request.withdraw();
        }
    }
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            None => self.request.withdraw(),
            Some(_) => self.look(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
