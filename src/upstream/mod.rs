//! The way to the backend; the only folder that names the client engine.

mod cluster;
mod coding;
pub(crate) mod dns;
pub(crate) mod fetch;
pub(crate) mod otlp_export;
mod pool;
mod request;
mod response_timeout;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use arc_swap::ArcSwap;
use http_body_util::BodyExt;
use hyper::header::HOST;
use hyper::{Request, Response, StatusCode};

use crate::config::{self, Config};
use crate::error::{Error, ErrorKind, Side};
use crate::http::body::Body;
use crate::http::cdn_loop::LoopTag;
use crate::http::header_case::Spelling;
use crate::telemetry::{Span, Telemetry};
pub use dns::resolver::Resolver;
pub use request::Purpose;

use cluster::{Checker, Cluster, InFlightBody};
pub(crate) use cluster::{ClientAddress, InFlight, ServerHealth};
use pool::connect::Settings;
pub(crate) use pool::pins::Pins;
use pool::replayable_body::ReplayableBody;
use pool::response_body::ResponseBody;
use pool::{Pool, connection_auth};
use request::{address, is_safe};
use response_timeout::{in_time, patience};

/// A request under way, up to the head of its answer.
pub(crate) type Sending<'a> =
    Pin<Box<dyn Future<Output = Result<Response<Body>, Error>> + Send + 'a>>;

/// All fleets and pools; kept across reloads where an upstream did not change. Cheap to clone.
#[derive(Clone)]
pub struct Upstreams {
    pools: Arc<RwLock<HashMap<Settings, Arc<Pool>>>>,
    fleets: Arc<RwLock<HashMap<String, ClusterEntry>>>,
    resolver: Resolver,
    telemetry: Arc<Telemetry>,
    tag: LoopTag,
    /// Fields of an answer, at most.
    response_headers: Arc<AtomicUsize>,
    /// How the file spells names.
    spelling: Arc<ArcSwap<Spelling>>,
}

/// An upstream's fleet, and the task that checks its health.
struct ClusterEntry {
    upstream: config::Upstream,
    fleet: Arc<Cluster>,
    checker: Option<Checker>,
}

impl ClusterEntry {
    /// Whether it is what this configuration wants.
    fn is(&self, upstream: &config::Upstream) -> bool {
        self.upstream == *upstream && self.checker.is_some() == upstream.health.is_some()
    }
}

/// An answer, what it holds until it has ended, and the request's body where that is still going out.
type Taken = (Response<ResponseBody>, InFlight, Option<ReplayableBody>);

impl Upstreams {
    /// No pools yet; names are looked up as the system says.
    pub fn new(telemetry: Arc<Telemetry>) -> Self {
        Upstreams::asking(Resolver::system(), telemetry)
    }

    /// No pools yet; names are looked up there.
    pub fn asking(resolver: Resolver, telemetry: Arc<Telemetry>) -> Self {
        Upstreams {
            pools: Arc::default(),
            fleets: Arc::default(),
            resolver,
            telemetry,
            tag: LoopTag::of(&fastrand::u128(..).to_be_bytes()),
            response_headers: Arc::new(config::RESPONSE_HEADERS.into()),
            spelling: Arc::default(),
        }
    }

    /// The same, tagging requests by this secret.
    #[must_use]
    pub(crate) fn tagged_by(self, secret: &[u8]) -> Self {
        let tag = LoopTag::of(secret);
        Upstreams { tag, ..self }
    }

    /// What requests from here are known by.
    pub(crate) fn tag(&self) -> &LoopTag {
        &self.tag
    }

    /// Sends one request to a server of `upstream`. The URI is path and query only; `Host` is set
    /// already or, with a fixed `host`, overwritten here. Framing headers are rebuilt. A [`ClientAddress`] in
    /// the extensions is what a hash by `"ip"` goes by; [`Pins`] there are the connections of this client alone, of
    /// which one that leads to this upstream is used before any other.
    /// Counts `upstream_requests_total{route,…}`. A place in a trace that [`Span::mark`] named goes with it; the span ends with the answer's head.
    ///
    /// A server that cannot be connected to is passed over for the next one, each server once. A safe request
    /// without a body whose kept connection was closed before the answer began is sent once more, over a new one and
    /// within the retry budget: the backend may have closed it at that very moment.
    ///
    /// What is read here rather than passed on is decoded where the backend compressed it unasked. A coding that cannot be undone
    /// is left, and named by `Content-Encoding`; otherwise that field is gone.
    ///
    /// A `101` answer carries its upgrade in its extensions (`hyper::upgrade::on`), and a [`InFlight`] to be kept while
    /// that lives.
    ///
    /// # Errors
    /// `Connect`: nothing was sent. `NoneHealthy`: neither, and no server is known to be well. `Busy`: the budget was used up,
    /// or the servers take no more requests over their connections.
    /// `Timeout`: sent, and no first byte in time. `Broken`: the answer was none.
    /// Where the request's own body broke, that body's error. The answer's body fails with `Broken` where it stops before its end.
    ///
    /// Boxed, so that the compiler does not look through all that it awaits for each of its many callers.
    pub fn send<'a>(
        &'a self,
        upstream: &'a config::Upstream,
        route: &'a str,
        purpose: Purpose,
        request: Request<Body>,
    ) -> Sending<'a> {
        Box::pin(self.send_counted(upstream, route, purpose, request))
    }

    async fn send_counted(
        &self,
        upstream: &config::Upstream,
        route: &str,
        purpose: Purpose,
        mut request: Request<Body>,
    ) -> Result<Response<Body>, Error> {
        let place = Span::marked(request.extensions_mut());
        let kind = purpose.as_str();
        let mut span =
            (self.telemetry)
                .traces
                .trace_upstream(place, &upstream.name, kind, request.method());
        span.write(request.headers_mut());
        if purpose.is_tagged() {
            self.tag.add(request.headers_mut());
        }
        if purpose != Purpose::Passthrough {
            // Nothing of it came from a client as it is.
            let spelling = Spelling::clone(&self.spelling.load());
            request.extensions_mut().insert(spelling);
        }
        let outcome = self.send_uncounted(upstream, purpose, request).await;
        match &outcome {
            Ok((answer, ..)) => span.answered(answer.status()),
            Err(error) => span.failed(error),
        }
        drop(span);
        let (answer, hold, lent) = match outcome {
            Ok(taken) => taken,
            Err(error) => {
                if error.side == Side::Upstream {
                    self.telemetry
                        .upstreams
                        .upstream_failed(&upstream.name, &error);
                }
                if error.kind == ErrorKind::Broken && error.side == Side::Upstream {
                    self.telemetry
                        .upstreams
                        .answer_refused(&upstream.name, &error.detail);
                }
                return Err(error);
            }
        };
        let (mut head, body) = answer.into_parts();
        self.telemetry.upstreams.upstream_answered(
            route,
            &upstream.name,
            purpose.as_str(),
            head.status.as_u16(),
        );
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            head.extensions.insert(hold.clone());
        }
        let (telemetry, name) = (self.telemetry.clone(), upstream.name.clone());
        let broke = move |detail| {
            let error = Error::upstream(ErrorKind::Broken, detail);
            telemetry.upstreams.upstream_failed(&name, &error);
            telemetry.upstreams.answer_refused(&name, &error.detail);
            error
        };
        let broke_off = {
            let broke = broke.clone();
            // What breaks because the request's own body did is not the backend's doing.
            move |error| match lent.as_ref().and_then(ReplayableBody::failed) {
                Some(failed) => failed,
                None => broke(format!("the answer broke off: {error}")),
            }
        };
        let body = InFlightBody::new(body, hold, broke_off).boxed_unsync();
        let answer = Response::from_parts(head, body);
        Ok(match purpose {
            Purpose::Passthrough => answer,
            Purpose::Poll | Purpose::Sse | Purpose::Call | Purpose::Auth => {
                coding::decoded(answer, broke)
            }
        })
    }

    /// Puts this configuration's upstreams in force, and forgets those that it does not have; requests
    /// under way go on. What is known of a server stays where its URL does.
    pub(crate) fn adopt(&self, config: &Config) {
        let limit = config.server.limits.response_headers;
        self.response_headers.store(limit, Ordering::Relaxed);
        let mut spelling = Spelling::default();
        for (_, spelled) in &config.spelled {
            spelling.set(spelled.as_bytes());
        }
        self.spelling.store(Arc::new(spelling));
        let upstreams = config.upstreams.values();
        let used: Vec<Settings> = upstreams.map(|u| Settings::of(u, limit)).collect();
        self.pools
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|settings, _| used.contains(settings));
        let mut fleets = self.fleets.write().unwrap_or_else(PoisonError::into_inner);
        fleets.retain(|name, manned| {
            let stays = config.upstreams.contains_key(name);
            if !stays {
                manned.fleet.disband();
            }
            stays
        });
        for (name, upstream) in &config.upstreams {
            let before = fleets.get(name);
            if before.is_some_and(|manned| manned.is(upstream)) {
                continue;
            }
            self.pool(upstream).keep_only(&upstream.servers);
            let mut manned = self.man(upstream, before.map(|manned| &*manned.fleet));
            let (fleet, pool) = (manned.fleet.clone(), self.pool(upstream));
            manned.checker = Checker::start(upstream, fleet, pool);
            fleets.insert(name.clone(), manned);
        }
    }

    /// How the servers of an upstream are, one by one.
    pub(crate) async fn report(&self, upstream: &config::Upstream) -> Vec<ServerHealth> {
        self.fleet(upstream).report(&self.pool(upstream)).await
    }

    async fn send_uncounted(
        &self,
        upstream: &config::Upstream,
        purpose: Purpose,
        request: Request<Body>,
    ) -> Result<Taken, Error> {
        let pool = self.pool(upstream);
        let fleet = self.fleet(upstream);
        let place = fleet.admit(purpose).await.ok_or_else(Error::busy)?;
        let (mut head, body) = request.into_parts();
        let pins: Option<Pins> = head.extensions.remove();
        if let Some(host) = &upstream.host {
            head.headers.insert(HOST, host.clone());
        }
        let patience = patience(upstream, purpose, &head.headers);
        let lent = ReplayableBody::new(body);
        let repeatable = lent.is_empty() && is_safe(&head.method);

        let mut trip = fleet.set_out(&head, purpose);
        if let Some(pins) = &pins {
            trip.stay_where(|server| pool.is_pinned(server, pins));
        }
        let mut lease = trip
            .next()
            .map_err(|none| Error::none_healthy(none.retry_after))?;
        loop {
            let server = lease.server();
            let request = address(&head, server, lent.clone())?;
            let met_stale = lent.met_stale().is_some();
            let sending = pool.request(server, request, &lent, pins.as_ref());
            let error = match in_time(sending, &lent, patience).await {
                Ok(answer) => {
                    if purpose == Purpose::Passthrough && connection_auth::is_told(answer.headers())
                    {
                        fleet.note_bound(upstream.connection_auth);
                    }
                    lease.answered(answer.status());
                    let going = (!lent.is_done()).then(|| lent.clone());
                    return Ok((answer, InFlight::new(lease, place), going));
                }
                Err(error) => error,
            };
            let was_stale = lent.met_stale().is_some() && !met_stale;
            if !was_stale {
                lease.failed(&error);
            }
            drop(lease);
            let again = match error.kind {
                ErrorKind::Connect | ErrorKind::Busy => true,
                ErrorKind::Broken => was_stale && repeatable && trip.may_repeat(),
                _ => false,
            };
            let next = match again {
                true => trip.next().ok(),
                false => None,
            };
            let Some(next) = next else {
                return Err(match error.kind {
                    // Nothing was sent, and there is no server left to send it to.
                    ErrorKind::Connect if fleet.is_down() => Error {
                        detail: error.detail,
                        ..Error::none_healthy(fleet.retry_after())
                    },
                    _ => error,
                });
            };
            self.telemetry
                .upstreams
                .request_repeated(&upstream.name, &error);
            lease = next;
        }
    }

    fn pool(&self, upstream: &config::Upstream) -> Arc<Pool> {
        let settings = Settings::of(upstream, self.response_headers.load(Ordering::Relaxed));
        let known = self.pools.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = known.get(&settings) {
            return pool.clone();
        }
        drop(known);
        self.pools
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(settings)
            .or_insert_with_key(|settings| {
                Arc::new(Pool::new(
                    settings,
                    self.resolver.clone(),
                    self.telemetry.clone(),
                ))
            })
            .clone()
    }

    /// The fleet in force under this upstream's name. A request that outlived its upstream gets one without health checks.
    fn fleet(&self, upstream: &config::Upstream) -> Arc<Cluster> {
        let known = self.fleets.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(manned) = known.get(&upstream.name) {
            return manned.fleet.clone();
        }
        drop(known);
        let mut fleets = self.fleets.write().unwrap_or_else(PoisonError::into_inner);
        let manned = fleets
            .entry(upstream.name.clone())
            .or_insert_with(|| self.man(upstream, None));
        manned.fleet.clone()
    }

    fn man(&self, upstream: &config::Upstream, before: Option<&Cluster>) -> ClusterEntry {
        ClusterEntry {
            upstream: upstream.clone(),
            fleet: Arc::new(Cluster::new(upstream, before, &self.telemetry)),
            checker: None,
        }
    }
}

#[cfg(test)]
mod tests;
