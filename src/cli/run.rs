//! `crossfade run`: the runtime, the signals, the ready line.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::outcome::{Failure, Outcome};
use crate::admin::Upgrade;
use crate::app::upgrade::executable::Image;
use crate::app::upgrade::incoming::{self, Predecessor};
use crate::app::upgrade::outgoing::Successor;
use crate::app::{self, Endowment, Handle, StartError, reload};
use crate::server::listener::systemd_sockets::{self, Activated};
use crate::telemetry::{LogControl, Telemetry};

/// Blocking work (a state file on a slow disk) may take this long after everything else is over.
const LEFTOVERS: Duration = Duration::from_millis(200);

/// Runs until a signal ends it, or another process takes over.
pub(crate) fn run(config: &Path) -> Outcome {
    let telemetry = Arc::new(Telemetry::new(LogControl::install()));
    let outcome = run_with(config, telemetry.clone());
    telemetry.flush_log();
    outcome
}

fn run_with(config: &Path, telemetry: Arc<Telemetry>) -> Outcome {
    let no = |why: String| Failure::No(format!("error: {why}"));
    let link = incoming::link().map_err(no)?;
    let activated = systemd_sockets::take()
        .map_err(|error| no(format!("a socket of the service manager: {error}")))?;
    let image = Image::of_this_process();
    raise_descriptor_limit();
    let read = reload::read(config).map_err(|problems| refused(StartError::Invalid(problems)))?;
    let runtime = build_runtime(read.loaded.config.server.workers)
        .map_err(|error| no(format!("no runtime: {error}")))?;
    let witness = telemetry.clone();
    let outcome = runtime.block_on(async {
        let mut signals =
            Signals::new().map_err(|error| no(format!("signals cannot be received: {error}")))?;
        let house = match link {
            Some(link) => take_over(config, telemetry, link, &mut signals).await?,
            None => begin(config, telemetry, activated).await?,
        };
        serve(house, &image, &mut signals).await;
        witness.traces.stop_tracing().await;
        Ok(())
    });
    runtime.shutdown_timeout(LEFTOVERS);
    outcome
}

/// Starts without a process to take over from.
async fn begin(
    config: &Path,
    telemetry: Arc<Telemetry>,
    activated: Vec<Activated>,
) -> Result<Handle, Failure> {
    let endowment = Endowment {
        activated,
        ..Endowment::default()
    };
    let built = app::build(config, telemetry, endowment).await;
    let house = built.map_err(refused)?.open(true).await;
    announce(&house);
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    Ok(house)
}

/// In the place of the process that started this one.
async fn take_over(
    config: &Path,
    telemetry: Arc<Telemetry>,
    link: UnixStream,
    signals: &mut Signals,
) -> Result<Handle, Failure> {
    let no = |why: &str| Failure::No(format!("error: {why}"));
    let preparing = async {
        let met = Predecessor::meet(link).await;
        let (predecessor, endowment) = met.map_err(|error| {
            no(&format!(
                "the process that is to be taken over from: {error}"
            ))
        })?;
        let built = app::build(config, telemetry, endowment).await;
        Ok::<_, Failure>((predecessor, built.map_err(refused)?))
    };
    let (predecessor, built) = tokio::select! {
        prepared = preparing => prepared?,
        () = signals.ended() => return Err(no(incoming::ENDED)),
    };
    let succeeded = predecessor.succeed(built, announce, signals.ended()).await;
    succeeded.map_err(|why| no(&why))
}

/// Runs a server of another command, with all cores and descriptors.
pub(crate) fn on_all_cores(work: impl Future<Output = Outcome>) -> Outcome {
    raise_descriptor_limit();
    let runtime =
        build_runtime(None).map_err(|error| Failure::No(format!("error: no runtime: {error}")))?;
    let outcome = runtime.block_on(work);
    runtime.shutdown_timeout(LEFTOVERS);
    outcome
}

/// Every connection is a descriptor, and the usual soft limit of 1,024 is for programs that use
/// `select`. What the system refuses, the connection caps and the accept loop live with.
fn raise_descriptor_limit() {
    let _ = rlimit::increase_nofile_limit(u64::MAX);
}

pub(super) fn refused(error: StartError) -> Failure {
    Failure::No(match error {
        StartError::Invalid(_) => error.to_string(),
        _ => format!("error: {error}"),
    })
}

/// One worker needs no other threads and no locks between them.
fn build_runtime(workers: Option<usize>) -> io::Result<Runtime> {
    let mut builder = match workers {
        Some(1) => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    if let Some(workers) = workers.filter(|workers| *workers > 1) {
        builder.worker_threads(workers);
    }
    builder.thread_name("crossfade").enable_all().build()
}

/// The one line on stdout.
fn announce(house: &Handle) {
    let line = format!(
        "ready public={} admin={}\n",
        house.public.join(","),
        house.admin
    );
    let mut out = io::stdout().lock();
    // The starter may not read it.
    let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
}

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    upgrade: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Signals {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }
}

impl Signals {
    /// Resolves when the process is to end.
    async fn ended(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Why it leaves.
enum Exit {
    /// SIGTERM.
    Asked,
    /// SIGINT.
    AtOnce,
    /// Another process serves.
    Succeeded(Successor),
}

/// SIGHUP reloads, SIGUSR2 upgrades. SIGTERM leaves in order; a second one, or SIGINT at any time, at once.
async fn serve(mut house: Handle, image: &Image, signals: &mut Signals) {
    let exit = stay(&mut house, image, signals).await;
    let leaving = async {
        match exit {
            Exit::Asked => house.drain().await,
            Exit::AtOnce => house.stop().await,
            Exit::Succeeded(successor) => house.give_way(successor).await,
        }
    };
    let in_order = tokio::select! {
        () = leaving => true,
        _ = signals.terminate.recv() => false,
        _ = signals.interrupt.recv() => false,
    };
    if !in_order {
        house.stop().await;
    }
}

/// Serves until there is a reason to leave. An upgrade that a signal overtakes is forgotten, its new process ended.
async fn stay(house: &mut Handle, image: &Image, signals: &mut Signals) -> Exit {
    loop {
        let upgrade = tokio::select! {
            _ = signals.hangup.recv() => {
                house.hang_up();
                continue;
            }
            _ = signals.terminate.recv() => return Exit::Asked,
            _ = signals.interrupt.recv() => return Exit::AtOnce,
            _ = signals.upgrade.recv() => Upgrade::default(),
            upgrade = house.upgrade_asked() => upgrade,
        };
        let upgrading = house.upgrade(image, upgrade);
        tokio::pin!(upgrading);
        loop {
            tokio::select! {
                successor = &mut upgrading => match successor {
                    Some(successor) => return Exit::Succeeded(successor),
                    None => break,
                },
                _ = signals.hangup.recv() => house.hang_up(),
                _ = signals.terminate.recv() => return Exit::Asked,
                _ = signals.interrupt.recv() => return Exit::AtOnce,
            }
        }
    }
}
