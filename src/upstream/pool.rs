//! The connections to one upstream's servers.

use std::collections::HashMap;
use std::error::Error as _;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hyper::header::UPGRADE;
use hyper::{Request, Response, StatusCode};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::addresses::{Guide, addresses};
use super::answer::{Answer, Way};
use super::connect::connect;
use super::depot::Depot;
use super::http1::{Http1, State, Unanswered};
use super::http2::{self, Place};
use super::lent::Lent;
use super::resolve::Resolver;
use super::stream::Stream;
use super::tls::Tls;
use crate::config::{Authority, Trust, Upstream};
use crate::error::{Error, Kind};
use crate::telemetry::Telemetry;

/// How often a request goes on another connection because a backend refused to begin with it.
const REFUSALS: usize = 2;

/// How long a server may take to accept a connection that nobody needs, at most.
const GLANCE: Duration = Duration::from_secs(1);

/// What of an upstream's definition a pool depends on; the rest may change under it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Settings {
    name: String,
    connect_timeout: Duration,
    idle_timeout: Duration,
    keepalive: usize,
    http2: bool,
    trust: Trust,
}

impl Settings {
    pub(super) fn of(upstream: &Upstream) -> Self {
        Settings {
            name: upstream.name.clone(),
            connect_timeout: upstream.connect_timeout,
            idle_timeout: upstream.idle_timeout,
            keepalive: upstream.keepalive,
            http2: upstream.http2,
            trust: upstream.tls.clone(),
        }
    }
}

impl Settings {
    /// For a server of no upstream's.
    pub(super) fn outside(name: &str, keepalive: usize) -> Self {
        Settings {
            name: name.to_owned(),
            connect_timeout: Duration::from_secs(3),
            idle_timeout: Duration::from_secs(60),
            keepalive,
            http2: false,
            trust: Trust::default(),
        }
    }
}

pub(super) struct Pool {
    settings: Settings,
    guide: Guide,
    tls: OnceCell<Tls>,
    depots: RwLock<HashMap<Authority, Arc<Depot>>>,
}

/// A connection for one request.
enum Carrier {
    Http1(Box<Http1>),
    Http2(Place),
}

impl Pool {
    pub(super) fn new(settings: &Settings, resolver: Resolver, telemetry: Arc<Telemetry>) -> Self {
        Pool {
            settings: settings.clone(),
            guide: Guide {
                upstream: settings.name.clone(),
                resolver,
                telemetry,
            },
            tls: OnceCell::new(),
            depots: RwLock::default(),
        }
    }

    /// One request over one connection, up to the head of its answer. The URI is path and query;
    /// `Host` is there.
    ///
    /// A kept connection that turns out to be closed before a byte was written, and a backend that
    /// says that it has not begun with the request, cost nothing: another connection is taken. One
    /// that breaks later, before an answer began, is noted in `lent`: a request that may be
    /// repeated is then sent over a newer one, by the caller.
    ///
    /// # Errors
    /// `Connect`: nothing was executed, and the body is whole. `Broken`: it may have been executed. Where the request's own
    /// body broke, that body's error.
    pub(super) async fn request(
        &self,
        server: &Authority,
        mut request: Request<Lent>,
        lent: &Lent,
    ) -> Result<Response<Answer>, Error> {
        let depot = self.depot(server);
        let may_use_http2 = self.settings.http2 && !request.headers().contains_key(UPGRADE);
        let mut refusals = 0;
        loop {
            let (carrier, is_kept) = self.carrier(server, &depot, lent, may_use_http2).await?;
            let mut spare = None;
            let outcome = match carrier {
                Carrier::Http1(connection) => exchange(connection, request, lent, &depot).await,
                Carrier::Http2(place) => {
                    spare = Some(request.clone());
                    http2::convert(&mut request, server.is_https);
                    multiplex(place, request).await
                }
            };
            let error = match outcome {
                Ok(answer) => return Ok(answer),
                Err(Unanswered::Unsent(unsent)) if is_kept => {
                    request = spare.unwrap_or(*unsent);
                    continue;
                }
                Err(Unanswered::Unsent(_)) => {
                    let detail = "it closed the connection before the request was sent";
                    return Err(Error::upstream(Kind::Connect, detail));
                }
                Err(Unanswered::Broken(error)) => error,
            };
            if let Some(failed) = lent.failed() {
                return Err(failed);
            }
            if http2::was_refused(&error) && lent.is_whole() {
                refusals += 1;
                lent.note_stale();
                match spare {
                    Some(spare) if refusals < REFUSALS => request = spare,
                    _ => return Err(Error::upstream(Kind::Connect, explain(&error))),
                }
                continue;
            }
            if is_kept && was_closed(&error) {
                lent.note_stale();
            }
            return Err(Error::upstream(Kind::Broken, explain(&error)));
        }
    }

    /// Whether a server accepts a connection now; it is closed at once.
    pub(super) async fn accepts(&self, server: &Authority) -> bool {
        let depot = self.depot(server);
        let dialing = async {
            connect(addresses(&depot, &self.guide).await.ok()?)
                .await
                .ok()
        };
        let patience = self.settings.connect_timeout.min(GLANCE);
        matches!(tokio::time::timeout(patience, dialing).await, Ok(Some(_)))
    }

    /// A kept connection where there is one, and else a new one; which of them it is.
    async fn carrier(
        &self,
        server: &Authority,
        depot: &Arc<Depot>,
        lent: &Lent,
        may_use_http2: bool,
    ) -> Result<(Carrier, bool), Error> {
        let stale = lent.met_stale();
        if may_use_http2 && let Some(place) = depot.trunk.take(stale) {
            return Ok((Carrier::Http2(place), true));
        }
        if stale.is_none()
            && let Some(connection) = depot.take()
        {
            return Ok((Carrier::Http1(connection), true));
        }
        if may_use_http2 && !depot.knows_http1_only() {
            return self.share(server, depot, stale).await;
        }
        let stream = self.dial(server, depot, may_use_http2).await?;
        if may_use_http2 {
            depot.note_choice(stream.is_http2);
        }
        Ok((self.put_engine(depot, stream).await?, false))
    }

    /// A place on a new connection that others may use too: it is made once for all who wait.
    async fn share(
        &self,
        server: &Authority,
        depot: &Arc<Depot>,
        stale: Option<Instant>,
    ) -> Result<(Carrier, bool), Error> {
        let asked = Instant::now();
        let mut last = depot.dialing.lock().await;
        if let Some(place) = depot.trunk.take(stale) {
            return Ok((Carrier::Http2(place), true));
        }
        if let Some((failed, error)) = &*last
            && *failed > asked
        {
            return Err(error.clone());
        }
        let made = match self.dial(server, depot, true).await {
            Ok(stream) => {
                depot.note_choice(stream.is_http2);
                self.put_engine(depot, stream).await
            }
            Err(error) => Err(error),
        };
        *last = made
            .as_ref()
            .err()
            .map(|error| (Instant::now(), error.clone()));
        Ok((made?, false))
    }

    async fn put_engine(&self, depot: &Arc<Depot>, stream: Stream) -> Result<Carrier, Error> {
        let carrier = match stream.is_http2 {
            true => {
                let place = depot.trunk.add(stream).await;
                depot.watch();
                place.map(Carrier::Http2)
            }
            false => Http1::over(stream).await.map(Carrier::Http1),
        };
        carrier.map_err(|error| Error::upstream(Kind::Connect, explain(&error)))
    }

    /// A new connection, within `connect_timeout` in all.
    async fn dial(
        &self,
        server: &Authority,
        depot: &Arc<Depot>,
        may_use_http2: bool,
    ) -> Result<Stream, Error> {
        let patience = self.settings.connect_timeout;
        let dialing = async {
            let connected = connect(addresses(depot, &self.guide).await?).await;
            let (address, stream) =
                connected.map_err(|error| Error::upstream(Kind::Connect, error.to_string()))?;
            if !server.is_https {
                return Ok(Stream::plain(address, stream, may_use_http2));
            }
            let tls = self.tls.get_or_try_init(|| Tls::new(&self.settings.trust));
            let stream = tls.await?.shake(stream, server, may_use_http2).await?;
            Ok(Stream::tls(address, stream))
        };
        tokio::time::timeout(patience, dialing)
            .await
            .unwrap_or_else(|_| {
                let patience = humantime::format_duration(patience);
                let detail = format!("no connection within {patience}");
                Err(Error::upstream(Kind::Connect, detail))
            })
    }

    fn depot(&self, server: &Authority) -> Arc<Depot> {
        let known = self.depots.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(depot) = known.get(server) {
            return depot.clone();
        }
        drop(known);
        let Settings {
            idle_timeout,
            keepalive,
            ..
        } = self.settings;
        self.depots
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(server.clone())
            .or_insert_with(|| Arc::new(Depot::new(server, idle_timeout, keepalive)))
            .clone()
    }
}

async fn multiplex(
    mut place: Place,
    request: Request<Lent>,
) -> Result<Response<Answer>, Unanswered> {
    let answer = place.ask(request).await?;
    Ok(answer.map(|body| Answer::new(body, Way::Shared { _place: place })))
}

async fn exchange(
    mut connection: Box<Http1>,
    request: Request<Lent>,
    lent: &Lent,
    depot: &Arc<Depot>,
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
    let answer = connection.ask(request).await?;
    let way = match connection.state() {
        State::Over => Way::Complete,
        // A backend that answers before it has read the whole body may take the rest for the next
        // request: such a connection serves nobody else. And a client may send everything before
        // it reads anything, so the body cannot wait for the answer's reader.
        _ if !lent.is_done() => Way::Apart {
            _task: connection.leave(),
        },
        State::Ready => {
            depot.keep(connection);
            Way::Complete
        }
        State::Busy => Way::Held(connection, depot.clone()),
    };
    Ok(answer.map(|body| Answer::new(body, way)))
}

/// Whether the other end closed the connection, instead of answering nonsense.
fn was_closed(error: &hyper::Error) -> bool {
    let was_lost = |cause: &std::io::Error| cause.kind() != std::io::ErrorKind::InvalidData;
    let is_io = error.source().is_some_and(|cause| {
        cause.downcast_ref().is_some_and(was_lost)
            || cause
                .downcast_ref()
                .is_some_and(|cause: &h2::Error| cause.is_io() || cause.is_go_away())
    });
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
