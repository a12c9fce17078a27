//! Polled routes whose clients come and go: what that costs the backend, and what they see.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::harness::{Proxy, Socket, admin::get, eventually, proxy, reply};

/// Polled routes, one of which has nothing to show.
async fn started() -> Proxy {
    let polled = "source = {kind = \"poll\", every = \"100ms\"}";
    let proxy = proxy()
        .poll("/document")
        .line(polled)
        .poll("/list")
        .line("source = {kind = \"poll\", every = \"100ms\", emit = \"changes\"}")
        .poll("/none")
        .line(polled)
        .on("/none", |_, peer| reply(peer, "204 No Content", "", ""))
        .start()
        .await;
    proxy.app().change(|shown| shown.has_etag = true);
    proxy.app().show("[{\"id\":1}]");
    proxy
}

/// A first visit; the position that it ends with.
async fn visit(proxy: &Proxy, path: &str) -> Value {
    let mut socket = proxy.join(&[]).await;
    socket.subscribe(1, path).await;
    let snapshot = socket.frame("snap").await;
    socket.say_goodbye(1000, "").await;
    idles(proxy).await;
    snapshot["o"].clone()
}

/// A client that subscribes, and the first word that it gets.
async fn come(proxy: &Proxy, path: &str, after: Option<&Value>) -> (Socket, Value) {
    let mut socket = proxy.join(&[]).await;
    let mut sub = json!({"t": "sub", "id": 1, "path": path});
    if let Some(after) = after {
        sub["after"] = after.clone();
    }
    socket.send(sub).await;
    let word = socket.message().await;
    (socket, word)
}

/// Waits until no client is there, and longer than the interval after that.
async fn idles(proxy: &Proxy) {
    let hub = &proxy.handle.shared().hub;
    eventually("every topic is idle", async || {
        hub.topics().iter().all(|topic| topic.is_idle)
    })
    .await;
    sleep(Duration::from_millis(300)).await;
}

#[tokio::test]
async fn a_client_of_an_idle_route_sees_one_fresh_document() {
    let proxy = started().await;
    visit(&proxy, "/document").await;
    let polls = proxy.backend().seen().len();
    sleep(Duration::from_millis(400)).await;
    assert_eq!(proxy.backend().seen().len(), polls);
    let fresh = json!([{"id": 1}, {"id": 2}]);
    proxy.app().show(&fresh.to_string());
    let (mut socket, ok) = come(&proxy, "/document", None).await;
    assert_eq!(ok["t"], "ok", "{ok}");
    let snapshot = socket.message().await;
    assert_eq!((&snapshot["t"], &snapshot["d"]), (&json!("snap"), &fresh));
    assert_eq!(snapshot["o"], ok["at"]);
    let asked = &proxy.backend().seen()[polls];
    assert!(asked.field("if-none-match").is_some());
    socket.say_goodbye(1000, "").await;
    // Raw clients have no other message to tell it by.
    idles(&proxy).await;
    let newer = json!([{"id": 1}, {"id": 2}, {"id": 3}]);
    proxy.app().show(&newer.to_string());
    let mut raw = proxy.open("/document", &[]).await;
    assert_eq!(raw.message().await, newer);
}

#[tokio::test]
async fn a_client_back_with_a_position_gets_the_difference() {
    let proxy = started().await;
    let position = visit(&proxy, "/list").await;
    let list = json!([{"id": 1}, {"id": 2}]);
    proxy.app().show(&list.to_string());
    let (mut socket, ok) = come(&proxy, "/list", Some(&position)).await;
    assert_eq!((&ok["t"], &ok["recovered"]), (&json!("ok"), &json!(true)));
    let event = socket.message().await;
    assert_eq!(
        (&event["e"], &event["d"]),
        (&json!("created"), &json!({"id": 2}))
    );
    // One that is not known any more is a gap, and then too the document is the fresh one.
    socket.say_goodbye(1000, "").await;
    idles(&proxy).await;
    let list = json!([{"id": 1}, {"id": 2}, {"id": 3}]);
    proxy.app().show(&list.to_string());
    let (mut socket, ok) = come(&proxy, "/list", Some(&json!("abc-7"))).await;
    assert_eq!(ok["t"], "ok");
    assert_eq!(socket.message().await["why"], "epoch");
    assert_eq!(socket.message().await["d"], list);
}

#[tokio::test]
async fn a_slow_or_down_backend_shows_the_old_document_as_stale() {
    let proxy = started().await;
    visit(&proxy, "/document").await;
    proxy
        .app()
        .change(|shown| shown.takes = Duration::from_secs(3));
    let began = Instant::now();
    let (mut socket, ok) = come(&proxy, "/document", None).await;
    assert_eq!(ok["t"], "ok");
    let waited = began.elapsed();
    assert!(waited < Duration::from_secs(2), "{waited:?}");
    let state = socket.message().await;
    assert_eq!(
        (&state["live"], &state["why"]),
        (&json!(false), &json!("connecting"))
    );
    assert_eq!(socket.message().await["t"], "snap");
    assert_eq!(socket.message().await["live"], true);
    socket.say_goodbye(1000, "").await;
    proxy.app().change(|shown| {
        shown.takes = Duration::ZERO;
        shown.status = "500 Oh";
    });
    idles(&proxy).await;
    let (mut socket, ok) = come(&proxy, "/document", None).await;
    assert_eq!(ok["t"], "ok");
    assert_eq!(socket.message().await["why"], "upstream_down");
    assert_eq!(socket.message().await["t"], "snap");
}

#[tokio::test]
async fn a_client_refused_after_a_pause_sees_nothing_old() {
    for (status, code) in [
        ("401 No", "unauthorized"),
        ("403 No", "forbidden"),
        ("404 No", "not_found"),
    ] {
        let proxy = started().await;
        let position = visit(&proxy, "/document").await;
        proxy.app().change(|shown| shown.status = status);
        let (_, refused) = come(&proxy, "/document", None).await;
        assert_eq!(
            (&refused["t"], &refused["code"]),
            (&json!("err"), &json!(code))
        );
        // A client with a position gets nothing old either where the next poll is refused.
        proxy.app().change(|shown| shown.status = "200 OK");
        visit(&proxy, "/document").await;
        proxy.app().change(|shown| shown.status = status);
        let (_, refused) = come(&proxy, "/document", Some(&position)).await;
        assert_eq!(
            (&refused["t"], &refused["code"]),
            (&json!("err"), &json!(code))
        );
    }
}

#[tokio::test]
async fn an_idle_route_does_not_count_against_health() {
    let proxy = started().await;
    visit(&proxy, "/document").await;
    proxy.app().change(|shown| shown.status = "500 Oh");
    sleep(Duration::from_secs(1)).await;
    let admin = &proxy.handle.admin;
    let health = get(admin, "/v1/health").await.json;
    assert_eq!(health["status"], "ok", "{health}");
    let topics = get(admin, "/v1/topics").await.json;
    let topic = &topics["topics"][0];
    assert_eq!(
        (&topic["live"], &topic["why"]),
        (&json!(false), &json!("idle"))
    );
    assert_eq!(topic["subscribers"], 0);
    let metrics = proxy.metrics();
    assert!(!metrics.contains("crossfade_data_age_seconds{route=\"document\"}"));
}

#[tokio::test]
async fn polled_route_answers_204_and_is_live_without_a_document() {
    let proxy = started().await;
    let (mut socket, ok) = come(&proxy, "/none", None).await;
    assert_eq!(ok["t"], "ok");
    proxy.backend().reached(8).await;
    socket.send(json!({"t": "ping"})).await;
    assert_eq!(socket.message().await["t"], "pong");
    let admin = &proxy.handle.admin;
    let topics = get(admin, "/v1/topics").await.json;
    assert_eq!(topics["topics"][0]["live"], true, "{topics}");
}

#[tokio::test]
async fn ten_users_with_one_visit_each_cost_ten_polls() {
    let proxy = started().await;
    for user in 0..10 {
        let cookie = format!("cookie: session={user}");
        let mut socket = proxy.join(&[&cookie]).await;
        socket.subscribe(1, "/document").await;
        socket.frame("snap").await;
        socket.say_goodbye(1000, "").await;
    }
    idles(&proxy).await;
    sleep(Duration::from_secs(2)).await;
    // A visit on a busy machine may last longer than the interval.
    let polls = proxy.backend().seen().len();
    assert!((10..=20).contains(&polls), "{polls}");
}
