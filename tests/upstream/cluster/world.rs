//! Servers that can be told how to behave, killed and brought back, and a proxy before them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::harness::{Backend, EVERYTHING, Message, Peer, Proxy, reply, request};

/// What a server does with requests.
#[derive(Clone, Copy, Debug)]
pub enum Manner {
    /// Answers 200 with its name.
    Well,
    /// Answers with this status.
    Status(&'static str),
    /// Takes requests and answers none.
    Silent,
    /// Answers after a while.
    Slow(Duration),
}

/// A server of an upstream.
pub struct Server {
    pub name: &'static str,
    pub address: SocketAddr,
    manner: Arc<std::sync::Mutex<Manner>>,
    hits: Arc<AtomicUsize>,
    busy: Arc<AtomicUsize>,
    most_busy: Arc<AtomicUsize>,
    backend: Option<Backend>,
}

impl Server {
    pub async fn start(name: &'static str) -> Server {
        let mut server = Server {
            name,
            address: ([127, 0, 0, 1], 0).into(),
            manner: Arc::new(std::sync::Mutex::new(Manner::Well)),
            hits: Arc::default(),
            busy: Arc::default(),
            most_busy: Arc::default(),
            backend: None,
        };
        server.come_back().await;
        server
    }

    /// Listens again where it listened before.
    pub async fn come_back(&mut self) {
        let (name, manner, hits) = (self.name, self.manner.clone(), self.hits.clone());
        let (busy, most) = (self.busy.clone(), self.most_busy.clone());
        let backend = Backend::start_at(self.address, move |request, peer| {
            let manner = *manner.lock().unwrap();
            let is_check = request.target() == "/healthz";
            let counted = (!is_check).then(|| {
                hits.fetch_add(1, Ordering::SeqCst);
                Busy::with(&busy, &most)
            });
            async move {
                let peer = answer(name, manner, &request, peer).await;
                drop(counted);
                peer
            }
        })
        .await;
        self.address = backend.address;
        self.backend = Some(backend);
    }

    /// Cuts all its connections and takes no more.
    pub fn die(&mut self) {
        self.backend = None;
    }

    pub fn behave(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    /// Requests so far, health checks apart.
    pub fn hits(&self) -> usize {
        self.hits.load(Ordering::SeqCst)
    }

    /// Requests at a time, at most so far.
    pub fn most_busy(&self) -> usize {
        self.most_busy.load(Ordering::SeqCst)
    }
}

async fn answer(name: &str, manner: Manner, request: &Message, mut peer: Peer) -> Option<Peer> {
    if request.target() == "/stream" {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
        peer.send(head).await;
        loop {
            if !peer.try_send("data: tick\n\n").await {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    if let Some(key) = request.field("sec-websocket-key") {
        let accept = derive_accept_key(key.as_bytes());
        peer.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        ))
        .await;
        peer.rest().await;
        return None;
    }
    match manner {
        Manner::Well => reply(peer, "200 OK", "", name).await,
        Manner::Status(status) => reply(peer, status, "", name).await,
        Manner::Silent => {
            peer.rest().await;
            None
        }
        Manner::Slow(wait) => {
            tokio::time::sleep(wait).await;
            reply(peer, "200 OK", "", name).await
        }
    }
}

/// Counts while it lives.
struct Busy(Arc<AtomicUsize>);

impl Busy {
    fn with(now: &Arc<AtomicUsize>, most: &AtomicUsize) -> Busy {
        let count = now.fetch_add(1, Ordering::SeqCst) + 1;
        most.fetch_max(count, Ordering::SeqCst);
        Busy(now.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The upstream `app` of these servers, everything passed through.
pub fn upstream(servers: &[&Server], keys: &str) -> String {
    let urls: Vec<_> = servers
        .iter()
        .map(|server| format!("\"http://{}\"", server.address))
        .collect();
    let list = urls.join(", ");
    format!("[upstream.app]\nservers = [{list}]\n{keys}\n{EVERYTHING}")
}

pub async fn before(servers: &[&Server], keys: &str) -> Proxy {
    Proxy::start("", &upstream(servers, keys)).await
}

/// One request on a connection of its own.
pub async fn get(proxy: &Proxy, path: &str, fields: &str) -> Message {
    let mut client = proxy.client().await;
    client.ask(&format!("GET {path}"), fields, "").await
}

/// The name of the server that answered.
pub async fn who(proxy: &Proxy, fields: &str) -> String {
    let answer = get(proxy, "/", fields).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    answer.text()
}

/// What `/v1/health` says.
pub async fn health(proxy: &Proxy) -> Value {
    let admin = proxy.handle.admin.strip_prefix("http://").unwrap();
    let mut client = Peer::connect(admin.parse().unwrap()).await;
    client
        .send("GET /v1/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        .await;
    client.response().await.json()
}

/// An answer that goes on for as long as the connection is held.
pub async fn stream(proxy: &Proxy) -> Peer {
    let mut client = proxy.client().await;
    client.send(request("GET /stream", "", "")).await;
    assert_eq!(client.head().await.status(), 200);
    client
}
