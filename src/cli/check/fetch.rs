//! One request of `check --live`, and what came of it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::Request;
use hyper::header::{AGE, CONTENT_TYPE, DATE, HeaderValue};
use hyper::http::response::Parts;
use tokio::time::timeout;

use crate::config::{Authority, Upstream};
use crate::error::{Error, ErrorKind};
use crate::http::body::Body;
use crate::telemetry::Telemetry;
use crate::upstream::{Purpose, Upstreams};

/// Each request takes no longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What of a body is read where it is wanted.
const BODY: usize = 64 << 10;

/// Sends the requests.
pub(crate) struct Fetcher(Upstreams);

impl Fetcher {
    /// With connections of its own.
    pub(crate) fn new() -> Self {
        Fetcher(Upstreams::new(Arc::new(Telemetry::default())))
    }

    /// The head of the answer.
    ///
    /// # Errors
    /// Why there is none, for a person.
    pub(crate) async fn send(
        &self,
        upstream: &Upstream,
        request: Request<Body>,
    ) -> Result<Parts, String> {
        let reached = self.reach(upstream, request).await;
        reached.map_err(|error| error.detail.into_owned())
    }

    /// As [`Fetcher::send`], with what stood in the way.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(crate) async fn reach(
        &self,
        upstream: &Upstream,
        request: Request<Body>,
    ) -> Result<Parts, Error> {
        let (head, _) = self.fetch(upstream, request, false).await?;
        Ok(head)
    }

    /// Head and body of the answer.
    ///
    /// # Errors
    /// Why there is none, or none that is as short as it should be.
    pub(crate) async fn read(
        &self,
        upstream: &Upstream,
        request: Request<Body>,
    ) -> Result<(Parts, Bytes), String> {
        let fetched = self.fetch(upstream, request, true).await;
        fetched.map_err(|error| error.detail.into_owned())
    }

    /// The head of an answer, and what it says within this time of it, up to 64 KiB, where it is an event stream.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn listen(
        &self,
        upstream: &Upstream,
        request: Request<Body>,
        time: Duration,
    ) -> Result<(Parts, Option<Vec<u8>>), String> {
        let sending = self.0.send(upstream, "", Purpose::Auth, request);
        let sent = timeout(PATIENCE, sending).await;
        let sent =
            sent.map_err(|_| "it sends no head within 5 s, so that comes with the first event")?;
        let (head, mut body) = sent.map_err(|e| e.detail.into_owned())?.into_parts();
        let content = head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        if !head.status.is_success()
            || !content.is_some_and(|c| c.starts_with(b"text/event-stream"))
        {
            return Ok((head, None));
        }
        let mut bytes = Vec::new();
        let reading = async {
            while bytes.len() < BODY
                && let Some(Ok(frame)) = body.frame().await
            {
                bytes.extend(frame.into_data().unwrap_or_default());
            }
        };
        // The time is over; what has come by then counts.
        let _ = timeout(time, reading).await;
        Ok((head, Some(bytes)))
    }

    async fn fetch(
        &self,
        upstream: &Upstream,
        request: Request<Body>,
        wants_body: bool,
    ) -> Result<(Parts, Bytes), Error> {
        let fetching = async {
            let sent = self.0.send(upstream, "", Purpose::Auth, request).await;
            let (head, body) = sent?.into_parts();
            if !wants_body {
                return Ok((head, Bytes::new()));
            }
            let body = Limited::new(body, BODY).collect().await;
            let body = body.map_err(|_| {
                let detail = "its answer is longer than 64 KiB, or broke off";
                Error::upstream(ErrorKind::Broken, detail)
            })?;
            Ok((head, body.to_bytes()))
        };
        let fetched = timeout(PATIENCE, fetching).await;
        fetched.unwrap_or_else(|_| Err(Error::upstream(ErrorKind::Timeout, "no answer within 5 s")))
    }
}

/// The upstream with one of its servers alone, which nothing but its answer judges.
pub(crate) fn alone(upstream: &Upstream, server: &Authority) -> Upstream {
    Upstream {
        name: format!("{} {}", upstream.name, server.url()),
        servers: vec![server.clone()],
        balance: Default::default(),
        budget: Default::default(),
        connection_auth: Default::default(),
        health: None,
        ..upstream.clone()
    }
}

/// Seconds that their clock is ahead of ours; negative where it is behind. `None` where the answer does not tell: it has no
/// `Date`, or comes from a cache.
pub(crate) fn clock_ahead(head: &Parts, now: SystemTime) -> Option<i64> {
    if head.headers.contains_key(AGE) {
        return None;
    }
    let date = head.headers.get(DATE).map(HeaderValue::to_str)?.ok()?;
    let date = httpdate::parse_http_date(date).ok()?;
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    Some(match date.duration_since(now) {
        Ok(ahead) => seconds(ahead),
        Err(behind) => -seconds(behind.duration()),
    })
}
