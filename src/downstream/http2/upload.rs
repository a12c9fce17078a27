//! A client's body as it comes in over a stream, with its clocks.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use hyper::body::{Frame, SizeHint};
use tokio::sync::oneshot;

use super::super::wire::patience::Patience;
use super::board::Board;
use crate::config::Limits;
use crate::edge::hygiene::Fault;
use crate::edge::hygiene::scan::Place;
use crate::error::{Error, Kind};

/// See the module.
pub struct Upload {
    stream: RecvStream,
    /// What `Content-Length` says is still to come; the engine sees to it that this is so.
    left: Option<u64>,
    data_is_over: bool,
    patience: Patience,
    board: Arc<Board>,
    /// How much of the frame under way was counted.
    counted: usize,
    /// Asks for `100 Continue` where the client waits for it.
    wanted: Option<oneshot::Sender<()>>,
}

impl Upload {
    pub(super) fn new(
        stream: RecvStream,
        length: Option<u64>,
        limits: &Limits,
        board: Arc<Board>,
        wanted: Option<oneshot::Sender<()>>,
    ) -> Self {
        Upload {
            stream,
            left: length,
            data_is_over: false,
            patience: Patience::new(limits),
            board,
            counted: 0,
            wanted,
        }
    }

    pub fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Some(wanted) = self.wanted.take() {
            // Nobody is there to be told where the answer is out already.
            let _ = wanted.send(());
        }
        while !self.data_is_over {
            match self.stream.poll_data(cx) {
                Poll::Ready(Some(Ok(data))) if data.is_empty() => {}
                Poll::Ready(Some(Ok(data))) => return Poll::Ready(Some(self.take(data))),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(gone(&error)))),
                Poll::Ready(None) => self.data_is_over = true,
                Poll::Pending => return self.poll_patience(cx).map(Some),
            }
        }
        match self.stream.poll_trailers(cx) {
            Poll::Ready(Ok(Some(trailers))) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Poll::Ready(Ok(None)) => Poll::Ready(None),
            Poll::Ready(Err(error)) => Poll::Ready(Some(Err(gone(&error)))),
            Poll::Pending => self.poll_patience(cx).map(Some),
        }
    }

    pub fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    pub fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::new, SizeHint::with_exact)
    }

    fn take(&mut self, data: Bytes) -> Result<Frame<Bytes>, Error> {
        let fresh = data.len().saturating_sub(self.counted);
        self.counted = 0;
        self.patience.moved(Place::Body, false, fresh);
        self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
        let window = self.stream.flow_control();
        window
            .release_capacity(data.len())
            .map_err(|error| gone(&error))?;
        Ok(Frame::data(data))
    }

    /// Nothing whole came. What came of the frame under way counts, too: the engine delivers whole
    /// frames only, and a slow line takes its time over each.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame<Bytes>, Error>> {
        let come = self.board.of(self.stream.stream_id().as_u32());
        if come > self.counted {
            self.patience.moved(Place::Body, false, come - self.counted);
            self.counted = come;
        }
        ready!(self.patience.poll(Place::Body, true, cx));
        let detail = Fault::BodyTimeout.detail();
        Poll::Ready(Err(Error::downstream(Kind::Timeout, detail)))
    }
}

fn gone(error: &h2::Error) -> Error {
    Error::downstream(Kind::Gone, format!("the body broke off: {error}"))
}
