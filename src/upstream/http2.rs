//! HTTP/2 connections to one server. Each has a task of its own and carries many requests at once.

use std::error::Error as _;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use atomic_waker::AtomicWaker;
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::header::{HOST, HeaderValue, TE, TRANSFER_ENCODING};
use hyper::http::uri::{Authority, Scheme};
use hyper::{Request, Response, Uri, Version};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::Instant;

use super::http1::Unanswered;
use super::lent::Lent;
use super::stream::Stream;

/// Streams of one connection, at most, whatever the backend allows: another connection is made for more.
const STREAMS: usize = 100;

/// What a backend may send ahead of a slow reader; all streams together may send as much as each of them, so that a reader
/// who stands still never holds up another.
const STREAM_WINDOW: u32 = 128 * 1024;
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS as u32;

/// A backend that fell silent with requests open is asked for a sign of life.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_PATIENCE: Duration = Duration::from_secs(10);

/// The connections to one server.
#[derive(Default)]
pub(super) struct Trunk(Mutex<Vec<Http2>>);

struct Http2 {
    sender: SendRequest<Lent>,
    made: Instant,
    address: SocketAddr,
    load: Arc<Load>,
}

struct Load {
    /// Open now.
    streams: AtomicUsize,
    /// Allowed by the backend.
    limit: AtomicUsize,
    /// Woken for the first answer: by then the backend has said what it allows.
    driver: AtomicWaker,
    is_told: AtomicBool,
    /// When there was last one.
    used: Mutex<Instant>,
}

/// A place among the streams of a connection; given back when this is dropped.
pub(super) struct Place {
    sender: SendRequest<Lent>,
    load: Arc<Load>,
}

impl Trunk {
    /// A place on a connection that has one, and that was made after `since`.
    pub(super) fn take(&self, since: Option<Instant>) -> Option<Place> {
        let mut connections = self.lock();
        connections.retain(|connection| !connection.sender.is_closed());
        let is_new = |made: Instant| since.is_none_or(|since| made > since);
        connections
            .iter()
            .find(|connection| is_new(connection.made) && connection.has_place())
            .map(Http2::place)
    }

    /// Puts the engine over a new connection, and takes the first place on it.
    pub(super) async fn add(&self, stream: Stream) -> Result<Place, hyper::Error> {
        let address = stream.address;
        let (sender, mut driver) = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_PATIENCE)
            .handshake(TokioIo::new(stream))
            .await?;
        let load = Arc::new(Load {
            streams: AtomicUsize::new(0),
            limit: AtomicUsize::new(STREAMS),
            driver: AtomicWaker::new(),
            is_told: AtomicBool::new(false),
            used: Mutex::new(Instant::now()),
        });
        let told = load.clone();
        tokio::spawn(std::future::poll_fn(move |cx| {
            told.driver.register(cx.waker());
            let polled = Pin::new(&mut driver).poll(cx);
            let limit = driver.current_max_send_streams().min(STREAMS);
            told.limit.store(limit, Ordering::Relaxed);
            // Why it ended was told to its requests.
            polled.map(drop)
        }));
        let connection = Http2 {
            sender,
            made: Instant::now(),
            address,
            load,
        };
        let place = connection.place();
        self.lock().push(connection);
        Ok(place)
    }

    /// Closes what was idle for too long, and sends nothing more to other addresses than these;
    /// whether any are left.
    pub(super) fn sweep(
        &self,
        idle_timeout: Duration,
        is_named: impl Fn(&SocketAddr) -> bool,
    ) -> bool {
        let mut connections = self.lock();
        connections.retain(|connection| {
            !connection.sender.is_closed()
                && is_named(&connection.address)
                && connection.load.idle_for() < idle_timeout
        });
        !connections.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Http2>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Http2 {
    fn has_place(&self) -> bool {
        let load = &self.load;
        load.streams.load(Ordering::Relaxed) < load.limit.load(Ordering::Relaxed)
    }

    fn place(&self) -> Place {
        self.load.streams.fetch_add(1, Ordering::Relaxed);
        Place {
            sender: self.sender.clone(),
            load: self.load.clone(),
        }
    }
}

impl Load {
    fn idle_for(&self) -> Duration {
        match self.streams.load(Ordering::Relaxed) {
            0 => self.used().elapsed(),
            _ => Duration::ZERO,
        }
    }

    fn used(&self) -> MutexGuard<'_, Instant> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Sends one request, up to the head of its answer.
    pub(super) async fn ask(
        &mut self,
        request: Request<Lent>,
    ) -> Result<Response<Incoming>, Unanswered> {
        let answer = self.sender.try_send_request(request).await?;
        if !self.load.is_told.swap(true, Ordering::Relaxed) {
            self.load.driver.wake();
        }
        Ok(answer)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *self.load.used() = Instant::now();
        self.load.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The request as HTTP/2 has it: `Host` is part of the URI, and trailers are asked for.
pub(super) fn convert(request: &mut Request<Lent>, is_https: bool) {
    *request.version_mut() = Version::HTTP_2;
    let host = request.headers_mut().remove(HOST);
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(match is_https {
        true => Scheme::HTTPS,
        false => Scheme::HTTP,
    });
    parts.authority = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    // Without an authority the engine refuses the request; hygiene lets no such Host come here.
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    let headers = request.headers_mut();
    headers.remove(TRANSFER_ENCODING);
    headers.insert(TE, HeaderValue::from_static("trailers"));
}

/// Whether the backend said that it has not begun with a request (RFC 9113, section 8.7).
pub(super) fn was_refused(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref());
    cause.is_some_and(|cause: &h2::Error| {
        // A GOAWAY reaches those streams alone that are above its last one.
        cause.is_remote()
            && (cause.is_go_away() || cause.reason() == Some(h2::Reason::REFUSED_STREAM))
    })
}
