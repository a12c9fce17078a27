//! What sessions share with each other and with the rest of the process.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arc_swap::ArcSwap;

use super::registry::Sessions;
use crate::config::Config;
use crate::hub::Hub;
use crate::policy::auth::Authenticator;
use crate::policy::connection_limits::Connections;
use crate::policy::load_shedding::Pressure;
use crate::policy::rate_limit::{self, Limiters};
use crate::rollout::Stages;
use crate::router::InForce;
use crate::telemetry::Telemetry;
use crate::upstream::Upstreams;

/// Everything that outlives a reload; made once by `app`.
pub struct Services {
    /// The configuration in force; only `reload` stores into it.
    pub in_force: ArcSwap<InForce>,
    /// Every rollout's stage; only `rollout::controller` stores into it.
    pub(crate) stages: Arc<ArcSwap<Stages>>,
    /// Identifies users by their credentials.
    pub(crate) authenticator: Arc<Authenticator>,
    /// How much clients may ask for.
    pub(crate) limiters: Arc<Limiters>,
    /// The limiter of all handshakes.
    pub(crate) handshakes: rate_limit::Admission,
    /// Topics.
    pub hub: Hub,
    /// Backends.
    pub(crate) upstreams: Upstreams,
    /// Present connections.
    pub sessions: Sessions,
    /// Places for downstream connections of any kind.
    pub connections: Connections,
    /// How near the system's memory limit is; only `app` stores into it.
    pub pressure: Pressure,
    /// Signs the sticky cookie where the configuration has no secret; see [`Services::secret`].
    pub(crate) own_secret: Vec<u8>,
    /// This instance's random id (`welcome.node`).
    pub(crate) node: String,
    /// Metrics and logs.
    pub telemetry: Arc<Telemetry>,
    /// Set while the process leaves or an admin drains it.
    pub draining: AtomicBool,
}

impl Services {
    /// What signs the sticky cookie: the configuration's secret, else our own.
    pub(crate) fn secret<'a>(&'a self, config: &'a Config) -> &'a [u8] {
        match &config.server.secret {
            Some(secret) => secret.0.as_bytes(),
            None => &self.own_secret,
        }
    }
}
