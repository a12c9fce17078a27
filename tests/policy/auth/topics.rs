//! Who shares an upstream request with whom, and by whose credentials it goes.

use serde_json::{Value, json};

use super::{OWN, WS, guarded, problem};
use crate::harness::{
    JSON, Proxy, Seen, Socket,
    admin::ask,
    auth::{bearer, jwt, token, token_of},
    eventually,
};

const BY_TENANT: &str = "share = {claims = [\"tenantId\"]}";
const BY_LOGIN: &str = "auth = \"login\"";

async fn shared() -> Proxy {
    guarded(jwt())
        .sse("/tenant")
        .line(BY_LOGIN)
        .line(BY_TENANT)
        .poll("/counts")
        .line("source = {kind = \"poll\", every = \"50ms\", jitter = 0}")
        .line(BY_LOGIN)
        .line(BY_TENANT)
        .start()
        .await
}

fn of(user: &str, tenant: &str) -> String {
    token(json!({"sub": user, "tenantId": tenant}))
}

/// The numbers of the events up to this one, and that nothing else came between.
async fn numbers(socket: &mut Socket, last: u64) -> Vec<u64> {
    let mut numbers = Vec::new();
    while numbers.last() != Some(&last) {
        match socket.next().await {
            Seen::Frame(frame) if frame["t"] == "ping" => {}
            Seen::Frame(frame) if frame["t"] == "ev" => {
                numbers.push(frame["d"]["n"].as_u64().unwrap());
            }
            seen => panic!("{seen:?}"),
        }
    }
    numbers
}

#[tokio::test]
async fn one_person_is_one_topic_whatever_their_tokens_and_cookies() {
    let proxy = guarded(jwt()).start().await;
    let one = bearer(&token(json!({"jti": "1"})));
    let two = bearer(&token(json!({"jti": "2"})));
    let (mut first, _) = proxy.welcomed(WS, &[&one]).await;
    let cookie = "cookie: _ga=GA1.2.345; theme=dark";
    let (mut second, _) = proxy.welcomed(WS, &[&two, cookie]).await;
    let ch = first.subscribe(1, "/stream").await;
    assert_eq!(second.subscribe(1, "/stream").await, ch);
    let mut raw = proxy.open("/stream", &[&two]).await;
    let mut bob = proxy.socket().token(&token_of("bob")).join().await;
    let other = bob.subscribe(1, "/stream").await;
    assert_ne!(other, ch);
    let seen = proxy.backend().asked_for("/stream");
    let users: Vec<Option<&str>> = seen.iter().map(|r| r.field("x-user")).collect();
    assert_eq!(users, [Some("alice"), Some("bob")]);
    let event = json!({"n": proxy.app().publish()});
    for socket in [&mut first, &mut second, &mut bob] {
        assert_eq!(socket.frame("ev").await["d"], event);
    }
    assert_eq!(raw.next().await, Seen::Frame(event));
    assert_eq!(proxy.backend().asked_for("/stream").len(), 2);
}

#[tokio::test]
async fn newest_token_goes_upstream_with_the_next_request() {
    let proxy = guarded(jwt()).start().await;
    let (old, newer) = (token(json!({"jti": "1"})), token(json!({"jti": "2"})));
    let newest = token(json!({"jti": "3"}));
    let mut first = proxy.socket().token(&old).join().await;
    first.subscribe(1, "/document").await;
    let goes_by = |token: &str| {
        let wanted = format!("Bearer {token}");
        let last = proxy.backend().asked_for("/document").pop();
        last.is_some_and(|request| request.field("authorization") == Some(&*wanted))
    };
    eventually("the first token", async || goes_by(&old)).await;
    // On a connection of its own,
    let mut second = proxy.socket().token(&newer).join().await;
    second.subscribe(1, "/document").await;
    eventually("the second token", async || goes_by(&newer)).await;
    // and on the first one.
    first
        .send(json!({"t": "auth", "id": 2, "token": newest}))
        .await;
    eventually("the third token", async || goes_by(&newest)).await;
    let bad = token(json!({"jti": "4", "aud": "other"}));
    first
        .send(json!({"t": "auth", "id": 3, "token": bad}))
        .await;
    let polls = proxy.backend().asked_for("/document").len();
    eventually("polls", async || {
        proxy.backend().asked_for("/document").len() > polls + 3
    })
    .await;
    assert!(goes_by(&newest));
}

#[tokio::test]
async fn tenants_users_share_a_stream_that_names_the_tenant_alone() {
    let proxy = shared().await;
    let mut alice = proxy.socket().token(&of("alice", "t1")).join().await;
    let mut bob = proxy.socket().token(&of("bob", "t1")).join().await;
    let mut carol = proxy.socket().token(&of("carol", "t2")).join().await;
    let ch = alice.subscribe(1, "/tenant").await;
    assert_eq!(bob.subscribe(1, "/tenant").await, ch);
    assert_ne!(carol.subscribe(1, "/tenant").await, ch);
    let told = |name: &str| -> Vec<Option<String>> {
        let seen = proxy.backend().asked_for("/tenant");
        let values = seen.iter().map(|r| r.field(name).map(str::to_owned));
        values.collect()
    };
    assert_eq!(told("x-tenant"), [Some("t1".into()), Some("t2".into())]);
    assert_eq!(told("x-user"), [None, None]);
    assert_eq!(told("x-roles"), [None, None]);
    // A stream of one's own names its person.
    alice.subscribe(2, "/stream").await;
    let own = proxy.backend().asked_for("/stream").remove(0);
    assert_eq!(
        (own.field("x-user"), own.field("x-tenant")),
        (Some("alice"), Some("t1"))
    );
}

#[tokio::test]
async fn user_without_the_share_claim_is_refused() {
    let proxy = shared().await;
    for nobody in [token_of("dave"), token(json!({"tenantId": null}))] {
        let by = bearer(&nobody);
        let (mut many, _) = proxy.welcomed(WS, &[&by]).await;
        many.send(json!({"t": "sub", "id": 1, "path": "/tenant"}))
            .await;
        let refused: Value = many.frame_unless("err", "ok").await;
        assert_eq!(
            (&refused["code"], &refused["status"]),
            (&json!("forbidden"), &json!(403))
        );
        let mut one = proxy.open("/tenant", &[JSON, &by]).await;
        assert_eq!(one.next().await, Seen::Closed(4003));
        let raw = proxy.shake("/tenant", &[&by, OWN]).await;
        assert_eq!(problem(&raw).0, 403);
    }
    assert_eq!(proxy.backend().seen().len(), 0);
}

#[tokio::test]
async fn tenants_first_client_leaves_and_the_stream_goes_on() {
    let proxy = shared().await;
    let mut alice = proxy.socket().token(&of("alice", "t1")).join().await;
    alice.subscribe(1, "/tenant").await;
    let mut bob = proxy.socket().token(&of("bob", "t1")).join().await;
    bob.subscribe(1, "/tenant").await;
    for _ in 0..5 {
        proxy.app().publish();
    }
    assert_eq!(numbers(&mut alice, 5).await, [1, 2, 3, 4, 5]);
    assert_eq!(numbers(&mut bob, 5).await, [1, 2, 3, 4, 5]);
    alice.say_goodbye(1000, "").await;
    for _ in 0..5 {
        proxy.app().publish();
    }
    assert_eq!(numbers(&mut bob, 10).await, [6, 7, 8, 9, 10]);
    let last = proxy.backend().asked_for("/tenant").pop().unwrap();
    assert_eq!(last.field("x-tenant"), Some("t1"));
}

#[tokio::test]
async fn user_of_another_tenant_is_another_subject() {
    let proxy = shared().await;
    let mut alice = proxy.socket().token(&of("alice", "t1")).join().await;
    alice.subscribe(1, "/tenant").await;
    alice
        .send(json!({"t": "auth", "id": 2, "token": of("alice", "t2")}))
        .await;
    assert_eq!(alice.closed().await, 4401);
    let request = proxy.backend().only();
    assert_eq!(request.field("x-tenant"), Some("t1"));
}

#[tokio::test]
async fn shared_poll_uses_credentials_of_a_connected_user() {
    let proxy = shared().await;
    let goes_by = |token: &str| {
        let wanted = format!("Bearer {token}");
        let last = proxy.backend().asked_for("/counts").pop();
        last.is_some_and(|request| request.field("authorization") == Some(&*wanted))
    };
    let (first, second, third) = (of("alice", "t1"), of("bob", "t1"), of("carol", "t1"));
    let mut alice = proxy.socket().token(&first).join().await;
    let ch = alice.subscribe(1, "/counts").await;
    let (mut bob, mut carol) = (
        proxy.socket().token(&second).join().await,
        proxy.socket().token(&third).join().await,
    );
    for socket in [&mut bob, &mut carol] {
        assert_eq!(socket.subscribe(1, "/counts").await, ch);
        socket.frame("snap").await;
    }
    alice.say_goodbye(1000, "").await;
    eventually("polls of those who are left", async || !goes_by(&first)).await;
    // Whoever it goes by now is taken back, and their connection has lost what it held.
    let answer = proxy.tell("/v1/revoke", &json!({"user": "bob"})).await;
    assert_eq!(answer.json, json!({"closed": 1}));
    let end = bob.frame("end").await;
    assert_eq!(
        (&end["ch"], &end["code"]),
        (&json!(ch), &json!("unauthorized"))
    );
    eventually("polls by who is left", async || goes_by(&third)).await;
    let last = proxy.app().publish();
    let event = carol.frame_unless("ev", "gap").await;
    assert_eq!(event["d"]["n"], last, "{event}");
    assert!(goes_by(&third));
}

#[tokio::test]
async fn a_rollout_counts_subscriptions_of_every_source() {
    let governed = || {
        let rollout = "rollout = \"web\"";
        let routes = guarded(jwt()).at("/stream").line(rollout);
        routes
            .at("/document")
            .line(rollout)
            .toml("[rollout.web]\npercent = 100")
    };
    let proxy = governed().start().await;
    let sessions = async || {
        let rollouts = proxy.admin("/v1/rollouts").await.json;
        rollouts["rollouts"][0]["sessions"].clone()
    };
    let mut polled = proxy.socket().token(&token_of("alice")).join().await;
    polled.subscribe(1, "/document").await;
    let mut streamed = proxy.socket().token(&token_of("bob")).join().await;
    streamed.subscribe(1, "/stream").await;
    let mut elsewhere = proxy.socket().token(&token_of("carol")).join().await;
    elsewhere.subscribe(1, "/other").await;
    assert_eq!(sessions().await, 2);
    // What a reload changes of their routes, or a person of the rollout, leaves them in it.
    let slower = "source = {kind = \"poll\", every = \"60ms\", jitter = 0}";
    proxy.reload_routes(&governed().line(slower).text()).await;
    assert_eq!(sessions().await, 2);
    let admin = &proxy.handle.admin;
    let paused = json!({"paused": true}).to_string();
    ask(admin, "PATCH", "/v1/rollouts/web", &[], &paused).await;
    assert_eq!(sessions().await, 2);
    elsewhere.subscribe(2, "/stream").await;
    assert_eq!(sessions().await, 3);
}
