//! A client's body on its way upstream.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::header::{HeaderMap, HeaderName};

use super::wire::Traffic;
use crate::edge::hygiene::{Fault, hop, names};
use crate::error::{Error, Kind};
use crate::upstream::{self, Body};

/// The body as the backend gets it: of the same length where that is known, its errors the
/// client's, its trailers under the rules of fields.
pub fn upward(body: Incoming, traffic: &Traffic) -> Body {
    if body.is_end_stream() {
        return upstream::empty();
    }
    let traffic = traffic.clone();
    Upward { body, traffic }.boxed_unsync()
}

struct Upward {
    body: Incoming,
    traffic: Traffic,
}

impl hyper::body::Body for Upward {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(frame.map(|frame| match frame {
            Ok(frame) => Ok(match frame.into_trailers() {
                Ok(trailers) => Frame::trailers(clean(trailers)),
                Err(frame) => frame,
            }),
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

fn clean(mut trailers: HeaderMap) -> HeaderMap {
    hop::strip(&mut trailers);
    let misplaced: Vec<HeaderName> = trailers
        .keys()
        .filter(|name| names::is_forwarded(name.as_str()) || names::is_precious(name.as_str()))
        .cloned()
        .collect();
    for name in misplaced {
        trailers.remove(name);
    }
    trailers
}
