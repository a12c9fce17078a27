//! The composition root: builds the house, starts it, and takes it down in order.

mod cookie_secret;
mod listeners;
mod memory_watch;
pub mod reload;
mod revocations;
mod shutdown;
pub mod upgrade;
mod watchdog;

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime};
use std::{fmt, io};

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use listeners::{Bound, assign, bind};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};

use crate::admin::{self, Admin, Applied, Ask, Declined, Scrape, Trigger, Upgrade};
use crate::app::upgrade::incoming::Leaver;
use crate::config::{Config, Problem};
use crate::hub::{Hub, Limits};
use crate::policy::auth::Authenticator;
use crate::policy::connection_limits::Connections;
use crate::policy::load_shedding::Pressure;
use crate::policy::rate_limit::Limiters;
use crate::proxy::handler::Road;
use crate::rollout::controller::{self, Controller};
use crate::router::{InForce, RouteTable};
use crate::server::listener::Given;
use crate::server::listener::systemd_sockets::Activated;
use crate::session::Shared;
use crate::session::registry::Sessions;
use crate::storage::unix_seconds;
use crate::telemetry::Telemetry;
use crate::upstream::Upstreams;
use crate::{server, source};
use reload::{History, Prints, Reloader, Watch};

/// Orders that may wait for the owner of the configuration.
const ASKS: usize = 16;

/// Why it did not start.
#[derive(Debug)]
pub enum StartError {
    /// The file is invalid.
    Invalid(Vec<Problem>),
    /// An address could not be bound.
    Bind {
        /// The key that names it.
        key: &'static str,
        /// What the system says, with the address.
        why: String,
    },
    /// `state_dir` cannot be used.
    State(PathBuf, io::Error),
    /// The service manager gives a socket that no key names; its address.
    Unnamed(String),
}

/// What a process need not make itself: another process, or the service manager, has given it.
#[derive(Debug, Default)]
pub struct Endowment {
    /// Listeners, by key and address.
    pub given: Vec<Given>,
    /// Listeners whose key is still to be found.
    pub activated: Vec<Activated>,
    /// What signs cookies where the configuration has no secret.
    pub secret: Option<Vec<u8>>,
}

/// A house that is whole and does not serve yet: nothing outside of this process has changed but that addresses are bound.
pub struct Built {
    /// What outlives a reload.
    pub shared: Arc<Shared>,
    /// Where the rollouts stand.
    pub controller: Controller,
    reloader: Reloader,
    public: Vec<Bound>,
    admin: Bound,
    /// What was given and is not wanted any more.
    unwanted: Vec<Given>,
}

/// A running house. Dropping it cuts everything.
pub struct Handle {
    /// Public addresses as the ready line names them.
    pub public: Vec<String>,
    /// The admin address, likewise.
    pub admin: String,
    shared: Arc<Shared>,
    api: Arc<Admin>,
    hangups: mpsc::Sender<()>,
    doors: Doors,
    admin_door: AdminDoor,
    /// What only the process in charge does: reloads, rollouts, and signs of life for the service manager.
    duties: Vec<AbortHandle>,
    others: Vec<AbortHandle>,
    /// The listeners once more, for a process that takes over.
    given: Vec<Given>,
    /// The process that this one has replaced, while it leaves.
    leaver: Option<Leaver>,
    /// Orders to upgrade.
    upgrades: mpsc::Receiver<Upgrade>,
    /// Socket files to remove at the end.
    sockets: Vec<PathBuf>,
}

/// The public listeners.
struct Doors {
    /// Turns true when nothing more is to be accepted.
    shut: watch::Sender<bool>,
    /// Turns true when connections are to end after their exchange.
    stop: watch::Sender<bool>,
    /// One for each listener.
    tasks: JoinSet<()>,
}

/// The admin API's listener.
struct AdminDoor {
    /// Turns true when another process answers.
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

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
pub async fn build(
    path: &Path,
    telemetry: Arc<Telemetry>,
    mut endowment: Endowment,
) -> Result<Built, StartError> {
    let mut prints = Prints::new();
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
    let plans = controller::plans(&config);
    let controller = Controller::new(&plans, state_dir, telemetry.clone(), move |changes| {
        bell.follow_stages(changes);
    });
    let mut history = History::new(state_dir, &telemetry);
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
    let shared = Arc::new(Shared {
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
    let limits = Limits::of(&config.server.limits);
    let feeds = source::feeds(upstreams.clone(), telemetry.clone());
    (Hub::new(limits, feeds, telemetry.clone()), upstreams)
}

impl Built {
    /// Takes over where the rollouts of another process stand.
    ///
    /// # Errors
    /// Why that is not understood.
    pub fn inherit_rollouts(&self, text: &str) -> Result<(), String> {
        let in_force = self.shared.in_force.load();
        let plans = controller::plans(&in_force.config);
        self.controller.inherit(text, &plans)
    }

    /// The listeners once more, for a process that takes over.
    pub fn give(&self) -> Vec<Given> {
        let everything = self.public.iter().chain([&self.admin]);
        everything.filter_map(Bound::give).collect()
    }

    /// From here on it is served, and what it keeps is written. `may_upgrade`: somebody answers [`Handle::upgrade_asked`].
    pub async fn open(self, may_upgrade: bool) -> Handle {
        let given = self.give();
        let Built {
            shared,
            controller,
            reloader,
            public,
            admin,
            unwanted,
        } = self;
        for path in unwanted.iter().filter_map(Given::file) {
            // The process before may have tidied up.
            let _ = std::fs::remove_file(path);
        }
        drop(unwanted);
        let since = Instant::now();
        controller.save().await;
        reloader.save().await;
        let generation = reloader.history.generation();
        let trigger = Trigger::Start.as_str();
        shared
            .telemetry
            .life
            .config_accepted(generation, trigger, since.elapsed());

        let (asks, orders) = mpsc::channel(ASKS);
        let (hangups, signals) = mpsc::channel(1);
        let (ask_to_upgrade, upgrades) = mpsc::channel(1);
        let (shut, is_shut) = watch::channel(false);
        let (stop, stopped) = watch::channel(false);
        let (stop_admin, admin_stopped) = watch::channel(false);
        let api = Arc::new(Admin {
            shared: shared.clone(),
            controller,
            asks,
            upgrades: may_upgrade.then_some(ask_to_upgrade),
            started: Instant::now(),
            leaving: AtomicBool::new(false),
            keeping: tokio::sync::Mutex::default(),
        });
        let everything = public.iter().chain([&admin]);
        let sockets = everything.filter_map(Bound::file).collect();
        let is_tls = shared.in_force.load().config.server.tls.is_some();
        let urls = public.iter().map(|bound| match is_tls {
            true => bound.url.replacen("http://", "https://", 1),
            false => bound.url.clone(),
        });
        let urls = urls.collect();
        let mut doors = JoinSet::new();
        let mut parts = Vec::new();
        for bound in public {
            parts.push(doors.spawn(server::serve(
                bound.listener,
                Road,
                shared.clone(),
                is_shut.clone(),
                stopped.clone(),
            )));
        }
        let reloads = reloader.run(orders, signals);
        let asked = admin::serve(admin.listener, api.clone(), admin_stopped);
        let admin_door = spawn_watched("admin", &shared, asked);
        let rollouts = api.controller.clone().run();
        let mut duties = vec![
            spawn_watched("reload", &shared, reloads).abort_handle(),
            spawn_watched("rollouts", &shared, rollouts).abort_handle(),
        ];
        let memory = spawn_watched("memory", &shared, memory_watch::watch(shared.clone()));
        let limits = spawn_watched("limits", &shared, shared.limiters.clone().keep());
        let others = vec![memory.abort_handle(), limits.abort_handle()];
        parts.push(admin_door.abort_handle());
        parts.extend(duties.iter().chain(&others).cloned());
        duties.extend(watchdog::spawn(parts, api.clone()));
        Handle {
            public: urls,
            admin: admin.url,
            shared,
            api,
            hangups,
            doors: Doors {
                shut,
                stop,
                tasks: doors,
            },
            admin_door: AdminDoor {
                stop: stop_admin,
                task: admin_door,
            },
            duties,
            others,
            given,
            leaver: None,
            upgrades,
            sockets,
        }
    }
}

/// A task whose end by a bug of ours is told.
fn spawn_watched(
    name: &'static str,
    shared: &Arc<Shared>,
    work: impl Future<Output = ()> + Send + 'static,
) -> JoinHandle<()> {
    let telemetry = shared.telemetry.clone();
    tokio::spawn(async move {
        if AssertUnwindSafe(work).catch_unwind().await.is_err() {
            telemetry.life.panicked(name);
        }
    })
}

impl Handle {
    /// What outlives a reload: for tests and embedding programs.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Reads the file again, as an order over the admin API would.
    ///
    /// # Errors
    /// See [`Declined`]; nothing changed then.
    pub async fn reload(&self) -> Result<Applied, Declined> {
        let (reply, answer) = oneshot::channel();
        let asked = self.api.asks.send(Ask::Reload(None, reply)).await;
        asked.map_err(|_| Declined::Gone)?;
        answer.await.unwrap_or(Err(Declined::Gone))
    }

    /// Reads the file again soon, as SIGHUP does. Several at once are one.
    pub fn hang_up(&self) {
        let _ = self.hangups.try_send(());
    }

    /// How long leaving may take in all, as configured now.
    pub fn drain_timeout(&self) -> Duration {
        self.shared.in_force.load().config.server.drain_timeout
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.admin_door.task.abort();
        for task in self.duties.iter().chain(&self.others) {
            task.abort();
        }
        for socket in &self.sockets {
            // Somebody may have tidied up already.
            let _ = std::fs::remove_file(socket);
        }
    }
}

fn prepare_state(config: &Config) -> Result<Option<&Path>, StartError> {
    let Some(folder) = config.server.state_dir.as_deref() else {
        return Ok(None);
    };
    std::fs::create_dir_all(folder).map_err(|error| StartError::State(folder.to_owned(), error))?;
    Ok(Some(folder))
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Invalid(problems) => {
                let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
                f.write_str(&lines.join("\n"))
            }
            StartError::Bind { key, why } => {
                write!(
                    f,
                    "{key}: cannot listen on {why}; choose another address, or stop who uses it"
                )
            }
            StartError::Unnamed(address) => write!(
                f,
                "server.listen: the service manager has bound {address}, which is no address of this configuration: nobody would \
                 answer there; name it in server.listen, or take it out of the socket unit"
            ),
            StartError::State(folder, error) => write!(
                f,
                "server.state_dir: {} cannot be used: {error}; let this user write there",
                folder.display()
            ),
        }
    }
}

impl std::error::Error for StartError {}
