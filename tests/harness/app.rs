//! A legacy application that a test drives: event streams, documents, sessions, pages, and a WebSocket of its own.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{Backend, Message, Peer, reply};

/// A running application; it ends when this is dropped.
pub struct App {
    pub backend: Backend,
    stage: Arc<Stage>,
}

/// What it does with a request for a path, in place of what is usual.
type Answer = Box<dyn Fn(Message, Peer) -> BoxFuture<'static, Option<Peer>> + Send + Sync>;

/// What an application is started with.
#[derive(Default)]
pub struct Script {
    /// Paths that begin like this show the document.
    pub documents: Vec<String>,
    pub answers: Vec<(String, Answer)>,
    /// Every event has at least this size.
    pub padding: usize,
}

/// What its document is, and how it is answered.
#[derive(Clone)]
pub struct Shown {
    /// How many events there were, as `{"n":N}`, where nothing else is shown.
    pub document: Option<String>,
    pub status: &'static str,
    /// How long an answer takes.
    pub takes: Duration,
    /// Whether it has an `ETag`, and answers 304.
    pub has_etag: bool,
}

struct Stage {
    script: Script,
    /// Events published so far, numbered from 1.
    published: watch::Sender<u64>,
    /// Counts the cuts through all streams.
    cuts: watch::Sender<u64>,
    shown: Mutex<Shown>,
    /// What `/api/me` answers to the cookie `session`; 401 to others.
    sessions: Mutex<Vec<(String, u16, String)>>,
    /// The status of all answers of `/api/me` instead.
    outage: Mutex<Option<u16>>,
}

impl App {
    pub async fn start(script: Script) -> App {
        let stage = Arc::new(Stage {
            script,
            published: watch::Sender::new(0),
            cuts: watch::Sender::new(0),
            shown: Mutex::new(Shown {
                document: None,
                status: "200 OK",
                takes: Duration::ZERO,
                has_etag: false,
            }),
            sessions: Mutex::default(),
            outage: Mutex::default(),
        });
        let acting = stage.clone();
        let backend = Backend::start(move |request, peer| {
            let stage = acting.clone();
            async move { stage.answer(request, peer).await }
        });
        App {
            backend: backend.await,
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

    /// Shows this document from now on.
    pub fn show(&self, document: &str) {
        self.change(|shown| shown.document = Some(document.to_owned()));
    }

    /// Answers otherwise from now on.
    pub fn change(&self, change: impl FnOnce(&mut Shown)) {
        change(&mut self.stage.shown.lock().unwrap());
    }

    /// What `/api/me` answers to this session from now on.
    pub fn knows(&self, session: &str, status: u16, body: &str) {
        let mut sessions = self.stage.sessions.lock().unwrap();
        sessions.retain(|(known, ..)| known != session);
        sessions.push((session.to_owned(), status, body.to_owned()));
    }

    /// What `/api/me` answers to every session, or no more.
    pub fn fails(&self, status: Option<u16>) {
        *self.stage.outage.lock().unwrap() = status;
    }
}

impl Stage {
    async fn answer(&self, request: Message, peer: Peer) -> Option<Peer> {
        let path = request.target().split('?').next().unwrap_or_default();
        let answers = self.script.answers.iter();
        if let Some((_, answer)) = answers.into_iter().find(|(own, _)| own == path) {
            return answer(request, peer).await;
        }
        if let Some(key) = request.field("sec-websocket-key") {
            return native(key, peer).await;
        }
        let mut documents = self.script.documents.iter();
        match path {
            "/api/me" => self.session(&request, peer).await,
            _ if documents.any(|document| path.starts_with(document.as_str())) => {
                self.document(&request, peer).await
            }
            _ if request.field("accept") == Some("text/event-stream") => {
                self.stream(&request, peer).await
            }
            _ => reply(peer, "200 OK", "", "ok").await,
        }
    }

    async fn document(&self, request: &Message, peer: Peer) -> Option<Peer> {
        let shown = self.shown.lock().unwrap().clone();
        tokio::time::sleep(shown.takes).await;
        let events = *self.published.borrow();
        let document = shown.document.unwrap_or(format!("{{\"n\":{events}}}"));
        let mut fields = "content-type: application/json\r\n".to_owned();
        if shown.has_etag {
            let etag = format!("\"{}\"", document.len());
            fields += &format!("etag: {etag}\r\n");
            if request.field("if-none-match") == Some(&etag) && shown.status == "200 OK" {
                return reply(peer, "304 Not Modified", &fields, "").await;
            }
        }
        reply(peer, shown.status, &fields, &document).await
    }

    async fn session(&self, request: &Message, peer: Peer) -> Option<Peer> {
        let outage = *self.outage.lock().unwrap();
        let cookie = request.field("cookie").unwrap_or_default();
        let session = cookie.strip_prefix("session=").unwrap_or_default();
        let sessions = self.sessions.lock().unwrap().clone();
        let known = sessions.into_iter().find(|(known, ..)| known == session);
        let (status, body) = match (outage, known) {
            (Some(status), _) => (status, String::new()),
            (None, Some((_, status, body))) => (status, body),
            (None, None) => (401, String::new()),
        };
        let kind = match body.starts_with('<') {
            true => "content-type: text/html\r\n",
            false => "content-type: application/json\r\n",
        };
        reply(peer, &format!("{status} Told"), kind, &body).await
    }

    /// Until it is cut, or its reader leaves. Events have ids except below `/plain`; `/whose` tells the cookie.
    async fn stream(&self, request: &Message, mut peer: Peer) -> Option<Peer> {
        let path = request.target().to_owned();
        let last = request.field("last-event-id");
        let last = last.and_then(|id| id.parse().ok());
        let mut published = self.published.subscribe();
        let mut cuts = self.cuts.subscribe();
        let mut sent: u64 = last.unwrap_or(*published.borrow());
        let mut more = String::new();
        if path == "/whose" {
            let cookie = request.field("cookie").unwrap_or("nobody");
            more += &format!(r#","who":"{cookie}""#);
        }
        if self.script.padding > 0 {
            more += &format!(r#","pad":"{}""#, "x".repeat(self.script.padding));
        }
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        peer.try_send(head).await;
        loop {
            let count = *published.borrow_and_update();
            let mut written = String::new();
            while sent < count {
                sent += 1;
                if !path.starts_with("/plain") {
                    written += &format!("id: {sent}\n");
                }
                written += &format!("data: {{\"n\":{sent}{more}}}\n\n");
            }
            if !written.is_empty() && !peer.try_send(written).await {
                return None;
            }
            tokio::select! {
                changed = published.changed() => changed.ok()?,
                () = peer.leaves() => return None,
                _ = cuts.changed() => {
                    peer.try_send("id: 999999\ndata: half").await;
                    return None;
                }
            }
        }
    }
}

/// The application's own WebSocket: it says one word.
async fn native(key: &str, mut peer: Peer) -> Option<Peer> {
    let accept = derive_accept_key(key.as_bytes());
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-accept: {accept}\r\n\r\n"
    );
    peer.try_send(head).await;
    let word = br#"{"t":"native"}"#;
    peer.try_send([&[0x81, word.len() as u8], &word[..]].concat())
        .await;
    peer.rest().await;
    None
}
