//! A house over a configuration in a folder of its own, and somebody who asks its admin API.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crossfade::app::{self, Handle};
use crossfade::telemetry::Telemetry;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;

/// How long a fact may take to become true.
pub const PATIENCE: Duration = Duration::from_secs(20);

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

/// An answer of the admin API.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
    /// Null where the body is no JSON.
    pub json: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
}

/// Asks an admin address; fields as `Name: value`.
pub async fn ask(admin: &str, method: &str, path: &str, fields: &[&str], body: &str) -> Answer {
    let address = admin.strip_prefix("http://").unwrap();
    let mut request = Request::builder().method(method).uri(path);
    if !fields.iter().any(|f| f.to_lowercase().starts_with("host:")) {
        request = request.header("host", address);
    }
    for field in fields {
        let (name, value) = field.split_once(':').unwrap();
        request = request.header(name, value.trim());
    }
    let request = request
        .body(Full::new(bytes::Bytes::from(body.to_owned())))
        .unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let text = String::from_utf8(body.to_vec()).unwrap();
    Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        json: serde_json::from_str(&text).unwrap_or_default(),
        text,
    }
}

pub async fn get(admin: &str, path: &str) -> Answer {
    ask(admin, "GET", path, &[], "").await
}

pub async fn post(admin: &str, path: &str, body: &str) -> Answer {
    ask(admin, "POST", path, &[], body).await
}

/// Waits until `look` says so.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut look: impl FnMut() -> F) {
    let end = tokio::time::Instant::now() + PATIENCE;
    while !look().await {
        assert!(tokio::time::Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// One sample of `/metrics`, 0 where it is not there.
pub async fn metric(admin: &str, name: &str) -> f64 {
    let text = get(admin, "/metrics").await.text;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(0.0, |value| value.trim().parse().unwrap())
}
