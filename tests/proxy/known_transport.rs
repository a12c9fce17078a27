//! Which transport somebody is to use, where they are known by what they present.

use crate::harness::{
    Backend, Message, Proxy,
    auth::{ALICE, BOB, by, keys},
};
use crate::policy::world::{APP, CORS, ask, backend, code, route};

/// A rollout at `percent` for a stream that asks who it is, and `PREFIX/ws` likewise.
async fn world(percent: &str) -> (Backend, Proxy) {
    let backend = backend().await;
    let routes = format!(
        "{CORS}[rollout.web]\npercent = {percent}\nsalt = \"web\"\n[websocket]\nauth = \"keys\"\ncors = \"web\"\n{}{}{}",
        keys("from = [\"header\", \"ticket\"]"),
        route(
            "/feed",
            "source = \"sse\"\nauth = \"keys\"\nrollout = \"web\"\ncors = \"web\""
        ),
        route("/{*path}", ""),
    );
    let proxy = Proxy::before(&backend, "", &routes).await;
    (backend, proxy)
}

async fn transport(proxy: &Proxy, query: &str, key: &str) -> Message {
    ask(
        proxy,
        &format!("GET /_crossfade/transport{query}"),
        &by(key),
    )
    .await
}

#[tokio::test]
async fn bucket_is_that_of_the_user_of_the_key() {
    // Of the salt `web`: alice 2624, bob 52185.
    for (percent, alice, bob) in [
        ("2.624", "legacy", "legacy"),
        ("2.625", "websocket", "legacy"),
        ("52.185", "websocket", "legacy"),
        ("52.186", "websocket", "websocket"),
    ] {
        let (backend, proxy) = world(percent).await;
        for query in ["", "?path=/feed", "?path=%2Ffeed%3Fa%3D1"] {
            for (key, expected) in [(ALICE, alice), (BOB, bob)] {
                let answer = transport(&proxy, query, key).await;
                assert_eq!(answer.status(), 200, "{percent} {query}");
                let told = answer.json();
                assert_eq!(told["transport"], expected, "{percent} {query}: {told}");
                assert_eq!(told["reason"], "bucket", "{told}");
                let is_websocket = expected == "websocket";
                assert_eq!(told["websocket_available"], is_websocket, "{told}");
                assert_eq!(told["fallback_mode"], !is_websocket, "{told}");
                // Whoever is known needs no other mark.
                assert_eq!(answer.field("set-cookie"), None);
                assert_eq!(answer.field("cache-control"), Some("no-store"));
            }
        }
        // The stream's own answers agree.
        for (key, expected) in [(ALICE, alice), (BOB, bob)] {
            let answer = ask(&proxy, "GET /feed", &by(key)).await;
            assert_eq!(answer.field("crossfade-transport"), Some(expected));
        }
        assert_eq!(backend.seen().len(), 2);
    }
}

#[tokio::test]
async fn anonymous_transport_answer_is_that_of_the_path_asked_for() {
    let (backend, proxy) = world("50").await;
    for query in ["", "?path=/feed"] {
        for fields in [String::new(), by("cfk_alice_wrong")] {
            let page = format!("Origin: {APP}\r\n{fields}");
            let line = format!("GET /_crossfade/transport{query}");
            let answer = ask(&proxy, &line, &page).await;
            assert_eq!(answer.status(), 401, "{query}");
            assert_eq!(code(&answer), "unauthorized");
            let allowed = answer.field("access-control-allow-origin");
            assert_eq!(allowed, Some(APP), "{query}");
        }
    }
    // A place that asks nobody tells everybody.
    let answer = ask(&proxy, "GET /_crossfade/transport?path=/page", "").await;
    assert_eq!(answer.json()["reason"], "none");
    assert_eq!(answer.json()["transport"], "legacy");
    for query in [
        "?path=/_crossfade/ws",
        "?path=//feed",
        "?path=/FEED",
        "?path=/x/../feed",
    ] {
        let answer = transport(&proxy, query, ALICE).await;
        assert!(matches!(answer.status(), 200 | 400 | 404), "{query}");
    }
    assert!(backend.seen().is_empty());
}

#[tokio::test]
async fn ticket_stands_for_its_fetcher_once() {
    let (backend, proxy) = world("2.625").await;
    let fetch = async |query: &str, key: &str| {
        let line = format!("POST /_crossfade/ticket{query}");
        ask(&proxy, &line, &by(key)).await
    };
    for (query, target) in [("?path=/feed", "/feed"), ("", "/_crossfade/ws")] {
        let answer = fetch(query, ALICE).await;
        assert_eq!(answer.status(), 201);
        let told = answer.json();
        assert_eq!(told["expires_in_ms"], 30_000);
        let ticket = told["ticket"].as_str().unwrap();
        let target = format!("{target}?ticket={ticket}");
        assert_eq!(
            crate::policy::world::refused(&proxy, &target, &[]).await,
            101
        );
        assert_eq!(
            crate::policy::world::refused(&proxy, &target, &[]).await,
            401
        );
    }
    // Bob is known as bob, and out.
    let told = fetch("?path=/feed", BOB).await.json();
    let target = format!("/feed?ticket={}", told["ticket"].as_str().unwrap());
    assert_eq!(
        crate::policy::world::refused(&proxy, &target, &[]).await,
        403
    );
    for (line, fields, status) in [
        ("POST /_crossfade/ticket", String::new(), 401),
        ("GET /_crossfade/ticket", by(ALICE), 405),
        ("POST /_crossfade/ticket?path=/page", by(ALICE), 404),
    ] {
        assert_eq!(ask(&proxy, line, &fields).await.status(), status, "{line}");
    }
    let seen = backend.seen();
    assert!(seen.iter().all(|seen| seen.target() == "/feed"), "{seen:?}");
}
