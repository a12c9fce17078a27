//! Asks every server of an upstream by itself, in its rhythm.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http_body_util::{BodyExt, Limited};
use hyper::header::{HOST, HeaderValue, USER_AGENT};
use hyper::{Request, Uri};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::Cluster;
use super::server::ClusterServer;
use crate::config::{Health, Upstream};
use crate::http::body::{Body, empty};
use crate::upstream::address;
use crate::upstream::pool::Pool;
use crate::upstream::pool::replayable_body::ReplayableBody;

/// A check takes no longer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Of a rhythm, what a check may come earlier or later.
const JITTER: f64 = 0.1;
/// Of an answer's body, what is read so that its connection can be used again.
const BODY: usize = 64 * 1024;
/// And how long that may take.
const BODY_PATIENCE: Duration = Duration::from_millis(100);

/// The task; it ends when this is dropped.
pub(crate) struct Checker(AbortHandle);

impl Checker {
    /// Begins at once, where the upstream wants its servers checked.
    pub(crate) fn start(upstream: &Upstream, fleet: Arc<Cluster>, pool: Arc<Pool>) -> Option<Self> {
        let health = upstream.health.clone()?;
        let host = upstream.host.clone();
        let task = tokio::spawn(async move {
            loop {
                let next = Instant::now() + pause(health.interval, fastrand::f64());
                let checks = fleet
                    .servers
                    .iter()
                    .map(|server| check(&fleet, &pool, server, &health, host.as_ref()));
                join_all(checks).await;
                sleep_until(next).await;
            }
        });
        Some(Checker(task.abort_handle()))
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn check(
    fleet: &Cluster,
    pool: &Pool,
    server: &ClusterServer,
    health: &Health,
    host: Option<&HeaderValue>,
) {
    let patience = health.interval.min(PATIENCE);
    let outcome = match timeout(patience, ask(pool, server, health, host)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!(
            "no answer within {}",
            humantime::format_duration(patience)
        )),
    };
    fleet.take_check(server, outcome);
}

/// # Errors
/// Why the server is not well, for a person.
async fn ask(
    pool: &Pool,
    server: &ClusterServer,
    health: &Health,
    host: Option<&HeaderValue>,
) -> Result<(), String> {
    let request = request(server, health, host).map_err(|error| error.to_string())?;
    let (head, body) = request.into_parts();
    let lent = ReplayableBody::new(body);
    let request = address(&head, &server.authority, lent.clone()).map_err(|e| e.to_string())?;
    let again = request.clone();
    let mut answer = pool.request(&server.authority, request, &lent, None).await;
    if answer.is_err() && lent.met_stale().is_some() {
        // A kept connection was closed at that very moment, which says nothing of its server.
        answer = pool.request(&server.authority, again, &lent, None).await;
    }
    let answer = answer.map_err(|error| error.detail.into_owned())?;
    let status = answer.status();
    // Whatever it says; a body that goes on is left, and its connection with it.
    let body = Limited::new(answer.into_body(), BODY).collect();
    let _ = timeout(BODY_PATIENCE, body).await;
    match status.is_success() || status.is_redirection() {
        true => Ok(()),
        false => Err(format!("it answered {}", status.as_u16())),
    }
}

fn request(
    server: &ClusterServer,
    health: &Health,
    host: Option<&HeaderValue>,
) -> Result<Request<Body>, hyper::http::Error> {
    let host = match host {
        Some(host) => host.clone(),
        None => HeaderValue::try_from(server.authority.host_header())?,
    };
    Request::get(Uri::try_from(health.path.as_str())?)
        .header(HOST, host)
        .header(USER_AGENT, HeaderValue::from_static("crossfade-health"))
        .body(empty())
}

/// From one check to the next; `roll` is from 0 to 1.
fn pause(interval: Duration, roll: f64) -> Duration {
    interval.mul_f64(1.0 + JITTER * (roll * 2.0 - 1.0))
}
