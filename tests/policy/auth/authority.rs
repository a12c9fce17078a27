//! Sessions that the backend itself knows: asked for once, and out of reach.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::Semaphore;

use super::{OWN, WS, guarded, problem};
use crate::harness::{Backend, JSON, Proxy, Seen, Socket, auth::login, reply};

pub const ALICE: &str = "cookie: theme=dark; session=a1; crossfade_unit=x";

/// The usual routes, by a session cookie.
pub async fn started(policy: &str, websocket: &str) -> Proxy {
    let policy = format!(
        "[auth.login]\nkind = \"forward\"\nupstream = \"app\"\npath = \"/api/me\"\n\
         cookies = [\"session\"]\nuser = \"/user/id\"\ntenant = \"/user/tenant\"\n\
         roles = \"/user/roles\"\n{policy}\n\
         identity = {{user = \"X-User\", tenant = \"X-Tenant\", roles = \"X-Roles\"}}\n\
         [websocket]\n{websocket}\n"
    );
    let proxy = guarded(login(&policy)).start().await;
    let alice = json!({"user": {"id": "alice", "tenant": 7, "roles": ["editor"]}});
    proxy.app().knows("a1", 200, &alice.to_string());
    let bob = json!({"user": {"id": "bob"}}).to_string();
    proxy.app().knows("b1", 200, &bob);
    proxy
}

pub fn questions(proxy: &Proxy) -> usize {
    proxy.backend().asked_for("/api/me").len()
}

#[tokio::test]
async fn a_session_is_asked_for_once_whatever_comes_by_it() {
    let proxy = started("", "auth = \"login\"").await;
    let requests = (0..20).map(|_| proxy.ask("GET /app/page", &[ALICE]));
    for answer in futures_util::future::join_all(requests).await {
        assert_eq!(answer.status(), 200);
    }
    let mut sockets: Vec<Socket> = Vec::new();
    for _ in 0..5 {
        sockets.push(proxy.welcomed("/stream", &[ALICE]).await.0);
        let (mut many, _) = proxy.welcomed(WS, &[ALICE]).await;
        many.subscribe(1, "/editors").await;
        sockets.push(many);
        sockets.push(proxy.open("/app/socket", &[ALICE]).await);
    }
    // Once for each of the two hosts under which these clients came.
    assert_eq!(questions(&proxy), 2);
    // It hears of the session alone, as a question of its own.
    let question = proxy.backend().asked_for("/api/me").remove(0);
    assert_eq!(question.line, "GET /api/me HTTP/1.1");
    assert_eq!(question.field("cookie"), Some("session=a1"));
    let page = proxy.backend().asked_for("/app/page").remove(0);
    let told = ["x-user", "x-tenant", "x-roles"].map(|name| page.field(name));
    assert_eq!(told, [Some("alice"), Some("7"), Some("editor")]);
    assert_eq!(page.field("cookie"), Some("theme=dark; session=a1"));
    let bob = proxy.ask("GET /editors", &["cookie: session=b1"]).await;
    assert_eq!(bob.status(), 403);
    assert_eq!(questions(&proxy), 3);
    let sessions = proxy.admin("/v1/sessions").await.json;
    assert_eq!(sessions["sessions"][0]["user"], "alice");
}

#[tokio::test]
async fn authority_answer_without_a_user_admits_no_one() {
    let proxy = started("", "").await;
    for (session, status, body, expected) in [
        ("no-user", 200, "{}", 401),
        ("null", 200, r#"{"user": {"id": null}}"#, 401),
        ("empty", 200, r#"{"user": {"id": ""}}"#, 401),
        ("text", 200, "alice", 401),
        ("html", 200, "<html>please log in</html>", 401),
        ("unknown", 401, "", 401),
        ("forbidden", 403, "", 401),
        ("redirect", 302, "", 401),
        ("broken", 500, "", 503),
        ("busy", 503, "", 503),
    ] {
        proxy.app().knows(session, status, body);
        let cookie = format!("cookie: session={session}");
        let fields = [&*cookie, OWN];
        for answer in [
            proxy.ask("GET /app/page", &fields).await,
            proxy.shake("/stream", &fields).await,
            proxy.shake("/app/socket", &fields).await,
        ] {
            assert_eq!(problem(&answer).0, expected, "{session}");
            match expected {
                503 => assert!(answer.field("retry-after").is_some()),
                _ => assert!(answer.field("www-authenticate").is_some()),
            }
        }
        let public = proxy.public();
        let origin = format!("origin: {public}");
        let opened = Socket::open(public, "/stream", &[JSON, &cookie, &origin]).await;
        match (opened, expected) {
            (Ok(mut socket), 401) => assert_eq!(socket.closed().await, 4001, "{session}"),
            (Err(answer), 503) => assert_eq!(answer.status(), 503),
            _ => panic!("{session}"),
        }
    }
    assert_eq!(questions(&proxy), proxy.backend().seen().len());
}

#[tokio::test]
async fn unreachable_authority_admits_no_one() {
    let policy = "[upstream.login]\nservers = [\"http://127.0.0.1:9\"]\n\
         [auth.login]\nkind = \"forward\"\nupstream = \"login\"\npath = \"/me\"\n\
         user = \"user\"\n";
    let proxy = guarded(login(policy)).start().await;
    for answer in [
        proxy.ask("GET /app/page", &[ALICE]).await,
        proxy.shake("/stream", &[ALICE, OWN]).await,
        proxy.shake("/stream", &[ALICE, OWN, JSON]).await,
    ] {
        let (status, code, _) = problem(&answer);
        assert_eq!((status, &*code), (503, "auth_unavailable"));
        assert!(answer.field("retry-after").is_some());
    }
    assert_eq!(proxy.backend().seen().len(), 0);
    assert_eq!(proxy.ask("GET /open/page", &[ALICE]).await.status(), 200);
}

/// Routes by an authority of this name.
fn by(name: &str) -> String {
    format!(
        "[auth.{name}]\nkind = \"forward\"\nupstream = \"app\"\npath = \"/{name}\"\ncookies = [\"session\"]\n\
         user = \"user\"\n[[route]]\npath = \"/by-{name}\"\nupstream = \"app\"\nsource = \"sse\"\ncalls = [\"GET\"]\n\
         auth = \"{name}\"\n"
    )
}

/// An authority of `/slow`, which answers when the gate lets it, and one of `/quick`; all else is answered without an end.
async fn gated(routes: &str) -> (Arc<Semaphore>, Backend, Proxy) {
    let gate = Arc::new(Semaphore::new(0));
    let shut = gate.clone();
    let backend = Backend::start(move |request, mut peer| {
        let gate = shut.clone();
        async move {
            let target = request.target();
            if target == "/slow" {
                gate.acquire().await.expect("open").forget();
            }
            if target == "/slow" || target == "/quick" {
                let json = "content-type: application/json\r\n";
                return reply(peer, "200 OK", json, r#"{"user":"alice"}"#).await;
            }
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
            peer.try_send(head).await;
            peer.rest().await;
            None
        }
    });
    let backend = backend.await;
    let proxy = Proxy::before(&backend, "", routes).await;
    (gate, backend, proxy)
}

#[tokio::test]
async fn a_slow_authority_holds_back_only_what_asks_it() {
    let (gate, backend, proxy) = gated(&(by("slow") + &by("quick"))).await;
    let mut socket = proxy.open(WS, &[JSON, "cookie: session=a1"]).await;
    socket.frame("welcome").await;
    let sub = |id: u64, path: &str| json!({"t": "sub", "id": id, "path": path});
    socket.send(sub(1, "/by-slow")).await;
    backend.reached(1).await;
    socket.send(sub(2, "/by-quick")).await;
    assert_eq!(socket.frame("ok").await["id"], 2);
    socket
        .send(json!({"t": "auth", "id": 3, "token": "token"}))
        .await;
    gate.add_permits(1);
    let mut ids = Vec::new();
    while ids.len() < 2 {
        match socket.next().await {
            Seen::Frame(frame) => ids.extend(frame["id"].as_u64()),
            seen => panic!("{seen:?}"),
        }
    }
    ids.sort();
    assert_eq!(ids, [1, 3]);
}

#[tokio::test]
async fn requests_that_wait_for_an_authority_are_under_way() {
    let open = "[[route]]\npath = \"/open\"\nupstream = \"app\"\ncalls = [\"GET\"]\n";
    let (_gate, backend, proxy) = gated(&(by("slow") + open)).await;
    let mut socket = proxy.open(WS, &[JSON, "cookie: session=a1"]).await;
    socket.frame("welcome").await;
    let req = |id: u64, path: &str| json!({"t": "req", "id": id, "method": "GET", "path": path});
    for id in 0..12 {
        socket.send(req(id, "/open")).await;
    }
    backend.reached(12).await;
    // Sixteen may be under way.
    for id in 12..18 {
        socket.send(req(id, "/by-slow")).await;
    }
    for id in [16, 17] {
        let refused = socket.frame("err").await;
        assert_eq!(refused["id"], id, "{refused}");
        assert_eq!(refused["code"], "rate_limited", "{refused}");
    }
}
