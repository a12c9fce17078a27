//! Sessions that are asked for again while somebody is connected by them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::authority::{ALICE, questions, started};
use super::{WS, problem};
use crate::harness::{Socket, eventually, within};

#[tokio::test]
async fn logout_closes_live_connections_at_the_next_recheck() {
    let policy = "recheck = \"1s\"\ncache = \"1s\"";
    let guarded = started(policy, "auth = \"login\"").await;
    let (mut one, _) = guarded.welcomed("/stream", &[ALICE]).await;
    let mut raw = guarded.open("/other", &[ALICE]).await;
    let (mut many, _) = guarded.welcomed(WS, &[ALICE]).await;
    many.subscribe(1, "/stream").await;
    let (mut bob, _) = guarded.welcomed("/stream", &["cookie: session=b1"]).await;
    // Whoever stays logged in stays.
    let before = questions(&guarded);
    eventually("a recheck", async || questions(&guarded) > before + 1).await;
    let event = json!({"n": guarded.app().publish()});
    assert_eq!(one.frame("ev").await["d"], event);
    guarded.app().knows("a1", 401, "");
    let closed = async {
        for socket in [&mut one, &mut raw, &mut many] {
            assert_eq!(socket.closed().await, 4401);
        }
    };
    let recheck = Duration::from_secs(3);
    tokio::time::timeout(recheck, closed).await.unwrap();
    bob.frame("ev").await;
    let event = json!({"n": guarded.app().publish()});
    assert_eq!(bob.frame("ev").await["d"], event);
    assert_eq!(guarded.ask("GET /app/page", &[ALICE]).await.status(), 401);
}

#[tokio::test]
async fn logout_on_an_open_connection_ends_its_subscriptions_only() {
    let proxy = started("recheck = \"1s\"", "").await;
    let (mut many, _) = proxy.welcomed(WS, &[ALICE]).await;
    let ch = many.subscribe(1, "/stream").await;
    let news = many.subscribe(2, "/news").await;
    proxy.app().knows("a1", 401, "");
    let end = many.frame("end").await;
    assert_eq!(
        (&end["ch"], &end["code"]),
        (&json!(ch), &json!("token_expired"))
    );
    proxy.app().publish();
    let event = many.frame("ev").await;
    assert_eq!(event["ch"], news, "{event}");
    many.send(json!({"t": "sub", "id": 3, "path": "/stream"}))
        .await;
    let refused = many.frame_unless("err", "ok").await;
    assert_eq!(refused["status"], 401, "{refused}");
}

#[tokio::test]
async fn authority_outage_keeps_sessions_a_while_and_admits_no_new() {
    let policy = "recheck = \"1s\"\ncache = \"0s\"\nstale_if_error = \"2s\"";
    let proxy = started(policy, "auth = \"login\"").await;
    let (mut one, _) = proxy.welcomed("/stream", &[ALICE]).await;
    let (mut many, _) = proxy.welcomed(WS, &[ALICE]).await;
    many.subscribe(1, "/other").await;
    one.frame("ok").await;
    proxy.app().fails(Some(500));
    let before = questions(&proxy);
    eventually("a recheck in vain", async || questions(&proxy) > before).await;
    let event = json!({"n": proxy.app().publish()});
    for socket in [&mut one, &mut many] {
        let seen: Value = socket.frame("ev").await;
        assert_eq!(seen["d"], event);
    }
    let bob = "cookie: session=b1";
    for answer in [
        proxy.ask("GET /app/page", &[bob]).await,
        proxy.ask("GET /app/page", &[ALICE]).await,
    ] {
        assert_eq!(problem(&answer).0, 503);
    }
    // Two seconds over the recheck that was due, and not another one that is not.
    let closed = async {
        for socket in [&mut one, &mut many] {
            assert_eq!(socket.closed().await, 4100);
        }
    };
    let stale = Duration::from_secs(4);
    tokio::time::timeout(stale, closed).await.unwrap();
    assert_eq!(proxy.backend().asked_for("/app/page").len(), 0);
    proxy.app().fails(None);
    within("the authority", async {
        while proxy.ask("GET /app/page", &[ALICE]).await.status() != 200 {}
    })
    .await;
}

#[tokio::test]
async fn authority_outage_that_ends_in_time_closes_no_session() {
    let policy = "recheck = \"1s\"\nstale_if_error = \"20s\"";
    let proxy = started(policy, "auth = \"login\"").await;
    let (mut one, _) = proxy.welcomed("/stream", &[ALICE]).await;
    one.frame("ok").await;
    proxy.app().fails(Some(502));
    let before = questions(&proxy);
    eventually("a recheck in vain", async || questions(&proxy) > before).await;
    proxy.app().fails(None);
    let before = questions(&proxy);
    eventually("a recheck", async || questions(&proxy) > before).await;
    let event = json!({"n": proxy.app().publish()});
    assert_eq!(one.frame_unless("ev", "end").await["d"], event);
}

#[tokio::test]
async fn all_connections_of_a_session_are_rechecked_by_one_question() {
    let proxy = started("recheck = \"1s\"", "auth = \"login\"").await;
    let begun = Instant::now();
    let mut sockets: Vec<Socket> = Vec::new();
    for _ in 0..10 {
        sockets.push(proxy.welcomed("/stream", &[ALICE]).await.0);
    }
    assert_eq!(questions(&proxy), 1);
    eventually("rechecks", async || questions(&proxy) >= 4).await;
    // What one has heard within half of the time serves the others.
    let most = 1 + 2 * (begun.elapsed().as_secs() + 1);
    assert!(questions(&proxy) as u64 <= most);
    let event = json!({"n": proxy.app().publish()});
    for socket in &mut sockets {
        assert_eq!(socket.frame("ev").await["d"], event);
    }
}

#[tokio::test]
async fn recheck_with_changed_claims_is_acted_upon() {
    let proxy = started("recheck = \"1s\"", "").await;
    let (mut many, _) = proxy.welcomed(WS, &[ALICE]).await;
    let editors = many.subscribe(1, "/editors").await;
    let stream = many.subscribe(2, "/stream").await;
    let reader = json!({"user": {"id": "alice", "tenant": 7, "roles": ["reader"]}});
    proxy.app().knows("a1", 200, &reader.to_string());
    let end = many.frame("end").await;
    assert_eq!(
        (&end["ch"], &end["code"]),
        (&json!(editors), &json!("forbidden"))
    );
    proxy.app().publish();
    assert_eq!(many.frame("ev").await["ch"], stream);
    // The same cookie is somebody else's now.
    let bob = json!({"user": {"id": "bob", "tenant": 7}}).to_string();
    proxy.app().knows("a1", 200, &bob);
    let end = many.frame("end").await;
    assert_eq!(
        (&end["ch"], &end["code"]),
        (&json!(stream), &json!("token_expired"))
    );
}

#[tokio::test]
async fn revoked_session_stays_out_and_revoked_user_is_asked_anew() {
    let proxy = started("cache = \"30s\"", "auth = \"login\"").await;
    let stolen = "cookie: session=a2";
    let alice = json!({"user": {"id": "alice", "tenant": 7}}).to_string();
    proxy.app().knows("a2", 200, &alice);
    let (mut one, _) = proxy.welcomed(WS, &[stolen]).await;
    let sessions = proxy.admin("/v1/sessions").await.json;
    let id = &sessions["sessions"][0]["id"];
    let (mut other, _) = proxy.welcomed(WS, &[ALICE]).await;
    let answer = proxy.tell("/v1/revoke", &json!({ "session": id })).await;
    assert_eq!(answer.json, json!({"closed": 1}));
    assert_eq!(one.closed().await, 4403);
    assert_eq!(proxy.ask("GET /app/page", &[stolen]).await.status(), 401);
    other.subscribe(1, "/stream").await;
    let answer = proxy.tell("/v1/revoke", &json!({"user": "alice"})).await;
    assert_eq!(answer.json, json!({"closed": 1}));
    assert_eq!(other.closed().await, 4403);
    let before = questions(&proxy);
    // The backend still says that it is her, and says so later: that counts.
    within("a newer word", async {
        while proxy.ask("GET /app/page", &[ALICE]).await.status() != 200 {}
    })
    .await;
    assert!(questions(&proxy) > before);
    assert_eq!(proxy.ask("GET /app/page", &[stolen]).await.status(), 401);
}
