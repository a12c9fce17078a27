//! `explain` of a Socket.IO namespace says what the server does: the same clients join and send the same events.

use serde_json::{Value, json};

use super::explain::encoded;
use crate::harness::Proxy;
use crate::harness::admin::get;
use crate::harness::auth::{ALICE, BOB, keys};
use crate::harness::socket::Socket;
use crate::policy::world::{backend, route};

const NAMESPACES: &str = r#"
[socketio]
recovery = false

[[socketio.namespace]]
name = "/"

[[socketio.namespace.on]]
event = "join"
subscribe = "/stream/{id}"
filter = {severity = "{severity}"}
error = "join_failed"

[[socketio.namespace.on]]
event = "leave"
unsubscribe = "/stream/{id}"

[[socketio.namespace.on]]
event = "save"
call = "POST /tasks/{id}"

[[socketio.namespace.on]]
event = "guarded"
call = "POST /guarded/{id}"

[[socketio.namespace]]
name = "/team/{team}"
auth = "keys"
subscribe = ["/stream/{team}"]
greet = {event = "hello", body = {team = "{team}", user = "{user}"}}

[[socketio.namespace.on]]
event = "mine"
subscribe = "/stream/{team}-{user}"
require = {roles = ["admin"]}

[[socketio.namespace]]
name = "/team/admins"
auth = "keys"
require = {roles = ["admin"]}
rate_limit = "many"
"#;

fn routes() -> String {
    [
        keys("from = [\"header\"]"),
        "[rate_limit.many]\nrequests = \"1000/s\"\n".to_owned(),
        route("/stream/{id}", "source = \"sse\"\nfilter = [\"severity\"]"),
        route("/tasks/{id}", "calls = [\"POST\"]"),
        route("/tasks/closed", ""),
        route(
            "/guarded/{id}",
            "auth = \"keys\"\nrequire = {roles = [\"admin\"]}\ncalls = [\"POST\"]",
        ),
        NAMESPACES.to_owned(),
    ]
    .concat()
}

async fn explained(proxy: &Proxy, query: &str, fields: &[&str]) -> Value {
    let mut query = format!("/v1/explain?{query}");
    for field in fields.iter().chain(&["Host: a.example"]) {
        query += &format!("&header={}", encoded(field));
    }
    let answer = get(&proxy.handle.admin, &query).await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.text);
    answer.json
}

/// A client that has asked to join a namespace, and what it was told.
async fn join(proxy: &Proxy, namespace: &str, fields: &[&str]) -> (Socket, String) {
    let path = "/socket.io/?EIO=4&transport=websocket";
    let mut socket = proxy.open(path, fields).await;
    assert!(socket.text().await.unwrap().starts_with('0'));
    socket.say(&format!("40{namespace},")).await;
    let told = socket.text().await.unwrap();
    (socket, told)
}

#[tokio::test]
async fn explain_of_a_connect_says_what_the_client_is_told() {
    let backend = backend().await;
    let proxy = Proxy::before(&backend, "", &routes()).await;
    let alice = format!("X-Api-Key: {ALICE}");
    let bob = format!("X-Api-Key: {BOB}");
    for namespace in ["/", "/team/a", "/team/admins", "/nothing", "/team/a/b"] {
        for fields in [
            &[][..],
            &[&*alice],
            &[&*bob],
            &["X-Api-Key: cfk_alice_wrong"],
        ] {
            let (_, told) = join(&proxy, namespace, fields).await;
            let query = format!("namespace={namespace}");
            let judged = explained(&proxy, &query, fields).await;
            let verdict = &judged["verdict"];
            let row = format!("{namespace} {fields:?}: {told} {judged}");
            let Some((_, refused)) = told
                .strip_prefix("44")
                .and_then(|told| told.split_once('{'))
            else {
                assert_eq!(verdict["status"], Value::Null, "{row}");
                continue;
            };
            let refused: Value = serde_json::from_str(&format!("{{{refused}")).unwrap();
            if refused == json!({"message": "Invalid namespace"}) {
                let why = verdict["why"].as_str().unwrap();
                assert!(why.starts_with("Invalid namespace"), "{row}");
                continue;
            }
            let data = &refused["data"];
            assert_eq!(
                json!([verdict["status"], verdict["code"]]),
                json!([data["status"], data["code"]]),
                "{row}"
            );
            let close = format!("`close` {}:", data["close"]);
            assert!(verdict["why"].as_str().unwrap().contains(&close), "{row}");
        }
    }
}

#[tokio::test]
async fn explain_of_an_event_says_what_its_ack_does() {
    let backend = backend().await;
    let proxy = Proxy::before(&backend, "", &routes()).await;
    for (event, args) in [
        ("join", json!([{"id": "a"}])),
        ("join", json!([{"id": "a", "severity": "high"}])),
        ("join", json!([{"id": ".."}])),
        ("join", json!([{}])),
        ("join", json!([])),
        ("leave", json!([{"id": 7}])),
        ("save", json!([{"id": "7"}])),
        ("save", json!([{"id": "closed"}])),
        ("guarded", json!([{"id": 1}])),
        ("nothing", json!([1])),
    ] {
        let (mut socket, _) = join(&proxy, "/", &[]).await;
        let mut packet = vec![json!(event)];
        packet.extend(args.as_array().unwrap().iter().cloned());
        socket.say(&format!("421{}", json!(packet))).await;
        let mut told = socket.text().await.unwrap();
        while !told.starts_with("431") {
            told = socket.text().await.unwrap();
        }
        let ack: Value = serde_json::from_str(&told[3..]).unwrap();
        let query = format!(
            "namespace=/&event={event}&args={}",
            encoded(&args.to_string())
        );
        let judged = explained(&proxy, &query, &[]).await;
        let verdict = &judged["event"]["verdict"];
        let row = format!("{event} {args}: {told} {judged}");
        let expected = match (&ack[0]["error"], event) {
            // Whether there is a subscription to leave is the session's to know.
            (_, "leave") | (Value::Null, _) => json!([null, null]),
            (error, _) => json!([ack[0]["status"], error["code"]]),
        };
        assert_eq!(
            json!([verdict["status"], verdict["code"]]),
            expected,
            "{row}"
        );
    }
}

#[tokio::test]
async fn explain_of_a_namespace_names_rule_route_and_policies() {
    let backend = backend().await;
    let proxy = Proxy::before(&backend, "", &routes()).await;
    let judged = explained(&proxy, "namespace=/team/red&event=mine&user=ann", &[]).await;
    assert_eq!(judged["pattern"], "/team/{team}");
    assert_eq!(judged["params"], json!({"team": "red"}));
    assert_eq!(
        json!([judged["auth"], judged["require"], judged["rate_limit"]]),
        json!(["keys", null, null])
    );
    assert_eq!(judged["subscribe"][0]["path"], "/stream/red");
    assert_eq!(judged["subscribe"][0]["route"], "/stream/{id}");
    assert_eq!(
        judged["greet"],
        json!({"event": "hello", "body": {"team": "red", "user": "ann"}})
    );
    let event = &judged["event"];
    assert_eq!(event["path"], "/stream/red-ann");
    assert_eq!(event["require"]["roles"], json!(["admin"]));
    assert_eq!(event["verdict"]["status"], 403);
    let query = "namespace=/team/red&event=mine&user=ann&role=admin";
    let admin = explained(&proxy, query, &[]).await;
    assert_eq!(admin["event"]["verdict"]["status"], Value::Null);
    let outside = explained(&proxy, "namespace=/team/red&event=mine", &[]).await;
    assert_eq!(outside["event"]["path"], "/stream/red-{user}");
    assert_eq!(outside["event"]["verdict"]["status"], 401);

    let admins = explained(&proxy, "namespace=/team/admins&user=ann", &[]).await;
    assert_eq!(admins["pattern"], "/team/admins");
    assert_eq!(admins["rate_limit"], "many");

    let open = explained(&proxy, "namespace=/&event=join", &[]).await;
    let event = &open["event"];
    assert_eq!(
        json!([
            event["action"],
            event["path"],
            event["route"],
            event["error"]
        ]),
        json!(["subscribe", "/stream/{id}", "/stream/{id}", "join_failed"])
    );
    assert_eq!(event["filter"], json!({"severity": "{severity}"}));
    assert_eq!(event["policies"]["share"], "user");
    let save = explained(&proxy, "namespace=/&event=save", &[]).await;
    assert_eq!(
        json!([save["event"]["method"], save["event"]["body"]]),
        json!(["POST", "{0}"])
    );
    for query in ["namespace=x", "namespace=/&path=/", "path=/&event=a"] {
        let answer = get(&proxy.handle.admin, &format!("/v1/explain?{query}")).await;
        assert_eq!(answer.status, 422, "{query}");
    }
    let query = "/v1/explain?namespace=/&event=a&args={}";
    assert_eq!(get(&proxy.handle.admin, query).await.status, 422);
}

#[tokio::test]
async fn explain_names_the_server_of_legacy_clients() {
    let backend = backend().await;
    let tables = [
        "[rollout.web]\npercent = 50\nby = \"cookie\"\nnever = [\"bob\"]\nalways = [\"ann\"]\n",
        "[upstream.old]\nservers = [\"http://127.0.0.1:1\"]\n",
        &route("/feed", "source = \"sse\""),
        "[socketio]\nrollout = \"web\"\nlegacy_upstream = \"old\"\n",
    ];
    let proxy = Proxy::before(&backend, "", &tables.concat()).await;
    let verdict = async |user: &str| {
        let query = format!("namespace=/&event=a&user={user}");
        let judged = explained(&proxy, &query, &[]).await;
        let text = |verdict: &Value| verdict["why"].as_str().unwrap().to_owned();
        [text(&judged["verdict"]), text(&judged["event"]["verdict"])]
    };
    let [bob, event] = verdict("bob").await;
    assert!(bob.contains("server of upstream `old`"), "{bob}");
    assert!(event.starts_with("not judged"), "{event}");
    let [ann, event] = verdict("ann").await;
    assert_eq!(ann, "passes: the client joins");
    assert!(event.starts_with("not_found"), "{event}");

    // The path of its clients says the same, without a namespace.
    let at_path = async |user: &str| {
        let query = format!("path=%2Fsocket.io%2F&user={user}");
        let judged = explained(&proxy, &query, &[]).await;
        judged["verdict"]["why"].as_str().unwrap().to_owned()
    };
    assert_eq!(at_path("bob").await, bob);
    let ann = at_path("ann").await;
    assert!(ann.starts_with("passes: crossfade answers"), "{ann}");
}
