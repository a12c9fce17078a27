//! One accepted connection, from its place among the others to its last exchange.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::exchange::Connection;
use super::stream::Stream;
use super::wire::{Traffic, Wire};
use super::{farewell, http1};
use crate::edge::hygiene::forwarded::Peer;
use crate::session::Shared;

/// How long the answer to somebody without a place may take.
const PATIENCE: Duration = Duration::from_secs(1);

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
        Err(full) => {
            shared.telemetry.connection_refused(full.reason());
            return farewell::say(stream, full.reason(), "too many connections", PATIENCE).await;
        }
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
