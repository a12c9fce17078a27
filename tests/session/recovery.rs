//! Clients of Socket.IO that come back to their session after a cut.

use serde_json::Value;

use crate::harness::auth::{jwt, token, token_of};
use crate::harness::builder::Builder;
use crate::harness::socket::Socket;
use crate::harness::{Proxy, proxy};

const NAMESPACE: &str = r#"
[socketio]

[[socketio.namespace]]
name = "/"
subscribe = ["/ids"]

[[socketio.namespace.on]]
event = "join"
subscribe = "/{name}"

[[socketio.namespace.on]]
event = "leave"
unsubscribe = "/{name}"
"#;

fn app() -> Builder {
    proxy().sse("/ids").sse("/more").toml(NAMESPACE)
}

/// What a CONNECT was answered.
struct Session {
    sid: String,
    pid: String,
}

/// Joins with this CONNECT payload.
async fn join(socket: &mut Socket, payload: &str) -> Session {
    socket.say(&format!("40{payload}")).await;
    session(&socket.text().await.unwrap())
}

fn session(text: &str) -> Session {
    let answer: Value = serde_json::from_str(text.strip_prefix("40").expect(text)).unwrap();
    let of = |name: &str| answer[name].as_str().expect(text).to_owned();
    Session {
        sid: of("sid"),
        pid: of("pid"),
    }
}

/// The next event: its data, and its position.
async fn event(socket: &mut Socket) -> (Value, String) {
    let text = socket.text().await.unwrap();
    let event: Value = serde_json::from_str(text.strip_prefix("42").expect(&text)).unwrap();
    (
        event[1].clone(),
        event[2].as_str().unwrap_or_default().to_owned(),
    )
}

fn back(session: &Session, offset: &str) -> String {
    serde_json::json!({ "pid": session.pid, "offset": offset }).to_string()
}

impl Proxy {
    /// A client that has read the first event.
    async fn reader(&self) -> (Socket, Session, String) {
        let mut socket = self.engine().await;
        let session = join(&mut socket, "").await;
        self.app().backend.reached(1).await;
        self.app().publish();
        let (_, offset) = event(&mut socket).await;
        (socket, session, offset)
    }
}

#[tokio::test]
async fn client_that_comes_back_gets_what_it_has_missed() {
    let proxy = app().start().await;
    let (socket, before, offset) = proxy.reader().await;
    drop(socket);
    for _ in 0..3 {
        proxy.app().publish();
    }
    let mut socket = proxy.engine().await;
    let now = join(&mut socket, &back(&before, &offset)).await;
    assert_eq!((&now.sid, &now.pid), (&before.sid, &before.pid));
    let mut last = String::new();
    for n in 2..=4 {
        let (data, position) = event(&mut socket).await;
        assert_eq!(data["n"], n);
        last = position;
    }
    // Once more, without a new event, and then with one.
    for n in 5..=6 {
        drop(socket);
        proxy.app().publish();
        socket = proxy.engine().await;
        let now = join(&mut socket, &back(&before, &last)).await;
        assert_eq!(now.pid, before.pid);
        let (data, position) = event(&mut socket).await;
        assert_eq!(data["n"], n);
        last = position;
    }
}

#[tokio::test]
async fn connection_that_is_lost_unnoticed_gives_way() {
    let proxy = app().start().await;
    let (mut lost, before, offset) = proxy.reader().await;
    let mut socket = proxy.engine().await;
    let now = join(&mut socket, &back(&before, &offset)).await;
    assert_eq!(now.pid, before.pid);
    assert_eq!(lost.text().await, Err(4108));
    proxy.app().publish();
    assert_eq!(event(&mut socket).await.0["n"], 2);
}

#[tokio::test]
async fn client_that_polls_comes_back() {
    let proxy = app().start().await;
    let sid = proxy.polling().await;
    assert_eq!(proxy.post(&sid, "40").await, 200);
    let before = session(&proxy.poll(&sid).await);
    proxy.app().backend.reached(1).await;
    proxy.app().publish();
    let polled = proxy.poll(&sid).await;
    let event: Value = serde_json::from_str(&polled[2..]).unwrap();
    let offset = event[2].as_str().unwrap();
    proxy.app().publish();
    let again = proxy.polling().await;
    let connect = format!("40{}", back(&before, offset));
    assert_eq!(proxy.post(&again, &connect).await, 200);
    let mut seen = proxy.poll(&again).await;
    if !seen.contains("\u{1e}") {
        seen = seen + "\u{1e}" + &proxy.poll(&again).await;
    }
    let (connected, event) = seen.split_once('\u{1e}').unwrap();
    assert_eq!(session(connected).pid, before.pid);
    assert!(event.starts_with(r#"42["message",{"n":2},""#), "{event}");
}

#[tokio::test]
async fn one_position_tells_how_far_every_subscription_is() {
    let proxy = app().start().await;
    let (mut socket, before, _) = proxy.reader().await;
    socket.say(r#"421["join",{"name":"more"}]"#).await;
    assert_eq!(socket.text().await.unwrap(), r#"431[{"status":200}]"#);
    proxy.app().backend.reached(2).await;
    // Both streams say every number: each comes twice.
    proxy.app().publish();
    let mut offsets = Vec::new();
    for _ in 0..2 {
        offsets.push(event(&mut socket).await.1);
    }
    drop(socket);
    proxy.app().publish();
    let mut socket = proxy.engine().await;
    let now = join(&mut socket, &back(&before, &offsets[0])).await;
    assert_eq!(now.pid, before.pid);
    let mut numbers = Vec::new();
    for _ in 0..3 {
        numbers.push(event(&mut socket).await.0["n"].as_u64().unwrap());
    }
    numbers.sort_unstable();
    assert_eq!(numbers, [2, 3, 3]);
}

#[tokio::test]
async fn session_that_is_unknown_begins_anew_with_a_gap() {
    let proxy = app().start().await;
    let (socket, before, offset) = proxy.reader().await;
    drop(socket);
    let unknown = Session {
        sid: String::new(),
        pid: "0".repeat(32),
    };
    for (name, session, offset) in [
        ("unknown", &unknown, offset.as_str()),
        ("no position", &before, "zz-1"),
    ] {
        let mut socket = proxy.engine().await;
        let now = join(&mut socket, &back(session, offset)).await;
        assert!(now.pid != before.pid && now.sid != before.sid, "{name}");
        let gap = socket.text().await.unwrap();
        assert!(
            gap.starts_with(r#"42["crossfade:gap",{"path":"/ids","from":""#),
            "{name}: {gap}"
        );
        proxy.app().publish();
        assert!(!event(&mut socket).await.1.is_empty(), "{name}");
    }
}

#[tokio::test]
async fn session_of_another_user_is_not_found() {
    let policy = jwt();
    let file = NAMESPACE.replace(
        "name = \"/\"",
        &format!("name = \"/\"\nauth = \"{}\"", policy.name),
    );
    let proxy = proxy().sse("/ids").sse("/more").auth(policy).toml(&file);
    let proxy = proxy.start().await;
    let mut socket = proxy.engine().await;
    let alice = format!(r#"{{"token":"{}"}}"#, token_of("alice"));
    let before = join(&mut socket, &alice).await;
    proxy.app().backend.reached(1).await;
    proxy.app().publish();
    let (_, offset) = event(&mut socket).await;
    drop(socket);
    for (user, is_same) in [("bob", false), ("alice", true)] {
        let payload = serde_json::json!({
            "token": token_of(user), "pid": before.pid, "offset": offset,
        });
        let mut socket = proxy.engine().await;
        let now = join(&mut socket, &payload.to_string()).await;
        assert_eq!(now.pid == before.pid, is_same, "{user}");
    }
}

#[tokio::test]
async fn client_that_has_left_does_not_come_back() {
    let proxy = app().start().await;
    let (mut socket, before, offset) = proxy.reader().await;
    socket.say("41").await;
    socket.say(&format!("40{}", back(&before, &offset))).await;
    let now = session(&socket.text().await.unwrap());
    assert_ne!(now.pid, before.pid);
}

#[tokio::test]
async fn namespace_without_recovery_has_no_positions() {
    let file = NAMESPACE.replacen("[socketio]", "[socketio]\nrecovery = false", 1);
    let proxy = proxy().sse("/ids").sse("/more").toml(&file).start().await;
    let mut socket = proxy.engine().await;
    socket.say(r#"40{"pid":"x","offset":"y"}"#).await;
    let joined = socket.text().await.unwrap();
    assert!(
        joined.starts_with(r#"40{"sid":"#) && !joined.contains("pid"),
        "{joined}"
    );
    proxy.app().backend.reached(1).await;
    proxy.app().publish();
    assert_eq!(socket.text().await.unwrap(), r#"42["message",{"n":1}]"#);
}

#[tokio::test]
async fn stream_that_was_left_does_not_come_back() {
    let proxy = app().start().await;
    let (mut socket, before, offset) = proxy.reader().await;
    socket.say(r#"421["leave",{"name":"ids"}]"#).await;
    assert_eq!(socket.text().await.unwrap(), r#"431[{"status":200}]"#);
    drop(socket);
    let mut socket = proxy.engine().await;
    let now = join(&mut socket, &back(&before, &offset)).await;
    assert_eq!(now.pid, before.pid);
    proxy.app().publish();
    socket.say(r#"422["join",{"name":"more"}]"#).await;
    assert_eq!(socket.text().await.unwrap(), r#"432[{"status":200}]"#);
}

#[tokio::test]
async fn rule_of_a_subscription_is_judged_anew() {
    let policy = jwt();
    let file = format!(
        r#"
[socketio]
auth = "{}"

[[socketio.namespace]]
name = "/"

[[socketio.namespace.on]]
event = "join"
subscribe = "/{{name}}"
require = {{roles = ["editor"]}}
"#,
        policy.name
    );
    let policy = policy.line("identity = {roles = \"roles\"}");
    let proxy = proxy().sse("/ids").auth(policy).toml(&file).start().await;
    let with = |roles: &[&str]| token(serde_json::json!({ "sub": "alice", "roles": roles }));
    let editor = serde_json::json!({ "token": with(&["editor"]) });
    let mut socket = proxy.engine().await;
    let before = join(&mut socket, &editor.to_string()).await;
    socket.say(r#"421["join",{"name":"ids"}]"#).await;
    assert_eq!(socket.text().await.unwrap(), r#"431[{"status":200}]"#);
    proxy.app().backend.reached(1).await;
    proxy.app().publish();
    let (_, offset) = event(&mut socket).await;
    for (roles, is_same) in [(&["editor", "more"][..], true), (&["reader"], false)] {
        drop(socket);
        let payload = serde_json::json!({
            "token": with(roles), "pid": before.pid, "offset": offset,
        });
        socket = proxy.engine().await;
        let now = join(&mut socket, &payload.to_string()).await;
        assert_eq!(now.pid == before.pid, is_same, "{roles:?}");
    }
}
