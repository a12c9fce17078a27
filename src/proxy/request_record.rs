//! One exchange's account: written when its answer has been handed out, or dropped.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Frame, SizeHint};
use hyper::{Method, Response};

use super::expiry::Expiry;
use crate::config::Upstream;
use crate::error::{Error, Side};
use crate::http::body::Body;
use crate::http::trailers;
use crate::policy::auth::AuthError;
use crate::server::http1_state::Http1State;
use crate::telemetry::{Ending, LoggedRequest, RequestLine, Span, Telemetry, Times};

/// What is known of an exchange; dropping it writes the access line.
pub(crate) struct RequestRecord {
    /// The request, and the client that sent it.
    pub(crate) request: LoggedRequest,
    /// The route's name.
    pub(crate) route: Option<Arc<str>>,
    /// The protocol of the session that it asks for, where it asks us for one.
    pub(crate) asked_for: Option<&'static str>,
    /// The backend, where it was asked.
    pub(crate) backend: Option<Arc<Upstream>>,
    /// Which transport the client was assigned.
    pub(crate) cohort: &'static str,
    /// What was done with it.
    pub(crate) action: &'static str,
    /// Whose side ended it otherwise than planned.
    pub(crate) side: Option<Side>,
    /// Its span.
    pub(crate) span: Span,
    /// The credential that it was accepted by, as long as bytes pass through.
    pub(crate) expiry: Expiry,
    /// Why that did not hold until the end.
    denied: Option<&'static str>,
    bytes_in: Option<Arc<AtomicU64>>,
    /// How far its answer has come.
    answer: Progress,
    /// The HTTP/1 wire's notice board, which counts what is under way.
    traffic: Option<Http1State>,
    telemetry: Arc<Telemetry>,
}

struct Progress {
    begun: Instant,
    times: Times,
    status: u16,
    bytes_out: u64,
    is_whole: bool,
}

impl RequestRecord {
    /// Opens an account.
    pub(crate) fn open(
        request: LoggedRequest,
        span: Span,
        traffic: Option<Http1State>,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        RequestRecord {
            request,
            route: None,
            asked_for: None,
            backend: None,
            cohort: "",
            action: "refused",
            side: None,
            span,
            expiry: Expiry::default(),
            denied: None,
            bytes_in: None,
            answer: Progress {
                begun: Instant::now(),
                times: Times::default(),
                // As nginx has it for a client that left before the answer.
                status: 499,
                bytes_out: 0,
                is_whole: false,
            },
            traffic,
            telemetry,
        }
    }

    /// Follows the answer to its last byte.
    pub(crate) fn follow(mut self, response: Response<Body>) -> Response<Body> {
        if let Some(traffic) = &self.traffic {
            traffic.answering();
        }
        self.answer.status = response.status().as_u16();
        self.answer.times.first_byte = self.answer.begun.elapsed();
        let is_head = self.request.method == Method::HEAD;
        self.answer.is_whole = is_head || response.body().is_end_stream();
        response.map(|body| {
            let followed = Followed {
                body,
                account: self,
            };
            followed.boxed_unsync()
        })
    }

    /// The backend's answer has begun, so long after it was asked.
    pub(crate) fn answered_upstream(&mut self, after: Duration) {
        self.answer.times.upstream = Some(after);
    }

    /// Counts the request's body on its way upstream.
    pub(crate) fn count(&mut self, body: Body) -> Body {
        if body.is_end_stream() {
            return body;
        }
        let count = self.bytes_in.get_or_insert_default().clone();
        Counted { body, count }.boxed_unsync()
    }

    /// The credential has ended before the answer has.
    fn cut(&mut self, denied: &AuthError) -> Error {
        let error = Error::unauthorized(denied.detail());
        self.blame(&error);
        self.denied = Some(denied.result());
        self.telemetry
            .edge
            .credential_ended("answer", denied.result());
        error
    }

    /// Something broke.
    pub(crate) fn blame(&mut self, error: &Error) {
        self.side = Some(error.side);
        self.telemetry
            .downstream
            .exchange_failed(error, &self.request.id);
    }
}

impl Drop for RequestRecord {
    fn drop(&mut self) {
        if let Some(traffic) = &self.traffic {
            traffic.answered();
        }
        let route = self.route.as_deref().unwrap_or("-");
        let (request, answer) = (&self.request, &self.answer);
        self.span
            .served(&request.path, route, self.action, answer.status);
        if !self.telemetry.access.wants_access() {
            return;
        }
        let gone = (!answer.is_whole).then_some(Side::Downstream);
        self.telemetry.access.request_finished(&RequestLine {
            request,
            route,
            upstream: self.backend.as_ref().map_or("", |backend| &backend.name),
            cohort: self.cohort,
            action: self.action,
            end: Ending {
                status: answer.status,
                side: self.side.or(gone).map_or("", Side::as_str),
                reason: self.denied,
            },
            times: Times {
                total: answer.begun.elapsed(),
                ..answer.times
            },
            bytes_in: self
                .bytes_in
                .as_ref()
                .map_or(0, |count| count.load(Ordering::Relaxed)),
            bytes_out: answer.bytes_out,
        });
    }
}

struct Counted {
    body: Body,
    count: Arc<AtomicU64>,
}

impl hyper::body::Body for Counted {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(data) = frame
            .as_ref()
            .and_then(|frame| frame.as_ref().ok()?.data_ref())
        {
            self.count.fetch_add(data.len() as u64, Ordering::Relaxed);
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

struct Followed {
    body: Body,
    account: RequestRecord,
}

impl hyper::body::Body for Followed {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let is_watched = self.account.expiry.is_watched();
        if is_watched && let Poll::Ready(denied) = self.account.expiry.poll(cx) {
            return Poll::Ready(Some(Err(self.account.cut(&denied))));
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        // Most answers are there at once; what takes longer is over when its credential is.
        let goes_on = match &polled {
            Poll::Pending => true,
            Poll::Ready(Some(Ok(_))) => self.account.answer.bytes_out > 0,
            Poll::Ready(None | Some(Err(_))) => false,
        };
        if goes_on
            && !is_watched
            && let Poll::Ready(denied) = self.account.expiry.poll(cx)
        {
            return Poll::Ready(Some(Err(self.account.cut(&denied))));
        }
        let mut frame = std::task::ready!(polled);
        if let Some(Ok(frame)) = &mut frame
            && let Some(fields) = frame.trailers_mut()
        {
            trailers::downward(fields);
        }
        match &frame {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                self.account.answer.bytes_out += bytes as u64;
                self.account.answer.is_whole = self.body.is_end_stream();
            }
            Some(Err(error)) => self.account.blame(error),
            None => self.account.answer.is_whole = true,
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
