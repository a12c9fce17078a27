//! A configuration in a folder of its own, with a state folder beside it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crossfade::app::{self, Handle};
use crossfade::telemetry::Telemetry;
use tempfile::TempDir;

/// The least that a file needs, with a state folder and a rollout.
pub const ROUTES: &str = r#"
[upstream.app]
servers = ["http://127.0.0.1:9"]

[[route]]
name = "feed"
path = "/feed"
upstream = "app"
source = "sse"
rollout = "web"

[[route]]
name = "rest"
path = "/{*path}"
upstream = "app"
"#;

/// `[server]` and `[admin]` on free ports, these lines below `[server]`.
pub fn listeners(server: &str) -> String {
    format!("[server]\nlisten = \"127.0.0.1:0\"\n{server}\n[admin]\nlisten = \"127.0.0.1:0\"\n")
}

/// A folder with `proxy.toml` and `state/`.
pub struct Folder(pub TempDir);

impl Folder {
    /// With this file.
    pub fn with(text: &str) -> Self {
        let folder = Folder(tempfile::tempdir().unwrap());
        folder.write(text);
        folder
    }

    /// With a state folder, the usual routes, and these lines for the rollout `web`.
    pub fn with_rollout(lines: &str) -> Self {
        let folder = Folder(tempfile::tempdir().unwrap());
        folder.write(&folder.text(lines));
        folder
    }

    /// The text of [`Folder::with_rollout`].
    pub fn text(&self, rollout: &str) -> String {
        let state = format!("state_dir = \"{}\"", self.state().display());
        let listeners = listeners(&state);
        format!("{listeners}\n[rollout.web]\n{rollout}\n{ROUTES}")
    }

    pub fn config(&self) -> PathBuf {
        self.0.path().join("proxy.toml")
    }

    pub fn state(&self) -> PathBuf {
        self.0.path().join("state")
    }

    /// As an editor does: the file is never half there.
    pub fn write(&self, text: &str) {
        let scratch = self.0.path().join("proxy.toml.new");
        std::fs::write(&scratch, text).unwrap();
        std::fs::rename(scratch, self.config()).unwrap();
    }

    pub fn read(&self) -> String {
        std::fs::read_to_string(self.config()).unwrap()
    }

    pub async fn start(&self) -> Handle {
        start(&self.config()).await
    }
}

pub async fn start(config: &Path) -> Handle {
    match app::start(config, Arc::new(Telemetry::default())).await {
        Ok(handle) => handle,
        Err(error) => panic!("{error}"),
    }
}
