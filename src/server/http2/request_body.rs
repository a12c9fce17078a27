//! A client's body as it comes in over a stream, with its clocks.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use hyper::body::{Frame, SizeHint};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::super::linger;
use super::super::read_timeout::ReadTimeout;
use super::conn_state::Http2State;
use crate::config::Limits;
use crate::error::{Error, ErrorKind};
use crate::http::RequestViolation;
use crate::http::parser::ScanPlace;
use crate::policy::connection_limits::{Connections, Lingering};

/// When something of a stream's answer was sent last. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answered(Arc<Mutex<Option<Instant>>>);

impl Answered {
    /// Something is sent now.
    pub(super) fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn last(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module.
pub(crate) struct Upload {
    /// Taken out only when this is dropped.
    stream: Option<RecvStream>,
    /// What `Content-Length` says is still to come; the engine sees to it that this is so.
    left: Option<u64>,
    data_is_over: bool,
    patience: ReadTimeout,
    board: Arc<Http2State>,
    /// How much of the frame under way was counted.
    counted: usize,
    answered: Answered,
    /// Asks for `100 Continue` where the client waits for it.
    wanted: Option<oneshot::Sender<()>>,
    connections: Connections,
}

impl Upload {
    pub(super) fn new(
        stream: RecvStream,
        length: Option<u64>,
        limits: &Limits,
        board: Arc<Http2State>,
        answered: Answered,
        wanted: Option<oneshot::Sender<()>>,
        connections: Connections,
    ) -> Self {
        Upload {
            stream: Some(stream),
            left: length,
            data_is_over: false,
            patience: ReadTimeout::new(limits),
            board,
            counted: 0,
            answered,
            wanted,
            connections,
        }
    }

    fn took(&mut self, bytes: usize) {
        let fresh = bytes.saturating_sub(self.counted);
        self.counted = 0;
        self.patience.moved(ScanPlace::Body, false, fresh);
        self.left = self.left.map(|left| left.saturating_sub(bytes as u64));
    }

    /// Nothing whole came. What came of the frame under way counts, too: the engine delivers whole
    /// frames only, and a slow line takes its time over each.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame<Bytes>, Error>> {
        let stream = self.stream.as_ref();
        let come = stream.map_or(0, |stream| self.board.of(stream.stream_id().as_u32()));
        if come > self.counted {
            self.patience
                .moved(ScanPlace::Body, false, come - self.counted);
            self.counted = come;
        }
        let answered = self.answered.last();
        ready!(self.patience.poll(ScanPlace::Body, true, answered, cx));
        let detail = RequestViolation::BodyTimeout.detail();
        Poll::Ready(Err(Error::downstream(ErrorKind::Timeout, detail)))
    }
}

impl hyper::body::Body for Upload {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let upload = self.get_mut();
        if let Some(wanted) = upload.wanted.take() {
            // An error means that the answer is out already: the client needs no `100`.
            let _ = wanted.send(());
        }
        let Some(stream) = &mut upload.stream else {
            return Poll::Ready(None);
        };
        while !upload.data_is_over {
            match stream.poll_data(cx) {
                Poll::Ready(Some(Ok(data))) if data.is_empty() => {}
                Poll::Ready(Some(Ok(data))) => {
                    let released = stream.flow_control().release_capacity(data.len());
                    upload.took(data.len());
                    let frame = released.map(|()| Frame::data(data));
                    return Poll::Ready(Some(frame.map_err(|error| gone(&error))));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(gone(&error)))),
                Poll::Ready(None) => upload.data_is_over = true,
                Poll::Pending => return upload.poll_patience(cx).map(Some),
            }
        }
        match stream.poll_trailers(cx) {
            Poll::Ready(Ok(Some(trailers))) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Poll::Ready(Ok(None)) => Poll::Ready(None),
            Poll::Ready(Err(error)) => Poll::Ready(Some(Err(gone(&error)))),
            Poll::Pending => upload.poll_patience(cx).map(Some),
        }
    }

    fn is_end_stream(&self) -> bool {
        (self.stream.as_ref()).is_none_or(RecvStream::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

/// A client that writes everything before it reads takes a reset for a failure, even behind a whole answer: what is not
/// wanted any more is read and thrown away, as long as there is a place for that.
impl Drop for Upload {
    fn drop(&mut self) {
        let Some(stream) = self.stream.take().filter(|stream| !stream.is_end_stream()) else {
            return;
        };
        if let Some(place) = self.connections.linger()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(linger(stream, self.board.clone(), place));
        }
    }
}

async fn linger(mut stream: RecvStream, board: Arc<Http2State>, _place: Lingering) {
    let end = Instant::now() + linger::TIME;
    while !board.is_leaving() {
        let deadline = end.min(Instant::now() + linger::SILENCE);
        let Ok(Some(Ok(data))) = timeout_at(deadline, stream.data()).await else {
            return;
        };
        // Where this fails the next look does, too.
        let _ = stream.flow_control().release_capacity(data.len());
        if Instant::now() >= end {
            return;
        }
    }
}

fn gone(error: &h2::Error) -> Error {
    Error::downstream(ErrorKind::Gone, format!("the body broke off: {error}"))
}
