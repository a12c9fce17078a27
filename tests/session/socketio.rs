//! Socket.IO before a backend that knows event streams only.

use serde_json::{Value, json};

use crate::harness::auth::{jwt, token_of};
use crate::harness::backend::reply;
use crate::harness::builder::Builder;
use crate::harness::socket::Socket;
use crate::harness::{Proxy, proxy};

const NAMESPACE: &str = r#"
[socketio]
recovery = false

[[socketio.namespace]]
name = "/"
greet = {event = "connected", body = {status = "ok"}}

[[socketio.namespace.on]]
event = "join"
subscribe = "/{name}"

[[socketio.namespace.on]]
event = "leave"
unsubscribe = "/{name}"
"#;

pub(super) fn app() -> Builder {
    proxy().sse("/ids").toml(NAMESPACE)
}

impl Proxy {
    /// A client over WebSocket that has read the handshake.
    pub async fn engine(&self) -> Socket {
        let mut socket = self
            .open("/socket.io/?EIO=4&transport=websocket", &[])
            .await;
        let open = socket.text().await.unwrap();
        assert!(open.starts_with(r#"0{"sid":""#), "{open}");
        socket
    }

    /// The sid of a client that polls.
    pub async fn polling(&self) -> String {
        let answer = self
            .ask("GET /socket.io/?EIO=4&transport=polling", &[])
            .await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
        let open: Value = serde_json::from_str(&answer.text()[1..]).unwrap();
        assert_eq!(open["upgrades"], json!(["websocket"]));
        open["sid"].as_str().unwrap().to_owned()
    }

    pub async fn poll(&self, sid: &str) -> String {
        let line = format!("GET /socket.io/?EIO=4&transport=polling&sid={sid}");
        let answer = self.ask(&line, &[]).await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
        answer.text()
    }

    pub async fn post(&self, sid: &str, packets: &str) -> u16 {
        let line = format!("POST /socket.io/?EIO=4&transport=polling&sid={sid}");
        let mut client = self.client().await;
        client.ask(&line, "", packets).await.status()
    }
}

/// The next message, whose namespace's ids are random.
async fn connected(socket: &mut Socket) {
    let text = socket.text().await.unwrap();
    assert!(text.starts_with(r#"40{"sid":""#), "{text}");
    assert_eq!(
        socket.text().await.unwrap(),
        r#"42["connected",{"status":"ok"}]"#
    );
}

#[tokio::test]
async fn client_joins_a_stream_by_an_event_and_leaves_it() {
    let proxy = app().start().await;
    let mut socket = proxy.engine().await;
    socket.say("40").await;
    connected(&mut socket).await;
    socket.say(r#"421["join",{"name":"ids"}]"#).await;
    assert_eq!(socket.text().await.unwrap(), r#"431[{"status":200}]"#);
    proxy.app().publish();
    assert_eq!(socket.text().await.unwrap(), r#"42["message",{"n":1}]"#);
    socket.say(r#"422["leave",{"name":"ids"}]"#).await;
    assert_eq!(socket.text().await.unwrap(), r#"432[{"status":200}]"#);
    proxy.app().publish();
    // Nothing comes of that, and to leave once more changes nothing.
    socket.say(r#"423["leave",{"name":"ids"}]"#).await;
    assert_eq!(socket.text().await.unwrap(), r#"433[{"status":200}]"#);
}

#[tokio::test]
async fn client_that_polls_gets_the_same_packets() {
    let proxy = app().start().await;
    let sid = proxy.polling().await;
    assert_eq!(proxy.post(&sid, "40").await, 200);
    let mut seen = proxy.poll(&sid).await;
    while !seen.contains("connected") {
        seen += &proxy.poll(&sid).await;
    }
    assert_eq!(
        proxy.post(&sid, "421[\"join\",{\"name\":\"ids\"}]").await,
        200
    );
    assert_eq!(proxy.poll(&sid).await, r#"431[{"status":200}]"#);
    proxy.app().publish();
    assert_eq!(proxy.poll(&sid).await, r#"42["message",{"n":1}]"#);
}

#[tokio::test]
async fn event_without_a_rule_is_answered_not_found() {
    let proxy = app().start().await;
    let mut socket = proxy.engine().await;
    socket.say("40").await;
    connected(&mut socket).await;
    socket.say(r#"420["nothing"]"#).await;
    let answer = socket.text().await.unwrap();
    assert!(
        answer.starts_with(r#"430[{"status":404,"error":{"code":"not_found""#),
        "{answer}"
    );
}

#[tokio::test]
async fn namespace_that_is_none_is_invalid_and_others_go_on() {
    let proxy = app().start().await;
    let mut socket = proxy.engine().await;
    socket.say("40/none,").await;
    assert_eq!(
        socket.text().await.unwrap(),
        r#"44/none,{"message":"Invalid namespace"}"#
    );
    socket.say("40").await;
    connected(&mut socket).await;
}

#[tokio::test]
async fn namespace_with_a_policy_lets_its_users_in_alone() {
    let policy = jwt();
    let admin = r#"
[[socketio.namespace]]
name = "/admin"
auth = "jwt"

[[socketio.namespace.on]]
event = "join"
subscribe = "/ids"
"#;
    let admin = admin.replace("\"jwt\"", &format!("\"{}\"", policy.name));
    let proxy = app().auth(policy).toml(&admin).start().await;
    let mut socket = proxy.engine().await;
    socket.say("40/admin,").await;
    let refused = socket.text().await.unwrap();
    let data = r#""data":{"code":"unauthorized","status":401,"close":4001}"#;
    assert!(
        refused.starts_with("44/admin,") && refused.contains(data),
        "{refused}"
    );
    let token = token_of("alice");
    socket
        .say(&format!(r#"40/admin,{{"token":"{token}"}}"#))
        .await;
    let joined = socket.text().await.unwrap();
    assert!(joined.starts_with(r#"40/admin,{"sid":""#), "{joined}");
    socket.say(r#"42/admin,1["join"]"#).await;
    assert_eq!(
        socket.text().await.unwrap(),
        r#"43/admin,1[{"status":200}]"#
    );
    proxy.app().publish();
    assert_eq!(
        socket.text().await.unwrap(),
        r#"42/admin,["message",{"n":1}]"#
    );
}

#[tokio::test]
async fn packet_that_is_none_closes_with_4000() {
    let proxy = app().start().await;
    for hostile in ["4", "4abc", "x", "42[", "40{", "2", "42[\"join\"]"] {
        let mut socket = proxy.engine().await;
        socket.say(hostile).await;
        assert_eq!(socket.text().await, Err(4000), "{hostile}");
    }
    for hostile in [
        "42{}",
        "42[]",
        "42[null]",
        "42[\"disconnect\"]",
        "42abc[\"join\",1]",
    ] {
        let mut socket = proxy.engine().await;
        socket.say("40").await;
        connected(&mut socket).await;
        socket.say(hostile).await;
        assert_eq!(socket.text().await, Err(4000), "{hostile}");
    }
}

#[tokio::test]
async fn request_that_is_no_engine_io_has_a_numeric_code() {
    let proxy = app().start().await;
    let sid = "0".repeat(32);
    for (line, code) in [
        ("GET /socket.io/".to_owned(), 0),
        ("GET /socket.io/?EIO=4&transport=smoke".to_owned(), 0),
        (
            format!("GET /socket.io/?EIO=4&transport=polling&sid={sid}"),
            1,
        ),
        ("POST /socket.io/?EIO=4&transport=polling".to_owned(), 2),
        ("GET /socket.io/?EIO=4&transport=websocket".to_owned(), 3),
        ("GET /socket.io/?EIO=4&transport=polling&j=0".to_owned(), 3),
        ("GET /socket.io/?EIO=3&transport=polling".to_owned(), 5),
    ] {
        let answer = proxy.ask(&line, &[]).await;
        assert_eq!(
            (answer.status(), &answer.json()["code"]),
            (400, &json!(code)),
            "{line}"
        );
    }
}

#[tokio::test]
async fn poll_of_a_foreign_page_is_refused_and_takes_nothing() {
    let proxy = app().start().await;
    let sid = proxy.polling().await;
    assert_eq!(proxy.post(&sid, "40").await, 200);
    let line = format!("GET /socket.io/?EIO=4&transport=polling&sid={sid}");
    let foreign = proxy.ask(&line, &["origin: https://evil.example"]).await;
    assert_eq!(foreign.status(), 403);
    let mut seen = proxy.poll(&sid).await;
    while !seen.contains("connected") {
        seen += &proxy.poll(&sid).await;
    }
    assert!(seen.starts_with(r#"40{"sid""#), "{seen}");
}

#[tokio::test]
async fn client_goes_on_over_a_websocket_and_misses_nothing() {
    let proxy = app().start().await;
    let sid = proxy.polling().await;
    assert_eq!(
        proxy
            .post(&sid, "40\u{1e}421[\"join\",{\"name\":\"ids\"}]")
            .await,
        200
    );
    let mut seen = proxy.poll(&sid).await;
    while !seen.contains("431") {
        seen += &proxy.poll(&sid).await;
    }
    let path = format!("/socket.io/?EIO=4&transport=websocket&sid={sid}");
    let mut socket = proxy.open(&path, &[]).await;
    socket.say("2probe").await;
    assert_eq!(socket.text().await.unwrap(), "3probe");
    assert_eq!(proxy.poll(&sid).await, "6");
    proxy.app().publish();
    proxy.app().publish();
    socket.say("5").await;
    for n in 1..=2 {
        let event = socket.text().await.unwrap();
        assert_eq!(event, format!(r#"42["message",{{"n":{n}}}]"#));
    }
    let line = format!("GET /socket.io/?EIO=4&transport=polling&sid={sid}");
    assert_eq!(proxy.ask(&line, &[]).await.status(), 400);
}

#[tokio::test]
async fn connection_of_a_user_counts_once_on_either_transport() {
    let policy = jwt();
    let two = r#"
[rate_limit.few]
connections_per_user = 1
by = "user"

[socketio]
auth = "jwt"
rate_limit = "few"

[[socketio.namespace]]
name = "/"

[[socketio.namespace]]
name = "/more"
"#;
    let two = two.replace("\"jwt\"", &format!("\"{}\"", policy.name));
    let proxy = proxy().sse("/ids").auth(policy).toml(&two).start().await;
    let token = format!(r#"{{"token":"{}"}}"#, token_of("alice"));
    let mut first = proxy.engine().await;
    for namespace in ["", "/more,"] {
        first.say(&format!("40{namespace}{token}")).await;
        let joined = first.text().await.unwrap();
        assert!(joined.contains(r#""sid""#), "{joined}");
    }
    let refusal = r#""data":{"code":"rate_limited","status":429,"close":4029}"#;
    let sid = proxy.polling().await;
    assert_eq!(proxy.post(&sid, &format!("40{token}")).await, 200);
    let refused = proxy.poll(&sid).await;
    assert!(refused.contains(refusal), "{refused}");
    let mut second = proxy.engine().await;
    second.say(&format!("40{token}")).await;
    let refused = second.text().await.unwrap();
    assert!(refused.contains(refusal), "{refused}");
}

#[tokio::test]
async fn reply_reaches_all_sockets_of_the_caller() {
    let policy = jwt();
    let rules = r#"
[socketio]
recovery = false
auth = "jwt"

[[socketio.namespace]]
name = "/"

[[socketio.namespace.on]]
event = "save"
call = "POST /save"
reply = "saved"
"#;
    let rules = rules.replace("\"jwt\"", &format!("\"{}\"", policy.name));
    let proxy = proxy()
        .route("/save")
        .line("methods = [\"POST\"]")
        .line("calls = [\"POST\"]")
        .auth(policy)
        .on("/save", |_, peer| {
            reply(peer, "201 Created", "", r#"{"id":7}"#)
        })
        .toml(&rules)
        .start()
        .await;
    let mut sockets = Vec::new();
    for user in ["alice", "alice", "bob"] {
        let mut socket = proxy.engine().await;
        let token = token_of(user);
        socket.say(&format!(r#"40{{"token":"{token}"}}"#)).await;
        assert!(socket.text().await.unwrap().starts_with("40{"));
        sockets.push(socket);
    }
    sockets[0].say(r#"421["save",{}]"#).await;
    let answer = r#"431[{"status":201,"body":{"id":7}}]"#;
    let event = r#"42["saved",{"id":7}]"#;
    assert_eq!(sockets[0].text().await.unwrap(), answer);
    assert_eq!(sockets[0].text().await.unwrap(), event);
    assert_eq!(sockets[1].text().await.unwrap(), event);
    // Nothing is there for another user: its own answer comes first.
    sockets[2].say(r#"425["nothing"]"#).await;
    assert!(sockets[2].text().await.unwrap().starts_with("435"));
}

#[tokio::test]
async fn second_join_of_the_same_changes_nothing() {
    let proxy = app().start().await;
    let mut socket = proxy.engine().await;
    socket.say("40").await;
    connected(&mut socket).await;
    for ack in 1..=2 {
        let join = format!(r#"42{ack}["join",{{"name":"ids"}}]"#);
        socket.say(&join).await;
        let answer = format!(r#"43{ack}[{{"status":200}}]"#);
        assert_eq!(socket.text().await.unwrap(), answer);
    }
    proxy.app().publish();
    proxy.app().publish();
    for n in 1..=2 {
        let event = format!(r#"42["message",{{"n":{n}}}]"#);
        assert_eq!(socket.text().await.unwrap(), event);
    }
}

#[tokio::test]
async fn stream_that_is_refused_at_connect_is_told() {
    let file = NAMESPACE.replacen("greet", "subscribe = [\"/ids\"]\ngreet", 1);
    let proxy = proxy()
        .sse("/ids")
        .on("/ids", |_, peer| reply(peer, "403 Forbidden", "", ""))
        .toml(&file)
        .start()
        .await;
    let mut socket = proxy.engine().await;
    socket.say("40").await;
    connected(&mut socket).await;
    let end = socket.text().await.unwrap();
    let told = r#"42["crossfade:end",{"path":"/ids","code":"forbidden""#;
    assert!(end.starts_with(told), "{end}");
}

#[tokio::test]
async fn handshake_that_names_a_legacy_user_offers_no_upgrade() {
    let policy = jwt();
    let file = r#"
[rollout.web]
percent = 100
never = ["alice"]

[socketio]
auth = "jwt"
rollout = "web"
"#;
    let file = file.replace("\"jwt\"", &format!("\"{}\"", policy.name));
    let proxy = proxy().sse("/ids").auth(policy).toml(&file).start().await;
    for (user, upgrades) in [("alice", "[]"), ("bob", "[\"websocket\"]")] {
        let line = "GET /socket.io/?EIO=4&transport=polling";
        let token = format!("authorization: Bearer {}", token_of(user));
        let opened = proxy.ask(line, &[&token]).await.text();
        let expected = format!(r#""upgrades":{upgrades}"#);
        assert!(opened.contains(&expected), "{user}: {opened}");
    }
}

#[tokio::test]
async fn namespace_that_a_reload_removes_is_left_by_a_packet() {
    let more = "\n[[socketio.namespace]]\nname = \"/brief\"\n";
    let proxy = app().toml(more).start().await;
    let mut socket = proxy.engine().await;
    socket.say("40/brief,").await;
    assert!(socket.text().await.unwrap().starts_with("40/brief,"));
    socket.say("40").await;
    connected(&mut socket).await;
    proxy.edit(|text| text.replace(more, ""));
    assert_eq!(socket.text().await.unwrap(), "41/brief,");
    // The other one goes on.
    socket.say(r#"421["join",{"name":"ids"}]"#).await;
    assert_eq!(socket.text().await.unwrap(), r#"431[{"status":200}]"#);
}

#[tokio::test]
async fn changes_that_deliver_batched_are_one_list() {
    let file = r#"
[socketio]
recovery = false

[[socketio.namespace]]
name = "/"
subscribe = ["/list"]
"#;
    let proxy = proxy()
        .poll("/list")
        .line("source = {kind = \"poll\", every = \"50ms\", emit = \"changes\"}")
        .line("wrap = \"matters\"")
        .line("deliver = {every = \"300ms\", max = 100, mode = \"batch\"}")
        .toml(file)
        .start()
        .await;
    proxy.app().show("[]");
    let mut socket = proxy.engine().await;
    socket.say("40").await;
    assert!(socket.text().await.unwrap().starts_with("40{"));
    let snapshot = socket.text().await.unwrap();
    assert_eq!(snapshot, r#"42["snapshot",{"matters":[]}]"#);
    proxy.app().show(r#"[{"id":1},{"id":2},{"id":3}]"#);
    let created = socket.text().await.unwrap();
    let expected = r#"42["created",{"matters":[{"id":1},{"id":2},{"id":3}]}]"#;
    assert_eq!(created, expected);
}

#[tokio::test]
async fn call_that_waits_too_long_for_its_turn_is_not_executed() {
    let rules = r#"
[socketio]
recovery = false

[[socketio.namespace]]
name = "/"

[[socketio.namespace.on]]
event = "slow"
call = "POST /slow"

[[socketio.namespace.on]]
event = "save"
call = "POST /save"
"#;
    let proxy = proxy()
        .route("/slow")
        .line("methods = [\"POST\"]")
        .line("calls = {methods = [\"POST\"], timeout = \"400ms\"}")
        .route("/save")
        .line("methods = [\"POST\"]")
        .line("calls = {methods = [\"POST\"], timeout = \"100ms\"}")
        .on("/slow", |_, peer| async move {
            std::future::pending::<()>().await;
            Some(peer)
        })
        .toml(rules)
        .start()
        .await;
    let mut socket = proxy.engine().await;
    socket.say("40").await;
    assert!(socket.text().await.unwrap().starts_with("40{"));
    for ack in 1..=16 {
        socket.say(&format!(r#"42{ack}["slow",{{}}]"#)).await;
    }
    socket.say(r#"4217["save",{}]"#).await;
    let mut last = String::new();
    for _ in 1..=17 {
        let answer = socket.text().await.unwrap();
        match answer.starts_with("4317[") {
            true => last = answer,
            false => assert!(answer.contains("outcome_unknown"), "{answer}"),
        }
    }
    assert!(last.contains(r#""code":"upstream_down""#), "{last}");
    assert!(proxy.backend().asked_for("/save").is_empty());
}

#[tokio::test]
async fn join_over_max_subs_is_refused_and_a_leave_makes_room() {
    let app = app().sse("/more").toml("[websocket]\nmax_subs = 1");
    let proxy = app.start().await;
    let mut socket = proxy.engine().await;
    socket.say("40").await;
    connected(&mut socket).await;
    let mut answers = Vec::new();
    for (event, name) in [
        ("join", "ids"),
        ("join", "more"),
        ("leave", "ids"),
        ("join", "more"),
    ] {
        socket
            .say(&format!("421[\"{event}\",{{\"name\":\"{name}\"}}]"))
            .await;
        let answer = socket.text().await.unwrap();
        assert!(answer.starts_with("431["), "{answer}");
        answers.push(answer.contains("too_many_subs"));
    }
    assert_eq!(answers, [false, true, false, false]);
}
