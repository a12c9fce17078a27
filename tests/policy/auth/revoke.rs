//! What an admin takes back.

use std::time::Duration;

use serde_json::{Value, json};

use super::{WS, guarded};
use crate::harness::{
    JSON, Proxy, Socket,
    auth::{bearer, jwt, now, token, token_of},
    eventually,
};

async fn asking(server: &str) -> Proxy {
    let websocket = "[websocket]\nauth = \"login\"\n";
    guarded(jwt()).toml(websocket).server(server).start().await
}

async fn revoke(proxy: &Proxy, what: Value) -> Value {
    let answer = proxy.tell("/v1/revoke", &what).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json
}

/// All are closed within a second.
async fn out(sockets: &mut [Socket]) {
    let closed = async {
        for socket in sockets {
            assert_eq!(socket.closed().await, 4403);
        }
    };
    let second = Duration::from_secs(1);
    tokio::time::timeout(second, closed).await.unwrap();
}

async fn status(proxy: &Proxy, token: &str) -> u16 {
    proxy.ask("GET /app/page", &[&bearer(token)]).await.status()
}

async fn is_here(proxy: &Proxy, socket: &mut Socket) {
    let event = json!({"n": proxy.app().publish()});
    assert_eq!(socket.frame_unless("ev", "end").await["d"], event);
}

#[tokio::test]
async fn a_user_is_out_at_once_and_comes_back_with_a_newer_token() {
    let proxy = asking("").await;
    let (alice, bob) = (bearer(&token_of("alice")), bearer(&token_of("bob")));
    let another = bearer(&token(json!({"jti": "another"})));
    let mut hers = [
        proxy.welcomed("/stream", &[&alice]).await.0,
        proxy.welcomed(WS, &[&alice]).await.0,
        proxy.open("/stream", &[&another]).await,
    ];
    let (mut his, _) = proxy.welcomed("/stream", &[&bob]).await;
    his.frame("ok").await;
    assert_eq!(
        revoke(&proxy, json!({"user": "alice"})).await,
        json!({"closed": 3})
    );
    let at = now();
    out(&mut hers).await;
    is_here(&proxy, &mut his).await;
    let before = proxy.backend().seen().len();
    for by in [&alice, &another] {
        assert_eq!(proxy.ask("GET /app/page", &[by]).await.status(), 401);
        let mut socket = proxy.open("/stream", &[JSON, by]).await;
        assert_eq!(socket.closed().await, 4403);
    }
    assert_eq!(proxy.backend().seen().len(), before);
    assert_eq!(
        revoke(&proxy, json!({"user": "nobody"})).await,
        json!({"closed": 0})
    );
    eventually("another second", async || now() > at).await;
    assert_eq!(status(&proxy, &token_of("alice")).await, 200);
}

#[tokio::test]
async fn revoked_login_closes_its_connections_and_no_others() {
    let proxy = asking("").await;
    let stolen = token(json!({"jti": "stolen"}));
    let kept = token(json!({"jti": "kept"}));
    let mut hers = [
        proxy.welcomed("/stream", &[&bearer(&stolen)]).await.0,
        proxy.welcomed(WS, &[&bearer(&stolen)]).await.0,
    ];
    let sessions = proxy.admin("/v1/sessions").await.json;
    let id = sessions["sessions"][0]["id"].as_str().unwrap().to_owned();
    let (mut other, _) = proxy.welcomed("/stream", &[&bearer(&kept)]).await;
    other.frame("ok").await;
    assert_eq!(
        revoke(&proxy, json!({ "session": id })).await,
        json!({"closed": 2})
    );
    out(&mut hers).await;
    is_here(&proxy, &mut other).await;
    assert_eq!(status(&proxy, &stolen).await, 401);
    assert_eq!(status(&proxy, &kept).await, 200);
    let unknown = proxy.tell("/v1/revoke", &json!({"session": "x"})).await;
    assert_eq!(unknown.status, 404);
}

#[tokio::test]
async fn one_token_is_out_by_its_id() {
    let proxy = guarded(jwt()).start().await;
    let (one, two) = (token(json!({"jti": "t-1"})), token(json!({"jti": "t-2"})));
    let mut hers = [proxy.welcomed("/stream", &[&bearer(&one)]).await.0];
    let (mut many, _) = proxy.welcomed(WS, &[&bearer(&one)]).await;
    let ch = many.subscribe(1, "/stream").await;
    let news = many.subscribe(2, "/news").await;
    let (mut other, _) = proxy.welcomed("/stream", &[&bearer(&two)]).await;
    other.frame("ok").await;
    assert_eq!(
        revoke(&proxy, json!({"jti": "t-1"})).await,
        json!({"closed": 2})
    );
    out(&mut hers).await;
    // The connection itself asks for nobody: only what the token held is gone.
    let ended = many.frame("end").await;
    assert_eq!(
        (&ended["ch"], &ended["code"]),
        (&json!(ch), &json!("unauthorized"))
    );
    is_here(&proxy, &mut other).await;
    assert_eq!(many.frame("ev").await["ch"], news);
    assert_eq!(status(&proxy, &one).await, 401);
    assert_eq!(status(&proxy, &two).await, 200);
}

#[tokio::test]
async fn exactly_one_is_named() {
    let proxy = guarded(jwt()).start().await;
    for body in [
        json!({}),
        json!({"user": "a", "jti": "b"}),
        json!({"user": "a", "session": "b"}),
        json!({"users": "a"}),
        json!({"user": 1}),
    ] {
        let answer = proxy.tell("/v1/revoke", &body).await;
        assert_eq!(answer.status, 422, "{body}: {}", answer.text);
    }
    assert_eq!(proxy.admin("/v1/revoke").await.status, 405);
}

#[tokio::test]
async fn what_was_taken_back_stays_so_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let server = format!("state_dir = \"{}\"", folder.path().display());
    let (alice, carol) = (
        token_of("alice"),
        token(json!({"sub": "carol", "jti": "c"})),
    );
    let before = asking(&server).await;
    assert_eq!(status(&before, &alice).await, 200);
    revoke(&before, json!({"user": "alice"})).await;
    revoke(&before, json!({"jti": "c"})).await;
    drop(before);
    let after = asking(&server).await;
    for token in [&alice, &carol] {
        assert_eq!(status(&after, token).await, 401);
        let mut socket = after.open(WS, &[JSON, &bearer(token)]).await;
        assert_eq!(socket.closed().await, 4403);
    }
    assert_eq!(after.backend().seen().len(), 0);
    assert_eq!(status(&after, &token_of("bob")).await, 200);
}
