//! An answer's body on its way out over a stream.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use h2::{Reason, SendStream};
use hyper::body::{Body as _, Frame};

use super::super::write_timeout::Taking;
use super::request_body::Answered;
use super::websocket_stream::poll_room;
use crate::error::Error;
use crate::http::body::Body;

/// What is asked for at once of the windows that all streams share.
const PIECE: usize = 64 * 1024;

/// Sends a body to its end, at the client's pace. A stream whose window stays closed for too long,
/// or opens for less than `rate` bytes per second, is reset. `None` where the stream ended early.
pub(crate) async fn send(
    mut to: SendStream<Bytes>,
    mut body: Body,
    rate: u64,
    answered: Option<Answered>,
) -> Option<()> {
    let mut taking = Taking::new(rate);
    loop {
        let frame = match next(&mut to, &mut body).await? {
            Some(Ok(frame)) => frame,
            Some(Err(_)) => {
                // The account knows why.
                to.send_reset(Reason::INTERNAL_ERROR);
                return None;
            }
            None => return to.send_data(Bytes::new(), true).ok(),
        };
        match frame.into_data() {
            // A frame without bytes would cost the client as much as one with.
            Ok(data) if data.is_empty() => {}
            Ok(data) => {
                let is_last = body.is_end_stream();
                send_data(&mut to, &mut taking, data, is_last).await?;
                if let Some(answered) = &answered {
                    answered.note();
                }
                if is_last {
                    return Some(());
                }
            }
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    return to.send_trailers(trailers).ok();
                }
            }
        }
    }
}

/// The next piece, or the end; `None` where the client has reset the stream, or is gone.
async fn next(
    to: &mut SendStream<Bytes>,
    body: &mut Body,
) -> Option<Option<Result<Frame<Bytes>, Error>>> {
    poll_fn(|cx| match Pin::new(&mut *body).poll_frame(cx) {
        Poll::Ready(frame) => Poll::Ready(Some(frame)),
        Poll::Pending => to.poll_reset(cx).map(|_| None),
    })
    .await
}

async fn send_data(
    to: &mut SendStream<Bytes>,
    taking: &mut Taking,
    mut data: Bytes,
    ends: bool,
) -> Option<()> {
    while !data.is_empty() {
        let wanted = data.len().min(PIECE);
        let room = poll_fn(|cx| {
            let room = poll_room(to, wanted, cx);
            taking.poll(cx, room)
        });
        let room = match room.await {
            Ok(room) => room,
            Err(error) => {
                if error.kind() == io::ErrorKind::TimedOut {
                    to.send_reset(Reason::CANCEL);
                }
                return None;
            }
        };
        let piece = data.split_to(room);
        to.send_data(piece, ends && data.is_empty()).ok()?;
    }
    Some(())
}
