//! What an attacker tried at the doors: words that are for our own sockets alone, tickets that stand for somebody who is out,
//! and the backend's own sockets, which no session looks after.

use std::time::Duration;

use serde_json::json;

use super::{GATE, OWN, guarded, problem};
use crate::harness::{
    JSON, Proxy,
    auth::{bearer, jwt, now, token, token_of},
};

const STAFF: &str = r#"
[rate_limit.one]
connections_per_user = 1

[[route]]
path = "/staff/{*rest}"
upstream = "app"
auth = "login"
require = {roles = ["editor"]}

[[route]]
path = "/one/{*rest}"
upstream = "app"
auth = "login"
rate_limit = "one"
"#;

async fn started(from: &str) -> Proxy {
    let policy = jwt().line(&format!("from = [{from}]"));
    guarded(policy).toml(STAFF).start().await
}

/// Gone within a second, without a word of ours: what is spoken there is the backend's.
async fn ends(socket: &mut crate::harness::Socket) {
    let second = Duration::from_secs(1);
    let code = tokio::time::timeout(second, socket.closed()).await;
    assert_eq!(code.unwrap(), 1006);
}

#[tokio::test]
async fn backends_own_socket_is_refused_by_status_for_any_offer() {
    let proxy = started("\"header\", \"message\"").await;
    let alice = bearer(&token_of("alice"));
    let invalid = bearer("a.b.c");
    let expired = bearer(&token(json!({"exp": now() - 60})));
    for (path, by, status) in [
        ("/app/socket", None, 401),
        ("/app/socket", Some(&invalid), 401),
        ("/app/socket", Some(&expired), 401),
        ("/staff/socket", None, 401),
        ("/staff/socket", Some(&alice), 403),
    ] {
        let fields: Vec<&str> = [JSON, OWN].into_iter().chain(by.map(|by| &**by)).collect();
        let answer = proxy.shake(path, &fields).await;
        assert_eq!(problem(&answer).0, status, "{path} {by:?}");
    }
    assert_eq!(proxy.backend().seen().len(), 0);
    let _first = proxy.open("/one/socket", &[&alice]).await;
    let second = proxy.shake("/one/socket", &[JSON, OWN, &alice]).await;
    assert_eq!(second.status(), 429);
    assert_eq!(proxy.backend().seen().len(), 1);
}

#[tokio::test]
async fn an_endpoint_of_ours_is_no_socket_whatever_it_is_asked_for() {
    let proxy = started("\"header\", \"message\"").await;
    for target in [
        "/_crossfade/transport?path=/stream",
        "/_crossfade/transport?path=/app/socket",
    ] {
        let answer = proxy.shake(target, &[JSON, OWN]).await;
        assert_eq!(problem(&answer).0, 401, "{target}");
    }
    assert_eq!(proxy.backend().seen().len(), 0);
}

#[tokio::test]
async fn ticket_grants_no_more_than_its_user_may() {
    let proxy = started("\"header\", \"ticket\"").await;
    let ticket = async |by: &str| {
        let line = "POST /_crossfade/ticket?path=/stream";
        let answer = proxy.ask(line, &[by]).await;
        assert_eq!(answer.status(), 201);
        let ticket = answer.json()["ticket"].as_str().unwrap().to_owned();
        format!("/stream?ticket={ticket}")
    };
    let revoked = ticket(&bearer(&token_of("alice"))).await;
    let end = now() + 1;
    let expired = ticket(&bearer(&token(json!({"sub": "bob", "exp": end})))).await;
    let good = ticket(&bearer(&token_of("carol"))).await;
    proxy.tell("/v1/revoke", &json!({"user": "alice"})).await;
    while now() < end {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for target in [revoked, expired] {
        assert_eq!(problem(&proxy.shake(&target, &[OWN]).await).0, 401);
    }
    assert_eq!(proxy.backend().seen().len(), 0);
    assert_eq!(proxy.shake(&good, &[OWN]).await.status(), 101);
}

#[tokio::test]
async fn ticket_alone_tells_the_backend_its_user() {
    let proxy = started("\"header\", \"ticket\"").await;
    let by = bearer(&token_of("alice"));
    let own = "cookie: session=alice";
    let line = "POST /_crossfade/ticket?path=/app/socket";
    let answer = proxy.ask(line, &[&by, own]).await;
    let ticket = answer.json()["ticket"].as_str().unwrap().to_owned();
    let target = format!("/app/socket?ticket={ticket}");
    let planted = [
        "cookie: session=mallory",
        "authorization: Basic bWFsbG9yeTo=",
        OWN,
    ];
    let answer = proxy.shake(&target, &planted).await;
    // Credentials in a field come first in `from`; Basic is none of this policy's.
    assert_eq!(answer.status(), 101);
    let request = proxy.backend().only();
    assert_eq!(request.field("x-user"), Some("alice"));
    assert_eq!(request.field("cookie"), Some("session=alice"));
    assert_eq!(
        request.field("authorization"),
        by.strip_prefix("authorization: ")
    );
}

#[tokio::test]
async fn a_tunnel_ends_with_its_token() {
    let proxy = started("\"header\"").await;
    let end = now() + 2;
    let short = bearer(&token(json!({"exp": end})));
    let mut hers = proxy.open("/app/socket", &[&short]).await;
    hers.frame("native").await;
    let mut his = proxy
        .open("/app/socket", &[&bearer(&token_of("bob"))])
        .await;
    his.frame("native").await;
    assert_eq!(hers.closed().await, 1006);
    assert!((end..=end + 1).contains(&now()));
    proxy.tell("/v1/revoke", &json!({"user": "bob"})).await;
    ends(&mut his).await;
}

#[tokio::test]
async fn tunnel_ends_with_the_token_of_another_reading() {
    let policy = jwt().line("from = [\"header\"]");
    let proxy = guarded(policy).toml(GATE).start().await;
    assert_eq!(proxy.shake("/gate/a%2Fkeys", &[OWN]).await.status(), 401);
    let end = now() + 2;
    let short = bearer(&token(json!({"exp": end})));
    let mut hers = proxy.open("/gate/a%2Fkeys", &[&short]).await;
    hers.frame("native").await;
    let by = bearer(&token_of("bob"));
    let mut his = proxy.open("/gate/a%2Fkeys", &[&by]).await;
    his.frame("native").await;
    assert_eq!(hers.closed().await, 1006);
    assert!((end..=end + 1).contains(&now()));
    proxy.tell("/v1/revoke", &json!({"user": "bob"})).await;
    ends(&mut his).await;
}
