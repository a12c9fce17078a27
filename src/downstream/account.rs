//! One exchange's account: written when its answer has been handed out, or dropped.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Frame, SizeHint};
use hyper::{Method, Response, Version};

use super::expiry::Expiry;
use super::wire::Traffic;
use crate::config::Upstream;
use crate::edge::auth::Denied;
use crate::edge::hygiene::text::Text;
use crate::edge::hygiene::trailers;
use crate::error::{Error, Side};
use crate::telemetry::{Request, Span, Telemetry};
use crate::upstream::Body;

/// What is known of an exchange; dropping it writes the access line.
pub struct Account {
    /// What `X-Request-Id` says.
    pub id: Text,
    /// The request's method.
    pub method: Method,
    /// Its path without query.
    pub path: Arc<str>,
    /// The client's address.
    pub remote: Text,
    /// The route's name.
    pub route: Option<Arc<str>>,
    /// The protocol of the session that it asks for, where it asks us for one.
    pub asked_for: Option<&'static str>,
    /// The backend, where it was asked.
    pub backend: Option<Arc<Upstream>>,
    /// Which transport the client was told to use.
    pub cohort: &'static str,
    /// What was done with it.
    pub action: &'static str,
    /// Whose side ended it otherwise than planned.
    pub side: Option<Side>,
    /// From the request sent upstream to the answer's head.
    pub upstream: Option<Duration>,
    /// Its span.
    pub span: Span,
    /// The version of HTTP that it came in.
    pub version: Version,
    /// The credential that it was let in by, as long as bytes pass through.
    pub expiry: Expiry,
    /// Why that did not hold until the end.
    denied: Option<&'static str>,
    bytes_in: Option<Arc<AtomicU64>>,
    begun: Instant,
    first_byte: Duration,
    status: u16,
    bytes_out: u64,
    is_whole: bool,
    /// The HTTP/1 wire's notice board, which counts what is under way.
    traffic: Option<Traffic>,
    telemetry: Arc<Telemetry>,
}

impl Account {
    /// Opens an account.
    pub fn open(
        method: Method,
        id: Text,
        remote: Text,
        traffic: Option<Traffic>,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        Account {
            id,
            method,
            path: Arc::default(),
            remote,
            route: None,
            asked_for: None,
            backend: None,
            cohort: "",
            action: "refused",
            side: None,
            upstream: None,
            span: Span::default(),
            version: Version::HTTP_11,
            expiry: Expiry::default(),
            denied: None,
            bytes_in: None,
            begun: Instant::now(),
            first_byte: Duration::ZERO,
            // As nginx has it for a client that left before the answer.
            status: 499,
            bytes_out: 0,
            is_whole: false,
            traffic,
            telemetry,
        }
    }

    /// Follows the answer to its last byte.
    pub fn follow(mut self, response: Response<Body>) -> Response<Body> {
        if let Some(traffic) = &self.traffic {
            traffic.answering();
        }
        self.status = response.status().as_u16();
        self.first_byte = self.begun.elapsed();
        self.is_whole = self.method == Method::HEAD || response.body().is_end_stream();
        response.map(|body| {
            let followed = Followed {
                body,
                account: self,
            };
            followed.boxed_unsync()
        })
    }

    /// Counts the request's body on its way upstream.
    pub fn count(&mut self, body: Body) -> Body {
        if body.is_end_stream() {
            return body;
        }
        let count = self.bytes_in.get_or_insert_default().clone();
        Counted { body, count }.boxed_unsync()
    }

    /// The credential has ended before the answer has.
    fn cut(&mut self, denied: &Denied) -> Error {
        let error = Error::unauthorized(denied.detail());
        self.blame(&error);
        self.denied = Some(denied.result());
        self.telemetry.credential_ended("answer", denied.result());
        error
    }

    /// Something broke.
    pub fn blame(&mut self, error: &Error) {
        self.side = Some(error.side);
        self.telemetry.exchange_failed(error, &self.id);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if let Some(traffic) = &self.traffic {
            traffic.answered();
        }
        let route = self.route.as_deref().unwrap_or("-");
        self.span
            .served(&self.path, route, self.action, self.status);
        if !self.telemetry.wants_access() {
            return;
        }
        let gone = (!self.is_whole).then_some(Side::Downstream);
        self.telemetry.request_finished(&Request {
            id: &self.id,
            method: self.method.as_str(),
            path: &self.path,
            protocol: protocol(self.version),
            route,
            upstream: self.backend.as_ref().map_or("", |backend| &backend.name),
            cohort: self.cohort,
            action: self.action,
            side: self.side.or(gone).map_or("", Side::as_str),
            reason: self.denied,
            status: self.status,
            remote: &self.remote,
            total: self.begun.elapsed(),
            first_byte: self.first_byte,
            upstream_time: self.upstream,
            bytes_in: self
                .bytes_in
                .as_ref()
                .map_or(0, |count| count.load(Ordering::Relaxed)),
            bytes_out: self.bytes_out,
        });
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
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
    account: Account,
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
            Poll::Ready(Some(Ok(_))) => self.account.bytes_out > 0,
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
                self.account.bytes_out += bytes as u64;
                self.account.is_whole = self.body.is_end_stream();
            }
            Some(Err(error)) => self.account.blame(error),
            None => self.account.is_whole = true,
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
