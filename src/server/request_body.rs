//! A client's body on its way upstream.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};

use super::http1_state::Http1State;
use crate::error::{Error, ErrorKind};
use crate::http::body::{self, Body};
use crate::http::{RequestViolation, trailers};
use crate::router::InForce;

/// A request's body as it comes in.
pub(crate) enum RequestBody {
    /// There is none.
    Nothing,
    /// Over HTTP/1, where the wire judges and times it.
    Http1(Incoming, Http1State),
    /// Over a stream of HTTP/2, which judges and times it by itself.
    Http2(Body),
}

impl RequestBody {
    /// The body that the engine of HTTP/1 gives.
    pub(crate) fn http1(body: Incoming, traffic: &Http1State) -> RequestBody {
        match body.is_end_stream() {
            true => RequestBody::Nothing,
            false => RequestBody::Http1(body, traffic.clone()),
        }
    }

    /// Whether there is nothing of it.
    pub(crate) fn is_nothing(&self) -> bool {
        matches!(self, RequestBody::Nothing)
    }

    /// The body as the backend gets it: of the same length where that is known, its errors the
    /// client's, its trailers under the rules of fields.
    pub(crate) fn upward(self, in_force: &Arc<InForce>) -> Body {
        match self {
            RequestBody::Nothing => body::empty(),
            body => {
                let in_force = in_force.clone();
                Upward { body, in_force }.boxed_unsync()
            }
        }
    }
}

struct Upward {
    body: RequestBody,
    in_force: Arc<InForce>,
}

impl Upward {
    fn clean(&self, mut trailers: HeaderMap) -> Result<Frame<Bytes>, Error> {
        let config = &self.in_force.config;
        let (policy, taken) = (config.server.underscore_headers, &config.identity_headers);
        match trailers::upward(&mut trailers, policy, taken) {
            Ok(()) => Ok(Frame::trailers(trailers)),
            Err(fault) => {
                if let RequestBody::Http1(_, traffic) = &self.body {
                    traffic.set_fault(fault);
                }
                Err(Error::downstream(ErrorKind::Broken, fault.detail()))
            }
        }
    }
}

impl hyper::body::Body for Upward {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = match &mut self.body {
            RequestBody::Nothing => None,
            RequestBody::Http1(body, traffic) => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                frame.map(|frame| frame.map_err(|error| explain(&error, traffic.fault())))
            }
            RequestBody::Http2(upload) => ready!(Pin::new(upload).poll_frame(cx)),
        };
        Poll::Ready(frame.map(|frame| match frame?.into_trailers() {
            Ok(trailers) => self.clean(trailers),
            Err(frame) => Ok(frame),
        }))
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            RequestBody::Nothing => true,
            RequestBody::Http1(body, _) => body.is_end_stream(),
            RequestBody::Http2(upload) => upload.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            RequestBody::Nothing => SizeHint::with_exact(0),
            RequestBody::Http1(body, _) => body.size_hint(),
            RequestBody::Http2(upload) => upload.size_hint(),
        }
    }
}

fn explain(error: &hyper::Error, fault: Option<RequestViolation>) -> Error {
    match fault {
        Some(fault @ RequestViolation::BodyTimeout) => {
            Error::downstream(ErrorKind::Timeout, fault.detail())
        }
        Some(fault) => Error::downstream(ErrorKind::Broken, fault.detail()),
        None => Error::downstream(ErrorKind::Gone, format!("the body broke off: {error}")),
    }
}
