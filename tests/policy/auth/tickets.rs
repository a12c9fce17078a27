//! Tickets: what a page that cannot set header fields puts into the URL of one handshake.

use super::world::{LOGIN, OWN, ROUTES, WS, World, bearer, problem, token_of};
use crate::harness::{JSON, Message};

async fn world() -> World {
    let policy = format!("{LOGIN}from = [\"header\", \"ticket\"]\n");
    World::with("", &[&policy, ROUTES].concat()).await
}

async fn give(world: &World, path: &str, by: &[&str]) -> Message {
    let line = format!("POST /_crossfade/ticket?path={path}");
    world.ask(&line, by).await
}

async fn ticket(world: &World, path: &str) -> String {
    let answer = give(world, path, &[&bearer(&token_of("alice"))]).await;
    assert_eq!(answer.status(), 201);
    let document = answer.json();
    assert_eq!(document["expires_in_ms"], 30_000);
    assert_eq!(document.as_object().unwrap().len(), 2, "{document}");
    assert_eq!(answer.field("cache-control"), Some("no-store"));
    document["ticket"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn ticket_admits_one_handshake_and_sends_its_token_upstream() {
    let world = world().await;
    for (path, protocol) in [
        ("/stream", None),
        ("/other", Some(JSON)),
        ("/app/socket", None),
    ] {
        let ticket = ticket(&world, path).await;
        let before = world.backend.seen().len();
        let target = format!("{path}?a=1&ticket={ticket}");
        let fields: Vec<&str> = protocol.into_iter().collect();
        let first = world.shake(&target, &fields).await;
        assert_eq!(first.status(), 101, "{path}");
        world.backend.reached(before + 1).await;
        let request = world.backend.seen().pop().unwrap();
        assert_eq!(request.target(), format!("{path}?a=1"));
        assert_eq!(request.field("x-user"), Some("alice"));
        let token = request.field("authorization").unwrap();
        assert!(token.starts_with("Bearer ey"), "{token}");
        // Once.
        let again = world.shake(&target, &[OWN]).await;
        assert_eq!(problem(&again).0, 401, "{path}");
        assert!(!again.text().contains(&ticket));
        assert_eq!(world.backend.seen().len(), before + 1);
    }
}

#[tokio::test]
async fn a_subscription_goes_on_by_the_ticket_of_its_handshake() {
    let websocket = "[websocket]\nauth = \"login\"\n";
    let policy = format!("{websocket}{LOGIN}from = [\"header\", \"ticket\"]\n");
    let world = World::with("", &[&policy, ROUTES].concat()).await;
    let by = bearer(&token_of("alice"));
    let answer = world.ask("POST /_crossfade/ticket", &[&by]).await;
    assert_eq!(answer.status(), 201);
    let ticket = answer.json()["ticket"].as_str().unwrap().to_owned();
    let target = format!("{WS}?ticket={ticket}");
    let (mut many, welcome) = world.welcomed(&target, &[]).await;
    assert!(welcome["auth_exp"].is_u64(), "{welcome}");
    many.subscribe(1, "/stream").await;
    many.subscribe(2, "/other").await;
    for request in world.backend.seen() {
        assert_eq!(request.field("x-user"), Some("alice"));
    }
    let mut again = world.open(&target, &[JSON]).await;
    assert_eq!(again.closed().await, 4001);
}

#[tokio::test]
async fn a_ticket_is_for_handshakes_alone() {
    let world = world().await;
    let ticket = ticket(&world, "/stream").await;
    for line in [
        format!("GET /stream?ticket={ticket}"),
        format!("GET /app/page?ticket={ticket}"),
        format!("POST /_crossfade/ticket?path=/stream&ticket={ticket}"),
    ] {
        assert_eq!(world.ask(&line, &[]).await.status(), 401, "{line}");
    }
    assert_eq!(world.backend.seen().len(), 0);
    // And is not used up by these.
    let target = format!("/stream?ticket={ticket}");
    assert_eq!(world.shake(&target, &[]).await.status(), 101);
}

#[tokio::test]
async fn ticket_is_given_to_known_users_where_the_route_takes_it() {
    let world = world().await;
    assert_eq!(give(&world, "/stream", &[]).await.status(), 401);
    let bad = give(&world, "/stream", &[&bearer("a.b.c")]).await;
    assert_eq!(bad.status(), 401);
    let by = bearer(&token_of("alice"));
    assert_eq!(give(&world, "/editors", &[&by]).await.status(), 403);
    let line = "GET /_crossfade/ticket?path=/stream";
    assert_eq!(world.ask(line, &[&by]).await.status(), 405);
    // A route of nobody's takes no tickets, nor one whose policy has no place for them.
    let refused = give(&world, "/news", &[&by]).await.status();
    assert!((400..500).contains(&refused), "{refused}");
    let without = World::start().await;
    let refused = give(&without, "/stream", &[&by]).await.status();
    assert!((400..500).contains(&refused), "{refused}");
    let elsewhere = ticket(&world, "/stream").await;
    let target = format!("/stream?ticket={elsewhere}");
    assert_eq!(without.shake(&target, &[]).await.status(), 401);
    assert_eq!(world.backend.seen().len(), 0);
    assert_eq!(without.backend.seen().len(), 0);
}

#[tokio::test]
async fn ticket_by_cookie_is_a_write_and_carries_page_cookies() {
    let policy = format!(
        "{LOGIN}from = [\"cookie:token\", \"ticket\"]\n\
         csrf = {{header = \"X-CSRFToken\", cookie = \"csrftoken\"}}\n"
    );
    let world = World::with("", &[&policy, ROUTES].concat()).await;
    let cookie = format!("cookie: token={}; csrftoken=t0k", token_of("alice"));
    assert_eq!(give(&world, "/stream", &[&cookie]).await.status(), 403);
    let both = [&*cookie, "x-csrftoken: t0k"];
    let answer = give(&world, "/stream", &both).await;
    assert_eq!(answer.status(), 201);
    let ticket = answer.json()["ticket"].as_str().unwrap().to_owned();
    let target = format!("/stream?ticket={ticket}");
    assert_eq!(world.shake(&target, &[]).await.status(), 101);
    world.backend.reached(1).await;
    let request = world.backend.only();
    assert_eq!(request.field("cookie"), cookie.strip_prefix("cookie: "));
    assert_eq!(request.field("x-user"), Some("alice"));
}
