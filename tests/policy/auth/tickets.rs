//! Tickets: what a page that cannot set header fields puts into the URL of one handshake.

use super::{OWN, WS, guarded, problem};
use crate::harness::{
    JSON, Message, Proxy,
    auth::{bearer, jwt, token_of},
};

async fn started() -> Proxy {
    let policy = jwt().line("from = [\"header\", \"ticket\"]");
    guarded(policy).start().await
}

async fn give(proxy: &Proxy, path: &str, by: &[&str]) -> Message {
    let line = format!("POST /_crossfade/ticket?path={path}");
    proxy.ask(&line, by).await
}

async fn ticket(proxy: &Proxy, path: &str) -> String {
    let answer = give(proxy, path, &[&bearer(&token_of("alice"))]).await;
    assert_eq!(answer.status(), 201);
    let document = answer.json();
    assert_eq!(document["expires_in_ms"], 30_000);
    assert_eq!(document.as_object().unwrap().len(), 2, "{document}");
    assert_eq!(answer.field("cache-control"), Some("no-store"));
    document["ticket"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn ticket_admits_one_handshake_and_sends_its_token_upstream() {
    let proxy = started().await;
    for (path, protocol) in [
        ("/stream", None),
        ("/other", Some(JSON)),
        ("/app/socket", None),
    ] {
        let ticket = ticket(&proxy, path).await;
        let before = proxy.backend().seen().len();
        let target = format!("{path}?a=1&ticket={ticket}");
        let fields: Vec<&str> = protocol.into_iter().collect();
        let first = proxy.shake(&target, &fields).await;
        assert_eq!(first.status(), 101, "{path}");
        proxy.backend().reached(before + 1).await;
        let request = proxy.backend().seen().pop().unwrap();
        assert_eq!(request.target(), format!("{path}?a=1"));
        assert_eq!(request.field("x-user"), Some("alice"));
        let token = request.field("authorization").unwrap();
        assert!(token.starts_with("Bearer ey"), "{token}");
        // Once.
        let again = proxy.shake(&target, &[OWN]).await;
        assert_eq!(problem(&again).0, 401, "{path}");
        assert!(!again.text().contains(&ticket));
        assert_eq!(proxy.backend().seen().len(), before + 1);
    }
}

#[tokio::test]
async fn a_subscription_goes_on_by_the_ticket_of_its_handshake() {
    let websocket = "[websocket]\nauth = \"login\"\n";
    let policy = jwt().line("from = [\"header\", \"ticket\"]");
    let proxy = guarded(policy).toml(websocket).start().await;
    let by = bearer(&token_of("alice"));
    let answer = proxy.ask("POST /_crossfade/ticket", &[&by]).await;
    assert_eq!(answer.status(), 201);
    let ticket = answer.json()["ticket"].as_str().unwrap().to_owned();
    let target = format!("{WS}?ticket={ticket}");
    let (mut many, welcome) = proxy.welcomed(&target, &[]).await;
    assert!(welcome["auth_exp"].is_u64(), "{welcome}");
    many.subscribe(1, "/stream").await;
    many.subscribe(2, "/other").await;
    for request in proxy.backend().seen() {
        assert_eq!(request.field("x-user"), Some("alice"));
    }
    let mut again = proxy.open(&target, &[JSON]).await;
    assert_eq!(again.closed().await, 4001);
}

#[tokio::test]
async fn a_ticket_is_for_handshakes_alone() {
    let proxy = started().await;
    let ticket = ticket(&proxy, "/stream").await;
    for line in [
        format!("GET /stream?ticket={ticket}"),
        format!("GET /app/page?ticket={ticket}"),
        format!("POST /_crossfade/ticket?path=/stream&ticket={ticket}"),
    ] {
        assert_eq!(proxy.ask(&line, &[]).await.status(), 401, "{line}");
    }
    assert_eq!(proxy.backend().seen().len(), 0);
    // And is not used up by these.
    let target = format!("/stream?ticket={ticket}");
    assert_eq!(proxy.shake(&target, &[]).await.status(), 101);
}

#[tokio::test]
async fn ticket_is_given_to_known_users_where_the_route_takes_it() {
    let proxy = started().await;
    assert_eq!(give(&proxy, "/stream", &[]).await.status(), 401);
    let bad = give(&proxy, "/stream", &[&bearer("a.b.c")]).await;
    assert_eq!(bad.status(), 401);
    let by = bearer(&token_of("alice"));
    assert_eq!(give(&proxy, "/editors", &[&by]).await.status(), 403);
    let line = "GET /_crossfade/ticket?path=/stream";
    assert_eq!(proxy.ask(line, &[&by]).await.status(), 405);
    // A route of nobody's takes no tickets, nor one whose policy has no place for them.
    let refused = give(&proxy, "/news", &[&by]).await.status();
    assert!((400..500).contains(&refused), "{refused}");
    let without = guarded(jwt()).start().await;
    let refused = give(&without, "/stream", &[&by]).await.status();
    assert!((400..500).contains(&refused), "{refused}");
    let elsewhere = ticket(&proxy, "/stream").await;
    let target = format!("/stream?ticket={elsewhere}");
    assert_eq!(without.shake(&target, &[]).await.status(), 401);
    assert_eq!(proxy.backend().seen().len(), 0);
    assert_eq!(without.backend().seen().len(), 0);
}

#[tokio::test]
async fn ticket_by_cookie_is_a_write_and_carries_page_cookies() {
    let policy = jwt()
        .line("from = [\"cookie:token\", \"ticket\"]")
        .line("csrf = {header = \"X-CSRFToken\", cookie = \"csrftoken\"}");
    let proxy = guarded(policy).start().await;
    let cookie = format!("cookie: token={}; csrftoken=t0k", token_of("alice"));
    assert_eq!(give(&proxy, "/stream", &[&cookie]).await.status(), 403);
    let both = [&*cookie, "x-csrftoken: t0k"];
    let answer = give(&proxy, "/stream", &both).await;
    assert_eq!(answer.status(), 201);
    let ticket = answer.json()["ticket"].as_str().unwrap().to_owned();
    let target = format!("/stream?ticket={ticket}");
    assert_eq!(proxy.shake(&target, &[]).await.status(), 101);
    proxy.backend().reached(1).await;
    let request = proxy.backend().only();
    assert_eq!(request.field("cookie"), cookie.strip_prefix("cookie: "));
    assert_eq!(request.field("x-user"), Some("alice"));
}
