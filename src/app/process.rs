//! The process: its parts built, then served until it leaves.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};

use super::listeners::BoundListener;
use super::parent::Parent;
use super::reload::Reloader;
use super::{memory_watch, watchdog};
use crate::admin::{self, Admin, Applied, Ask, Declined, Trigger, Upgrade};
use crate::proxy::handler::ProxyHandler;
use crate::rollout::controller::Controller;
use crate::rollout::plan;
use crate::server;
use crate::server::listener::Given;
use crate::session::Services;

/// Orders that may wait for the owner of the configuration.
const ASKS: usize = 16;

/// Everything built, nothing served yet: outside of this process nothing has changed except that addresses are bound.
pub(crate) struct Built {
    /// What outlives a reload.
    pub(crate) shared: Arc<Services>,
    /// Where the rollouts stand.
    pub(crate) controller: Controller,
    pub(super) reloader: Reloader,
    pub(super) public: Vec<BoundListener>,
    pub(super) admin: BoundListener,
    /// What was given and is not wanted any more.
    pub(super) unwanted: Vec<Given>,
}

/// A serving process. Dropping it cuts everything.
pub struct Handle {
    /// Public addresses as the ready line names them.
    pub public: Vec<String>,
    /// The admin address, likewise.
    pub admin: String,
    pub(super) shared: Arc<Services>,
    pub(super) api: Arc<Admin>,
    hangups: mpsc::Sender<()>,
    pub(super) doors: Doors,
    pub(super) admin_door: AdminDoor,
    /// What only the process in charge does: reloads, rollouts, and signs of life for the service manager.
    pub(super) duties: Vec<AbortHandle>,
    others: Vec<AbortHandle>,
    /// The listeners once more, for a process that takes over.
    pub(super) given: Vec<Given>,
    /// The process that this one has replaced, while it leaves.
    pub(super) leaver: Option<Parent>,
    /// Orders to upgrade.
    pub(super) upgrades: mpsc::Receiver<Upgrade>,
    /// Socket files to remove at the end.
    pub(super) sockets: Vec<PathBuf>,
}

/// The public listeners.
pub(super) struct Doors {
    /// Turns true when nothing more is to be accepted.
    pub(super) shut: watch::Sender<bool>,
    /// Turns true when connections are to end after their exchange.
    pub(super) stop: watch::Sender<bool>,
    /// One for each listener.
    pub(super) tasks: JoinSet<()>,
}

/// The admin API's listener.
pub(super) struct AdminDoor {
    /// Turns true when another process answers.
    pub(super) stop: watch::Sender<bool>,
    pub(super) task: JoinHandle<()>,
}

impl Built {
    /// Takes over where the rollouts of another process stand.
    ///
    /// # Errors
    /// Why that is not understood.
    pub(crate) fn inherit_rollouts(&self, text: &str) -> Result<(), String> {
        let in_force = self.shared.in_force.load();
        let plans = plan::plans(&in_force.config);
        self.controller.inherit(text, &plans)
    }

    /// The listeners once more, for a process that takes over.
    pub(crate) fn give(&self) -> Vec<Given> {
        let everything = self.public.iter().chain([&self.admin]);
        everything.filter_map(BoundListener::give).collect()
    }

    /// From here on it is served, and what it keeps is written. `may_upgrade`: the caller serves [`Handle::upgrade_asked`].
    pub(crate) async fn open(self, may_upgrade: bool) -> Handle {
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
        let sockets = everything.filter_map(BoundListener::file).collect();
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
                ProxyHandler,
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

/// A task whose panic is logged and counted.
fn spawn_watched(
    name: &'static str,
    shared: &Arc<Services>,
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
    pub fn shared(&self) -> &Arc<Services> {
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
    pub(crate) fn hang_up(&self) {
        let _ = self.hangups.try_send(());
    }

    /// How long leaving may take in all, as configured now.
    pub(crate) fn drain_timeout(&self) -> Duration {
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
            // An operator may have removed it already.
            let _ = std::fs::remove_file(socket);
        }
    }
}
