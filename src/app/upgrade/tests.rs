//! One side is crossfade's, the other is played by the test, so that it can end at any stage.

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderValue;
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::channel::{receive, receive_descriptor, send, send_descriptor};
use super::incoming::Predecessor;
use super::message::{Down, ListenerInfo, PROTOCOL, Up, WINDOWS};
use super::outgoing::{self, ParentState};
use crate::app::{self, Built, Endowment};
use crate::hub::replication::ReplicationMessage;
use crate::hub::{Credentials, Joined, Scope, Start, Target};
use crate::rollout::record::RolloutChange;
use crate::telemetry::Telemetry;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);

const ROUTES: &str = r#"
[upstream.app]
servers = ["http://127.0.0.1:9"]
[rollout.web]
percent = 5
[[route]]
name = "feed"
path = "/feed"
upstream = "app"
source = "sse"
rollout = "web"
"#;

async fn build(folder: &TempDir, endowment: Endowment) -> Built {
    let any = "listen = \"127.0.0.1:0\"";
    let text = format!("[server]\n{any}\n[admin]\n{any}\n{ROUTES}");
    let file = folder.path().join("proxy.toml");
    std::fs::write(&file, text).unwrap();
    let built = app::build(&file, Arc::new(Telemetry::default()), endowment).await;
    built.unwrap_or_else(|error| panic!("{error}"))
}

fn join(built: &Built, scope: Scope, start: Start) -> Result<Joined, crate::error::Refusal> {
    let route = built.shared.in_force.load().config.routes[0].clone();
    let target = Target {
        route,
        params: Vec::new(),
        url: "/feed".into(),
        host: HeaderValue::from_static("a.example"),
        proto: "http",
        vary: Vec::new(),
        scope,
        owner: Default::default(),
    };
    let credentials = Credentials::default();
    let hub = &built.shared.hub;
    hub.join(Arc::new(target), credentials, start, None, Arc::default())
}

fn user() -> Scope {
    Scope::User(Credentials::default().principal())
}

async fn hello(link: &mut UnixStream, windows: u32) -> Down {
    let hello = Up::Hello {
        protocol: PROTOCOL,
        windows,
        version: "9".into(),
        pid: 9,
    };
    send(link, &hello).await.unwrap();
    receive(link).await.unwrap()
}

/// How far a new process comes before it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Silent,
    Nonsense,
    Met,
    Ready,
    Settled,
    Told,
}

/// Plays the new process up to some stage; the news that it heard.
async fn play(mut link: UnixStream, until: Stage, windows: u32) -> Vec<ReplicationMessage> {
    let mut heard = Vec::new();
    if until == Stage::Silent {
        return heard;
    }
    if until == Stage::Nonsense {
        send(&mut link, &"who are you?").await.unwrap();
        return heard;
    }
    let Down::Sockets { listeners, .. } = hello(&mut link, windows).await else {
        panic!("no sockets");
    };
    let keys: Vec<&str> = listeners.iter().map(|one| &*one.key).collect();
    assert_eq!(keys, ["server.listen", "admin.listen"]);
    for _ in 0..=listeners.len() {
        receive_descriptor(&link).await.unwrap();
    }
    if until == Stage::Met {
        return heard;
    }
    send(&mut link, &Up::Ready).await.unwrap();
    loop {
        match receive(&mut link).await.unwrap() {
            Down::Topic { news, .. } => heard.push(news),
            Down::Told if until == Stage::Ready => return heard,
            Down::Told => send(&mut link, &Up::Settled).await.unwrap(),
            Down::Go { .. } => return heard,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn an_old_process_serves_on_wherever_the_new_one_ends() {
    for stage in [
        Stage::Silent,
        Stage::Nonsense,
        Stage::Met,
        Stage::Ready,
        Stage::Settled,
    ] {
        let folder = tempfile::tempdir().unwrap();
        let built = build(&folder, Endowment::default()).await;
        let subscription = join(&built, user(), Start::Live).unwrap();
        let given = built.give();
        let estate = ParentState {
            shared: &built.shared,
            controller: &built.controller,
            given: &given,
        };
        let (here, there) = UnixStream::pair().unwrap();
        let (met, _) = tokio::join!(outgoing::meet(here, &estate), play(there, stage, WINDOWS));
        assert!(met.is_err(), "{stage:?}");
        estate.forget();
        let change = RolloutChange::Kill {
            reason: String::new(),
        };
        let killed = built.controller.change("web", None, change).await;
        assert!(
            killed.is_ok(),
            "{stage:?}: rollouts are this process's again"
        );
        assert!(join(&built, user(), Start::Live).is_ok(), "{stage:?}");
        assert!(
            join(&built, Scope::Public, Start::Live).is_ok(),
            "{stage:?}: a new topic"
        );
        drop(subscription);
    }
}

#[tokio::test]
async fn only_topics_that_another_process_may_have_are_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let built = build(&folder, Endowment::default()).await;
    let _kept = [
        join(&built, user(), Start::Live).unwrap(),
        join(&built, Scope::Public, Start::Live).unwrap(),
        join(&built, Scope::Connection(1), Start::Live).unwrap(),
    ];
    let given = built.give();
    let estate = ParentState {
        shared: &built.shared,
        controller: &built.controller,
        given: &given,
    };
    for (windows, count) in [(WINDOWS, 2), (WINDOWS + 1, 0)] {
        let (here, there) = UnixStream::pair().unwrap();
        let (_, heard) = tokio::join!(
            outgoing::meet(here, &estate),
            play(there, Stage::Told, windows)
        );
        let exist = heard
            .iter()
            .filter(|news| matches!(news, ReplicationMessage::Begin(_)));
        assert_eq!(exist.count(), count);
        estate.forget();
    }
}

/// A new process whose old one sends it this, and is gone.
async fn succeed(
    tale: &[serde_json::Value],
    folder: &TempDir,
    ended: impl Future<Output = ()>,
) -> Result<(app::Handle, Vec<String>), String> {
    let (mut old, new) = UnixStream::pair().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let said = async {
        let hello: Up = receive(&mut old).await.unwrap();
        assert!(matches!(hello, Up::Hello { .. }), "{hello:?}");
        let sockets = Down::Sockets {
            listeners: vec![ListenerInfo {
                key: "server.listen".into(),
                address: "127.0.0.1:0".into(),
                is_lent: false,
            }],
            secret: "c2VjcmV0".into(),
        };
        send(&mut old, &sockets).await.unwrap();
        send_descriptor(&old, std::os::fd::AsFd::as_fd(&io::stderr()))
            .await
            .unwrap();
        send_descriptor(&old, std::os::fd::AsFd::as_fd(&listener))
            .await
            .unwrap();
        // A signal may end the new one before it says anything.
        let Ok(ready) = receive::<Up>(&mut old).await else {
            return;
        };
        assert!(matches!(ready, Up::Ready), "{ready:?}");
        for word in tale {
            send(&mut old, word).await.unwrap();
        }
        drop(old);
    };
    let serves = async {
        let new = new.into_std().unwrap();
        let (predecessor, endowment) = Predecessor::meet(new).await.unwrap();
        assert_eq!(endowment.secret.as_deref(), Some(&b"secret"[..]));
        let built = build(folder, endowment).await;
        predecessor.succeed(built, |_| {}, ended).await
    };
    let (house, ()) = timeout(LONG, async { tokio::join!(serves, said) })
        .await
        .unwrap();
    let house = house?;
    let address = listener.local_addr().unwrap();
    assert_eq!(house.public, [format!("http://{address}")]);
    let topics = house.shared().hub.topics();
    let topics = topics.iter().map(|topic| topic.at.to_string()).collect();
    Ok((house, topics))
}

fn topic(reads: &str, changed: serde_json::Value) -> serde_json::Value {
    let mut topic = serde_json::json!({
        "route": "feed", "reads": reads, "params": [], "url": "/feed", "host": "YS5leGFtcGxl",
        "proto": "http", "vary": [], "scope": "public", "epoch": 35, "resume_id": null,
        "cookie": null, "authorization": null,
    });
    for (name, value) in changed.as_object().unwrap() {
        topic[name] = value.clone();
    }
    serde_json::json!({"t": "topic", "topic": 1, "news": {"exists": topic}})
}

#[tokio::test]
async fn a_new_process_serves_with_what_an_old_one_left_that_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let reads = build(&folder, Endowment::default())
        .await
        .shared
        .in_force
        .load()
        .config
        .routes[0]
        .reads();
    let grown = serde_json::json!({"t": "topic", "topic": 1, "news": {"grown": {
        "first": 41, "window": 41, "stream": {"last_id": "7"},
        "entries": [{"id": "7", "data": "{}", "json": true, "age_ms": 5}],
    }}});
    let words = serde_json::json!({"t": "a word from a version to come", "x": 1});
    let news = serde_json::json!({"t": "topic", "topic": 1, "news": "unheard_of"});
    let whole = topic(&reads, serde_json::json!({}));
    let (house, topics) = succeed(&[words, news, whole, grown], &folder, pending())
        .await
        .unwrap();
    // The old one may have given positions beyond this one, so the next have another epoch.
    let [position] = &*topics else {
        panic!("{topics:?}");
    };
    assert!(position.ends_with("-41") && position != "z-41");
    drop(house);
}

/// A topic is not inherited where the new process's key differs, or where its parts do not fit together.
#[tokio::test]
async fn a_topic_that_does_not_fit_begins_anew() {
    let folder = tempfile::tempdir().unwrap();
    let reads = build(&folder, Endowment::default())
        .await
        .shared
        .in_force
        .load()
        .config
        .routes[0]
        .reads();
    let hash = |byte: u8| {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode([byte; 32])
    };
    for changed in [
        serde_json::json!({"reads": "another"}),
        serde_json::json!({"route": "gone"}),
        serde_json::json!({"proto": "gopher"}),
        serde_json::json!({"host": "not base64!"}),
        serde_json::json!({"scope": {"user": hash(1)}}),
        serde_json::json!({"scope": {"user": "c2hvcnQ="}}),
        serde_json::json!({"cookie": "YT1i"}),
        serde_json::json!({"vary": [["no name", "YQ=="]]}),
        serde_json::json!({"authorization": "DQo="}),
    ] {
        let (_house, topics) = succeed(&[topic(&reads, changed.clone())], &folder, pending())
            .await
            .unwrap();
        assert_eq!(topics, [""; 0], "{changed}");
    }
}

/// The old process hears that the way ends before this one serves, and serves on.
#[tokio::test]
async fn a_new_process_gives_up_what_it_cannot_take_over() {
    let folder = tempfile::tempdir().unwrap();
    let killed =
        r#"{"version":1,"rollouts":{"web":{"percent":5,"file_percent":5,"latch":"frozen"}}}"#;
    for rollouts in ["nonsense", r#"{"version":9,"rollouts":{}}"#, killed] {
        let go = serde_json::json!({"t": "go", "rollouts": rollouts});
        let why = succeed(&[go], &folder, pending()).await.err().unwrap();
        assert!(why.contains("rollouts"), "{why}");
    }
    let why = succeed(&[], &folder, std::future::ready(())).await;
    assert!(why.err().unwrap().contains("signal"));
}
