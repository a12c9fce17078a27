//! No user reads what was fetched with another user's credentials: users × routes × scopes, in random order. They renew their
//! credentials, come back as another user, and try positions that they have seen at others'. Feeds tag what they publish
//! with whose credentials they see, and refuse the first client now and then.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;

use super::support::*;
use crate::config::{Auth, AuthKind, Replay, Route, Share};
use crate::error::Code;
use crate::event::{End, Event, Position};
use crate::hub::*;
use crate::policy::auth::Identity;

/// All users with their tenant; the first one has no credentials.
const PEOPLE: [(&str, &str); 6] = [
    ("", ""),
    ("alice", "red"),
    ("bob", "red"),
    ("carol", "blue"),
    ("dave", "blue"),
    ("eve", "green"),
];
const PATHS: [&str; 2] = ["/mine", "/mine?page=2"];
const CLIENTS: usize = 24;

/// Publishes now and then, each time tagged with the user that it read for.
struct Tagging {
    polled: bool,
    seed: u64,
}

impl Feed for Tagging {
    fn run(self: Box<Self>, topic: Publisher) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let mut rng = Rng::with_seed(self.seed);
            let whose = |topic: &Publisher| name(&topic.target().route, &topic.credentials());
            let first = whose(&topic);
            if rng.u8(..) < 16 {
                return topic.end(refused());
            }
            loop {
                let pause = Duration::from_millis(rng.u64(10..200));
                tokio::time::sleep(pause).await;
                let connection = match topic.target().scope {
                    Scope::Connection(number) => number,
                    _ => 0,
                };
                let now = whose(&topic);
                let tag = format!("{first}|{now}|{connection}");
                if rng.u8(..) < 8 {
                    return topic.end(topic::internal());
                }
                // The same few ids everywhere: one topic's mean nothing on another.
                let id = rng.u8(..8).to_string();
                match (self.polled, rng.bool()) {
                    (false, _) => topic.events(vec![draft(&tag, Some(&id))]),
                    (true, true) => topic.document(Bytes::from(tag), DocumentChange::Snapshot),
                    (true, false) => {
                        let events = DocumentChange::Events(vec![draft(&tag, Some(&id))]);
                        topic.document(Bytes::from(tag), events);
                    }
                }
            }
        })
    }
}

/// What of a client's credentials may not be mixed on this route: all of them without a policy, else the user or the tenant.
fn name(route: &Route, credentials: &Credentials) -> String {
    let cookie = credentials.cookie.as_ref();
    let all = cookie.map_or("", |value| value.to_str().unwrap());
    let mut parts = all.split('/');
    let (user, tenant) = (parts.next(), parts.next());
    let kept = match (route.auth.is_empty(), &route.share) {
        (true, _) => Some(all),
        (false, Share::Claims(_)) => tenant,
        (false, Share::Authenticated) => None,
        (false, _) => user,
    };
    kept.unwrap_or_default().to_owned()
}

/// A user, with the token that they have just then.
#[derive(Clone, Copy)]
struct Person {
    user: &'static str,
    tenant: &'static str,
    token: u8,
}

impl Person {
    fn any(rng: &mut Rng) -> Person {
        let (user, tenant) = PEOPLE[rng.usize(..PEOPLE.len())];
        let token = rng.u8(..3);
        Person {
            user,
            tenant,
            token,
        }
    }

    fn credentials(self) -> Credentials {
        match self.user {
            "" => Credentials::default(),
            user => cookie(&format!("{user}/{}/{}", self.tenant, self.token)),
        }
    }

    fn identity(self) -> Identity {
        let claims = serde_json::json!({"sub": self.user, "tenant": self.tenant});
        Identity {
            auth: "auth".into(),
            user: self.user.into(),
            tenant: None,
            roles: Vec::new(),
            claims: claims.as_object().unwrap().clone(),
            expires: None,
            leeway: 0,
            token_id: None,
            issued: None,
            credential: [self.token; 32],
        }
    }
}

/// The backend knows no user by these credentials.
fn refused() -> End {
    End {
        code: Code::Unauthorized,
        status: 401,
        retry_ms: None,
        is_final: false,
    }
}

struct Client {
    subscriber: Subscriber,
    person: Person,
    /// What every event's tag has to be.
    tag: String,
}

/// The first step at which a user read what is not theirs.
fn first_leak(seed: u64, steps: u64, key: fn(&Target) -> TopicKey) -> Option<u64> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(walk(seed, steps, key))
}

async fn walk(seed: u64, steps: u64, key: fn(&Target) -> TopicKey) -> Option<u64> {
    let mut rng = Rng::with_seed(seed);
    let seeds = std::sync::Mutex::new(rng.fork());
    let feeds: Feeds = Box::new(move |target| {
        let polled = target.route.source == Some(poll());
        let seed = seeds.lock().unwrap().u64(..);
        Box::new(Tagging { polled, seed })
    });
    let hub = Hub::with_key(ROOMY, feeds, Arc::default(), key);
    let routes = routes();
    let mut clients: Vec<Option<Client>> = (0..CLIENTS).map(|_| None).collect();
    let mut seen: Vec<Position> = Vec::new();
    let mut read = Vec::new();
    for step in 0..steps {
        let at = rng.usize(..CLIENTS);
        match rng.u8(..10) {
            0 | 1 => {
                let person = Person::any(&mut rng);
                let route = &routes[rng.usize(..routes.len())];
                let (scope, tag) = scope(route, person, step + 1);
                let target = target(route, PATHS[rng.usize(..PATHS.len())], scope);
                let start = start(&mut rng, &seen);
                let signal = Arc::new(WakeFlag::default());
                let joined = hub.join(target, person.credentials(), start, None, signal);
                let joined = joined.expect("far below the caps");
                if !joined.prelude.iter().all(|event| is_own(event, &tag)) {
                    return Some(step);
                }
                let subscriber = joined.subscriber;
                clients[at] = Some(Client {
                    subscriber,
                    person,
                    tag,
                });
            }
            2 => clients[at] = None,
            3 => {
                // A newer token of the same person; only routes that know people take it.
                if let Some(client) = &mut clients[at]
                    && !client.subscriber.target().route.auth.is_empty()
                {
                    client.person.token = rng.u8(..3);
                    client.subscriber.renew(client.person.credentials());
                }
            }
            4 => tokio::time::sleep(Duration::from_millis(4)).await,
            _ => {
                let Some(client) = &mut clients[at] else {
                    continue;
                };
                if !client.subscriber.is_behind() {
                    continue;
                }
                if client.subscriber.read(&mut read, 4) == ReadProgress::Overrun {
                    read.extend(client.subscriber.skip_with_gap());
                }
                for event in read.drain(..) {
                    if !is_own(&event, &client.tag) {
                        return Some(step);
                    }
                    seen.truncate(32);
                    let place = rng.usize(..=seen.len());
                    seen.insert(place, event.position);
                }
            }
        }
    }
    None
}

fn routes() -> Vec<Arc<Route>> {
    let replay = Replay {
        events: 8,
        age: Duration::from_millis(150),
        bytes: 4_096,
    };
    let mut routes = Vec::new();
    let auth = Arc::new(Auth {
        name: "auth".into(),
        kind: AuthKind::ApiKey(Vec::new()),
        from: Vec::new(),
        csrf: None,
        identity: Default::default(),
    });
    let claims = Share::Claims(vec!["tenant".into()]);
    let shares = [
        Share::Public,
        Share::User,
        Share::Connection,
        claims,
        Share::Authenticated,
    ];
    for share in shares {
        for (name, source) in [("stream", sse()), ("list", poll())] {
            let open = route(name, source, share.clone(), replay);
            let guarded = Route {
                name: format!("guarded {name}").into(),
                auth: vec![auth.clone()],
                ..Route::clone(&open)
            };
            if !matches!(share, Share::Claims(_) | Share::Authenticated) {
                routes.push(open);
            }
            routes.push(Arc::new(guarded));
        }
    }
    routes
}

/// The scope as a session makes it, and the tag that this client may see.
fn scope(route: &Route, person: Person, connection: u64) -> (Scope, String) {
    let name = name(route, &person.credentials());
    let tag = |connection: u64| format!("{name}|{name}|{connection}");
    let is_known = !route.auth.is_empty();
    match &route.share {
        Share::Public => (Scope::Public, "||0".into()),
        Share::User if is_known => {
            let principal = Principal(person.identity().principal());
            (Scope::User(principal), tag(0))
        }
        Share::User => (Scope::User(person.credentials().principal()), tag(0)),
        Share::Connection => (Scope::Connection(connection), tag(connection)),
        Share::Claims(claims) => {
            let pool = person.identity().pool(claims).unwrap();
            (Scope::Claims(Principal(pool)), tag(0))
        }
        Share::Authenticated => {
            let admitted = person.identity().admitted();
            (Scope::Authenticated(Principal(admitted)), tag(0))
        }
    }
}

/// Any start, with positions and ids that may be others'.
fn start(rng: &mut Rng, seen: &[Position]) -> Start {
    match (rng.u8(..4), seen.is_empty()) {
        (0, _) | (_, true) => Start::Live,
        (1, _) => Start::LastEventId(rng.u8(..8).to_string().into()),
        (2, _) => Start::Moved(seen[rng.usize(..seen.len())]),
        _ => Start::After(seen[rng.usize(..seen.len())]),
    }
}

fn is_own(event: &Event, tag: &str) -> bool {
    let data = event.data.bytes();
    data.is_empty() || **data == *tag.as_bytes()
}

/// `CROSSFADE_STEPS` asks for more or fewer.
#[test]
fn no_user_reads_what_is_anothers() {
    let steps = std::env::var("CROSSFADE_STEPS").ok();
    let steps = steps.map_or(1_000_000, |steps| steps.parse().unwrap());
    assert_eq!(first_leak(11, steps, TopicKey::of), None);
}

#[test]
fn a_key_without_the_principal_is_noticed() {
    fn careless(target: &Target) -> TopicKey {
        let scope = match target.scope {
            Scope::User(_) => Scope::User(Principal([0; 32])),
            Scope::Claims(_) => Scope::Claims(Principal([0; 32])),
            scope => scope,
        };
        TopicKey::of(&Target {
            scope,
            ..target.clone()
        })
    }
    for seed in 0..20 {
        assert!(first_leak(seed, 1_000, careless).is_some(), "seed {seed}");
    }
}

#[test]
fn a_key_without_the_scope_is_noticed() {
    fn careless(target: &Target) -> TopicKey {
        TopicKey::of(&Target {
            scope: Scope::Public,
            ..target.clone()
        })
    }
    for seed in 0..20 {
        assert!(first_leak(seed, 1_000, careless).is_some(), "seed {seed}");
    }
}

#[test]
fn everything_that_a_source_takes_from_a_client_is_in_the_key() {
    use hyper::header::{HeaderName, HeaderValue};

    let route = route("feed", sse(), Share::User, window(10));
    let scope = |name| Scope::User(cookie(name).principal());
    let base = target(&route, "/feed", scope("alice"));
    let key = TopicKey::of(&base);
    assert_eq!(key, TopicKey::of(&base.clone()));
    let vary = |value| {
        let name = HeaderName::from_static("accept-language");
        vec![(name, HeaderValue::from_static(value))]
    };
    let with = |change: fn(&mut Target)| {
        let mut changed = (*base).clone();
        change(&mut changed);
        changed
    };
    let others = [
        with(|t| t.url = "/feed?x=1".into()),
        with(|t| t.host = HeaderValue::from_static("other.example.com")),
        with(|t| t.proto = "http"),
        Target {
            scope: scope("bob"),
            ..(*base).clone()
        },
        with(|t| t.scope = Scope::Public),
        with(|t| t.scope = Scope::Connection(1)),
        with(|t| t.scope = Scope::Connection(2)),
        Target {
            vary: vary("de"),
            ..(*base).clone()
        },
        Target {
            vary: vary("en"),
            ..(*base).clone()
        },
    ];
    let mut keys: Vec<TopicKey> = others.iter().map(TopicKey::of).collect();
    keys.push(key);
    for (at, one) in keys.iter().enumerate() {
        assert!(!keys[..at].contains(one), "{one:?}");
    }
    // Which cookie and which authorization, and where one ends, makes different principals.
    let both = |cookie: &'static str, authorization: &'static str| {
        let value = |text: &'static str| (!text.is_empty()).then(|| HeaderValue::from_static(text));
        let credentials = Credentials {
            cookie: value(cookie),
            authorization: value(authorization),
            identity: Vec::new(),
        };
        credentials.principal()
    };
    let principals = [
        both("", ""),
        both("ab", ""),
        both("", "ab"),
        both("a", "b"),
        both("b", "a"),
        both("ab", "ab"),
    ];
    for (at, one) in principals.iter().enumerate() {
        assert!(!principals[..at].contains(one));
    }
}
