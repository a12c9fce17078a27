//! One accepted connection, from its place among the others to its last exchange.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

use super::dispatch::dispatch;
use super::exchange::{self, Connection};
use super::respond::Problem;
use super::stream::Stream;
use super::wire::{Traffic, Wire};
use crate::config::Limits;
use crate::edge::caps::Full;
use crate::edge::hygiene::forwarded::Peer;
use crate::session::Shared;

/// Seconds after which somebody who found no place may try again.
const RETRY_SECONDS: u32 = 5;
/// How long the answer to somebody without a place may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves a connection until it ends, is upgraded, or `stop` lets it finish what is under way.
pub async fn carry(
    stream: Stream,
    address: Option<IpAddr>,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
) {
    let config = shared.in_force.load().config.clone();
    let limits = &config.server.limits;
    let peer = Peer::new(address, &config.server.trusted_proxies);
    // A proxy speaks for many.
    let counted = address.filter(|_| !peer.is_trusted);
    let permit = match shared.connections.admit(counted, limits) {
        Ok(permit) => Arc::new(permit),
        Err(full) => return turn_away(stream, full, &shared).await,
    };
    let traffic = Traffic::default();
    let wire = Wire::new(stream, limits, traffic.clone());
    let connection = Arc::new(Connection {
        shared,
        address,
        traffic,
        permit,
    });
    let service = service_fn(move |request| {
        // The engine keeps room for this future as long as the connection lives: a box is small.
        let answer = Box::pin(dispatch(connection.clone(), request));
        answer.map(Ok::<_, Infallible>)
    });
    let serving = engine(limits)
        .serve_connection(TokioIo::new(wire), service)
        .with_upgrades();
    tokio::pin!(serving);
    let stopped = async {
        // An error means that whoever could stop us is gone: the same.
        let _ = stop.wait_for(|stop| *stop).await;
    };
    // How a connection ends is the exchanges' to tell; what is left here is a client that went away.
    tokio::select! {
        _ = serving.as_mut() => {}
        () = stopped => {
            serving.as_mut().graceful_shutdown();
            let _ = serving.await;
        }
    }
}

/// Everything about a head, and all time, is the wire's to judge; the engine's own limits lie beyond.
fn engine(limits: &Limits) -> http1::Builder {
    const ENGINE_FIELDS: usize = 100;
    const ENGINE_BUFFER: usize = 400 * 1024;
    let mut engine = http1::Builder::new();
    engine
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(ENGINE_BUFFER.max(limits.header_bytes * 2));
    if limits.headers > ENGINE_FIELDS {
        engine.max_headers(limits.headers);
    }
    engine
}

/// Says why there is no place, to whom it may reach, and closes.
async fn turn_away(mut stream: Stream, full: Full, shared: &Shared) {
    shared.telemetry.connection_refused(full.reason());
    let problem = Problem::overloaded(full.reason(), RETRY_SECONDS);
    let words = problem.into_last_words(&exchange::new_request_id());
    let farewell = async {
        stream.write_all(&words).await?;
        stream.shutdown().await?;
        // Closing at once would destroy the answer, should the request still be on its way.
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await? > 0 {}
        Ok::<_, std::io::Error>(())
    };
    let _ = tokio::time::timeout(FAREWELL, farewell).await;
}
