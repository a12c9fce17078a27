//! A backend that knows what a legacy application knows, tokens, and crossfade between.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::harness::{
    Backend, JSON, Message, Peer, Proxy, Seen, Socket,
    admin::{Answer, get, post},
    asked, handshake, reply,
};

pub const WS: &str = "/_crossfade/ws";

/// The origin of a handshake by hand's own page.
pub const OWN: &str = "origin: http://a.example";

const SECRET: &str = "a secret that is longer than thirty-two bytes";

/// Tokens of the login.
pub const LOGIN: &str = r#"
[auth.login]
kind = "jwt"
issuer = "https://login.test"
audience = "app"
secret = "a secret that is longer than thirty-two bytes"
leeway = "0s"
claims = {user = "sub", tenant = "tenantId", roles = "roles"}
identity = {user = "X-User", tenant = "X-Tenant", roles = "X-Roles"}
"#;

/// Streams, one of them for editors, a document, a command, pages and native WebSockets, all by the login; and what is open.
pub const ROUTES: &str = r#"
[[route]]
path = "/stream"
name = "stream"
upstream = "app"
source = "sse"
auth = "login"

[[route]]
path = "/other"
name = "other"
upstream = "app"
source = "sse"
auth = "login"

[[route]]
path = "/document"
name = "document"
upstream = "app"
source = {kind = "poll", every = "50ms", jitter = 0}
auth = "login"

[[route]]
path = "/editors"
name = "editors"
upstream = "app"
source = "sse"
auth = "login"
require = {roles = ["editor"]}

[[route]]
path = "/tasks/{id}"
name = "tasks"
upstream = "app"
auth = "login"
calls = ["POST", "GET"]

[[route]]
path = "/app/{*rest}"
name = "app"
upstream = "app"
auth = "login"

[[route]]
path = "/news"
name = "news"
upstream = "app"
source = "sse"

[[route]]
path = "/open/{*rest}"
name = "open"
upstream = "app"
"#;

/// A path that nothing guards as it is written, and that a backend may read as one that the login guards.
pub const GATE: &str = r#"
[[route]]
path = "/gate/{id}"
upstream = "app"
encoded = ["%2F"]

[[route]]
path = "/gate/{id}/keys"
upstream = "app"
auth = "login"
"#;

pub struct World {
    pub backend: Backend,
    pub proxy: Proxy,
    pub stage: Arc<Stage>,
}

/// What the backend shows.
pub struct Stage {
    /// Events published so far, numbered from 1.
    published: watch::Sender<u64>,
    /// What `/api/me` answers to the cookie `session`: status, type, body; 401 where it is told nothing.
    people: Mutex<Vec<(String, (u16, String))>>,
    /// The status of all answers of `/api/me` instead.
    outage: Mutex<Option<u16>>,
}

impl World {
    /// With the usual policy and routes.
    pub async fn start() -> World {
        World::with("", &[LOGIN, ROUTES].concat()).await
    }

    /// `server` belongs into `[server]`.
    pub async fn with(server: &str, rest: &str) -> World {
        let stage = Arc::new(Stage {
            published: watch::Sender::new(0),
            people: Mutex::default(),
            outage: Mutex::default(),
        });
        let shown = stage.clone();
        let backend = Backend::start(move |request, peer| {
            let stage = shown.clone();
            async move { stage.answer(request, peer).await }
        });
        let backend = backend.await;
        let proxy = Proxy::before(&backend, server, rest).await;
        World {
            backend,
            proxy,
            stage,
        }
    }

    /// Publishes the next event on every stream; its number.
    pub fn publish(&self) -> u64 {
        self.stage.published.send_modify(|count| *count += 1);
        *self.stage.published.borrow()
    }

    pub fn public(&self) -> String {
        format!("http://{}", self.proxy.address)
    }

    /// Asks over a connection of its own; `line` is method and target, fields are as `name: value`.
    pub async fn ask(&self, line: &str, fields: &[&str]) -> Message {
        let mut client = self.proxy.client().await;
        client.ask(line, &lines(fields), "").await
    }

    /// A handshake by hand; for answers that a client library does not show.
    pub async fn shake(&self, target: &str, fields: &[&str]) -> Message {
        asked(&self.proxy, handshake(target, &lines(fields)))
            .await
            .0
    }

    /// An open WebSocket, of the same origin.
    pub async fn open(&self, path: &str, fields: &[&str]) -> Socket {
        self.proxy.open(path, fields).await
    }

    /// An open `crossfade.v1.json`, and its `welcome`.
    pub async fn welcomed(&self, path: &str, fields: &[&str]) -> (Socket, Value) {
        let mut socket = self.open(path, &[&[JSON], fields].concat()).await;
        match socket.next().await {
            Seen::Frame(welcome) if welcome["t"] == "welcome" => (socket, welcome),
            seen => panic!("{path}: {seen:?}"),
        }
    }

    /// `PREFIX/ws` by this token in its first header.
    pub async fn join(&self, token: &str) -> Socket {
        self.welcomed(WS, &[&bearer(token)]).await.0
    }

    /// Asks the admin API.
    pub async fn admin(&self, path: &str) -> Answer {
        get(&self.proxy.handle.admin, path).await
    }

    /// Tells the admin API.
    pub async fn tell(&self, path: &str, body: &Value) -> Answer {
        post(&self.proxy.handle.admin, path, &body.to_string()).await
    }

    /// Requests for this path that the backend has had.
    pub fn asked_for(&self, path: &str) -> Vec<Message> {
        self.backend.asked_for(path)
    }
}

impl Stage {
    /// What `/api/me` says to this session from now on.
    pub fn knows(&self, session: &str, status: u16, body: &str) {
        let mut people = self.people.lock().unwrap();
        people.retain(|(known, _)| known != session);
        people.push((session.to_owned(), (status, body.to_owned())));
    }

    /// What it says to everybody, or no more.
    pub fn fails(&self, status: Option<u16>) {
        *self.outage.lock().unwrap() = status;
    }

    async fn answer(&self, request: Message, peer: Peer) -> Option<Peer> {
        if let Some(key) = request.field("sec-websocket-key") {
            return native(key, peer).await;
        }
        match request.target().split('?').next().unwrap_or_default() {
            "/api/me" => self.tell_who(&request, peer).await,
            "/document" | "/counts" => {
                let json = "content-type: application/json\r\n";
                let document = self.published.borrow().to_string();
                reply(peer, "200 OK", json, &document).await
            }
            "/app/export" => export(peer).await,
            "/app/late" => late(peer).await,
            _ if request.field("accept") == Some("text/event-stream") => {
                let last = request
                    .field("last-event-id")
                    .and_then(|id| id.parse().ok());
                self.stream(last, peer).await
            }
            _ => reply(peer, "200 OK", "", "ok").await,
        }
    }

    async fn tell_who(&self, request: &Message, peer: Peer) -> Option<Peer> {
        let outage = *self.outage.lock().unwrap();
        let cookie = request.field("cookie").unwrap_or_default();
        let session = cookie.strip_prefix("session=").unwrap_or_default();
        let people = self.people.lock().unwrap().clone();
        let known = people.into_iter().find(|(known, _)| known == session);
        let (status, body) = match (outage, known) {
            (Some(status), _) => (status, String::new()),
            (None, Some((_, known))) => known,
            (None, None) => (401, String::new()),
        };
        let kind = match body.starts_with('<') {
            true => "content-type: text/html\r\n",
            false => "content-type: application/json\r\n",
        };
        reply(peer, &format!("{status} Told"), kind, &body).await
    }

    /// Until nobody reads it.
    async fn stream(&self, last: Option<u64>, mut peer: Peer) -> Option<Peer> {
        let mut published = self.published.subscribe();
        let mut sent = last.unwrap_or(*published.borrow());
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        peer.try_send(head).await;
        loop {
            let count = *published.borrow_and_update();
            while sent < count {
                sent += 1;
                let event = format!("id: {sent}\ndata: {{\"n\":{sent}}}\n\n");
                if !peer.try_send(event).await {
                    return None;
                }
            }
            published.changed().await.ok()?;
        }
    }
}

/// A file that takes long.
async fn export(mut peer: Peer) -> Option<Peer> {
    peer.try_send("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")
        .await;
    while peer.try_send([b'x'; 1000]).await {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    None
}

/// No answer, as long as it is waited for.
async fn late(mut peer: Peer) -> Option<Peer> {
    peer.rest().await;
    None
}

/// A backend's own WebSocket: it says one word.
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

pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// A token of the login; these claims in place of its own, `null` takes one out.
pub fn token(changes: Value) -> String {
    let header = encode(json!({"alg": "HS256", "typ": "JWT"}).to_string());
    let signed = format!("{header}.{}", encode(claims(changes).to_string()));
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    format!("{signed}.{}", encode(mac.finalize().into_bytes()))
}

/// A good token's claims, changed.
pub fn claims(changes: Value) -> Value {
    let mut claims = json!({
        "iss": "https://login.test", "aud": "app", "sub": "alice",
        "exp": now() + 3600, "iat": now(),
    });
    let all = claims.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        match value.is_null() {
            true => _ = all.remove(name),
            false => _ = all.insert(name.clone(), value.clone()),
        }
    }
    claims
}

/// A good token of somebody.
pub fn token_of(user: &str) -> String {
    token(json!({ "sub": user }))
}

pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

pub fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}")
}

/// The subprotocols of a JSON client with its token among them.
pub fn item(token: &str) -> String {
    format!("{JSON}, cf.bearer.{}", encode(token))
}

fn lines(fields: &[&str]) -> String {
    fields.iter().map(|field| format!("{field}\r\n")).collect()
}

/// The status and the sentence of a problem document.
pub fn problem(answer: &Message) -> (u16, String, String) {
    let document = answer.json();
    let text = |member: &str| document[member].as_str().unwrap_or_default().to_owned();
    (answer.status(), text("code"), text("detail"))
}

/// The usual world, where a token may come in these places.
pub async fn from(places: &str) -> World {
    let policy = format!("{LOGIN}from = {places}\n");
    World::with("", &[&policy, ROUTES].concat()).await
}
