//! The connections to one upstream's servers.

pub(crate) mod connect;
pub(crate) mod connection_auth;
pub(crate) mod exchange;
pub(crate) mod guard;
pub(crate) mod host;
pub(crate) mod http1;
pub(crate) mod http2;
pub(crate) mod http2_pool;
pub(crate) mod peer_settings;
pub(crate) mod pins;
pub(crate) mod replayable_body;
pub(crate) mod response_body;
pub(crate) mod tls;
pub(crate) mod verifier;

use std::collections::HashMap;
use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hyper::header::UPGRADE;
use hyper::{Request, Response};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::dns::addresses::{Guide, addresses};
use super::dns::resolver::Resolver;

use crate::config::Authority;
use crate::error::{Error, ErrorKind};
use crate::telemetry::Telemetry;
use connect::{Connected, Settings, connect, connect_unix};
use exchange::{exchange, multiplex};
use host::HostPool;
use http1::{Http1, Unanswered};
use http2::{Http2, StreamRefused};
use http2_pool::{Asked, StreamPermit, Turn};
use pins::{Pins, Release};
use replayable_body::ReplayableBody;
use response_body::ResponseBody;
use tls::ClientTls;

/// A request that a backend refused to begin with goes again at once, and then waits this much longer each time.
const REFUSAL_PAUSE: Duration = Duration::from_millis(10);

/// How long a server may take to accept a health probe's connection, at most.
const GLANCE: Duration = Duration::from_secs(1);

pub(crate) struct Pool {
    settings: Settings,
    guide: Guide,
    tls: OnceCell<ClientTls>,
    depots: RwLock<HashMap<Authority, Arc<HostPool>>>,
}

/// What a request asks of its connection.
#[derive(Clone, Copy)]
struct Wants {
    may_use_http2: bool,
    /// Whether no other request may share it, before or after.
    is_alone: bool,
}

/// A connection for one request.
enum Carrier {
    Http1(Box<Http1>),
    Http2(StreamPermit),
}

/// What few requests await. Boxed: it is large, and the compiler would check all of it once more for each caller that awaits
/// a request.
type Rare<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// A new connection.
enum Opened {
    Http1(Box<Http1>),
    Http2(Http2, SocketAddr),
}

impl Pool {
    pub(crate) fn new(settings: &Settings, resolver: Resolver, telemetry: Arc<Telemetry>) -> Self {
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
    /// `Host` is there. `pins` are the client's, where its connections may be pinned.
    ///
    /// A kept connection that turns out to be closed before a byte was written, and a backend that
    /// says that it has not begun with the request, cost nothing: another connection is taken. One
    /// that breaks later, before an answer began, is noted in `lent`: a request that may be
    /// repeated is then sent over a newer one, by the caller.
    ///
    /// What may authenticate its connection goes over none that others share.
    ///
    /// # Errors
    /// `Connect`, `Busy`: nothing was executed, and the body is whole. `Broken`: it may have been executed. Where the
    /// request's own body broke, that body's error.
    pub(crate) async fn request(
        &self,
        server: &Authority,
        mut request: Request<ReplayableBody>,
        lent: &ReplayableBody,
        pins: Option<&Pins>,
    ) -> Result<Response<ResponseBody>, Error> {
        let depot = self.depot(server);
        let mut wants = Wants {
            may_use_http2: self.settings.http2 && !request.headers().contains_key(UPGRADE),
            is_alone: connection_auth::is_presented(request.headers()),
        };
        let mut refused: Option<Instant> = None;
        let mut pause = Duration::ZERO;
        loop {
            let (carrier, is_kept) = self.carrier(server, &depot, lent, wants, pins).await?;
            let mut spare = None;
            let outcome = match carrier {
                Carrier::Http1(connection) => {
                    let release = Release {
                        depot: depot.clone(),
                        pins: pins.cloned(),
                    };
                    exchange(connection, request, lent, release).await
                }
                Carrier::Http2(place) => {
                    spare = Some(request.clone());
                    http2::convert(&mut request, server.is_https);
                    multiplex(place, request, self.settings.response_headers).await
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
                    return Err(Error::upstream(ErrorKind::Connect, detail));
                }
                Err(Unanswered::Refused(detail)) => {
                    return Err(Error::upstream(ErrorKind::Broken, detail));
                }
                Err(Unanswered::Broken(error)) => error,
            };
            if let Some(failed) = lent.failed() {
                return Err(failed);
            }
            if let Some(refusal) = http2::refusal(&error).filter(|_| lent.is_whole()) {
                wants.may_use_http2 &= refusal != StreamRefused::Version;
                let since = *refused.get_or_insert_with(Instant::now);
                match spare {
                    Some(spare) if since.elapsed() < self.settings.connect_timeout => {
                        request = spare;
                    }
                    _ => return Err(Error::upstream(ErrorKind::Connect, explain(&error))),
                }
                sleep(pause).await;
                pause += REFUSAL_PAUSE;
                continue;
            }
            if is_kept && was_closed(&error) {
                lent.note_stale();
            }
            return Err(Error::upstream(ErrorKind::Broken, explain(&error)));
        }
    }

    /// Whether a connection to this server is pinned there.
    pub(crate) fn is_pinned(&self, server: &Authority, pins: &Pins) -> bool {
        let depots = self.depots.read().unwrap_or_else(PoisonError::into_inner);
        depots.get(server).is_some_and(|depot| pins.hold(depot))
    }

    /// Forgets all servers but these; what is under way to others goes on.
    pub(crate) fn keep_only(&self, servers: &[Authority]) {
        let mut depots = self.depots.write().unwrap_or_else(PoisonError::into_inner);
        depots.retain(|server, _| servers.contains(server));
    }

    /// Whether a server accepts a connection now; it is closed at once.
    pub(crate) async fn accepts(&self, server: &Authority) -> bool {
        let depot = self.depot(server);
        let dialing = async {
            if let Some(path) = server.socket() {
                return connect_unix(path).await.is_ok();
            }
            let Ok(addresses) = addresses(&depot, &self.guide).await else {
                return false;
            };
            connect(addresses).await.is_ok()
        };
        let patience = self.settings.connect_timeout.min(GLANCE);
        timeout(patience, dialing).await.unwrap_or(false)
    }

    /// A kept connection where there is one, and else a new one; which of them it is.
    async fn carrier(
        &self,
        server: &Authority,
        depot: &Arc<HostPool>,
        lent: &ReplayableBody,
        wants: Wants,
        pins: Option<&Pins>,
    ) -> Result<(Carrier, bool), Error> {
        let stale = lent.met_stale();
        let is_shared = wants.may_use_http2 && !wants.is_alone;
        if stale.is_none()
            && let Some(pinned) = pins.and_then(|pins| pins.take(depot))
        {
            return Ok((Carrier::Http1(pinned), true));
        }
        if is_shared
            && !depot.knows_http1_only()
            && let Some(shared) = self.share(server, depot, stale).await?
        {
            return Ok(shared);
        }
        if stale.is_none()
            && let Some(connection) = depot.take()
        {
            return Ok((Carrier::Http1(connection), true));
        }
        let carrier = match self.open(server, depot, wants.may_use_http2).await? {
            Opened::Http1(connection) => Carrier::Http1(connection),
            Opened::Http2(connection, _) if wants.is_alone => {
                Carrier::Http2(StreamPermit::alone(connection))
            }
            Opened::Http2(connection, address) => {
                Carrier::Http2(depot.trunk.add(connection, address))
            }
        };
        depot.watch();
        Ok((carrier, false))
    }

    /// A place on a connection that others use too; `None` where the server chose HTTP/1.1.
    ///
    /// Boxed, see [`Rare`].
    fn share<'a>(
        &'a self,
        server: &'a Authority,
        depot: &'a Arc<HostPool>,
        stale: Option<Instant>,
    ) -> Rare<'a, Option<(Carrier, bool)>> {
        Box::pin(async move {
            let patience = self.settings.connect_timeout;
            let deadline = Instant::now() + patience;
            loop {
                let turn = match depot.trunk.ask(stale) {
                    Asked::Now(place) => Turn::Place(place),
                    Asked::Later(turn) => match timeout_at(deadline, turn).await {
                        Ok(Ok(turn)) => turn,
                        _ if depot.trunk.is_open() => return Err(Error::no_stream(patience)),
                        _ => return Err(not_within(patience)),
                    },
                };
                let dial = match turn {
                    Turn::Place(place) => return Ok(Some((Carrier::Http2(place), true))),
                    Turn::Http1 => return Ok(None),
                    Turn::Failed(error) => return Err(error),
                    Turn::Dial(dial) => dial,
                };
                match self.open(server, depot, true).await {
                    Ok(Opened::Http2(connection, address)) => {
                        let place = depot.trunk.add(connection, address);
                        depot.watch();
                        return Ok(Some((Carrier::Http2(place), false)));
                    }
                    Ok(Opened::Http1(connection)) => {
                        dial.chose_http1();
                        return Ok(Some((Carrier::Http1(connection), false)));
                    }
                    Err(error) if dial.failed(&error, stale) => {}
                    Err(error) => return Err(error),
                }
            }
        })
    }

    /// A new connection that can carry a request, within `connect_timeout` in all.
    ///
    /// Boxed, see [`Rare`].
    fn open<'a>(
        &'a self,
        server: &'a Authority,
        depot: &'a Arc<HostPool>,
        may_use_http2: bool,
    ) -> Rare<'a, Opened> {
        let patience = self.settings.connect_timeout;
        let opening = async move {
            let connected = self.dial(server, depot, may_use_http2).await?;
            if may_use_http2 {
                depot.note_choice(connected.is_http2);
            }
            if connected.is_http2 {
                let connection = Http2::over(connected.stream).await?;
                return Ok(Opened::Http2(connection, connected.address));
            }
            let connection = Http1::over(connected, self.settings.response_headers).await;
            let connection =
                connection.map_err(|error| Error::upstream(ErrorKind::Connect, explain(&error)))?;
            Ok(Opened::Http1(connection))
        };
        Box::pin(async move {
            let opened = timeout(patience, opening).await;
            opened.unwrap_or_else(|_| Err(not_within(patience)))
        })
    }

    async fn dial(
        &self,
        server: &Authority,
        depot: &Arc<HostPool>,
        may_use_http2: bool,
    ) -> Result<Connected, Error> {
        let refused = |error: io::Error| Error::upstream(ErrorKind::Connect, error.to_string());
        if let Some(path) = server.socket() {
            let stream = connect_unix(path).await.map_err(refused)?;
            return Ok(Connected::unix(stream, may_use_http2));
        }
        let connected = connect(addresses(depot, &self.guide).await?).await;
        let (address, stream) = connected.map_err(refused)?;
        if !server.is_https {
            return Ok(Connected::tcp(address, stream, may_use_http2));
        }
        let tls = self
            .tls
            .get_or_try_init(|| ClientTls::new(&self.settings.trust));
        let stream = tls.await?.shake(stream, server, may_use_http2).await?;
        Ok(Connected::tls(address, stream))
    }

    fn depot(&self, server: &Authority) -> Arc<HostPool> {
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
            .or_insert_with(|| Arc::new(HostPool::new(server, idle_timeout, keepalive)))
            .clone()
    }
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

fn not_within(patience: Duration) -> Error {
    let patience = humantime::format_duration(patience);
    Error::upstream(
        ErrorKind::Connect,
        format!("no connection within {patience}"),
    )
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
