//! The body of an answer, and the connection that it comes over.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};

use super::http1::{Http1, State, Task};
use super::http2_pool::StreamPermit;
use super::pins::Release;

/// Its reader drives the connection. At its end the connection is kept for the next request, or closed where it may carry none;
/// dropped before its end, it closes the connection.
///
/// A break is reported one poll later: a reader that closes its own connection for it has then sent on what came before.
pub(crate) struct ResponseBody {
    body: Incoming,
    way: Way,
    failed: Option<hyper::Error>,
}

/// What moves the bytes.
pub(crate) enum Way {
    /// Nothing: all is there.
    Complete,
    /// The reader; the connection is released after it.
    Held(Box<Http1>, Release),
    /// A task that ends with the answer.
    Apart { _task: Task },
    /// The task of a connection that others use too.
    Shared { _place: StreamPermit },
}

impl ResponseBody {
    pub(crate) fn new(body: Incoming, way: Way) -> Self {
        let mut answer = ResponseBody {
            body,
            way,
            failed: None,
        };
        answer.look();
        answer
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        let Way::Held(connection, _) = &mut self.way else {
            return;
        };
        let state = connection.drive(cx);
        if state == State::Busy {
            return;
        }
        if let Way::Held(connection, release) = std::mem::replace(&mut self.way, Way::Complete)
            && state == State::Ready
        {
            release.finish(connection);
        }
    }

    /// What has not gone of the request when its answer is over never goes: the backend could take
    /// it for the beginning of another one.
    fn look(&mut self) {
        if self.body.is_end_stream() {
            self.way = Way::Complete;
        }
    }
}

impl hyper::body::Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let frame = match self.way {
            // Only driving fills the body, so what was just driven wakes for it too.
            Way::Held(..) => {
                self.drive(cx);
                let mut nobody = Context::from_waker(Waker::noop());
                Pin::new(&mut self.body).poll_frame(&mut nobody)
            }
            _ => Pin::new(&mut self.body).poll_frame(cx),
        };
        match frame {
            Poll::Ready(Some(Err(error))) => {
                self.way = Way::Complete;
                self.failed = Some(error);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(None) => self.way = Way::Complete,
            Poll::Ready(Some(Ok(_))) => self.look(),
            Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
