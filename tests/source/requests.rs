//! What the backend is asked, for whom and how often, and what its refusals become.

use serde_json::json;

use crate::harness::{Backend, JSON, Message, Proxy, Seen, reply};

const ROUTES: &str = r#"
[[route]]
path = "/user/{id}"
upstream = "app"
source = "sse"

[[route]]
path = "/public/{id}"
upstream = "app"
source = "sse"
share = "public"

[[route]]
path = "/connection/{id}"
upstream = "app"
source = "sse"
share = "connection"

[[route]]
path = "/vary/{id}"
upstream = "app"
source = "sse"
share = "public"
vary = ["accept-language"]

[[route]]
path = "/polled/{id}"
upstream = "app"
source = {kind = "poll", every = "50ms"}
"#;

struct Asking {
    backend: Backend,
    proxy: Proxy,
}

impl Asking {
    /// A backend whose paths end in the status that they answer with; 200 is a quiet stream, or a document.
    async fn start() -> Asking {
        let backend = Backend::start(|request, mut peer| async move {
            let path = request.target().split('?').next().unwrap_or_default();
            let status = path.rsplit('/').next().unwrap_or_default().to_owned();
            if status != "200" {
                return reply(peer, &format!("{status} No"), "location: /login\r\n", "").await;
            }
            if path.starts_with("/polled") {
                let fields = "content-type: application/json\r\netag: \"1\"\r\n";
                return reply(peer, "200 OK", fields, "[1]").await;
            }
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
            peer.send(head).await;
            peer.rest().await;
            None
        })
        .await;
        let proxy = Proxy::before(&backend, "", ROUTES).await;
        Asking { backend, proxy }
    }

    /// Subscribes once on each of so many connections; how many requests that made.
    async fn asked(&self, path: &str, clients: &[&[&str]]) -> usize {
        let before = self.backend.seen().len();
        let mut sockets = Vec::new();
        for fields in clients {
            let mut socket = self.proxy.join(fields).await;
            socket.subscribe(1, path).await;
            sockets.push(socket);
        }
        self.backend.seen().len() - before
    }
}

fn names(request: &Message) -> Vec<String> {
    let mut names: Vec<_> = request
        .fields
        .iter()
        .map(|(name, _)| name.to_lowercase())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn one_stream_is_read_for_each_scope() {
    let asking = Asking::start().await;
    let ada: &[&str] = &["cookie: user=ada; crossfade_unit=one"];
    let her_phone: &[&str] = &["cookie: crossfade_unit=two; user=ada"];
    let bob: &[&str] = &["cookie: user=bob"];
    let all = [ada, her_phone, bob, bob];
    assert_eq!(asking.asked("/user/200", &all).await, 2);
    assert_eq!(asking.asked("/public/200", &all).await, 1);
    assert_eq!(asking.asked("/connection/200", &all).await, 4);
    let german: &[&str] = &["accept-language: de"];
    let french: &[&str] = &["accept-language: fr"];
    let varied = [german, french, german, &[]];
    assert_eq!(asking.asked("/vary/200", &varied).await, 3);
}

#[tokio::test]
async fn the_backend_gets_what_a_source_may_take_and_nothing_else() {
    let asking = Asking::start().await;
    let client: &[&str] = &[
        "cookie: user=ada; crossfade_unit=one",
        "authorization: Basic YTpi",
        "user-agent: tester",
        "accept: text/html",
        "accept-language: de",
        "x-forwarded-for: 192.0.2.1",
        "x-user: root",
    ];
    let always = [
        "accept",
        "accept-encoding",
        "host",
        "x-forwarded-host",
        "x-forwarded-proto",
    ];
    for (path, more) in [
        ("/user/200", &["authorization", "cookie"][..]),
        ("/public/200", &[]),
        ("/connection/200", &["authorization", "cookie"]),
        ("/vary/200", &["accept-language"]),
        ("/polled/200", &["authorization", "cookie"]),
    ] {
        asking
            .asked(&format!("{path}?b=2&cf_wrap=1&a=1"), &[client])
            .await;
        let seen = asking.backend.seen();
        let request = seen.iter().find(|seen| seen.target().starts_with(path));
        let request = request.expect("it was asked");
        assert_eq!(request.target(), format!("{path}?b=2&a=1"));
        let mut expected: Vec<_> = always.iter().chain(more).copied().collect();
        expected.sort_unstable();
        assert_eq!(names(request), expected, "{path}");
        assert_eq!(request.field("accept-encoding"), Some("identity"));
        let cookie = more.contains(&"cookie").then_some("user=ada");
        assert_eq!(request.field("cookie"), cookie);
    }
}

#[tokio::test]
async fn a_token_of_subprotocol_or_hello_replaces_the_authorization() {
    let asking = Asking::start().await;
    let offer = "sec-websocket-protocol: cf.bearer.dG9rZW4, crossfade.v1.json";
    let mut socket = asking
        .proxy
        .open("/user/200", &[offer, "authorization: Basic YTpi"])
        .await;
    socket.frame("ok").await;
    let request = asking.backend.only();
    assert_eq!(request.all("authorization"), ["Bearer token"]);
    let mut socket = asking.proxy.join(&[]).await;
    socket.send(json!({"t": "hello", "token": "later"})).await;
    socket.subscribe(1, "/user/200").await;
    let seen = asking.backend.seen();
    let newest = seen.last().expect("it was asked");
    assert_eq!(newest.all("authorization"), ["Bearer later"]);
}

#[tokio::test]
async fn a_refusal_has_one_code_on_every_way() {
    let asking = Asking::start().await;
    for (status, code, close) in [
        ("401", "unauthorized", 4001),
        ("302", "unauthorized", 4001),
        ("303", "unauthorized", 4001),
        ("403", "forbidden", 4003),
        ("404", "not_found", 4004),
        ("410", "not_found", 4004),
    ] {
        for place in ["user", "polled"] {
            let path = format!("/{place}/{status}");
            let mut socket = asking.proxy.join(&[]).await;
            for wish in [
                json!({"t": "sub", "id": 1, "path": path}),
                json!({"t": "sub", "id": 1, "path": path, "after": "zz-1"}),
                json!({"t": "sub", "id": 1, "path": path, "last_event_id": "1"}),
            ] {
                socket.send(wish).await;
                let answer = socket.either("ok", "err").await;
                assert_eq!(answer["code"], code, "{path}: {answer}");
            }
            for query in ["", "?cf_after=zz-1", "?cf_last_event_id=1"] {
                let mut socket = asking.proxy.open(&format!("{path}{query}"), &[JSON]).await;
                let answer = socket.either("ok", "err").await;
                assert_eq!((&answer["id"], &answer["code"]), (&0.into(), &code.into()));
                assert_eq!(socket.next().await, Seen::Closed(close), "{path}{query}");
                let mut raw = asking.proxy.open(&format!("{path}{query}"), &[]).await;
                assert_eq!(raw.next().await, Seen::Closed(close), "raw {path}{query}");
            }
        }
    }
}
