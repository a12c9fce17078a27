//! One accepted connection, from its place among the others to its last exchange.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

use super::exchange::{self, Connection};
use super::http1;
use super::respond::Problem;
use super::stream::Stream;
use super::wire::{Traffic, Wire};
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
    stop: watch::Receiver<bool>,
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
    http1::serve(wire, connection, limits, stop).await;
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
