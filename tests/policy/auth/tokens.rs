//! Tokens at every door: requests, tunnels, streams raw and JSON, the multiplexed connection.

use serde_json::{Value, json};

use super::{WS, guarded, problem};
use crate::harness::{
    JSON, Proxy, Seen,
    auth::{bearer, jwt, now, token, token_of},
};

/// The usual proxy, and `PREFIX/ws` asks too.
async fn asking(websocket: &str) -> Proxy {
    let websocket = format!("[websocket]\nauth = \"login\"\n{websocket}\n");
    guarded(jwt()).toml(&websocket).start().await
}

#[tokio::test]
async fn good_token_opens_every_entrance_and_names_its_user() {
    let proxy = asking("").await;
    let alice = token(json!({"tenantId": "t1", "roles": ["editor", "admin"]}));
    let by = bearer(&alice);
    let forged = ["x-user: root", "x_tenant: t9", "X-Roles: god"];
    let fields = [&[by.as_str()], &forged[..]].concat();
    assert_eq!(proxy.ask("GET /app/page", &fields).await.status(), 200);
    let mut tunnel = proxy.open("/app/socket", &fields).await;
    assert_eq!(tunnel.next().await, Seen::Frame(json!({"t": "native"})));
    let mut raw = proxy.open("/stream", &fields).await;
    proxy.backend().reached(3).await;
    let (mut one, welcome) = proxy.welcomed("/other", &fields).await;
    assert!(welcome["auth_exp"].as_u64() > Some(now()), "{welcome}");
    one.frame("ok").await;
    let (mut many, welcome) = proxy.welcomed(WS, &fields).await;
    assert!(welcome["auth_exp"].as_u64() > Some(now()), "{welcome}");
    many.subscribe(1, "/editors").await;
    many.send(json!({"t": "req", "id": 2, "method": "POST", "path": "/tasks/7"}))
        .await;
    assert_eq!(many.frame("res").await["status"], 200);
    let event = json!({"n": proxy.app().publish()});
    assert_eq!(raw.next().await, Seen::Frame(event.clone()));
    for socket in [&mut one, &mut many] {
        assert_eq!(socket.frame("ev").await["d"], event);
    }
    let seen = proxy.backend().seen();
    assert_eq!(seen.len(), 6);
    for request in seen {
        let told = ["x-user", "x-tenant", "x-roles"].map(|name| request.all(name));
        assert_eq!(
            told,
            [["alice"], ["t1"], ["editor,admin"]],
            "{}",
            request.line
        );
        let token = format!("Bearer {alice}");
        assert_eq!(request.field("authorization"), Some(&*token));
    }
}

#[tokio::test]
async fn without_a_token_all_is_refused_and_the_backend_unasked() {
    let proxy = guarded(jwt().line(&format!("from = {}", r#"["header"]"#)))
        .start()
        .await;
    for answer in [
        proxy.ask("GET /app/page", &[]).await,
        proxy.ask("GET /stream", &[]).await,
        proxy.ask("POST /tasks/7", &[]).await,
        proxy.shake("/app/socket", &[]).await,
        proxy.shake("/stream", &[]).await,
        proxy.shake("/document", &[]).await,
    ] {
        let (status, code, _) = problem(&answer);
        assert_eq!((status, &*code), (401, "unauthorized"));
        let wanted = answer.field("www-authenticate");
        assert_eq!(wanted, Some("Bearer realm=\"crossfade\""));
    }
    // Who speaks JSON is told in a way that a browser can read.
    assert_eq!(proxy.open("/stream", &[JSON]).await.closed().await, 4001);
    let (mut many, _) = proxy.welcomed(WS, &[]).await;
    many.send(json!({"t": "sub", "id": 1, "path": "/stream"}))
        .await;
    let refused = many.frame_unless("err", "ok").await;
    assert_eq!(
        (&refused["code"], &refused["status"]),
        (&json!("unauthorized"), &json!(401))
    );
    many.send(json!({"t": "req", "id": 2, "method": "POST", "path": "/tasks/7"}))
        .await;
    assert_eq!(
        many.frame_unless("err", "res").await["code"],
        "unauthorized"
    );
    assert_eq!(proxy.backend().seen().len(), 0);
    // What asks for nobody is open.
    assert_eq!(proxy.ask("GET /open/page", &[]).await.status(), 200);
}

#[tokio::test]
async fn json_client_says_hello_before_anything_else() {
    for path in ["/stream", WS] {
        let proxy = asking("").await;
        let mut socket = proxy.open(path, &[JSON]).await;
        socket.send(json!({"t": "pong"})).await;
        for early in [
            json!({"t": "sub", "id": 5, "path": "/other"}),
            json!({"t": "req", "id": 6, "method": "POST", "path": "/tasks/7"}),
            json!({"t": "auth", "id": 7, "token": token_of("alice")}),
            json!({"t": "ping"}),
        ] {
            socket.send(early.clone()).await;
            let Seen::Frame(refused) = socket.next().await else {
                panic!("{path}: closed after {early}");
            };
            let told = (&refused["t"], &refused["code"], &refused["id"]);
            assert_eq!(told, (&json!("err"), &json!("unauthorized"), &early["id"]));
        }
        assert_eq!(proxy.backend().seen().len(), 0);
        let expires = now() + 600;
        let alice = token(json!({ "exp": expires }));
        socket.send(json!({"t": "hello", "token": alice})).await;
        let Seen::Frame(welcome) = socket.next().await else {
            panic!("{path}");
        };
        assert_eq!(welcome["t"], "welcome", "{welcome}");
        assert_eq!(welcome["auth_exp"], expires);
        match path {
            WS => _ = socket.subscribe(1, "/stream").await,
            _ => _ = socket.frame_unless("ok", "err").await,
        }
        let request = proxy.backend().only();
        assert_eq!(request.field("x-user"), Some("alice"));
        let token = format!("Bearer {alice}");
        assert_eq!(request.field("authorization"), Some(&*token));
    }
}

#[tokio::test]
async fn a_hello_is_judged_like_a_header() {
    let proxy = asking("hello_timeout = \"20s\"").await;
    let expired = token(json!({"exp": now() - 1}));
    let cases = [
        ("/stream", "no token at all".to_owned(), 4001),
        (WS, token(json!({"aud": "other"})), 4001),
        ("/stream", expired.clone(), 4401),
        (WS, expired.clone(), 4401),
        ("/editors", token_of("alice"), 4003),
    ];
    for (path, token, code) in cases {
        let mut socket = proxy.open(path, &[JSON]).await;
        socket.send(json!({"t": "hello", "token": token})).await;
        assert_eq!(socket.closed().await, code, "{path}");
        // In the handshake the same token has the same end.
        if path != "/stream" || code == 4401 {
            let mut socket = proxy.open(path, &[JSON, &bearer(&token)]).await;
            assert_eq!(socket.next().await, Seen::Closed(code), "{path}");
        }
    }
    // Nothing said.
    let mut socket = proxy.open(WS, &[JSON]).await;
    socket.send(json!({"t": "hello"})).await;
    assert_eq!(socket.closed().await, 4001);
    for answer in [
        proxy.shake("/stream", &[&bearer(&expired)]).await,
        proxy.ask("GET /app/page", &[&bearer(&expired)]).await,
    ] {
        let wanted = "Bearer realm=\"crossfade\", error=\"invalid_token\"";
        assert_eq!(answer.field("www-authenticate"), Some(wanted));
        let (status, code, _) = problem(&answer);
        assert_eq!((status, &*code), (401, "token_expired"));
    }
    assert_eq!(proxy.backend().seen().len(), 0);
}

#[tokio::test]
async fn client_without_hello_in_time_is_closed() {
    let proxy = asking("hello_timeout = \"100ms\"").await;
    for path in ["/stream", WS] {
        let mut socket = proxy.open(path, &[JSON]).await;
        assert_eq!(socket.closed().await, 4008, "{path}");
    }
    assert_eq!(proxy.backend().seen().len(), 0);
}

#[tokio::test]
async fn known_user_without_requirement_is_refused_everywhere() {
    let proxy = guarded(jwt()).start().await;
    let by = bearer(&token(json!({"roles": ["reader"]})));
    for answer in [
        proxy.ask("GET /editors", &[&by]).await,
        proxy.shake("/editors", &[&by]).await,
    ] {
        let (status, code, _) = problem(&answer);
        assert_eq!((status, &*code), (403, "forbidden"));
        assert_eq!(answer.field("www-authenticate"), None);
    }
    let mut one = proxy.open("/editors", &[JSON, &by]).await;
    assert_eq!(one.next().await, Seen::Closed(4003));
    let (mut many, _) = proxy.welcomed(WS, &[&by]).await;
    many.send(json!({"t": "sub", "id": 1, "path": "/editors"}))
        .await;
    let refused = many.frame_unless("err", "ok").await;
    assert_eq!(
        (&refused["code"], &refused["status"]),
        (&json!("forbidden"), &json!(403))
    );
    assert_eq!(proxy.backend().seen().len(), 0);
    let editor = bearer(&token(json!({"roles": "reader editor"})));
    assert_eq!(proxy.ask("GET /editors", &[&editor]).await.status(), 200);
}

#[tokio::test]
async fn a_refusal_names_the_claim_that_was_missed_and_not_its_value() {
    let proxy = guarded(jwt()).start().await;
    for (changes, claim) in [
        (json!({"aud": null}), "aud"),
        (json!({"aud": "secret-plans"}), "aud"),
        (json!({"iss": null}), "iss"),
        (json!({"iss": "https://secret-plans.test"}), "iss"),
        (json!({"exp": null}), "exp"),
        (json!({"exp": "secret-plans"}), "exp"),
        (json!({"nbf": now() + 100}), "nbf"),
        (json!({"iat": now() + 100}), "iat"),
        (json!({"sub": null}), "sub"),
        (json!({"sub": {"secret-plans": 1}}), "sub"),
    ] {
        let by = bearer(&token(changes.clone()));
        let answer = proxy.ask("GET /app/page", &[&by]).await;
        let (status, code, detail) = problem(&answer);
        assert_eq!((status, &*code), (401, "unauthorized"), "{changes}");
        assert!(
            detail.contains(&format!("`{claim}`")),
            "{changes}: {detail}"
        );
        assert!(!answer.text().contains("secret-plans"), "{detail}");
    }
    assert_eq!(proxy.backend().seen().len(), 0);
}

#[tokio::test]
async fn session_list_names_admitted_users() {
    let proxy = guarded(jwt()).start().await;
    let _one = proxy
        .welcomed("/stream", &[&bearer(&token_of("bob"))])
        .await;
    proxy.backend().reached(1).await;
    let sessions = proxy.admin("/v1/sessions").await.json;
    assert_eq!(sessions["sessions"][0]["user"], "bob", "{sessions}");
    let many = proxy.socket().token(&token_of("alice")).join().await;
    let named = |sessions: &Value| {
        let list = sessions["sessions"].as_array().unwrap().clone();
        let mut users: Vec<Value> = list.iter().map(|s| s["user"].clone()).collect();
        users.sort_by_key(Value::to_string);
        users
    };
    // The multiplexed connection itself asks for nobody; its first subscription does.
    let mut many = many;
    many.subscribe(1, "/stream").await;
    let sessions = proxy.admin("/v1/sessions").await.json;
    assert_eq!(named(&sessions), [json!("alice"), json!("bob")]);
}

#[tokio::test]
async fn every_judgement_is_counted_by_its_policy_and_a_fixed_word() {
    let proxy = guarded(jwt()).start().await;
    let status = async |token: &str| proxy.ask("GET /app/page", &[&bearer(token)]).await.status();
    assert_eq!(status(&token_of("alice")).await, 200);
    assert_eq!(status("a.b.c").await, 401);
    assert_eq!(status(&token(json!({"exp": now() - 1}))).await, 401);
    assert_eq!(proxy.ask("GET /app/page", &[]).await.status(), 401);
    let metrics = proxy.metrics();
    for result in ["ok", "invalid", "expired", "missing"] {
        let line = format!("crossfade_auth_total{{auth=\"login\",result=\"{result}\"}} 1");
        assert!(metrics.contains(&line), "{line}");
    }
    assert!(!metrics.contains("alice"));
}
