//! A client's body on its way upstream.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};

use super::wire::Traffic;
use crate::config::Underscores;
use crate::edge::hygiene::{Fault, trailers};
use crate::error::{Error, Kind};
use crate::upstream::{self, Body};

/// The body as the backend gets it: of the same length where that is known, its errors the
/// client's, its trailers under the rules of fields.
pub fn upward(body: Incoming, traffic: &Traffic, names: Underscores) -> Body {
    if body.is_end_stream() {
        return upstream::empty();
    }
    let traffic = traffic.clone();
    let upward = Upward {
        body,
        traffic,
        names,
    };
    upward.boxed_unsync()
}

struct Upward {
    body: Incoming,
    traffic: Traffic,
    names: Underscores,
}

impl hyper::body::Body for Upward {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(frame.map(|frame| match frame.map(Frame::into_trailers) {
            Ok(Ok(mut trailers)) => match trailers::upward(&mut trailers, self.names) {
                Ok(()) => Ok(Frame::trailers(trailers)),
                Err(fault) => {
                    self.traffic.set_fault(fault);
                    Err(Error::downstream(Kind::Broken, fault.detail()))
                }
            },
            Ok(Err(frame)) => Ok(frame),
            Err(error) => Err(explain(&error, self.traffic.fault())),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn explain(error: &hyper::Error, fault: Option<Fault>) -> Error {
    match fault {
        Some(fault @ Fault::BodyTimeout) => Error::downstream(Kind::Timeout, fault.detail()),
        Some(fault) => Error::downstream(Kind::Broken, fault.detail()),
        None => Error::downstream(Kind::Gone, format!("the body broke off: {error}")),
    }
}
