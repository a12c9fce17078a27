//! The edge changes under people who are there: whose access still holds stays, whose does not is told so.

use serde_json::json;

use crate::harness::{
    Backend, JSON, Proxy, Socket,
    auth::{ALICE, BOB, by, key_field, keys},
};
use crate::policy::world::{APP, CORS, ask, backend, join, open, refused, route};

/// A stream with these lines, the multiplexed connection with those, and these people.
fn routes(people: &str, websocket: &str, feed: &str) -> String {
    format!(
        "{people}\n[websocket]\n{websocket}\n{}{}",
        route(
            "/feed",
            &format!("name = \"feed\"\nsource = \"sse\"\n{feed}")
        ),
        route("/{*path}", ""),
    )
}

struct Guarded {
    backend: Backend,
    proxy: Proxy,
}

impl Guarded {
    async fn start(routes: &str) -> Guarded {
        let backend = backend().await;
        let proxy = Proxy::before(&backend, "", routes).await;
        Guarded { backend, proxy }
    }

    async fn reload(&self, routes: &str) {
        self.proxy.reload_routes(routes).await;
    }

    async fn json(&self, key: &str) -> Socket {
        let mut socket = open(&self.proxy, "/feed", &[JSON, &key_field(key)]).await;
        socket.frame("ok").await;
        socket
    }

    async fn raw(&self, key: &str) -> Socket {
        open(&self.proxy, "/feed", &[&key_field(key)]).await
    }
}

/// It is still there, and nothing else than an answer came.
async fn lives(socket: &mut Socket) {
    socket.send(json!({"t": "ping"})).await;
    loop {
        let frame = match socket.next().await {
            crate::harness::Seen::Frame(frame) => frame,
            other => panic!("{other:?}"),
        };
        match frame["t"].as_str() {
            Some("pong") => return,
            Some("end" | "err") => panic!("{frame}"),
            _ => {}
        }
    }
}

const ASKS: &str = "auth = \"keys\"";

#[tokio::test]
async fn reload_that_keeps_access_closes_no_session() {
    let start = routes(&keys(""), "", ASKS);
    let guarded = Guarded::start(&start).await;
    let mut alice = guarded.json(ALICE).await;
    let mut many = join(&guarded.proxy, ALICE).await;
    many.subscribe(1, "/feed").await;
    let admin = format!("{ASKS}\nrequire = {{roles = [\"admin\"]}}");
    let limit =
        "[rate_limit.few]\nrequests = \"1/h\"\nconnects = \"1/h\"\nconnections_per_user = 1\n";
    let limited = format!("{ASKS}\nrate_limit = \"few\"\ncors = \"web\"");
    for (what, change) in [
        (
            "a requirement that she meets",
            routes(&keys(""), "", &admin),
        ),
        (
            "a policy for the connection",
            routes(&keys(""), ASKS, &admin),
        ),
        (
            "a policy and limits",
            routes(&format!("{limit}{CORS}{}", keys("")), ASKS, &limited),
        ),
        (
            "identity headers",
            routes(&keys("identity = {user = \"X-User\"}"), ASKS, ASKS),
        ),
        ("no authentication", routes("", "", "")),
        ("as before", start.clone()),
    ] {
        guarded.reload(&change).await;
        lives(&mut alice).await;
        lives(&mut many).await;
        assert!(
            !guarded.proxy.metrics().contains("crossfade_panics_total 1"),
            "{what}"
        );
    }
}

#[tokio::test]
async fn new_requirement_closes_only_sessions_that_fail_it() {
    let start = routes(&keys(""), "", ASKS);
    let guarded = Guarded::start(&start).await;
    let (mut alice, mut bob) = (guarded.json(ALICE).await, guarded.json(BOB).await);
    let mut raw = guarded.raw(BOB).await;
    let mut many = join(&guarded.proxy, BOB).await;
    let ch = many.subscribe(1, "/feed").await;
    guarded.backend.reached(2).await;
    let admin = format!("{ASKS}\nrequire = {{roles = [\"admin\"]}}");
    guarded.reload(&routes(&keys(""), "", &admin)).await;
    assert_eq!(bob.closed().await, 4003);
    assert_eq!(raw.closed().await, 4003);
    // Of many subscriptions only this one ends.
    let end = many.frame("end").await;
    assert_eq!(
        (&end["ch"], &end["code"]),
        (&ch.into(), &"forbidden".into())
    );
    lives(&mut many).await;
    lives(&mut alice).await;
    assert_eq!(
        refused(&guarded.proxy, "/feed", &[&key_field(BOB)]).await,
        403
    );
    guarded.reload(&start).await;
    guarded.json(BOB).await;
}

#[tokio::test]
async fn new_auth_keeps_known_sessions_and_closes_unknown_ones() {
    let start = routes(&keys(""), "", "");
    let guarded = Guarded::start(&start).await;
    let mut alice = guarded.json(ALICE).await;
    let mut nobody = open(&guarded.proxy, "/feed", &[JSON]).await;
    nobody.frame("ok").await;
    let mut many = open(&guarded.proxy, "/_crossfade/ws", &[JSON]).await;
    many.frame("welcome").await;
    many.subscribe(1, "/feed").await;
    guarded.reload(&routes(&keys(""), "", ASKS)).await;
    assert_eq!(nobody.closed().await, 4001);
    let end = many.frame("end").await;
    assert_eq!(end["code"], "unauthorized", "{end}");
    lives(&mut many).await;
    lives(&mut alice).await;
    assert_eq!(refused(&guarded.proxy, "/feed", &[]).await, 401);
}

#[tokio::test]
async fn a_key_that_is_taken_away_ends_what_it_opened() {
    let start = routes(&keys(""), ASKS, ASKS);
    let guarded = Guarded::start(&start).await;
    let (mut alice, mut bob) = (guarded.json(ALICE).await, guarded.json(BOB).await);
    let mut many = join(&guarded.proxy, BOB).await;
    many.subscribe(1, "/feed").await;
    let without = keys("").replace("\"bob ", "\"carol ");
    guarded.reload(&routes(&without, ASKS, ASKS)).await;
    for socket in [&mut bob, &mut many] {
        assert_eq!(socket.closed().await, 4401);
    }
    lives(&mut alice).await;
    let status = ask(&guarded.proxy, "GET /feed", &by(BOB)).await.status();
    assert_eq!(status, 401);
}

#[tokio::test]
async fn token_of_a_replaced_secret_is_refused() {
    let auth = |secret: &str| {
        format!(
            "[auth.jwt]\nkind = \"jwt\"\nissuer = false\naudience = false\nsecret = \"{secret}\"\n\
             algorithms = [\"HS256\"]"
        )
    };
    let old = "an-old-secret-of-thirty-two-bytes-or-more";
    let new = "a-new-secret-of-thirty-two-bytes-or-more!";
    let asks = "auth = \"jwt\"";
    let guarded = Guarded::start(&routes(&auth(old), "", asks)).await;
    let header = |secret: &str| format!("authorization: Bearer {}", mint(secret));
    let mut one = open(&guarded.proxy, "/feed", &[JSON, &header(old)]).await;
    one.frame("ok").await;
    guarded
        .reload(&routes(
            &format!("{}\nleeway = \"6s\"", auth(old)),
            "",
            asks,
        ))
        .await;
    lives(&mut one).await;
    guarded.reload(&routes(&auth(new), "", asks)).await;
    let code = one.closed().await;
    assert!(matches!(code, 4001 | 4401 | 4403), "{code}");
    assert_eq!(refused(&guarded.proxy, "/feed", &[&header(old)]).await, 401);
    open(&guarded.proxy, "/feed", &[&header(new)]).await;
}

/// A token of HS256 that is good for an hour.
fn mint(secret: &str) -> String {
    use base64::Engine;
    use hmac::{KeyInit, Mac};
    let encode = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let end = now.unwrap().as_secs() + 3600;
    let head = encode(br#"{"alg":"HS256","typ":"JWT"}"#);
    let claims = encode(json!({"sub": "dave", "exp": end}).to_string().as_bytes());
    let signed = format!("{head}.{claims}");
    let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    format!("{signed}.{}", encode(&mac.finalize().into_bytes()))
}

#[tokio::test]
async fn another_rate_takes_effect_at_once() {
    let limit = |lines: &str| format!("[rate_limit.api]\n{lines}\n{}", keys(""));
    let limited = |lines: &str| {
        format!(
            "{}[websocket]\nrate_limit = \"api\"\n{}{}",
            limit(lines),
            route("/feed", "source = \"sse\""),
            route("/{*path}", "rate_limit = \"api\""),
        )
    };
    let guarded = Guarded::start(&limited("requests = \"1/h\"\nmessages = \"1/h\"")).await;
    let mut socket = open(&guarded.proxy, "/_crossfade/ws", &[JSON]).await;
    socket.frame("welcome").await;
    let get = async || ask(&guarded.proxy, "GET /page", "").await.status();
    let say = async |socket: &mut Socket| {
        socket.send(json!({"t": "ping"})).await;
        socket.either("pong", "err").await["t"].clone()
    };
    assert_eq!((get().await, get().await), (200, 429));
    assert_eq!(say(&mut socket).await, "pong");
    assert_eq!(say(&mut socket).await, "err");
    // The same rates again: nobody gains by a reload.
    guarded
        .reload(&limited(
            "requests = \"1/h\"\nmessages = \"1/h\"\nconnects = \"9/s\"",
        ))
        .await;
    assert_eq!(get().await, 429);
    assert_eq!(say(&mut socket).await, "err");
    guarded
        .reload(&limited("requests = \"3/h\"\nmessages = \"3/h\""))
        .await;
    for status in [200, 200, 200, 429] {
        assert_eq!(get().await, status);
    }
    for kind in ["pong", "pong", "pong", "err"] {
        assert_eq!(say(&mut socket).await, kind);
    }
    guarded.reload(&routes(&keys(""), "", "")).await;
    for _ in 0..5 {
        assert_eq!(get().await, 200);
        assert_eq!(say(&mut socket).await, "pong");
    }
    assert_eq!(guarded.backend.seen().len(), 9);
}

#[tokio::test]
async fn multiplexed_connection_rechecks_open_sessions_only() {
    let start = routes(&keys(""), "", "");
    let guarded = Guarded::start(&start).await;
    let mut nobody = open(&guarded.proxy, "/_crossfade/ws", &[JSON]).await;
    nobody.frame("welcome").await;
    let mut alice = join(&guarded.proxy, ALICE).await;
    guarded.reload(&routes(&keys(""), ASKS, "")).await;
    assert_eq!(nobody.closed().await, 4001);
    lives(&mut alice).await;
    // Somebody who is still to say who they are, when nobody asks any more, and when somebody asks again.
    let mut one = open(&guarded.proxy, "/_crossfade/ws", &[JSON]).await;
    let mut two = open(&guarded.proxy, "/_crossfade/ws", &[JSON]).await;
    guarded.reload(&start).await;
    one.send(json!({"t": "hello"})).await;
    one.frame("welcome").await;
    guarded.reload(&routes(&keys(""), ASKS, "")).await;
    two.send(json!({"t": "hello", "token": BOB})).await;
    two.frame("welcome").await;
    assert_eq!(one.closed().await, 4001);
    lives(&mut alice).await;
    lives(&mut two).await;
}

#[tokio::test]
async fn lowered_limit_closes_no_session_and_admits_no_new() {
    let few = |count: u32| {
        let limit = format!(
            "[rate_limit.few]\nconnections_per_user = {count}\n{}",
            keys("")
        );
        routes(&limit, "", "auth = \"keys\"\nrate_limit = \"few\"")
    };
    let guarded = Guarded::start(&few(3)).await;
    let mut here = [
        guarded.json(ALICE).await,
        guarded.json(ALICE).await,
        guarded.json(ALICE).await,
    ];
    guarded.reload(&few(1)).await;
    for socket in &mut here {
        lives(socket).await;
    }
    let alice = key_field(ALICE);
    assert_eq!(refused(&guarded.proxy, "/feed", &[&alice]).await, 429);
    guarded.json(BOB).await;
    guarded.reload(&few(4)).await;
    guarded.json(ALICE).await;
}

#[tokio::test]
async fn removed_origin_is_refused_and_its_sessions_are_closed() {
    let policy = |origin: &str| format!("[cors.web]\norigins = [\"{origin}\"]\n{}", keys(""));
    let from = |origin: &str| routes(&policy(origin), "cors = \"web\"", "cors = \"web\"");
    let guarded = Guarded::start(&from(APP)).await;
    let page = format!("origin: {APP}");
    let mut socket = open(&guarded.proxy, "/feed", &[JSON, &page]).await;
    socket.frame("ok").await;
    let mut native = open(&guarded.proxy, "/feed", &[JSON]).await;
    native.frame("ok").await;
    guarded.reload(&from("https://other.example.com")).await;
    lives(&mut native).await;
    assert_eq!(refused(&guarded.proxy, "/feed", &[&page]).await, 403);
    assert_eq!(
        refused(&guarded.proxy, "/_crossfade/ws", &[&page]).await,
        403
    );
    let other = "origin: https://other.example.com";
    open(&guarded.proxy, "/feed", &[other]).await;
    assert_eq!(socket.closed().await, 4003);
}

#[tokio::test]
async fn a_broken_policy_changes_nothing() {
    let start = routes(&keys(""), ASKS, ASKS);
    let guarded = Guarded::start(&start).await;
    let mut alice = guarded.json(ALICE).await;
    for broken in [
        "kind = \"api_kex\"",
        "kind = \"api_key\"\nkeys = [\"alice\"]",
        "kind = \"jwt\"\nissuer = false",
        "kind = \"forward\"\npath = \"/me\"",
        "kind = \"api_key\"\nfile = \"/nowhere/keys\"",
        "kind = \"api_key\"\nkeyz = []",
    ] {
        let good = keys("");
        guarded
            .proxy
            .edit(|text| text.replace(good.trim(), &format!("[auth.keys]\n{broken}")));
        assert!(guarded.proxy.handle.reload().await.is_err(), "{broken}");
        lives(&mut alice).await;
        let answer = ask(&guarded.proxy, "GET /feed", "").await;
        assert_eq!(answer.status(), 401, "{broken}");
        let fresh = join(&guarded.proxy, BOB).await;
        drop(fresh);
        guarded.reload(&start).await;
    }
}
