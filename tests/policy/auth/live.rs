//! Connections that outlive what let them in, and those that get something newer in time.

use serde_json::{Value, json};

use super::{WS, guarded};
use crate::harness::{
    JSON, Proxy, Socket,
    auth::{bearer, jwt, now, token, token_of},
    eventually,
};

async fn asking() -> Proxy {
    let websocket = "[websocket]\nauth = \"login\"\n";
    guarded(jwt()).toml(websocket).start().await
}

/// A token with little time left, and its end.
fn short(changes: Value) -> (String, u64) {
    let end = now() + 2;
    let mut all = json!({ "exp": end });
    let changes = changes.as_object().unwrap().clone();
    all.as_object_mut().unwrap().extend(changes);
    (token(all), end)
}

async fn renew(socket: &mut Socket, id: u64, token: &str) -> Value {
    socket
        .send(json!({"t": "auth", "id": id, "token": token}))
        .await;
    loop {
        let answer = socket.either("ok", "err").await;
        if answer["id"] == id {
            return answer;
        }
    }
}

#[tokio::test]
async fn a_connection_ends_with_its_token_and_is_told_before() {
    let proxy = asking().await;
    let (token, end) = short(json!({}));
    let mut raw = proxy.open("/stream", &[&bearer(&token)]).await;
    let (mut one, welcome) = proxy.welcomed("/stream", &[&bearer(&token)]).await;
    assert_eq!(welcome["auth_exp"], end);
    let (mut many, _) = proxy.welcomed(WS, &[&bearer(&token)]).await;
    let mut said = proxy.open(WS, &[JSON]).await;
    said.send(json!({"t": "hello", "token": token})).await;
    for socket in [&mut one, &mut many, &mut said] {
        let notice = socket.frame("notice").await;
        assert_eq!(notice["msg"], "auth_expiring", "{notice}");
        assert_eq!(notice["d"]["auth_exp"], end, "{notice}");
    }
    for socket in [&mut raw, &mut one, &mut many, &mut said] {
        assert_eq!(socket.closed().await, 4401);
        assert!((end..=end + 1).contains(&now()));
    }
    let refused = proxy.open("/stream", &[JSON, &bearer(&token)]).await;
    let mut refused = refused;
    assert_eq!(refused.closed().await, 4401);
}

#[tokio::test]
async fn a_leeway_is_granted_to_live_connections_too() {
    let policy = jwt().line("leeway = \"2s\"");
    let proxy = guarded(policy).start().await;
    let end = now() + 1;
    let by = bearer(&token(json!({ "exp": end })));
    let (mut one, _) = proxy.welcomed("/stream", &[&by]).await;
    one.frame("ok").await;
    eventually("the end", async || now() > end).await;
    let event = json!({"n": proxy.app().publish()});
    assert_eq!(one.frame("ev").await["d"], event);
    assert_eq!(one.closed().await, 4401);
    assert!(now() >= end + 2);
}

#[tokio::test]
async fn a_newer_token_of_the_same_person_keeps_the_connection() {
    let proxy = asking().await;
    let (old, end) = short(json!({}));
    let fresh = token_of("alice");
    let (mut one, _) = proxy.welcomed("/stream", &[&bearer(&old)]).await;
    let (mut many, _) = proxy.welcomed(WS, &[&bearer(&old)]).await;
    many.subscribe(1, "/other").await;
    let answer = renew(&mut one, 4, &fresh).await;
    assert_eq!(answer["t"], "ok");
    // A `hello` after the welcome is an `auth`, and is answered where it has an id.
    many.send(json!({"t": "hello", "token": fresh})).await;
    many.send(json!({"t": "hello", "id": 5, "token": fresh}))
        .await;
    let answer = many.either("ok", "err").await;
    assert_eq!((&answer["t"], &answer["id"]), (&json!("ok"), &json!(5)));
    eventually("the old token's end", async || now() > end).await;
    let event = json!({"n": proxy.app().publish()});
    for socket in [&mut one, &mut many] {
        assert_eq!(socket.frame("ev").await["d"], event);
    }
}

#[tokio::test]
async fn what_comes_after_a_renewal_goes_by_the_newer_token() {
    let proxy = guarded(jwt()).start().await;
    let (old, end) = short(json!({}));
    let fresh = token_of("alice");
    let (mut many, _) = proxy.welcomed(WS, &[&bearer(&old)]).await;
    many.subscribe(1, "/stream").await;
    assert_eq!(renew(&mut many, 2, &fresh).await["t"], "ok");
    eventually("the old token's end", async || now() > end).await;
    many.subscribe(3, "/other").await;
    many.send(json!({"t": "req", "id": 4, "method": "POST", "path": "/tasks/7"}))
        .await;
    assert_eq!(many.frame_unless("res", "err").await["status"], 200);
    let token = format!("Bearer {fresh}");
    for path in ["/other", "/tasks/7"] {
        let request = proxy.backend().asked_for(path).remove(0);
        assert_eq!(request.field("authorization"), Some(&*token), "{path}");
    }
}

#[tokio::test]
async fn token_of_another_user_ends_the_connection() {
    let (proxy, plain) = (asking().await, guarded(jwt()).start().await);
    let alice = bearer(&token_of("alice"));
    let (one, _) = proxy.welcomed("/stream", &[&alice]).await;
    let (many, _) = proxy.welcomed(WS, &[&alice]).await;
    let (mut held, _) = plain.welcomed(WS, &[&alice]).await;
    held.subscribe(1, "/stream").await;
    for mut socket in [one, many, held] {
        socket
            .send(json!({"t": "auth", "id": 2, "token": token_of("bob")}))
            .await;
        assert_eq!(socket.closed().await, 4401);
    }
    for backend in [proxy.backend(), plain.backend()] {
        for request in backend.seen() {
            assert_eq!(request.field("x-user"), Some("alice"));
        }
    }
}

#[tokio::test]
async fn a_bad_token_is_refused_and_changes_nothing() {
    let proxy = guarded(jwt()).start().await;
    let alice = token_of("alice");
    let (mut one, _) = proxy.welcomed("/stream", &[&bearer(&alice)]).await;
    let (mut many, _) = proxy.welcomed(WS, &[&bearer(&alice)]).await;
    many.subscribe(1, "/stream").await;
    for (id, bad, code) in [
        (2, "nonsense".to_owned(), "unauthorized"),
        (3, token(json!({"aud": "other"})), "unauthorized"),
        (4, token(json!({"exp": now() - 1})), "token_expired"),
        (
            5,
            token(json!({"aud": "other", "sub": "bob"})),
            "unauthorized",
        ),
    ] {
        for socket in [&mut one, &mut many] {
            let answer = renew(socket, id, &bad).await;
            assert_eq!(
                (&answer["t"], &answer["code"]),
                (&json!("err"), &json!(code))
            );
        }
    }
    let event = json!({"n": proxy.app().publish()});
    for socket in [&mut one, &mut many] {
        assert_eq!(socket.frame("ev").await["d"], event);
    }
    many.subscribe(6, "/other").await;
    let request = proxy.backend().asked_for("/other").remove(0);
    let token = format!("Bearer {alice}");
    assert_eq!(request.field("authorization"), Some(&*token));
}

#[tokio::test]
async fn expired_token_on_an_open_connection_ends_its_subs_only() {
    let proxy = guarded(jwt()).start().await;
    let (old, end) = short(json!({}));
    let (mut many, _) = proxy.welcomed(WS, &[&bearer(&old)]).await;
    let ch = many.subscribe(1, "/stream").await;
    let news = many.subscribe(2, "/news").await;
    let ended = many.frame("end").await;
    assert_eq!(
        (&ended["ch"], &ended["code"], &ended["final"]),
        (&json!(ch), &json!("token_expired"), &json!(false))
    );
    assert!(now() >= end);
    proxy.app().publish();
    assert_eq!(many.frame("ev").await["ch"], news);
    many.send(json!({"t": "sub", "id": 3, "path": "/stream"}))
        .await;
    let refused = many.frame_unless("err", "ok").await;
    assert_eq!(refused["code"], "token_expired", "{refused}");
    assert_eq!(proxy.backend().asked_for("/stream").len(), 1);
    // And with a newer token it goes on.
    let fresh = token_of("alice");
    assert_eq!(renew(&mut many, 4, &fresh).await["t"], "ok");
    many.subscribe(5, "/stream").await;
}

#[tokio::test]
async fn user_that_loses_a_role_loses_the_route() {
    let proxy = guarded(jwt()).start().await;
    let editor = bearer(&token(json!({"roles": ["editor"]})));
    let (mut one, _) = proxy.welcomed("/editors", &[&editor]).await;
    let (mut many, _) = proxy.welcomed(WS, &[&editor]).await;
    let editors = many.subscribe(1, "/editors").await;
    let stream = many.subscribe(2, "/stream").await;
    let reader = token(json!({"roles": ["reader"]}));
    many.send(json!({"t": "auth", "id": 3, "token": reader}))
        .await;
    let ended = many.frame("end").await;
    assert_eq!(
        (&ended["ch"], &ended["code"]),
        (&json!(editors), &json!("forbidden"))
    );
    assert_eq!(many.frame("ok").await["id"], 3);
    proxy.app().publish();
    assert_eq!(many.frame("ev").await["ch"], stream);
    one.send(json!({"t": "auth", "id": 3, "token": reader}))
        .await;
    assert_eq!(one.closed().await, 4003);
}

#[tokio::test]
async fn where_no_message_may_bring_a_token_none_is_taken_from_one() {
    let websocket = "[websocket]\nauth = \"login\"\n";
    let policy = jwt().line("from = [\"header\"]");
    let proxy = guarded(policy).toml(websocket).start().await;
    let alice = token_of("alice");
    let (mut one, _) = proxy.welcomed("/stream", &[&bearer(&alice)]).await;
    let (mut many, _) = proxy.welcomed(WS, &[&bearer(&alice)]).await;
    for socket in [&mut one, &mut many] {
        for token in [&alice, &token_of("bob")] {
            let answer = renew(socket, 2, token).await;
            assert_eq!(
                (&answer["t"], &answer["code"]),
                (&json!("err"), &json!("unauthorized"))
            );
        }
    }
    many.subscribe(3, "/news").await;
    let request = proxy.backend().asked_for("/news").remove(0);
    let token = format!("Bearer {alice}");
    assert_eq!(request.field("authorization"), Some(&*token));
}

#[tokio::test]
async fn reload_closes_only_sessions_its_policy_now_refuses() {
    let proxy = asking().await;
    let by = bearer(&token_of("alice"));
    let (mut one, _) = proxy.welcomed("/stream", &[&by]).await;
    let (mut many, _) = proxy.welcomed(WS, &[&by]).await;
    many.subscribe(1, "/other").await;
    one.frame("ok").await;
    let reload = async |from: &str, to: &str| {
        proxy.edit(|text| text.replace(from, to));
        proxy.handle.reload().await.unwrap();
    };
    reload("leeway = \"0s\"", "leeway = \"1s\"").await;
    let event = json!({"n": proxy.app().publish()});
    for socket in [&mut one, &mut many] {
        assert_eq!(socket.frame("ev").await["d"], event);
    }
    reload("\"app\"\nsecret", "\"another\"\nsecret").await;
    for socket in [&mut one, &mut many] {
        assert_eq!(socket.closed().await, 4401);
    }
    let before = proxy.backend().seen().len();
    assert_eq!(proxy.ask("GET /app/page", &[&by]).await.status(), 401);
    assert_eq!(proxy.backend().seen().len(), before);
}

#[tokio::test]
async fn newer_token_of_one_policy_leaves_other_identities() {
    let websocket = "[websocket]\nauth = \"login\"\n";
    let other = jwt()
        .named("other")
        .line("issuer = \"https://other.test\"")
        .line("from = [\"message\", \"cookie:other\"]");
    let proxy = guarded(jwt())
        .toml(websocket)
        .toml(&other.text)
        .sse("/theirs/{id}")
        .line("auth = \"other\"")
        .start()
        .await;
    let elsewhere = token(json!({"iss": "https://other.test", "sub": "carol"}));
    let cookie = format!("cookie: other={elsewhere}");
    let by = bearer(&token_of("alice"));
    let (mut many, _) = proxy.welcomed(WS, &[&by, &cookie]).await;
    many.subscribe(1, "/theirs/1").await;
    let newer = token(json!({"jti": "newer"}));
    assert_eq!(renew(&mut many, 2, &newer).await["t"], "ok");
    // The message says nothing of carol, whom the other policy knows by her cookie.
    many.subscribe(3, "/theirs/2").await;
    many.subscribe(4, "/stream").await;
    let last = proxy.backend().asked_for("/theirs/2").remove(0);
    assert_eq!(last.field("x-user"), Some("carol"));
}
