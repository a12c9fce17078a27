//! A backend that the test answers for by hand, and a subscriber that reports what it got.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use hyper::header::HeaderValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::config::{self, Route};
use crate::event::{Event, EventKind, Position};
use crate::hub::*;
use crate::source;
use crate::telemetry::Telemetry;
use crate::upstream::Upstreams;

/// How long anything that must happen may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A backend and a hub with its route; the route's source, and more of its keys, come as TOML.
pub(crate) struct World {
    backend: TcpListener,
    pub(crate) hub: Hub,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) route: Arc<Route>,
}

impl World {
    pub(crate) async fn new(keys: &str) -> Self {
        let backend = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let telemetry = Arc::new(Telemetry::default());
        let upstreams = Upstreams::new(telemetry.clone());
        let limits = HubLimits {
            memory: 1 << 30,
            topics: 100,
            topics_per_principal: 100,
        };
        let feeds = source::feeds(upstreams, telemetry.clone());
        World {
            route: route(&backend, keys),
            hub: Hub::new(limits, feeds, telemetry.clone()),
            telemetry,
            backend,
        }
    }

    /// A reload that gives the route other keys.
    pub(crate) fn reload(&self, keys: &str) {
        let route = route(&self.backend, keys);
        self.hub.reconcile(std::slice::from_ref(&route));
    }

    pub(crate) fn target(&self, scope: Scope) -> Target {
        Target {
            route: self.route.clone(),
            params: Vec::new(),
            url: "/feed?a=b".into(),
            host: HeaderValue::from_static("app.example"),
            proto: "https",
            vary: Vec::new(),
            scope,
            owner: Default::default(),
        }
    }

    pub(crate) fn join(&self, start: Start) -> Listener {
        let credentials = Credentials::default();
        let scope = Scope::User(credentials.principal());
        self.join_as(self.target(scope), credentials, start)
    }

    pub(crate) fn join_public(&self) -> Listener {
        let target = self.target(Scope::Public);
        self.join_as(target, Credentials::default(), Start::Live)
    }

    pub(crate) fn join_as(
        &self,
        target: Target,
        credentials: Credentials,
        start: Start,
    ) -> Listener {
        let signal = Arc::new(WakeFlag::default());
        let joined = self
            .hub
            .join(Arc::new(target), credentials, start, None, signal.clone());
        let Joined {
            subscriber,
            prelude,
            ..
        } = joined.unwrap();
        Listener {
            subscriber,
            signal,
            waiting: prelude.iter().map(|event| tell(event)).collect(),
        }
    }

    /// The next request that arrives.
    pub(crate) async fn request(&self) -> Exchange {
        let accepting = async {
            let (mut stream, _) = self.backend.accept().await.unwrap();
            let head = read_head(&mut stream).await;
            Exchange { head, stream }
        };
        timeout(PATIENCE, accepting).await.expect("no request came")
    }

    /// Whether no request arrives for so long.
    pub(crate) async fn is_quiet(&self, time: Duration) -> bool {
        timeout(time, self.backend.accept()).await.is_err()
    }

    /// Answers the next request with this text and closes.
    pub(crate) async fn answer(&self, text: &str) -> String {
        let mut exchange = self.request().await;
        exchange.send(text).await;
        exchange.head
    }

    /// Answers the next request with a JSON document and these header lines.
    pub(crate) async fn answer_json(&self, lines: &str, json: &str) -> String {
        let length = json.len();
        self.answer(&format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n{lines}Content-Length: {length}\r\n\r\n{json}"
        ))
        .await
    }

    /// Answers the next request with these bytes of content and these header lines.
    pub(crate) async fn answer_bytes(&self, lines: &str, content: &[u8]) {
        let mut exchange = self.request().await;
        let length = content.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\n{lines}Content-Length: {length}\r\n\r\n"
        );
        exchange.send(&head).await;
        // A body above the limit is not read to its end.
        let _ = exchange.stream.write_all(content).await;
    }

    /// Answers the next request with a status and no body.
    pub(crate) async fn answer_status(&self, status: &str) -> String {
        self.answer(&format!(
            "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        ))
        .await
    }

    /// Begins a stream in answer to the next request.
    pub(crate) async fn stream(&self) -> Exchange {
        let mut exchange = self.request().await;
        exchange
            .send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
            .await;
        exchange
    }
}

fn route(backend: &TcpListener, keys: &str) -> Arc<Route> {
    let address = backend.local_addr().unwrap();
    let text = format!(
        "[upstream.app]\nservers = [\"http://{address}\"]\n[[route]]\nname = \"feed\"\npath = \"/feed\"\nupstream = \"app\"\n{keys}\n"
    );
    let no_file = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
    let loaded = config::parse(&text, "proxy.toml", &|_| None, &no_file).unwrap();
    loaded.config.routes[0].clone()
}

/// One request and its connection. Dropping it closes the connection.
pub(crate) struct Exchange {
    pub(crate) head: String,
    stream: TcpStream,
}

impl Exchange {
    pub(crate) async fn send(&mut self, text: &str) {
        self.send_bytes(text.as_bytes()).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The request's body, of which at least this much must come.
    pub(crate) async fn body(&mut self, length: usize) -> String {
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.unwrap();
        String::from_utf8(body).unwrap()
    }

    /// Waits until the other side closes.
    pub(crate) async fn closed(mut self) {
        let mut rest = Vec::new();
        let closing = self.stream.read_to_end(&mut rest);
        // A reset is as good an end.
        let _ = timeout(PATIENCE, closing).await.expect("still open");
    }
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a whole head"));
    }
    String::from_utf8(head).unwrap()
}

/// The value of a header in a request's head.
pub(crate) fn header(head: &str, name: &str) -> Option<String> {
    let mut lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let (_, value) = lines.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
    Some(value.trim().to_owned())
}

/// A subscriber, and what it got but was not asked for yet.
pub(crate) struct Listener {
    subscriber: Subscriber,
    signal: Arc<WakeFlag>,
    waiting: VecDeque<String>,
}

impl Listener {
    /// The next thing that a client gets: `NAME|ID|DATA`, `snap DATA`, `gap WHY` or `end CODE STATUS`.
    pub(crate) async fn next(&mut self) -> String {
        timeout(PATIENCE, self.entry()).await.expect("nothing came")
    }

    /// The next change of the state that a client gets: `live` or `stale WHY`.
    pub(crate) async fn state(&mut self) -> String {
        timeout(PATIENCE, self.change())
            .await
            .expect("no state was told")
    }

    /// Whether the client has got no other state than the last.
    pub(crate) fn is_steady(&mut self) -> bool {
        self.subscriber.state_change().is_none()
    }

    /// Waits until subscriptions may be answered.
    pub(crate) async fn opened(&mut self) {
        let opening = async {
            while self.subscriber.phase() == Phase::Opening {
                rung(&self.signal).await;
            }
        };
        timeout(PATIENCE, opening).await.expect("nothing opened");
    }

    /// Waits until the stream is open, and cuts it then.
    pub(crate) async fn opened_by(&mut self, stream: Exchange) {
        self.opened().await;
        drop(stream);
    }

    /// Waits until the topic follows its backend, which a new client takes for granted.
    pub(crate) async fn state_is_live(&mut self) {
        let following = async {
            loop {
                self.opened().await;
                match self.subscriber.state_change() {
                    Some(state) if !state.live => rung(&self.signal).await,
                    _ => return,
                }
            }
        };
        timeout(PATIENCE, following).await.expect("not live")
    }

    /// Wants nothing until it resumes.
    pub(crate) fn pause(&mut self) {
        self.subscriber.pause();
    }

    pub(crate) fn resume(&mut self) {
        self.subscriber.resume();
    }

    pub(crate) fn position(&self) -> Position {
        self.subscriber.position()
    }

    async fn entry(&mut self) -> String {
        loop {
            let settled = self.subscriber.settle();
            self.waiting.extend(settled.iter().map(|event| tell(event)));
            let phase = self.subscriber.phase();
            let mut events = Vec::new();
            self.subscriber.read(&mut events, 1000);
            self.waiting.extend(events.iter().map(|event| tell(event)));
            if let Some(told) = self.waiting.pop_front() {
                return told;
            }
            if let Phase::Ended(end) = phase {
                let last = if end.is_final { " final" } else { "" };
                return format!("end {} {}{last}", end.code.as_str(), end.status);
            }
            rung(&self.signal).await;
        }
    }

    async fn change(&mut self) -> String {
        self.opened().await;
        loop {
            match self.subscriber.state_change() {
                None => rung(&self.signal).await,
                Some(state) => match state.why {
                    None => return "live".to_owned(),
                    Some(why) => return format!("stale {why}"),
                },
            }
        }
    }
}

async fn rung(signal: &WakeFlag) {
    poll_fn(|cx| match signal.poll_rung(cx) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    })
    .await;
}

fn tell(event: &Event) -> String {
    let data = String::from_utf8_lossy(event.data.bytes());
    match &event.kind {
        EventKind::Event => format!(
            "{}|{}|{data}",
            event.name.as_deref().unwrap_or("message"),
            event.id.as_deref().unwrap_or("")
        ),
        EventKind::Snapshot => format!("snap {data}"),
        EventKind::Gap { why, .. } => format!("gap {}", why.as_str()),
    }
}

/// What is logged on this thread at `warn` and above, until it is dropped.
pub(crate) struct Log {
    text: Arc<Mutex<Vec<u8>>>,
    _guard: tracing::subscriber::DefaultGuard,
}

impl Log {
    pub(crate) fn listen() -> Log {
        let text: Arc<Mutex<Vec<u8>>> = Arc::default();
        let written = text.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::WARN)
            .with_ansi(false)
            .with_writer(move || Pen(written.clone()))
            .finish();
        Log {
            text,
            _guard: tracing::subscriber::set_default(subscriber),
        }
    }

    /// The lines so far that say this.
    pub(crate) fn lines(&self, what: &str) -> Vec<String> {
        let text = String::from_utf8(self.text.lock().unwrap().clone()).unwrap();
        let lines = text.lines().filter(|line| line.contains(what));
        lines.map(str::to_owned).collect()
    }
}

struct Pen(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Pen {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
