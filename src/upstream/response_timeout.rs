//! How long an answer may take.

use std::time::Duration;

use hyper::header::{ACCEPT, HeaderValue};
use hyper::{HeaderMap, Response};
use tokio::time::Instant;

use super::Purpose;
use super::pool::replayable_body::ReplayableBody;
use super::pool::response_body::ResponseBody;
use crate::config;
use crate::error::{Error, ErrorKind};

/// The answer's head, unless nothing moves for `patience`.
pub(super) async fn in_time(
    sending: impl Future<Output = Result<Response<ResponseBody>, Error>>,
    lent: &ReplayableBody,
    patience: Option<Duration>,
) -> Result<Response<ResponseBody>, Error> {
    let Some(patience) = patience else {
        return sending.await;
    };
    tokio::select! {
        biased;
        answer = sending => answer,
        () = out_of_patience(lent, patience) => Err(Error::upstream(
            ErrorKind::Timeout,
            format!("no answer within {}", humantime::format_duration(patience)),
        )),
    }
}

/// How long the first byte of an answer may take; `None` where that is unknown.
pub(super) fn patience(
    upstream: &config::Upstream,
    purpose: Purpose,
    headers: &HeaderMap,
) -> Option<Duration> {
    let streams = |accept: &HeaderValue| {
        accept
            .as_bytes()
            .to_ascii_lowercase()
            .windows(17)
            .any(|w| w == b"text/event-stream")
    };
    match purpose {
        Purpose::Sse | Purpose::Call | Purpose::Auth => None,
        Purpose::Poll => Some(upstream.response_timeout),
        Purpose::Passthrough => {
            (!headers.get_all(ACCEPT).iter().any(streams)).then_some(upstream.response_timeout)
        }
    }
}

/// Resolves when nothing of the request has moved for `patience`: an upload that goes on is no silence.
async fn out_of_patience(lent: &ReplayableBody, patience: Duration) {
    let mut since = Instant::now();
    loop {
        tokio::time::sleep_until(since + patience).await;
        match lent.last_moved() {
            Some(moved) if moved > since => since = moved,
            _ => return,
        }
    }
}
