//! A request's claim on a server, from the choice to the last byte of the answer.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::body::{Body as _, Frame, SizeHint};

use super::Cluster;
use super::limits::ServerPlace;
use super::outlier_detection::AttemptOutcome;
use super::server::ClusterServer;
use crate::config::Authority;
use crate::error::{Error, ErrorKind, Side};
use crate::upstream::pool::response_body::ResponseBody;

/// See the page's head. Its server counts one request more until this is dropped.
pub(crate) struct Lease {
    fleet: Arc<Cluster>,
    server: Arc<ClusterServer>,
    begun: Instant,
    /// Whether this request is to find out how the server is.
    is_probe: bool,
    is_decided: bool,
}

impl Lease {
    pub(crate) fn new(
        fleet: Arc<Cluster>,
        server: Arc<ClusterServer>,
        now: Instant,
        is_probe: bool,
    ) -> Self {
        server.in_flight.fetch_add(1, Ordering::Relaxed);
        Lease {
            fleet,
            server,
            begun: now,
            is_probe,
            is_decided: false,
        }
    }

    /// The server that the request goes to.
    pub(crate) fn server(&self) -> &Authority {
        &self.server.authority
    }

    /// The head of an answer is there.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        let outcome = match status {
            StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => AttemptOutcome::Unwell,
            _ => AttemptOutcome::Good,
        };
        self.decide(outcome);
    }

    /// No answer came. What the client's half did wrong says nothing of the server.
    pub(crate) fn failed(&mut self, error: &Error) {
        if error.side == Side::Upstream
            && matches!(
                error.kind,
                ErrorKind::Connect | ErrorKind::Timeout | ErrorKind::Broken
            )
        {
            let took = self.begun.elapsed();
            self.decide(AttemptOutcome::Failed { took });
        }
    }

    fn decide(&mut self, outcome: AttemptOutcome) {
        self.is_decided = true;
        self.fleet.take(&self.server, outcome, self.is_probe);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.server.in_flight.fetch_sub(1, Ordering::Relaxed);
        if self.is_probe && !self.is_decided {
            self.server.record().ejection.probe_lost();
        }
    }
}

/// What an answer holds until it has ended: its server counts a request, the budget a place.
#[derive(Clone)]
pub(crate) struct InFlight {
    _held: Arc<(Lease, ServerPlace)>,
}

impl InFlight {
    /// Of a request that was answered.
    pub(crate) fn new(lease: Lease, place: ServerPlace) -> Self {
        InFlight {
            _held: Arc::new((lease, place)),
        }
    }
}

/// The body of an answer, and what it holds.
pub(crate) struct InFlightBody<F> {
    body: ResponseBody,
    hold: Option<InFlight>,
    broke: F,
}

impl<F: Fn(hyper::Error) -> Error> InFlightBody<F> {
    /// `broke` makes the error of a body that stopped before its end.
    pub(crate) fn new(body: ResponseBody, hold: InFlight, broke: F) -> Self {
        let hold = (!body.is_end_stream()).then_some(hold);
        InFlightBody { body, hold, broke }
    }
}

impl<F: Fn(hyper::Error) -> Error + Unpin> hyper::body::Body for InFlightBody<F> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) || self.body.is_end_stream() {
            self.hold = None;
        }
        Poll::Ready(frame.map(|frame| frame.map_err(|error| (self.broke)(error))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
