//! `crossfade run`: the runtime, the signals, the ready line.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Failure, Outcome};
use crate::app::{self, Handle, StartError};
use crate::reload;
use crate::telemetry::{LogControl, Telemetry};

/// Blocking work (a state file on a slow disk) may take this long after everything else is over.
const LEFTOVERS: Duration = Duration::from_millis(200);

/// Runs until a signal ends it.
pub fn run(config: &Path) -> Outcome {
    raise_descriptor_limit();
    let telemetry = Arc::new(Telemetry::new(LogControl::install()));
    let read = reload::read(config).map_err(|problems| refused(StartError::Invalid(problems)))?;
    let runtime = build_runtime(read.loaded.config.server.workers)
        .map_err(|error| Failure::No(format!("error: no runtime: {error}")))?;
    let outcome = runtime.block_on(async {
        let mut signals = Signals::new()
            .map_err(|error| Failure::No(format!("error: signals cannot be received: {error}")))?;
        let mut house = app::start(config, telemetry).await.map_err(refused)?;
        announce(&house);
        serve(&mut house, &mut signals).await;
        Ok(())
    });
    runtime.shutdown_timeout(LEFTOVERS);
    outcome
}

/// Runs a server of another command, with all cores and descriptors.
pub fn on_all_cores(work: impl Future<Output = Outcome>) -> Outcome {
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

/// The one line on stdout, and systemd.
fn announce(house: &Handle) {
    let line = format!(
        "ready public={} admin={}\n",
        house.public.join(","),
        house.admin
    );
    let mut out = io::stdout().lock();
    // Whoever started us may not read it.
    let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
}

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Signals {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

/// SIGHUP reloads. SIGTERM leaves in order; a second one, or SIGINT at any time, at once.
async fn serve(house: &mut Handle, signals: &mut Signals) {
    loop {
        tokio::select! {
            _ = signals.hangup.recv() => house.hang_up(),
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => return house.stop().await,
        }
    }
    let in_order = tokio::select! {
        () = house.drain() => true,
        _ = signals.terminate.recv() => false,
        _ = signals.interrupt.recv() => false,
    };
    if !in_order {
        house.stop().await;
    }
}
