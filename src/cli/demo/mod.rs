//! `crossfade demo`: a legacy backend, the sidecar before it, and a page that shows what changes.

mod backend;
mod lanes;
mod viewers;
mod world;

use std::fs::{self, DirBuilder};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::signal::unix::{SignalKind, signal};

use super::outcome::{Failure, Outcome};
use super::run::refused;
use crate::app;
use crate::telemetry::{LogControl, Telemetry};
use backend::Backend;
use lanes::Lanes;
use viewers::Viewers;

/// Serves the demonstration until a signal ends the process.
///
/// # Errors
/// An address that is taken, a temporary folder that cannot be written.
pub(crate) async fn run(listen: SocketAddr) -> Outcome {
    let telemetry = Arc::new(Telemetry::new(LogControl::install()));
    let no = |what: &str, error: io::Error| Failure::No(format!("error: {what}: {error}"));
    let lanes = Arc::new(Lanes::default());
    let (listener, legacy) = backend::bind()
        .await
        .map_err(|error| no("no free port", error))?;
    let backend = Arc::new(Backend {
        list: world::start(),
        lanes: Arc::clone(&lanes),
        viewers: Viewers::new(lanes),
        logins: Mutex::default(),
    });
    tokio::spawn(backend::serve(listener, Arc::clone(&backend)));

    let file = ConfigFile::write(|folder| configuration(listen, legacy, folder))
        .map_err(|error| no("the configuration has no place to stand", error))?;
    let sidecar = app::start(&file.path, telemetry).await.map_err(refused)?;
    let url = sidecar.public.first().cloned().unwrap_or_default();
    if let Some(address) = url
        .strip_prefix("http://")
        .and_then(|address| address.parse().ok())
    {
        backend.viewers.connect_to(address);
    }
    println!("{}", greeting(&url, &sidecar.admin, &file.path, legacy));
    wait_for_the_end()
        .await
        .map_err(|error| no("signals cannot be received", error))
}

/// What `proxy.toml` would say.
fn configuration(listen: SocketAddr, legacy: SocketAddr, state: &Path) -> String {
    let state = state.display();
    format!(
        r#"# Written by `crossfade demo`. Edit it while the demo runs: it is read anew at once.
[server]
listen = "{listen}"
state_dir = "{state}"

[admin]
listen = "127.0.0.1:0"

[log]
access = false
level = "warn"

[upstream.legacy]
servers = ["http://{legacy}"]

# A polled list that is the same for everybody: one poll, however many watch.
[[route]]
path = "/api/jobs"
upstream = "legacy"
share = "public"
source = {{kind = "poll", every = "100ms"}}
rollout = "demo"

# A private event stream: one upstream stream per user.
[[route]]
path = "/api/inbox"
upstream = "legacy"
source = "sse"
rollout = "demo"

# The same list for socket.io-client, from its connect on.
[socketio]
rollout = "demo"
legacy = "polling"

[[socketio.namespace]]
name = "/"
subscribe = ["/api/jobs"]

# Everything else passes through.
[[route]]
path = "/{{*path}}"
upstream = "legacy"

[rollout.demo]
percent = 100
"#
    )
}

fn greeting(url: &str, admin: &str, file: &Path, legacy: SocketAddr) -> String {
    format!(
        "crossfade demo

  the page            {url}/
  the legacy backend  http://{legacy} (untouched)
  the configuration   {}
  socket.io-client    io(\"{url}\").on(\"message\", console.log)

Try, in another terminal:
  crossfade topics list --admin {admin}
  crossfade rollout kill --admin {admin}      and watch the third column go back to the old ways
  crossfade rollout resume --admin {admin}

Ctrl-C ends it.",
        file.display()
    )
}

async fn wait_for_the_end() -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// A file in a folder of its own that only this user may enter; both go with the demo.
struct ConfigFile {
    path: PathBuf,
}

impl ConfigFile {
    fn write(text: impl FnOnce(&Path) -> String) -> io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("crossfade-demo-{}", std::process::id()));
        // An existing folder may belong to another user: an error, not a place to write.
        DirBuilder::new().mode(0o700).create(&folder)?;
        let path = folder.join("proxy.toml");
        fs::write(&path, text(&folder))?;
        Ok(ConfigFile { path })
    }
}

impl Drop for ConfigFile {
    fn drop(&mut self) {
        if let Some(folder) = self.path.parent() {
            // What cannot be removed is left to the system's cleaning of temporary files.
            let _ = fs::remove_dir_all(folder);
        }
    }
}
