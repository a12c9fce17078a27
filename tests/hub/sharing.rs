//! Which clients share an upstream, and against whose caps their topics count.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::harness::{Backend, JSON, Proxy, Socket, reply};

/// A backend whose every path is a small document, polled once.
async fn documents() -> Backend {
    Backend::start(|_, peer| async move {
        let kind = "Content-Type: application/json\r\n";
        reply(peer, "200 OK", kind, "[]").await
    })
    .await
}

const LIST: &str = r#"
[[route]]
path = "/api/list"
upstream = "app"
source = {kind = "poll", every = "10m"}
share = "public"
"#;

const JOBS: &str = r#"
[[route]]
path = "/api/jobs/{id}"
upstream = "app"
source = {kind = "poll", every = "10m"}
"#;

const PROXIED: &str = "trusted_proxies = [\"127.0.0.0/8\"]";

async fn open(proxy: &Proxy, path: &str, fields: &[&str]) -> Socket {
    proxy.open(path, &[&[JSON], fields].concat()).await
}

/// A client that has a polled route's document.
async fn view(proxy: &Proxy, path: &str, fields: &[&str]) -> Socket {
    let mut socket = open(proxy, path, fields).await;
    socket.frame("snap").await;
    socket
}

async fn ask(socket: &mut Socket, id: u64, path: &str) -> Value {
    socket
        .send(json!({"t": "sub", "id": id, "path": path}))
        .await;
    socket.either("ok", "err").await
}

fn caps(per_principal: usize) -> String {
    format!("[server.limits]\ntopics_per_principal = {per_principal}\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_with_many_cookies_locks_no_other_out() {
    let backend = documents().await;
    let public = JOBS.replace("source", "share = \"public\"\nsource");
    let proxy = Proxy::before(&backend, PROXIED, &public).await;
    let mut kept = Vec::new();
    let mut refused = 0;
    for n in 0..17 {
        let cookie = format!("cookie: invented={n}");
        let token = format!("authorization: Bearer {n}");
        let from = "x-forwarded-for: 203.0.113.7";
        let mut socket = proxy.join(&[from, &cookie, &token]).await;
        for id in 0..64 {
            let path = format!("/api/jobs/{n}-{id}");
            socket
                .send(json!({"t": "sub", "id": id, "path": path}))
                .await;
        }
        for _ in 0..64 {
            let answer = socket.either("ok", "err").await;
            if answer["t"] == "err" {
                assert_eq!(answer["code"], "too_many_subs", "{answer}");
                let says = answer["msg"].as_str().unwrap();
                assert!(
                    says.contains("server.limits.topics_per_principal"),
                    "{says}"
                );
                refused += 1;
            }
        }
        kept.push(socket);
    }
    assert_eq!(refused, 17 * 64 - 1_000);
    let mut other = proxy.join(&["x-forwarded-for: 203.0.113.8"]).await;
    for id in 0..64 {
        let answer = ask(&mut other, id, &format!("/api/jobs/mine-{id}")).await;
        assert_eq!(answer["t"], "ok", "{answer}");
    }
    // Clients that come to an existing topic need no new one.
    let mut same = proxy.join(&["x-forwarded-for: 203.0.113.7"]).await;
    assert_eq!(ask(&mut same, 1, "/api/jobs/mine-1").await["t"], "ok");
    // A client that goes on is sent away for a while.
    for id in 0..101 {
        same.send(json!({"t": "sub", "id": id, "path": format!("/api/jobs/no-{id}")}))
            .await;
    }
    assert_eq!(same.closed().await, 4129);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn viewers_with_addresses_of_their_own_are_all_served() {
    let backend = documents().await;
    let routes = format!("{JOBS}{}", caps(2));
    let proxy = Proxy::before(&backend, PROXIED, &routes).await;
    let mut kept = Vec::new();
    for n in 0..20 {
        let from = match n % 2 {
            0 => format!("x-forwarded-for: 203.0.113.{n}"),
            _ => format!("x-forwarded-for: 2001:db8:0:{n}::1"),
        };
        let mut socket = proxy.join(&[&from]).await;
        for id in [1, 2] {
            let answer = ask(&mut socket, id, &format!("/api/jobs/{n}-{id}")).await;
            assert_eq!(answer["t"], "ok", "{n}: {answer}");
        }
        kept.push(socket);
    }
    // A whole /64 is one client, and an address is the same however it is written.
    for from in ["2001:db8:0:1:ffff::9", "::ffff:203.0.113.4"] {
        let from = format!("x-forwarded-for: {from}");
        let mut socket = proxy.join(&[&from, "cookie: a=b"]).await;
        let answer = ask(&mut socket, 1, "/api/jobs/another").await;
        assert_eq!(answer["code"], "too_many_subs", "{from}: {answer}");
    }
    // A client that the proxy does not name has only the node's cap.
    let mut unnamed = proxy.join(&[]).await;
    for id in 0..5 {
        let answer = ask(&mut unnamed, id, &format!("/api/jobs/unnamed-{id}")).await;
        assert_eq!(answer["t"], "ok", "{answer}");
    }
    proxy
        .reload(&format!(
            "[upstream.app]\nservers = [\"http://{}\"]\n{JOBS}{}",
            backend.address,
            caps(3)
        ))
        .await;
    let first = &mut kept[0];
    assert_eq!(ask(first, 3, "/api/jobs/0-3").await["t"], "ok");
    assert_eq!(
        ask(first, 4, "/api/jobs/0-4").await["code"],
        "too_many_subs"
    );
}

#[tokio::test]
async fn parameters_that_change_nothing_make_one_topic() {
    let backend = documents().await;
    let ignoring = LIST.replace(
        "share",
        "ignore_query = [\"_\", \"cb\"]\ncalls = [\"GET\"]\nshare",
    );
    let proxy = Proxy::before(&backend, "", &ignoring).await;
    let mut kept = Vec::new();
    for n in 0..30 {
        let path = match n % 3 {
            0 => format!("/api/list?_={n}&b=2&a=1"),
            1 => format!("/api/list?%5F={n}&b=2&_&cb=x&a=1"),
            _ => format!("/api/list?b=2&a=1&c%62={n}&_={n}"),
        };
        kept.push(view(&proxy, &path, &[]).await);
    }
    let mut multiplexed = proxy.join(&[]).await;
    let answer = ask(&mut multiplexed, 1, "/api/list?b=2&_=31&a=1").await;
    assert_eq!(answer["t"], "ok");
    assert_eq!(backend.only().target(), "/api/list?b=2&a=1");
    // Order and all else are the backend's affair, and what a client asks for by itself goes as it is.
    let answer = ask(&mut multiplexed, 2, "/api/list?a=1&b=2").await;
    assert_eq!(answer["t"], "ok");
    multiplexed
        .send(json!({"t": "req", "id": 3, "method": "GET", "path": "/api/list?_=32"}))
        .await;
    multiplexed.frame("res").await;
    let mut client = proxy.client().await;
    client
        .send("GET /api/list?_=33&x HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    client.response().await;
    let seen = backend.seen();
    let seen: Vec<&str> = seen
        .iter()
        .skip(1)
        .map(|request| request.target())
        .collect();
    assert_eq!(
        seen,
        ["/api/list?a=1&b=2", "/api/list?_=32", "/api/list?_=33&x"]
    );
}

#[tokio::test]
async fn a_reload_that_ignores_a_parameter_makes_one_topic_of_many() {
    let backend = documents().await;
    let proxy = Proxy::before(&backend, "", LIST).await;
    let mut kept = Vec::new();
    for n in 0..3 {
        kept.push(view(&proxy, &format!("/api/list?_={n}"), &[]).await);
    }
    let hub = proxy.handle.shared().hub.clone();
    let splits = hub.splits();
    assert_eq!(
        (splits.len(), &*splits[0].parameter, splits[0].topics),
        (1, "_", 3)
    );
    proxy
        .reload(&format!(
            "[upstream.app]\nservers = [\"http://{}\"]\n{}",
            backend.address,
            LIST.replace("share", "ignore_query = [\"_\"]\nshare")
        ))
        .await;
    for socket in &mut kept {
        assert_eq!(socket.frame("gap").await["why"], "config");
        socket.frame("snap").await;
    }
    let paths: HashSet<String> = hub.topics().into_iter().map(|topic| topic.path).collect();
    assert!(paths.contains("/api/list"), "{paths:?}");
    assert_eq!(hub.splits(), []);
    let of_one = hub
        .topics()
        .into_iter()
        .find(|topic| topic.path == "/api/list");
    assert_eq!(of_one.unwrap().subscribers, 3);
}

/// A backend that knows users by their cookie: `/me` tells the user, a list is for all of them, and a stream goes on where
/// it is told to. A user whose name begins with `gone` is known at `/me` only.
async fn people() -> Backend {
    Backend::start(|request, mut peer| async move {
        let cookie = request.field("cookie").unwrap_or_default().to_owned();
        let user = cookie.strip_prefix("s=").unwrap_or_default().to_owned();
        let kind = "Content-Type: application/json\r\n";
        match request.target() {
            _ if user.is_empty() => reply(peer, "401 Unauthorized", "", "").await,
            "/me" => {
                let role = user.split('-').next_back().unwrap();
                let roles = match role == user {
                    true => json!([]),
                    false => json!([role]),
                };
                let me = json!({"user": user, "profile": {"roles": roles}});
                reply(peer, "200 OK", kind, &me.to_string()).await
            }
            _ if user.starts_with("gone") => reply(peer, "403 Forbidden", "", "").await,
            "/api/stream" => {
                let last = request.field("last-event-id").unwrap_or("0");
                let next = last.parse::<u64>().unwrap() + 1;
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
                let event = format!("id: {next}\ndata: {}\n\n", json!(user));
                peer.send(format!("{head}{event}")).await;
                peer.rest().await;
                None
            }
            _ => reply(peer, "200 OK", kind, &json!([user]).to_string()).await,
        }
    })
    .await
}

fn shared(share: &str, path: &str, source: &str) -> String {
    format!(
        r#"
[auth.session]
kind = "forward"
upstream = "app"
path = "/me"
user = "user"
roles = "/profile/roles"
identity = {{user = "X-User", roles = "X-Roles"}}

[[route]]
path = "{path}"
upstream = "app"
auth = "session"
share = {share}
source = {source}
"#
    )
}

/// The cookies that a path was read with, in order.
fn readers(backend: &Backend, path: &str) -> Vec<String> {
    let asked = backend.asked_for(path);
    let cookies = asked.iter().map(|request| request.field("cookie"));
    cookies
        .map(|cookie| cookie.unwrap_or("-").to_owned())
        .collect()
}

const POLLED: &str = "{kind = \"poll\", every = \"10m\"}";

#[tokio::test]
async fn all_admitted_users_share_one_poll() {
    let backend = people().await;
    let routes = shared("\"authenticated\"", "/api/list", POLLED);
    let proxy = Proxy::before(&backend, "", &routes).await;
    let mut kept = Vec::new();
    for user in ["alice", "bob", "carol"] {
        let cookie = format!("cookie: s={user}; x={user}");
        kept.push(view(&proxy, "/api/list", &[&cookie]).await);
    }
    let lists = backend.asked_for("/api/list");
    assert_eq!(lists.len(), 1);
    assert_eq!(lists[0].field("x-user").or(lists[0].field("x-roles")), None);
    let topics = proxy.handle.shared().hub.topics();
    assert_eq!(
        (topics[0].scope, topics[0].subscribers),
        ("authenticated", 3)
    );
    let mut stranger = open(&proxy, "/api/list", &["cookie: other=1"]).await;
    assert_eq!(stranger.closed().await, 4001);
}

#[tokio::test]
async fn a_reader_that_the_backend_refuses_goes_alone() {
    let backend = people().await;
    let routes = shared(
        "\"authenticated\"",
        "/api/stream",
        "{kind = \"sse\", join = \"live\"}",
    );
    let proxy = Proxy::before(&backend, "", &routes).await;
    let mut alice = open(&proxy, "/api/stream", &["cookie: s=alice"]).await;
    assert_eq!(alice.frame("ev").await["d"], "alice");
    // They listen along until they would have to read.
    let mut gone = open(&proxy, "/api/stream", &["cookie: s=gone"]).await;
    gone.frame("ok").await;
    let mut bob = open(&proxy, "/api/stream", &["cookie: s=bob"]).await;
    bob.frame("ok").await;
    alice.say_goodbye(1000, "").await;
    // At once, from where she had read, and with nothing lost.
    let event = bob.frame_unless("ev", "gap").await;
    assert_eq!((&event["d"], &event["id"]), (&json!("bob"), &json!("2")));
    let mut ended = gone.frame_unless("end", "ev").await;
    assert_eq!(ended["code"].take(), "forbidden");
    assert_eq!(gone.closed().await, 4003);
    assert_eq!(
        readers(&backend, "/api/stream"),
        ["s=alice", "s=gone", "s=bob"]
    );
    let metrics = proxy.metrics();
    let alarm = r#"crossfade_share_refused_total{reason="403",route="/api/stream"} 1"#;
    assert!(metrics.contains(alarm), "{metrics}");
}

#[tokio::test]
async fn two_refusals_end_a_pool_for_good() {
    let backend = people().await;
    let routes = shared(
        "{authenticated = true}",
        "/api/list",
        "{kind = \"poll\", every = \"50ms\"}",
    );
    let proxy = Proxy::before(&backend, "", &routes).await;
    let mut first = open(&proxy, "/api/list", &["cookie: s=gone-1"]).await;
    assert_eq!(first.frame("err").await["code"], "forbidden");
    assert_eq!(first.closed().await, 4003);
    view(&proxy, "/api/list", &["cookie: s=alice"]).await;
    let metrics = proxy.metrics();
    assert!(metrics.contains(r#"crossfade_share_refused_total{reason="403",route="/api/list"} 1"#));
}

#[tokio::test]
async fn a_refused_public_read_is_not_healed_by_coming_back() {
    let backend = people().await;
    let routes = LIST.replace("10m", "50ms");
    let proxy = Proxy::before(&backend, "", &routes).await;
    let mut socket = proxy.join(&["cookie: s=alice"]).await;
    let answer = ask(&mut socket, 1, "/api/list").await;
    assert_eq!(
        (&answer["code"], &answer["status"]),
        (&json!("forbidden"), &json!(401))
    );
    assert_eq!(readers(&backend, "/api/list"), ["-"]);
}

#[tokio::test]
async fn roles_of_an_authoritys_answer_are_a_claim() {
    let backend = people().await;
    let routes = shared("{claims = [\"roles\"]}", "/api/list", POLLED);
    let proxy = Proxy::before(&backend, "", &routes).await;
    let mut kept = Vec::new();
    for user in ["alice-editor", "bob-editor", "carol-admin"] {
        let cookie = format!("cookie: s={user}");
        kept.push(view(&proxy, "/api/list", &[&cookie]).await);
    }
    let lists = backend.asked_for("/api/list");
    let told = |field| -> Vec<_> { lists.iter().map(|request| request.field(field)).collect() };
    assert_eq!(told("x-roles"), [Some("editor"), Some("admin")]);
    assert_eq!(told("x-user"), [None, None]);
    // A client without the claim is told which, on a handshake and on a `sub`.
    let mut multiplexed = proxy.join(&["cookie: s=dave"]).await;
    let answer = ask(&mut multiplexed, 1, "/api/list").await;
    assert_eq!(answer["code"], "forbidden");
    assert!(
        answer["msg"].as_str().unwrap().contains("`roles`"),
        "{answer}"
    );
    let public = format!("http://{}", proxy.address);
    let fields = [format!("origin: {public}"), "cookie: s=dave".to_owned()];
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    let refused = Socket::open(&public, "/api/list", &fields).await.err();
    let answer = refused.expect("a refusal");
    let text = String::from_utf8_lossy(answer.body().as_deref().unwrap_or_default()).into_owned();
    assert!(
        text.contains("the claim `roles`") && text.contains("403"),
        "{text}"
    );
}
