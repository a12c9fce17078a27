//! The way to the backend; the only room that names the client engine.

mod answer;
mod connect;
mod http1;
mod lane;
mod lent;
mod pool;
mod strict;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Body as _;
use hyper::header::{
    ACCEPT, CONNECTION, CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING, UPGRADE,
};
use hyper::{HeaderMap, Method, Request, Response};

use crate::config::{self, Config};
use crate::error::{Error, Kind, Side};
use crate::telemetry::Telemetry;
use answer::Answer;
use lent::Lent;
use pool::{Pool, Settings};

/// Any body on its way through.
pub type Body = UnsyncBoxBody<Bytes, Error>;

/// For what a request goes upstream (metric label `kind`, and which timeouts hold).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A client's own request.
    Passthrough,
    /// A poll.
    Poll,
    /// An SSE stream: no response timeout.
    Sse,
    /// A `req`: no response timeout here, the caller keeps the route's own.
    Call,
}

impl Purpose {
    /// The word in metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Purpose::Passthrough => "passthrough",
            Purpose::Poll => "poll",
            Purpose::Sse => "sse",
            Purpose::Call => "call",
        }
    }
}

/// A body of no bytes.
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body that is there already.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// All pools; kept across reloads where an upstream did not change. Cheap to clone.
#[derive(Clone)]
pub struct Upstreams {
    pools: Arc<RwLock<HashMap<Settings, Arc<Pool>>>>,
    telemetry: Arc<Telemetry>,
}

impl Upstreams {
    /// No pools yet.
    pub fn new(telemetry: Arc<Telemetry>) -> Self {
        Upstreams {
            pools: Arc::default(),
            telemetry,
        }
    }

    /// Sends one request to a server of `upstream`. The URI is path and query only; `Host` is set
    /// already or, with a fixed `host`, overwritten here. Framing headers are written anew.
    /// Counts `upstream_requests_total{route,…}`.
    ///
    /// A server that cannot be connected to is passed over for the next one, once. A safe request
    /// without a body whose connection broke before the answer began is sent once more: an unused
    /// connection may have been closed by the backend at that very moment.
    ///
    /// A `101` answer carries its upgrade in its extensions (`hyper::upgrade::on`).
    ///
    /// # Errors
    /// `Connect`: nothing was sent. `Timeout`: sent, and no first byte in time. `Broken`: the answer was none.
    /// Where the request's own body broke, that body's error. The answer's body fails with `Broken` where it stops before its end.
    pub async fn send(
        &self,
        upstream: &config::Upstream,
        route: &str,
        purpose: Purpose,
        request: Request<Body>,
    ) -> Result<Response<Body>, Error> {
        let outcome = self.send_uncounted(upstream, purpose, request).await;
        let (head, body) = match outcome {
            Ok(answer) => answer.into_parts(),
            Err(error) => {
                if error.side == Side::Upstream {
                    self.telemetry.upstream_failed(&upstream.name, &error);
                }
                return Err(error);
            }
        };
        self.telemetry.upstream_answered(
            route,
            &upstream.name,
            purpose.as_str(),
            head.status.as_u16(),
        );
        let (telemetry, name) = (self.telemetry.clone(), upstream.name.clone());
        let body = body.map_err(move |error| {
            let error = Error::upstream(Kind::Broken, format!("the answer broke off: {error}"));
            telemetry.upstream_failed(&name, &error);
            error
        });
        Ok(Response::from_parts(head, body.boxed_unsync()))
    }

    /// Forgets the pools that no upstream of this configuration uses; requests under way go on.
    pub fn retain(&self, config: &Config) {
        let used: Vec<Settings> = config.upstreams.values().map(|u| Settings::of(u)).collect();
        self.pools
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|settings, _| used.contains(settings));
    }

    async fn send_uncounted(
        &self,
        upstream: &config::Upstream,
        purpose: Purpose,
        request: Request<Body>,
    ) -> Result<Response<Answer>, Error> {
        let pool = self.pool(upstream);
        let (mut head, body) = request.into_parts();
        if let Some(host) = &upstream.host {
            head.headers.insert(HOST, host.clone());
        }
        let patience = patience(upstream, purpose, &head.headers);
        let lent = Lent::new(body);
        let repeatable = lent.is_empty() && is_safe(&head.method);

        let mut attempt = 0;
        loop {
            attempt += 1;
            let server = pool.next_server(&upstream.servers);
            let request = address(&head, server, lent.clone())?;
            let error = match self.attempt(&pool, server, request, &lent, patience).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let again = match error.kind {
                Kind::Connect => upstream.servers.len() > 1,
                Kind::Broken => repeatable,
                _ => false,
            };
            if attempt > 1 || !again {
                return Err(error);
            }
            self.telemetry.upstream_failed(&upstream.name, &error);
        }
    }

    async fn attempt(
        &self,
        pool: &Pool,
        server: &config::Authority,
        request: Request<Lent>,
        lent: &Lent,
        patience: Option<Duration>,
    ) -> Result<Response<Answer>, Error> {
        let sending = pool.request(server, request, lent);
        let Some(patience) = patience else {
            return sending.await;
        };
        tokio::select! {
            biased;
            answer = sending => answer,
            () = out_of_patience(lent, patience) => Err(Error::upstream(
                Kind::Timeout,
                format!("no answer within {}", humantime::format_duration(patience)),
            )),
        }
    }

    fn pool(&self, upstream: &config::Upstream) -> Arc<Pool> {
        let settings = Settings::of(upstream);
        let known = self.pools.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = known.get(&settings) {
            return pool.clone();
        }
        drop(known);
        self.pools
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(settings)
            .or_insert_with_key(|settings| Arc::new(Pool::new(settings)))
            .clone()
    }
}

/// How long the first byte of an answer may take; `None` where nobody can tell.
fn patience(
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
        Purpose::Sse | Purpose::Call => None,
        Purpose::Poll => Some(upstream.response_timeout),
        Purpose::Passthrough => {
            (!headers.get_all(ACCEPT).iter().any(streams)).then_some(upstream.response_timeout)
        }
    }
}

/// Resolves when nothing of the request has moved for `patience`: an upload that goes on is no silence.
async fn out_of_patience(lent: &Lent, patience: Duration) {
    let mut since = Instant::now();
    loop {
        tokio::time::sleep_until((since + patience).into()).await;
        match lent.last_moved() {
            Some(moved) if moved > since => since = moved,
            _ => return,
        }
    }
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// The request as it goes to this server.
fn address(
    head: &hyper::http::request::Parts,
    server: &config::Authority,
    body: Lent,
) -> Result<Request<Lent>, Error> {
    let mut request = Request::new(body);
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = head.uri.clone();
    *request.headers_mut() = head.headers.clone();
    if !head.headers.contains_key(HOST) {
        let host = HeaderValue::from_str(&server.address)
            .map_err(|_| Error::upstream(Kind::Other, "no usable address"))?;
        request.headers_mut().insert(HOST, host);
    }
    frame(&mut request);
    Ok(request)
}

/// Framing is the client engine's to write, from the body's own size, but for two habits of its:
/// it sends no body of unknown size with GET and HEAD, and no length where a POST has no body
/// (RFC 9110, section 8.6).
fn frame(request: &mut Request<Lent>) {
    let body = request.body();
    let (is_empty, has_length) = (body.is_empty(), body.size_hint().exact().is_some());
    let means_content = matches!(
        *request.method(),
        Method::POST | Method::PUT | Method::PATCH
    );
    let headers = request.headers_mut();
    headers.remove(CONTENT_LENGTH);
    headers.remove(TRANSFER_ENCODING);
    if is_empty && means_content {
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    if !is_empty && !has_length {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if !headers.contains_key(UPGRADE) {
        headers.remove(CONNECTION);
    }
}

#[cfg(test)]
mod tests;
