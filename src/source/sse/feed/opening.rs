//! The request for a stream, the head of its answer, and the topic as the stream goes on.

use std::time::SystemTime;

use hyper::header::HeaderName;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use tokio::time::{Instant, timeout};

use super::{Follower, Recent, Stop, UNMISSED, closed};
use crate::config::Source;
use crate::error::{Error, ErrorKind};
use crate::event::GapWhy;
use crate::http::body::Body;
use crate::hub::{Checkpoint, Fenced, StreamConnection};
use crate::source::answer::{self, AnswerFailure, AnswerVerdict};
use crate::source::request::request;
use crate::upstream::Purpose;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const EVENT_STREAM: &str = "text/event-stream";

impl Follower {
    pub(super) async fn ask(&mut self) -> Result<Response<Body>, Stop> {
        let mut request = self.request().map_err(|error| self.miss(error))?;
        let route = self.topic.route();
        self.opening = self.feed.telemetry.traces.trace_own("stream", &route.name);
        self.opening.mark(request.extensions_mut());
        let Some(Source::Sse(sse)) = &route.source else {
            return Err(self.changed().into());
        };
        let asking = self
            .feed
            .upstreams
            .send(&route.upstream, &route.name, Purpose::Sse, request);
        match self.outage.during(timeout(sse.idle_timeout, asking)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                if is_broken(error.kind) {
                    self.resume.strike();
                }
                Err(self.miss(error).into())
            }
            Err(_) => {
                self.resume.strike();
                Err(self
                    .fail(ErrorKind::Timeout, "no head within `idle_timeout`")
                    .into())
            }
        }
    }

    fn request(&self) -> Result<Request<Body>, Error> {
        let credentials = self.topic.credentials();
        let target = self.topic.target();
        let mut request = request(target, &credentials, Method::GET, EVENT_STREAM)?;
        if let Some(id) = self.resume.sent() {
            request.headers_mut().insert(LAST_EVENT_ID, id);
        }
        Ok(request)
    }

    /// Judges the head: whether it is a stream.
    pub(super) async fn admit(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Result<(), Stop> {
        let route = self.topic.route();
        let is_shared = self.topic.target().scope.is_shared();
        let accepted = is_shared.then_some(&*route.accept);
        if self.resume.sent().is_some() && answer::may_refuse_id(status) {
            self.missing = answer::described(status, headers).into();
            return Err(Stop::IdRefused(AnswerFailure::new(answer::DOWN)));
        }
        match answer::judge(status, headers, accepted, SystemTime::now()) {
            // There is nothing after the client's id, which says nothing about the others.
            AnswerVerdict::Good
                if status == StatusCode::NO_CONTENT
                    && self.resume.sends_brought()
                    && self.topic.end_brought(closed()) =>
            {
                Err(Stop::IdRefused(AnswerFailure::new(answer::DOWN)))
            }
            AnswerVerdict::Good if status == StatusCode::NO_CONTENT => {
                Err(self.finish(closed()).await)
            }
            AnswerVerdict::Good if is_stream(status, headers) => {
                self.topic.granted();
                Ok(())
            }
            AnswerVerdict::Good => {
                let what = answer::described(status, headers);
                self.fail(ErrorKind::Broken, format!("no event stream: {what}"));
                let failure = AnswerFailure::new(answer::INVALID);
                Err(match self.resume.sends_brought() {
                    true => Stop::IdRefused(failure),
                    false => failure.into(),
                })
            }
            AnswerVerdict::Failed(failure) => {
                self.missing = answer::described(status, headers).into();
                Err(failure.into())
            }
            AnswerVerdict::Refused(end) => {
                if let Some(reason) = answer::sent_away(status).filter(|_| is_shared) {
                    self.topic.alarm(reason, answer::refusal_fix(&route));
                }
                Err(self.refused(end).await)
            }
            AnswerVerdict::Tripped(trip, end) => {
                self.topic.tripped(trip.reason(), &trip.fix(&route));
                Err(self.refused(end).await)
            }
        }
    }

    /// The stream goes on: the topic is live, and gets what was lost.
    ///
    /// # Errors
    /// The topic is over.
    pub(super) async fn go_on(&mut self, head_at: Instant) -> Result<(), Fenced> {
        let connection = self.resume.connected();
        let is_resumed = connection == StreamConnection::Resumed;
        let is_covered = std::mem::take(&mut self.is_to_take_over) && self.take_over().await;
        let may_miss = !is_resumed && self.was_open && !is_covered;
        let is_doubtful = may_miss && connection == StreamConnection::Brought;
        if may_miss && !is_doubtful {
            self.owed.get_or_insert(GapWhy::UpstreamReconnect);
        }
        if let Some(why) = self.owed.take() {
            self.lose(why).await?;
        }
        self.topic.connected(connection, head_at.into_std());
        self.doubted_until = is_doubtful.then(|| head_at + UNMISSED);
        if !std::mem::replace(&mut self.was_open, true) {
            self.topic.opened();
        } else if is_resumed || is_covered {
            self.recent.resumed();
        }
        self.outage.end();
        Ok(())
    }

    /// Takes the topic over from another process, now that this stream is open: what comes on it waits until the other has sent
    /// everything that it has read. Events with ids that both have read are then known. False where something may be missing.
    async fn take_over(&mut self) -> bool {
        let is_covered = self.topic.take_over().await;
        if let Some(checkpoint) = self.topic.checkpoint() {
            self.go_on_from(checkpoint);
        }
        is_covered
    }

    pub(super) fn go_on_from(&mut self, checkpoint: Checkpoint) {
        let capacity = self.topic.route().replay.events;
        self.recent = Recent::of(&checkpoint.events, capacity);
        self.resume.go_on_from(checkpoint.last_event_id);
    }
}

/// Whether an answer is a stream by its head. A reset (205) has no content, and a part is none.
fn is_stream(status: StatusCode, headers: &HeaderMap) -> bool {
    let is_whole = matches!(status.as_u16(), 200..=203);
    is_whole && answer::has_type(headers, |essence| essence == EVENT_STREAM)
}

/// Whether the request reached the backend, and was not answered.
fn is_broken(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::Timeout | ErrorKind::TooLarge | ErrorKind::Broken | ErrorKind::Other => true,
        ErrorKind::Connect
        | ErrorKind::Gone
        | ErrorKind::NoneHealthy
        | ErrorKind::Busy
        | ErrorKind::Unauthorized => false,
    }
}
