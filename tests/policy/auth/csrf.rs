//! The double submit of whoever comes by a cookie.

use serde_json::json;

use super::{WS, guarded, problem};
use crate::harness::{
    Proxy, Seen,
    auth::{bearer, jwt, token_of},
};

async fn started() -> Proxy {
    let policy = jwt()
        .line("from = [\"cookie:token\", \"header\"]")
        .line("csrf = {header = \"X-CSRFToken\", cookie = \"csrftoken\"}");
    guarded(policy).start().await
}

fn cookie(more: &str) -> String {
    format!("cookie: token={}{more}", token_of("alice"))
}

#[tokio::test]
async fn a_write_by_cookie_repeats_the_cookie_in_its_header() {
    let proxy = started().await;
    let (bare, both) = (cookie(""), cookie("; csrftoken=t0k"));
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let line = format!("{method} /app/page");
        for fields in [
            &[&*bare][..],
            &[&*both],
            &[&*bare, "x-csrftoken: t0k"],
            &[&*both, "x-csrftoken: other"],
            &[&*both, "x-csrftoken: t0k", "x-csrftoken: t0k"],
        ] {
            let (status, code, detail) = problem(&proxy.ask(&line, fields).await);
            assert_eq!((status, &*code), (403, "forbidden"), "{line} {fields:?}");
            assert!(detail.contains("CSRF") && !detail.contains("t0k"));
        }
    }
    assert_eq!(proxy.backend().seen().len(), 0);
    let passed = proxy
        .ask("POST /app/page", &[&both, "X-CSRFToken: t0k"])
        .await;
    assert_eq!(passed.status(), 200);
    // The backend judges once more, by its own name.
    let request = proxy.backend().only();
    assert_eq!(request.field("x-csrftoken"), Some("t0k"));
    assert!(request.field("cookie").unwrap().contains("csrftoken=t0k"));
}

#[tokio::test]
async fn csrf_spares_reads_handshakes_and_bearer_tokens() {
    let proxy = started().await;
    let bare = cookie("");
    assert_eq!(proxy.ask("GET /app/page", &[&bare]).await.status(), 200);
    assert_eq!(proxy.ask("HEAD /app/page", &[&bare]).await.status(), 200);
    assert_eq!(proxy.ask("OPTIONS /app/page", &[&bare]).await.status(), 200);
    let by = bearer(&token_of("alice"));
    assert_eq!(proxy.ask("POST /app/page", &[&by]).await.status(), 200);
    let _raw = proxy.open("/stream", &[&bare]).await;
    let mut tunnel = proxy.open("/app/socket", &[&bare]).await;
    assert!(matches!(tunnel.next().await, Seen::Frame(_)));
    proxy.welcomed("/other", &[&bare]).await;
}

#[tokio::test]
async fn a_call_over_a_connection_by_cookie_brings_it_in_its_headers() {
    let proxy = started().await;
    let both = cookie("; csrftoken=t0k");
    let (mut many, _) = proxy.welcomed(WS, &[&both]).await;
    let call = |id: u64, method: &str, headers: serde_json::Value| json!({"t": "req", "id": id, "method": method, "path": "/tasks/7", "headers": headers});
    for (id, headers) in [
        (1, json!({})),
        (2, json!({"x-csrftoken": "other"})),
        (3, json!({"x-other": "t0k"})),
    ] {
        many.send(call(id, "POST", headers)).await;
        let refused = many.frame_unless("err", "res").await;
        assert_eq!(
            (&refused["id"], &refused["code"]),
            (&json!(id), &json!("forbidden"))
        );
    }
    assert_eq!(proxy.backend().seen().len(), 0);
    // The route's `calls` lists no header at all.
    many.send(call(
        4,
        "POST",
        json!({"X-CsrfToken": "t0k", "x-other": "1"}),
    ))
    .await;
    assert_eq!(many.frame_unless("res", "err").await["status"], 200);
    let request = proxy.backend().only();
    assert_eq!(request.field("x-csrftoken"), Some("t0k"));
    assert_eq!(request.field("x-other"), None);
    assert!(request.field("cookie").unwrap().contains("csrftoken=t0k"));
    many.send(call(5, "GET", json!({}))).await;
    assert_eq!(many.frame_unless("res", "err").await["status"], 200);
    // By a token nobody is asked.
    let (mut told, _) = proxy.welcomed(WS, &[&bearer(&token_of("alice"))]).await;
    told.send(call(6, "POST", json!({}))).await;
    assert_eq!(told.frame_unless("res", "err").await["status"], 200);
}
