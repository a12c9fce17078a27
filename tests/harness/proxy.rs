//! crossfade itself, as `crossfade run` would start it, on ports of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use crossfade::app::{self, Handle};
use crossfade::telemetry::Telemetry;
use serde_json::Value;
use tempfile::TempDir;

use super::admin::Answer;
use super::builder::proxy;
use super::{App, Backend, Message, Peer, admin, handshake};

/// A running proxy; it ends when this is dropped.
pub struct Proxy {
    /// The first public address.
    pub address: SocketAddr,
    /// The running process, from within.
    pub handle: Handle,
    server: String,
    /// The upstream `app`, where it was started before one backend.
    upstream: String,
    /// The application behind it, where that was started with it.
    pub(super) app: Option<App>,
    folder: TempDir,
}

impl Proxy {
    /// Starts from a configuration's text; listeners get ports of their own.
    ///
    /// `server` is what belongs into `[server]`, `rest` everything else.
    pub async fn start(server: &str, rest: &str) -> Proxy {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("proxy.toml");
        std::fs::write(&file, whole(server, rest)).unwrap();
        let started = app::start(&file, Arc::new(Telemetry::default())).await;
        let handle = started.unwrap_or_else(|error| panic!("{error:?}"));
        Proxy {
            address: address(&handle.public[0]),
            handle,
            server: server.to_owned(),
            upstream: String::new(),
            app: None,
            folder,
        }
    }

    /// Puts another text in force, apart from what belongs into `[server]`.
    pub async fn reload(&self, rest: &str) {
        let file = self.folder.path().join("proxy.toml");
        std::fs::write(&file, whole(&self.server, rest)).unwrap();
        // The watch may have seen it first.
        let reloaded = self.handle.reload().await;
        reloaded.unwrap_or_else(|declined| panic!("{declined:?}"));
    }

    /// In front of one backend (`upstream = "app"`), with these routes.
    pub async fn before(backend: &Backend, server: &str, routes: &str) -> Proxy {
        let address = backend.address;
        let upstream = format!("[upstream.app]\nservers = [\"http://{address}\"]\n");
        let mut proxy = Proxy::start(server, &format!("{upstream}{routes}")).await;
        proxy.upstream = upstream;
        proxy
    }

    /// In front of one backend, everything passed through.
    pub async fn passthrough(backend: &Backend) -> Proxy {
        Proxy::before(backend, "", EVERYTHING).await
    }

    /// The application behind it.
    pub fn app(&self) -> &App {
        self.app.as_ref().expect("an application of its own")
    }

    /// That application as a backend: what reached it.
    pub fn backend(&self) -> &Backend {
        &self.app().backend
    }

    /// Its public address, as pages have it.
    pub fn public(&self) -> &str {
        &self.handle.public[0]
    }

    /// Puts other routes in force before the same backend.
    pub async fn reload_routes(&self, routes: &str) {
        self.reload(&format!("{}{routes}", self.upstream)).await;
    }

    /// Asks over a connection of its own; `line` is method and target, fields are as `name: value`.
    pub async fn ask(&self, line: &str, fields: &[&str]) -> Message {
        let mut client = self.client().await;
        client.ask(line, &lines(fields), "").await
    }

    /// A handshake by hand; for answers that a client library does not show.
    pub async fn shake(&self, target: &str, fields: &[&str]) -> Message {
        asked(self, handshake(target, &lines(fields))).await.0
    }

    /// Asks the admin API.
    pub async fn admin(&self, path: &str) -> Answer {
        admin::get(&self.handle.admin, path).await
    }

    /// Tells the admin API.
    pub async fn tell(&self, path: &str, body: &Value) -> Answer {
        admin::post(&self.handle.admin, path, &body.to_string()).await
    }

    /// A new connection to the public address.
    pub async fn client(&self) -> Peer {
        Peer::connect(self.address).await
    }

    /// Changes its configuration's text; the file watch may apply it first.
    pub fn edit(&self, change: impl FnOnce(&str) -> String) {
        let file = self.folder.path().join("proxy.toml");
        let text = change(&std::fs::read_to_string(&file).unwrap());
        std::fs::write(file, text).unwrap();
    }

    /// What `/metrics` says.
    pub fn metrics(&self) -> String {
        self.handle.shared().telemetry.render()
    }
}

/// The route for all that no other route takes.
pub const EVERYTHING: &str = "[[route]]\npath = \"/{*path}\"\nupstream = \"app\"\n";

/// A bridged stream, its rollout `web`, and all the rest.
pub fn routes(rollout: &str) -> String {
    let stream = proxy().sse("/api/stream/{id}").rollout(rollout);
    stream.everything().text()
}

/// Sends a request on a new connection; the answer, and the connection.
pub async fn asked(proxy: &Proxy, request: String) -> (Message, Peer) {
    let mut client = proxy.client().await;
    client.send(request).await;
    let answer = client.response().await;
    (answer, client)
}

fn lines(fields: &[&str]) -> String {
    fields.iter().map(|field| format!("{field}\r\n")).collect()
}

fn whole(server: &str, rest: &str) -> String {
    let any = "listen = \"127.0.0.1:0\"";
    format!("[server]\n{any}\n{server}\n[admin]\n{any}\n[log]\naccess = false\n{rest}\n")
}

fn address(url: &str) -> SocketAddr {
    let (_, authority) = url.split_once("://").expect("a TCP listener");
    authority.parse().unwrap()
}
