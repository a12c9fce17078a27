//! A request body that survives a failed attempt to connect.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use hyper::body::{Body as _, Frame, SizeHint};
use tokio::time::Instant;

use crate::error::Error;
use crate::http::body::Body;

/// The engine gets a clone: where it never polled (no connection was made), the body is whole
/// and the next attempt gets it.
#[derive(Clone)]
pub(crate) struct ReplayableBody(Arc<Mutex<State>>);

struct State {
    body: Body,
    moved: Option<Instant>,
    done: bool,
    failed: Option<Error>,
    met_stale: Option<Instant>,
}

impl ReplayableBody {
    pub(crate) fn new(body: Body) -> Self {
        let done = body.is_end_stream();
        ReplayableBody(Arc::new(Mutex::new(State {
            body,
            moved: None,
            done,
            failed: None,
            met_stale: None,
        })))
    }

    /// Whether there was never anything to send, or everything has been taken.
    pub(crate) fn is_done(&self) -> bool {
        self.lock().done
    }

    /// Whether the body has no bytes at all; asked before it is sent.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().body.is_end_stream()
    }

    /// When a piece was last taken; `None` before the first.
    pub(crate) fn last_moved(&self) -> Option<Instant> {
        self.lock().moved
    }

    /// Why the body broke, where it did: then the exchange failed for that and no other reason.
    pub(crate) fn failed(&self) -> Option<Error> {
        self.lock().failed.clone()
    }

    /// Whether nothing was taken yet, so that it can still be sent as it is.
    pub(crate) fn is_whole(&self) -> bool {
        self.last_moved().is_none()
    }

    /// Notes that the connection it went over was closed before an answer began.
    pub(crate) fn note_stale(&self) {
        self.lock().met_stale = Some(Instant::now());
    }

    /// When a kept connection failed it: then it goes over one that was made later, and a safe
    /// request goes again without counting as a retry.
    pub(crate) fn met_stale(&self) -> Option<Instant> {
        self.lock().met_stale
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl hyper::body::Body for ReplayableBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let mut state = self.lock();
        let frame = ready!(Pin::new(&mut state.body).poll_frame(cx));
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
