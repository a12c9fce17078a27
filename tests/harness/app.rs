//! A backend with streams and a document that the test drives, and crossfade before it.

use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::{Backend, Message, Peer, Proxy, reply};

pub struct World {
    pub backend: Backend,
    pub proxy: Proxy,
    stage: Arc<Stage>,
}

/// What the backend shows.
struct Stage {
    /// Events published so far, numbered from 1.
    published: watch::Sender<u64>,
    /// Counts the cuts through all streams.
    cuts: watch::Sender<u64>,
    document: Mutex<String>,
    padding: usize,
}

/// Streams with and without ids, one that tells whose it is, a document, and an answer that looks private.
const ROUTES: &str = r#"
[[route]]
path = "/ids"
name = "ids"
upstream = "app"
source = "sse"

[[route]]
path = "/plain"
name = "plain"
upstream = "app"
source = "sse"
slow = "gap"

[[route]]
path = "/whose"
name = "whose"
upstream = "app"
source = "sse"

[[route]]
path = "/document"
name = "document"
upstream = "app"
source = {kind = "poll", every = "50ms"}

[[route]]
path = "/private"
name = "private"
upstream = "app"
source = {kind = "poll"}
share = "public"
"#;

impl World {
    pub async fn start() -> World {
        World::with_padding(0).await
    }

    /// With events of this size at least.
    pub async fn with_padding(padding: usize) -> World {
        World::with(padding, ROUTES).await
    }

    /// With these routes; below `/document` they all read the one document.
    pub async fn with_routes(routes: &str) -> World {
        World::with(0, routes).await
    }

    async fn with(padding: usize, routes: &str) -> World {
        let stage = Arc::new(Stage {
            published: watch::Sender::new(0),
            cuts: watch::Sender::new(0),
            document: Mutex::new("0".into()),
            padding,
        });
        let shown = stage.clone();
        let backend = Backend::start(move |request, peer| {
            let stage = shown.clone();
            async move { stage.answer(request, peer).await }
        });
        let backend = backend.await;
        let proxy = Proxy::before(&backend, "", routes).await;
        World {
            backend,
            proxy,
            stage,
        }
    }

    /// Publishes the next event on every stream; its number.
    pub fn publish(&self) -> u64 {
        self.publish_many(1)
    }

    /// Publishes so many events in one write; the last one's number.
    pub fn publish_many(&self, events: u64) -> u64 {
        self.stage.published.send_modify(|count| *count += events);
        *self.stage.published.borrow()
    }

    /// Breaks every stream in the middle of an event.
    pub fn cut(&self) {
        self.stage.cuts.send_modify(|count| *count += 1);
    }

    pub fn show(&self, document: &str) {
        *self.stage.document.lock().unwrap() = document.to_owned();
    }

    pub fn public(&self) -> String {
        format!("http://{}", self.proxy.address)
    }
}

impl Stage {
    async fn answer(&self, request: Message, peer: Peer) -> Option<Peer> {
        match request.target() {
            path if path.starts_with("/document") => {
                let document = self.document.lock().unwrap().clone();
                reply(
                    peer,
                    "200 OK",
                    "content-type: application/json\r\n",
                    &document,
                )
                .await
            }
            "/private" => reply(peer, "200 OK", "set-cookie: a=b\r\n", "{}").await,
            path => {
                let last = request
                    .field("last-event-id")
                    .and_then(|id| id.parse().ok());
                let who = request.field("cookie").unwrap_or("nobody");
                self.stream(path, last, who, peer).await
            }
        }
    }

    /// Until it is cut, or nobody reads it.
    async fn stream(
        &self,
        path: &str,
        last: Option<u64>,
        who: &str,
        mut peer: Peer,
    ) -> Option<Peer> {
        let mut published = self.published.subscribe();
        let mut cuts = self.cuts.subscribe();
        let mut sent = last.unwrap_or(*published.borrow());
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        peer.try_send(head).await;
        loop {
            let count = *published.borrow_and_update();
            let mut written = String::new();
            while sent < count {
                sent += 1;
                let id = match path {
                    "/ids" => format!("id: {sent}\n"),
                    _ => String::new(),
                };
                let padding = "x".repeat(self.padding);
                let data = format!(r#"{{"n":{sent},"who":"{who}","pad":"{padding}"}}"#);
                written += &format!("{id}data: {data}\n\n");
            }
            if !written.is_empty() && !peer.try_send(written).await {
                return None;
            }
            tokio::select! {
                changed = published.changed() => changed.ok()?,
                _ = cuts.changed() => {
                    peer.try_send("id: 999999\ndata: half").await;
                    return None;
                }
            }
        }
    }
}
