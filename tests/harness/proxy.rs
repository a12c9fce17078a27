//! crossfade itself, as `crossfade run` would start it, on ports of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use crossfade::app::{self, Handle};
use crossfade::telemetry::Telemetry;
use tempfile::TempDir;

use super::{Backend, Message, Peer};

/// A running proxy; it ends when this is dropped.
pub struct Proxy {
    /// The first public address.
    pub address: SocketAddr,
    /// The house itself.
    pub handle: Handle,
    server: String,
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
        Proxy::start(server, &(upstream + routes)).await
    }

    /// In front of one backend, everything passed through.
    pub async fn passthrough(backend: &Backend) -> Proxy {
        Proxy::before(backend, "", EVERYTHING).await
    }

    /// A new connection to the public address.
    pub async fn client(&self) -> Peer {
        Peer::connect(self.address).await
    }

    /// Changes its configuration's text; the house may notice before it is told.
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
    format!(
        "[[route]]\npath = \"/api/stream/{{id}}\"\nupstream = \"app\"\nsource = \"sse\"\n\
         rollout = \"web\"\n[rollout.web]\n{rollout}\n{EVERYTHING}"
    )
}

/// Sends a request on a new connection; the answer, and the connection.
pub async fn asked(proxy: &Proxy, request: String) -> (Message, Peer) {
    let mut client = proxy.client().await;
    client.send(request).await;
    let answer = client.response().await;
    (answer, client)
}

fn whole(server: &str, rest: &str) -> String {
    let any = "listen = \"127.0.0.1:0\"";
    format!("[server]\n{any}\n{server}\n[admin]\n{any}\n[log]\naccess = false\n{rest}\n")
}

fn address(url: &str) -> SocketAddr {
    let (_, authority) = url.split_once("://").expect("a TCP listener");
    authority.parse().unwrap()
}
