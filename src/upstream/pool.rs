//! The connections to one upstream's servers.

use std::collections::HashMap;
use std::error::Error as _;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hyper::header::UPGRADE;
use hyper::{Request, Response, StatusCode};

use super::answer::{Answer, Way};
use super::connect::connect;
use super::http1::{Http1, Unanswered};
use super::lane::Lane;
use super::lent::Lent;
use crate::config::{Authority, Upstream};
use crate::error::{Error, Kind};

/// What of an upstream's definition a pool depends on; the rest may change under it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Settings {
    name: String,
    connect_timeout: Duration,
    idle_timeout: Duration,
    keepalive: usize,
}

impl Settings {
    pub(super) fn of(upstream: &Upstream) -> Self {
        Settings {
            name: upstream.name.clone(),
            connect_timeout: upstream.connect_timeout,
            idle_timeout: upstream.idle_timeout,
            keepalive: upstream.keepalive,
        }
    }
}

pub(super) struct Pool {
    settings: Settings,
    lanes: RwLock<HashMap<Authority, Arc<Lane>>>,
}

impl Pool {
    pub(super) fn new(settings: &Settings) -> Self {
        Pool {
            settings: settings.clone(),
            lanes: RwLock::default(),
        }
    }

    /// One request over one connection, up to the head of its answer. The URI is path and query.
    ///
    /// A kept connection that turns out to be closed before a byte was written costs nothing: the
    /// next one is taken. One that breaks later, before an answer began, is noted in `lent`: a
    /// request that may be repeated is then sent over a new one, by the caller.
    ///
    /// # Errors
    /// `Connect`: nothing was sent. `Broken`: it may have been executed. Where the request's own
    /// body broke, that body's error.
    pub(super) async fn request(
        &self,
        server: &Authority,
        mut request: Request<Lent>,
        lent: &Lent,
    ) -> Result<Response<Answer>, Error> {
        let lane = self.lane(server);
        loop {
            let kept = match lent.met_stale() {
                false => lane.take(),
                true => None,
            };
            let is_kept = kept.is_some();
            let connection = match kept {
                Some(connection) => *connection,
                None => self.connect(server).await?,
            };
            match exchange(connection, request, lent, &lane).await {
                Ok(answer) => return Ok(answer),
                Err(Unanswered::Unsent(unsent)) if is_kept => request = *unsent,
                Err(Unanswered::Unsent(_)) => {
                    let detail = "it closed the connection before the request was sent";
                    return Err(Error::upstream(Kind::Connect, detail));
                }
                Err(Unanswered::Broken(error)) => {
                    if is_kept && was_closed(&error) {
                        lent.note_stale();
                    }
                    let broken = || Error::upstream(Kind::Broken, explain(&error));
                    return Err(lent.failed().unwrap_or_else(broken));
                }
            }
        }
    }

    async fn connect(&self, server: &Authority) -> Result<Http1, Error> {
        let stream = connect(server, self.settings.connect_timeout).await?;
        Http1::over(stream)
            .await
            .map_err(|error| Error::upstream(Kind::Connect, explain(&error)))
    }

    fn lane(&self, server: &Authority) -> Arc<Lane> {
        let known = self.lanes.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = known.get(server) {
            return lane.clone();
        }
        drop(known);
        let Settings {
            idle_timeout,
            keepalive,
            ..
        } = self.settings;
        self.lanes
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(server.clone())
            .or_insert_with(|| Arc::new(Lane::new(idle_timeout, keepalive)))
            .clone()
    }
}

async fn exchange(
    connection: Http1,
    request: Request<Lent>,
    lent: &Lent,
    lane: &Arc<Lane>,
) -> Result<Response<Answer>, Unanswered> {
    if request.headers().contains_key(UPGRADE) {
        let (answer, task) = connection.ask_for_upgrade(request).await?;
        let way = match answer.status() {
            StatusCode::SWITCHING_PROTOCOLS => {
                task.detach();
                Way::Complete
            }
            _ => Way::Apart { _task: task },
        };
        return Ok(answer.map(|body| Answer::new(body, way)));
    }
    let (answer, connection) = connection.ask(request).await?;
    let way = match connection.map(Box::new) {
        None => Way::Complete,
        // A backend that answers before it has read the whole body may take the rest for the next
        // request: such a connection serves nobody else. And a client may send everything before
        // it reads anything, so the body cannot wait for the answer's reader.
        Some(connection) if !lent.is_done() => Way::Apart {
            _task: connection.leave(),
        },
        Some(connection) if connection.is_ready() => {
            lane.keep(connection);
            Way::Complete
        }
        Some(connection) => Way::Held(connection, lane.clone()),
    };
    Ok(answer.map(|body| Answer::new(body, way)))
}

/// Whether the other end closed the connection, instead of answering nonsense.
fn was_closed(error: &hyper::Error) -> bool {
    let is_io = error
        .source()
        .and_then(|cause| cause.downcast_ref::<std::io::Error>())
        .is_some_and(|cause| cause.kind() != std::io::ErrorKind::InvalidData);
    error.is_incomplete_message() || error.is_canceled() || is_io
}

fn explain(error: &hyper::Error) -> String {
    let mut detail = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        detail = format!("{detail}: {inner}");
        cause = inner.source();
    }
    detail
}
