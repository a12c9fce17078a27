//! One downstream realtime connection: what it subscribed to, what it is owed, how it leaves.

mod beginning;
mod call;
mod checks;
mod client;
mod coalesce;
mod cohort;
mod connection;
mod context;
mod delivery;
mod effect;
mod ending;
mod filter;
mod following;
mod heartbeat;
mod hello;
mod identity;
mod lag;
mod leaving;
mod link;
pub mod listing;
mod opening;
mod pace;
pub mod parking;
mod presented;
pub mod registry;
mod requests;
mod slow;
mod subscription;
#[cfg(test)]
mod tests;
mod timer;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

pub use opening::{Mode, Opening, SingleForm};
pub use presented::Presented;

use crate::config::Config;
use crate::edge::auth::Authenticator;
use crate::edge::caps::Connections;
use crate::edge::pressure::Pressure;
use crate::edge::rate_limit::{self, Limiters};
use crate::hub::Hub;
use crate::rollout::Stages;
use crate::route::InForce;
use crate::telemetry::Telemetry;
use crate::transport::Transport;
use crate::upstream::Upstreams;

/// Everything that outlives a reload; made once by `app`.
pub struct Shared {
    /// The configuration in force; only `reload` stores into it.
    pub in_force: ArcSwap<InForce>,
    /// Every rollout's stage; only `rollout::controller` stores into it.
    pub stages: Arc<ArcSwap<Stages>>,
    /// Who is who.
    pub authenticator: Arc<Authenticator>,
    /// How much everybody may ask for.
    pub limiters: Arc<Limiters>,
    /// The door for all handshakes.
    pub handshakes: rate_limit::Admission,
    /// Topics.
    pub hub: Hub,
    /// Backends.
    pub upstreams: Upstreams,
    /// Present connections.
    pub sessions: registry::Sessions,
    /// Places for downstream connections of any kind.
    pub connections: Connections,
    /// How near the system's memory limit is; only `app` stores into it.
    pub pressure: Pressure,
    /// Signs the sticky cookie where the configuration has no secret; see [`Shared::secret`].
    pub own_secret: Vec<u8>,
    /// This instance's random id (`welcome.node`).
    pub node: String,
    /// Metrics and logs.
    pub telemetry: Arc<Telemetry>,
    /// Set while the process leaves or an admin drains it.
    pub draining: std::sync::atomic::AtomicBool,
    /// Numbers connections.
    pub next_connection: AtomicU64,
}

impl Shared {
    /// The next connection's number.
    fn take_number(&self) -> u64 {
        self.next_connection.fetch_add(1, Ordering::Relaxed)
    }
}

impl Shared {
    /// What signs the sticky cookie: the configuration's secret, else our own.
    pub fn secret<'a>(&'a self, config: &'a Config) -> &'a [u8] {
        match &config.server.secret {
            Some(secret) => secret.0.as_bytes(),
            None => &self.own_secret,
        }
    }
}

/// Carries one client to its end. Spawn it as a task of its own: everything of the HTTP engine should be gone by then, so that
/// an idle session stays small.
pub fn run(
    transport: Box<dyn Transport>,
    opening: Opening,
    in_force: Arc<InForce>,
    shared: Arc<Shared>,
) -> impl Future<Output = ()> + Send + 'static {
    connection::Session::new(transport, opening, in_force, shared)
}
