//! A hub whose feeds hand their publishers over and then wait, so that a test plays the backend.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use hyper::header::HeaderValue;

use crate::config::{self, Authority, Emit, Replay, Route, Source};
use crate::event::{Data, Draft, Event, EventKind, FLAT_WEIGHT, Position};
use crate::hub::history::entries::OVERHEAD;
use crate::hub::*;

/// Bytes of memory that an entry with one byte of data takes.
pub(crate) const ENTRY: usize = FLAT_WEIGHT + 1 + OVERHEAD;

pub(crate) const ROOMY: HubLimits = HubLimits {
    memory: 1 << 30,
    topics: 10_000,
    topics_per_principal: 1_000,
};

/// A hub and the publishers of the feeds that it has started, in order.
pub(crate) struct World {
    pub(crate) hub: Hub,
    pub(crate) telemetry: Arc<Telemetry>,
    started: Started,
    running: Arc<()>,
}

type Started = Arc<Mutex<Vec<Publisher>>>;

impl World {
    pub(crate) fn new(limits: HubLimits) -> Self {
        Self::with_key(limits, TopicKey::of)
    }

    pub(crate) fn with_key(limits: HubLimits, key: fn(&Target) -> TopicKey) -> Self {
        let started = Started::default();
        let shelf = started.clone();
        let telemetry = Arc::new(Telemetry::default());
        let running = Arc::new(());
        let token = running.clone();
        let feeds: Feeds = Box::new(move |_| {
            let running = token.clone();
            let started = shelf.clone();
            Box::new(HandOver { started, running })
        });
        World {
            hub: Hub::with_key(limits, feeds, telemetry.clone(), key),
            telemetry,
            started,
            running,
        }
    }

    /// Feeds that have been started and not stopped, once every spawned task has had its turn.
    pub(crate) async fn running(&self) -> usize {
        settle().await;
        // One is ours, one is the factory's.
        Arc::strong_count(&self.running) - 2
    }

    /// Feeds started so far.
    pub(crate) fn feeds(&self) -> usize {
        self.started.lock().unwrap().len()
    }

    /// The same, once every spawned task has had its turn.
    pub(crate) async fn feeds_now(&self) -> usize {
        settle().await;
        self.feeds()
    }

    /// Lets go of the publishers, so that topics that are over are really gone.
    pub(crate) fn forget_feeds(&self) {
        self.started.lock().unwrap().clear();
    }

    /// The publisher of the newest feed, once every spawned task has had its turn.
    pub(crate) async fn feed(&self) -> Publisher {
        settle().await;
        self.started.lock().unwrap().last().unwrap().clone()
    }

    pub(crate) fn join(&self, target: &Arc<Target>, start: Start) -> Joined {
        self.join_as(target, Credentials::default(), start).unwrap()
    }

    pub(crate) fn join_as(
        &self,
        target: &Arc<Target>,
        credentials: Credentials,
        start: Start,
    ) -> Result<Joined, Refusal> {
        let signal = Arc::new(WakeFlag::default());
        self.hub
            .join(target.clone(), credentials, start, None, signal)
    }
}

struct HandOver {
    started: Started,
    running: Arc<()>,
}

impl Feed for HandOver {
    fn run(self: Box<Self>, topic: Publisher) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.started.lock().unwrap().push(topic);
        Box::pin(async move {
            std::future::pending::<()>().await;
            drop(self.running);
        })
    }
}

/// How many walks through a model; `PROPTEST_CASES` asks for more.
pub(crate) fn walks(usual: u64) -> u64 {
    let asked = std::env::var("PROPTEST_CASES").ok();
    asked.and_then(|cases| cases.parse().ok()).unwrap_or(usual)
}

/// Gives every spawned task its turn: paused time moves only when all of them wait.
pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

pub(crate) fn sse() -> Source {
    Source::Sse(config::Sse {
        idle_timeout: Duration::from_secs(60),
        events: Default::default(),
        final_events: Vec::new(),
        join: config::Join::Auto,
    })
}

pub(crate) fn poll() -> Source {
    let name = |name: &str| -> Arc<str> { name.into() };
    Source::Poll(config::Poll {
        every: Duration::from_secs(1),
        adaptive: None,
        jitter: 10.0,
        method: Method::GET,
        body: None,
        emit: Emit::Document,
        items: String::new(),
        key: "/id".into(),
        ignore: Vec::new(),
        events: config::ChangeNames {
            created: name("created"),
            updated: name("updated"),
            deleted: name("deleted"),
            snapshot: "snapshot".into(),
        },
        mass_delete_guard: 50.0,
        max_body: 8 << 20,
    })
}

pub(crate) fn route(
    name: &str,
    source: Source,
    share: config::Share,
    replay: Replay,
) -> Arc<Route> {
    Arc::new(Route {
        name: name.into(),
        index: 0,
        path: format!("/{name}"),
        host: None,
        methods: Vec::new(),
        upstream: Arc::new(config::Upstream {
            name: "app".into(),
            servers: vec![Authority {
                address: "127.0.0.1:1".into(),
                is_https: false,
            }],
            host: None,
            connect_timeout: Duration::from_secs(3),
            response_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            http2: false,
            tls: crate::config::Trust::default(),
            keepalive: 1,
            balance: Default::default(),
            health: None,
            budget: Default::default(),
            connection_auth: Default::default(),
        }),
        source: Some(source),
        share,
        accept: Vec::new(),
        vary: Vec::new(),
        ignore_query: Vec::new(),
        auth: Vec::new(),
        encoded: Vec::new(),
        require: None,
        cors: None,
        rate_limit: None,
        rollout: None,
        replay,
        slow: config::Slow::Close,
        deliver: None,
        calls: None,
        filter: Vec::new(),
        refresh_on: Vec::new(),
        wrap: None,
        read: Default::default(),
        fields: Default::default(),
    })
}

pub(crate) fn target(route: &Arc<Route>, url: &str, scope: Scope) -> Arc<Target> {
    Arc::new(Target {
        route: route.clone(),
        params: Vec::new(),
        url: url.into(),
        host: HeaderValue::from_static("app.example.com"),
        proto: "https",
        vary: Vec::new(),
        scope,
        owner: match scope {
            Scope::User(Principal(hash))
            | Scope::Claims(Principal(hash))
            | Scope::Authenticated(Principal(hash)) => {
                Owner([1, u64::from_be_bytes(hash[..8].try_into().unwrap())])
            }
            Scope::Public | Scope::Connection(_) => Owner::UNKNOWN,
        },
    })
}

/// A public target on a route with this window.
pub(crate) fn public(source: Source, replay: Replay) -> Arc<Target> {
    let route = route("feed", source, config::Share::Public, replay);
    target(&route, "/feed", Scope::Public)
}

pub(crate) fn window(events: usize) -> Replay {
    Replay {
        events,
        age: Duration::from_secs(60),
        bytes: 4 << 20,
    }
}

pub(crate) fn cookie(value: &str) -> Credentials {
    Credentials {
        cookie: Some(HeaderValue::from_str(value).unwrap()),
        authorization: None,
        identity: Vec::new(),
    }
}

/// A draft with this text, and this id where there is one.
pub(crate) fn draft(text: &str, id: Option<&str>) -> Draft {
    Draft {
        name: None,
        id: id.map(Into::into),
        has_own_id: id.is_some(),
        data: Data::Text(Bytes::copy_from_slice(text.as_bytes())),
        change: None,
    }
}

/// Publishes each text as one publish.
pub(crate) fn publish(feed: &Publisher, texts: &[&str]) {
    for text in texts {
        feed.events(vec![draft(text, None)]);
    }
}

/// What an entry says, short: `5:text`, `5=document`, `2>5 slow` for a gap.
pub(crate) fn short(event: &Arc<Event>) -> String {
    let offset = event.position.offset;
    let text = String::from_utf8_lossy(event.data.bytes());
    match &event.kind {
        EventKind::Event => format!("{offset}:{text}"),
        EventKind::Snapshot => format!("{offset}={text}"),
        EventKind::Gap { from, why } => format!("{}>{offset} {}", from.offset, why.as_str()),
    }
}

pub(crate) fn shorts(events: &[Arc<Event>]) -> Vec<String> {
    events.iter().map(short).collect()
}

/// Everything that waits, short.
pub(crate) fn read(subscriber: &mut Subscriber) -> Vec<String> {
    let mut out = Vec::new();
    let progress = subscriber.read(&mut out, usize::MAX);
    assert_eq!(progress, ReadProgress::CaughtUp);
    shorts(&out)
}

/// This offset in the subscriber's epoch.
pub(crate) fn at(subscriber: &Subscriber, offset: u64) -> Position {
    Position {
        offset,
        ..subscriber.position()
    }
}
