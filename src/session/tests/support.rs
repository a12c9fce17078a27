//! A test environment: a configuration, feeds that the test drives, and clients on a transport in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use serde_json::Value;
use tokio::io::DuplexStream;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;

use super::memory::{self, Far};
use crate::config;
use crate::event::{Change, ChangeKind, Data, Draft};
use crate::hub::{DocumentChange, Feed, Hub, HubLimits, Publisher};
use crate::policy::auth::Authenticator;
use crate::policy::auth::credential::Extras;
use crate::policy::auth::revocation::Revocations;
use crate::policy::rate_limit::Limiters;
use crate::rollout::change::StageChange;
use crate::rollout::plan::plans;
use crate::rollout::{Stage, StageState, Stages};
use crate::router::{InForce, RouteTable};
use crate::session::accepted::{Accepted, Mode, SingleForm, example};
use crate::session::registry::Sessions;
use crate::session::{Presented, Services, run};
use crate::telemetry::Telemetry;
use crate::transport::Transport;
use crate::transport::websocket::{WebSocketTransport, reader};
use crate::upstream::Upstreams;

/// Longer than anything in these tests; with paused time it costs nothing.
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) struct World {
    pub(crate) shared: Arc<Services>,
    feeds: Receiver<Publisher>,
}

struct Scripted(Sender<Publisher>);

impl Feed for Scripted {
    fn run(
        self: Box<Self>,
        topic: Publisher,
    ) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            self.0.send(topic).await.expect("the test is there");
            std::future::pending().await
        })
    }
}

impl World {
    pub(crate) fn new(file: &str) -> Self {
        let (sender, feeds) = channel(64);
        let telemetry = Arc::new(Telemetry::default());
        let limits = HubLimits {
            memory: 64 << 20,
            topics: 1000,
            topics_per_principal: 100,
        };
        let factory = Box::new(move |_| Box::new(Scripted(sender.clone())) as Box<dyn Feed>);
        let upstreams = Upstreams::new(telemetry.clone());
        let (in_force, revocations) = (in_force(file, 1), Revocations::default());
        let authenticator = Authenticator::new(upstreams.clone(), telemetry.clone(), revocations);
        authenticator.adopt(&in_force.config);
        let limiters = Limiters::default();
        limiters.adopt(&in_force.config.rate_limits);
        let shared = Services {
            in_force: ArcSwap::from_pointee(in_force),
            stages: Arc::default(),
            authenticator: Arc::new(authenticator),
            limiters: Arc::new(limiters),
            handshakes: Default::default(),
            hub: Hub::new(limits, factory, telemetry.clone()),
            upstreams,
            sessions: Sessions::default(),
            connections: Default::default(),
            own_secret: Vec::new(),
            node: "node".into(),
            telemetry,
            draining: AtomicBool::new(false),
            pressure: Default::default(),
        };
        World {
            shared: Arc::new(shared),
            feeds,
        }
    }

    /// The next topic that a client subscribed to first.
    pub(crate) async fn feed(&mut self) -> Publisher {
        let feed = timeout(PATIENCE, self.feeds.recv()).await;
        feed.expect("a topic begins").expect("the hub is there")
    }

    /// Puts another file in force, as a reload does.
    pub(crate) fn reload(&self, file: &str) {
        let generation = self.shared.in_force.load().generation + 1;
        let next = Arc::new(in_force(file, generation));
        self.shared.authenticator.adopt(&next.config);
        self.shared.limiters.adopt(&next.config.rate_limits);
        self.shared.in_force.store(next.clone());
        self.shared.hub.reconcile(&next.config.routes);
        self.shared.sessions.recheck();
    }

    /// The same, at the moment when the sessions have not been notified yet.
    pub(crate) fn reload_unheard(&self, file: &str) {
        let generation = self.shared.in_force.load().generation + 1;
        let next = Arc::new(in_force(file, generation));
        self.shared.in_force.store(next.clone());
        self.shared.hub.reconcile(&next.config.routes);
    }

    /// Puts a rollout into a state, as its controller does.
    pub(crate) fn stage(&self, rollout: &str, percent: u32, state: StageState) {
        let in_force = self.shared.in_force.load();
        let plan = &plans(&in_force.config)[rollout];
        let mut stages = Stages::clone(&self.shared.stages.load());
        let after = Stage { percent, state };
        let before = stages.insert(rollout.into(), after.clone());
        self.shared.stages.store(Arc::new(stages));
        self.shared.sessions.follow_stages(&[StageChange {
            plan: plan.clone(),
            before: before.unwrap_or_else(|| Stage::planned(&plan.rollout)),
            after,
        }]);
    }

    pub(crate) fn connect(&self, opening: Accepted) -> impl Future<Output = Client> {
        self.connect_narrow(opening, 1 << 20)
    }

    /// To a client that leaves so many bytes unread, and takes no more.
    pub(crate) async fn connect_narrow(&self, opening: Accepted, room: usize) -> Client {
        self.connect_judged_by(self.shared.in_force.load_full(), opening, room)
            .await
    }

    /// Where the handshake was judged by this configuration.
    pub(crate) async fn connect_judged_by(
        &self,
        in_force: Arc<InForce>,
        opening: Accepted,
        room: usize,
    ) -> Client {
        let (transport, far) = memory::pair(room);
        let shared = self.shared.clone();
        let session = run(transport, opening, in_force, shared);
        tokio::spawn(calm(session));
        Client::on(far)
    }

    /// A client whose session counts how often it is woken.
    pub(crate) async fn connect_counted(&self, opening: Accepted) -> (Client, Arc<AtomicUsize>) {
        let (transport, far) = memory::pair(1 << 20);
        let in_force = self.shared.in_force.load_full();
        let mut session = Box::pin(run(transport, opening, in_force, self.shared.clone()));
        let looks = Arc::new(AtomicUsize::new(0));
        let count = looks.clone();
        tokio::spawn(std::future::poll_fn(move |cx| {
            count.fetch_add(1, Ordering::Relaxed);
            session.as_mut().poll(cx)
        }));
        (Client::on(far), looks)
    }

    /// A handshake on a bridged route's own path, as it is judged now.
    pub(crate) fn single(&self, url: &str, form: SingleForm) -> Accepted {
        let path = url.split('?').next().unwrap_or(url);
        let routes = &self.shared.in_force.load().routes;
        let found = routes.find("app.example", &hyper::Method::GET, path);
        Accepted {
            mode: Mode::Single {
                found: found.expect("a route"),
                url: url.into(),
                after: None,
                last_event_id: None,
                form,
            },
            ..example()
        }
    }

    /// A client of the multiplexed connection that has read its `welcome`.
    pub(crate) async fn join(&self) -> Client {
        let mut client = self.connect(example()).await;
        let welcome = client.read().await;
        assert_eq!(welcome["t"], "welcome", "{welcome}");
        client
    }
}

/// A WebSocket over one end of a pipe.
pub(crate) fn over(near: DuplexStream) -> Box<dyn Transport> {
    over_behind(near, b"")
}

/// The same, with bytes that came right behind the handshake.
pub(crate) fn over_behind(near: DuplexStream, leftover: &[u8]) -> Box<dyn Transport> {
    Box::new(WebSocketTransport::new(
        near,
        reader::MessageLimits::of(1 << 20),
        leftover,
    ))
}

/// Times that a session may look for work at one instant.
const LOOKS: u32 = 20_000;

/// Ends a session that looks for work again and again while no time passes.
async fn calm(session: impl Future<Output = ()>) {
    let mut session = std::pin::pin!(session);
    let (mut at, mut looks) = (Instant::now(), 0);
    std::future::poll_fn(|cx| {
        let now = Instant::now();
        looks = if at == now { looks + 1 } else { 0 };
        at = now;
        assert!(looks < LOOKS, "it spins");
        session.as_mut().poll(cx)
    })
    .await;
}

fn in_force(file: &str, generation: u64) -> InForce {
    let loaded = config::parse(file, "proxy.toml", &|_| None, &|_| {
        Err(std::io::ErrorKind::NotFound.into())
    });
    let config = loaded.expect("a valid file").config;
    InForce {
        generation,
        routes: RouteTable::new(&config.routes),
        config: Arc::new(config),
    }
}

pub(crate) struct Client {
    far: Far,
}

impl Client {
    /// At the far end of a connection.
    pub(crate) fn on(far: Far) -> Client {
        Client { far }
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.far.send(Message::text(text));
    }

    pub(crate) async fn send_message(&mut self, message: Message) {
        self.far.send(message);
    }

    /// The next text message.
    pub(crate) async fn read_text(&mut self) -> String {
        loop {
            match self.next().await {
                Message::Text(text) => return text.to_string(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("instead of a text: {other:?}"),
            }
        }
    }

    /// The next frame that is no heartbeat.
    pub(crate) async fn read(&mut self) -> Value {
        loop {
            let text = self.read_text().await;
            let frame: Value = serde_json::from_str(&text).expect("JSON");
            if frame["t"] != "ping" {
                return frame;
            }
        }
    }

    /// The code and reason that the connection is closed with; frames before it are passed over.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        loop {
            if let Message::Close(frame) = self.next().await {
                let frame = frame.expect("a code");
                return (frame.code.into(), frame.reason.to_string());
            }
        }
    }

    pub(crate) async fn next(&mut self) -> Message {
        let next = timeout(PATIENCE, self.far.next()).await;
        next.expect("in time").expect("not the end")
    }

    /// That nothing but heartbeats comes for a while.
    pub(crate) async fn stays_silent(&mut self) {
        let word = timeout(Duration::from_secs(2), self.read()).await;
        assert!(word.is_err(), "{word:?}");
    }

    /// Subscribes, and drives the new topic with `begin` so that it is answered.
    pub(crate) async fn subscribe(
        &mut self,
        world: &mut World,
        path: &str,
        begin: impl FnOnce(&Publisher),
    ) -> (Publisher, Value) {
        self.send(&format!(r#"{{"t":"sub","id":1,"path":"{path}"}}"#))
            .await;
        let feed = world.feed().await;
        begin(&feed);
        let ok = self.read().await;
        assert_eq!(ok["t"], "ok", "{ok}");
        (feed, ok)
    }
}

/// What a handshake with this cookie, and this `cf.bearer.` item, presents.
pub(crate) fn presented(cookie: &str, bearer: Option<&str>) -> Presented {
    let mut headers = hyper::HeaderMap::new();
    headers.insert(hyper::header::COOKIE, cookie.parse().expect("a value"));
    let extras = Extras {
        subprotocol: bearer.map(str::to_owned),
        ..Extras::default()
    };
    Presented::take(&mut headers, extras, std::iter::empty())
}

/// An event; what happened to an item where it is called like that.
pub(crate) fn event(name: &str, id: &str, data: &str) -> Draft {
    let mut kinds = ChangeKind::ALL.into_iter();
    let change = kinds.find(|kind| kind.as_str() == name);
    Draft {
        name: (!name.is_empty()).then(|| name.into()),
        id: (!id.is_empty()).then(|| id.into()),
        has_own_id: !id.is_empty(),
        data: Data::classify(Bytes::copy_from_slice(data.as_bytes())),
        change: change.map(|kind| Change { kind, before: None }),
    }
}

/// The first document of a polled topic.
pub(crate) fn first_document(feed: &Publisher, document: &str) {
    feed.opened();
    let document = Bytes::copy_from_slice(document.as_bytes());
    feed.document(document, DocumentChange::Snapshot);
}

/// A later one, with what is emitted for it.
pub(crate) fn document(feed: &Publisher, document: &str, events: Vec<Draft>) {
    let document = Bytes::copy_from_slice(document.as_bytes());
    feed.document(document, DocumentChange::Events(events));
}
