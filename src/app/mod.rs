//! The composition root: builds the process's parts, starts them, and stops them in order.

mod cookie_secret;
mod listeners;
mod memory_watch;
mod parent;
mod process;
pub(crate) mod reload;
mod revocations;
mod shutdown;
mod start_error;
pub(crate) mod upgrade;
mod watchdog;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use arc_swap::ArcSwap;

use crate::admin::{Scrape, Trigger};
use crate::config::Config;
use crate::hub::{Hub, HubLimits};
use crate::policy::auth::Authenticator;
use crate::policy::connection_limits::Connections;
use crate::policy::load_shedding::Pressure;
use crate::policy::rate_limit::Limiters;
use crate::rollout::controller::Controller;
use crate::rollout::plan;
use crate::router::{InForce, RouteTable};
use crate::session::Services;
use crate::session::registry::Sessions;
use crate::source;
use crate::storage::unix_seconds;
use crate::telemetry::Telemetry;
use crate::upstream::Upstreams;
pub(crate) use listeners::Endowment;
use listeners::{assign, bind};
pub(crate) use process::Built;
pub use process::Handle;
use reload::{AcceptedConfigs, FileStamps, Reloader, Watch};
pub(crate) use start_error::StartError;

/// Binds all listeners, puts the file's configuration in force and serves.
///
/// # Errors
/// See [`StartError`]; nothing is left behind then.
pub async fn start(path: &Path, telemetry: Arc<Telemetry>) -> Result<Handle, StartError> {
    let built = build(path, telemetry, Endowment::default()).await?;
    Ok(built.open(false).await)
}

/// Builds everything up to the point where it could serve.
///
/// # Errors
/// See [`StartError`]; nothing is left behind then.
pub(crate) async fn build(
    path: &Path,
    telemetry: Arc<Telemetry>,
    mut endowment: Endowment,
) -> Result<Built, StartError> {
    let mut prints = FileStamps::new();
    let read = reload::read_noting(path, &mut prints).map_err(StartError::Invalid)?;
    let config = Arc::new(read.loaded.config.clone());
    telemetry.set_log(config.log.level, config.log.json, config.log.access);
    telemetry.life.warned(&read.loaded.warnings);
    let state_dir = prepare_state(&config)?;
    if state_dir.is_none() {
        telemetry.life.nothing_is_kept();
    }
    endowment
        .given
        .extend(assign(endowment.activated, &config)?);
    let (public, admin) = bind(&config, &mut endowment.given).await?;
    let own_secret = endowment
        .secret
        .unwrap_or_else(|| cookie_secret::find(&config, state_dir, &telemetry));

    let sessions = Sessions::default();
    let bell = sessions.clone();
    let plans = plan::plans(&config);
    let controller = Controller::new(&plans, state_dir, telemetry.clone(), move |changes| {
        bell.follow_stages(changes);
    });
    let mut history = AcceptedConfigs::new(state_dir, &telemetry);
    let now = unix_seconds(SystemTime::now());
    history.accept(now, Trigger::Start, &read.loaded.sha256, &read.text);
    let generation = history.generation();

    let secret = config.server.secret.as_ref().map(|s| s.0.as_bytes());
    let secret = secret.unwrap_or(&own_secret);
    let (hub, upstreams) = build_hub(&config, secret, &telemetry);
    let authenticator = Authenticator::new(
        upstreams.clone(),
        telemetry.clone(),
        revocations::find(state_dir, &telemetry),
    );
    authenticator.adopt(&config);
    let limiters = Arc::new(Limiters::default());
    limiters.adopt(&config.rate_limits);
    if config.tracing.endpoint.is_some() {
        upstreams.trace(&config.tracing, &telemetry);
    }
    let shared = Arc::new(Services {
        in_force: ArcSwap::from_pointee(InForce {
            generation,
            routes: RouteTable::new(&config.routes),
            config: config.clone(),
        }),
        stages: controller.stages(),
        authenticator: Arc::new(authenticator),
        limiters: limiters.clone(),
        handshakes: Default::default(),
        hub,
        upstreams,
        sessions,
        connections: Connections::default(),
        pressure: Pressure::default(),
        own_secret,
        node: format!("{:016x}", fastrand::u64(..)),
        telemetry,
        draining: AtomicBool::new(false),
    });
    let scrape = (config.metrics.listen).map(|address| {
        Scrape::open(address, &shared).map_err(|error| StartError::Bind {
            key: "metrics.listen",
            why: format!("{address}: {error}"),
        })
    });
    let reloader = Reloader {
        scrape: scrape.transpose()?,
        path: path.to_owned(),
        current: read,
        accepted_at: now,
        history,
        watch: Watch::new(prints),
        shared: shared.clone(),
        controller: controller.clone(),
    };
    Ok(Built {
        shared,
        controller,
        reloader,
        public,
        admin,
        unwanted: endowment.given,
    })
}

fn build_hub(config: &Config, secret: &[u8], telemetry: &Arc<Telemetry>) -> (Hub, Upstreams) {
    let upstreams = Upstreams::new(telemetry.clone()).tagged_by(secret);
    upstreams.adopt(config);
    let limits = HubLimits::of(&config.server.limits);
    let feeds = source::feeds(upstreams.clone(), telemetry.clone());
    (Hub::new(limits, feeds, telemetry.clone()), upstreams)
}

fn prepare_state(config: &Config) -> Result<Option<&Path>, StartError> {
    let Some(folder) = config.server.state_dir.as_deref() else {
        return Ok(None);
    };
    std::fs::create_dir_all(folder).map_err(|error| StartError::State(folder.to_owned(), error))?;
    Ok(Some(folder))
}
