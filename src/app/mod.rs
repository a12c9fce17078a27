//! The composition root: builds the house, starts it, and takes it down in order.

mod leave;
mod pressure;
mod secret;

use std::fmt;
use std::io;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};

use crate::admin::{self, Admin, Applied, Ask, Declined, Trigger};
use crate::config::{Config, Problem};
use crate::downstream;
use crate::edge::caps::Connections;
use crate::edge::pressure::Pressure;
use crate::hub::{Hub, Limits};
use crate::listener::Listener;
use crate::reload::{self, History, Prints, Read, Reloader, Watch};
use crate::rollout::controller::Controller;
use crate::route::{InForce, RouteTable};
use crate::session::{Shared, registry::Sessions};
use crate::source;
use crate::state::unix_seconds;
use crate::telemetry::Telemetry;
use crate::upstream::Upstreams;

/// Topics on this node.
const TOPICS: usize = 10_000;

/// Topics of one route and one principal.
const TOPICS_PER_PRINCIPAL: usize = 1_000;

/// Permissions of a public Unix socket: whoever may reach its folder may connect, as with nginx.
const EVERYBODY: u32 = 0o666;

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
    /// Turns true when nothing more is to be accepted.
    stop: watch::Sender<bool>,
    /// One task for each public listener.
    doors: JoinSet<()>,
    others: Vec<AbortHandle>,
    sockets: Vec<PathBuf>,
}

/// Binds all listeners, puts the file's configuration in force and serves.
///
/// # Errors
/// See [`StartError`]; nothing is left behind then.
pub async fn start(path: &Path, telemetry: Arc<Telemetry>) -> Result<Handle, StartError> {
    let since = Instant::now();
    let mut prints = Prints::new();
    let read = reload::read_noting(path, &mut prints).map_err(StartError::Invalid)?;
    start_with(path, read, Watch::new(prints), telemetry, since).await
}

async fn start_with(
    path: &Path,
    read: Read,
    watch: Watch,
    telemetry: Arc<Telemetry>,
    since: Instant,
) -> Result<Handle, StartError> {
    let config = Arc::new(read.loaded.config.clone());
    telemetry.set_log(config.log.level, config.log.json, config.log.access);
    telemetry.warned(&read.loaded.warnings);
    let state_dir = prepare_state(&config)?;
    if state_dir.is_none() {
        telemetry.nothing_is_kept();
    }
    let (public, admin_listener) = bind(&config).await?;
    let own_secret = secret::find(&config, state_dir, &telemetry);

    let sessions = Sessions::default();
    let bell = sessions.clone();
    let controller = Controller::new(&config.rollouts, state_dir, telemetry.clone(), move || {
        bell.recheck();
    });
    let mut history = History::new(state_dir, &telemetry);
    let now = unix_seconds(SystemTime::now());
    history.accept(now, Trigger::Start, &read.loaded.sha256, &read.text);
    let generation = history.generation();

    let (hub, upstreams) = build_hub(&config, &telemetry);
    let shared = Arc::new(Shared {
        in_force: ArcSwap::from_pointee(InForce {
            generation,
            routes: RouteTable::new(&config.routes),
            config: config.clone(),
        }),
        stages: controller.stages(),
        hub,
        upstreams,
        sessions,
        connections: Connections::default(),
        pressure: Pressure::default(),
        own_secret,
        node: format!("{:016x}", fastrand::u64(..)),
        telemetry: telemetry.clone(),
        draining: AtomicBool::new(false),
        next_connection: AtomicU64::new(1),
    });
    controller.save().await;
    if let (Err(error), Some(path)) = (history.save().await, history.path()) {
        telemetry.state_not_kept(path, &error);
    }
    telemetry.config_accepted(generation, Trigger::Start.as_str(), since.elapsed());
    let reloader = Reloader {
        path: path.to_owned(),
        current: read,
        accepted_at: now,
        history,
        watch,
        shared: shared.clone(),
        controller: controller.clone(),
    };
    Ok(open(shared, controller, reloader, public, admin_listener))
}

fn build_hub(config: &Config, telemetry: &Arc<Telemetry>) -> (Hub, Upstreams) {
    let upstreams = Upstreams::new(telemetry.clone());
    let limits = Limits {
        memory: config.server.limits.memory,
        topics: TOPICS,
        topics_per_principal: TOPICS_PER_PRINCIPAL,
    };
    let feeds = source::feeds(upstreams.clone(), telemetry.clone());
    (Hub::new(limits, feeds, telemetry.clone()), upstreams)
}

/// From here on it is served.
fn open(
    shared: Arc<Shared>,
    controller: Controller,
    reloader: Reloader,
    public: Vec<Bound>,
    admin_listener: Bound,
) -> Handle {
    let (asks, orders) = mpsc::channel(ASKS);
    let (hangups, signals) = mpsc::channel(1);
    let (stop, stopped) = watch::channel(false);
    let api = Arc::new(Admin {
        shared: shared.clone(),
        controller,
        asks,
        started: Instant::now(),
        leaving: AtomicBool::new(false),
    });
    let everything = public.iter().chain([&admin_listener]);
    let sockets = everything
        .filter_map(|bound| bound.listener.path())
        .collect();
    let urls = public.iter().map(|bound| bound.url.clone()).collect();
    let mut doors = JoinSet::new();
    for bound in public {
        doors.spawn(downstream::serve(
            bound.listener,
            shared.clone(),
            stopped.clone(),
        ));
    }
    let reloads = reloader.run(orders, signals);
    let asked = admin::serve(admin_listener.listener, api.clone());
    let others = [
        spawn_watched("admin", &shared, asked),
        spawn_watched("reload", &shared, reloads),
        spawn_watched("memory", &shared, pressure::watch(shared.clone())),
    ];
    Handle {
        public: urls,
        admin: admin_listener.url,
        shared,
        api,
        hangups,
        stop,
        doors,
        others: others.into(),
        sockets,
    }
}

/// A task whose end by a bug of ours is told.
fn spawn_watched(
    name: &'static str,
    shared: &Arc<Shared>,
    work: impl Future<Output = ()> + Send + 'static,
) -> AbortHandle {
    let telemetry = shared.telemetry.clone();
    let task = tokio::spawn(async move {
        if AssertUnwindSafe(work).catch_unwind().await.is_err() {
            telemetry.panicked(name);
        }
    });
    task.abort_handle()
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
        for task in &self.others {
            task.abort();
        }
        for socket in &self.sockets {
            // Somebody may have tidied up already.
            let _ = std::fs::remove_file(socket);
        }
    }
}

/// A bound address and its name.
struct Bound {
    listener: Listener,
    url: String,
}

async fn bind(config: &Config) -> Result<(Vec<Bound>, Bound), StartError> {
    let mut public = Vec::new();
    for listen in &config.server.listen {
        public.push(bind_one("server.listen", listen, EVERYBODY).await?);
    }
    let admin = bind_one("admin.listen", &config.admin.listen, crate::state::PRIVATE).await?;
    Ok((public, admin))
}

async fn bind_one(
    key: &'static str,
    listen: &crate::config::Listen,
    mode: u32,
) -> Result<Bound, StartError> {
    let bound = async {
        let listener = Listener::bind(listen, mode).await?;
        let url = listener.url()?;
        Ok(Bound { listener, url })
    };
    bound.await.map_err(|error: io::Error| StartError::Bind {
        key,
        why: match listen {
            crate::config::Listen::Tcp(address) => format!("{address}: {error}"),
            crate::config::Listen::Unix(path) => format!("unix:{}: {error}", path.display()),
        },
    })
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
            StartError::State(folder, error) => write!(
                f,
                "server.state_dir: {} cannot be used: {error}; let this user write there",
                folder.display()
            ),
        }
    }
}

impl std::error::Error for StartError {}
