//! Where a token may stand, and which of several places counts.

use serde_json::json;

use super::guarded;
use crate::harness::{
    Seen,
    auth::{bearer, encode, item, jwt, token, token_of},
    proxy,
};

#[tokio::test]
async fn a_token_among_the_subprotocols_counts_and_is_never_echoed() {
    let proxy = guarded(jwt()).start().await;
    let alice = token_of("alice");
    let secret = format!("cf.bearer.{}", encode(&alice));
    for (path, offered, chosen) in [
        ("/stream", "crossfade.v1.json, ", Some("crossfade.v1.json")),
        ("/stream", "crossfade.v1.raw, ", Some("crossfade.v1.raw")),
        ("/other", "crossfade.v1.raw, ", Some("crossfade.v1.raw")),
        ("/app/socket", "", None),
    ] {
        let offer = format!("sec-websocket-protocol: {offered}{secret}");
        let answer = proxy.shake(path, &[&offer]).await;
        assert_eq!(answer.status(), 101, "{path} {offered}");
        let echoed = answer.field("sec-websocket-protocol");
        assert_eq!(echoed, chosen, "{path} {offered}");
    }
    proxy.backend().reached(3).await;
    for request in proxy.backend().seen() {
        let token = format!("Bearer {alice}");
        let line = &request.line;
        assert_eq!(request.field("authorization"), Some(&*token), "{line}");
        let offer = request.all("sec-websocket-protocol").concat();
        assert!(!offer.contains("cf.bearer"), "{line}");
    }
    let before = proxy.backend().seen().len();
    // A browser would not take an answer that chooses none of what it offered.
    let alone = format!("sec-websocket-protocol: {secret}");
    assert_eq!(proxy.shake("/stream", &[&alone]).await.status(), 400);
    let bad = format!("sec-websocket-protocol: cf.bearer.{}", encode("x.y.z"));
    assert_eq!(proxy.shake("/app/socket", &[&bad]).await.status(), 401);
    let bad = item(&token(json!({"iss": "https://evil.test"})));
    assert_eq!(proxy.open("/stream", &[&bad]).await.closed().await, 4001);
    assert_eq!(proxy.backend().seen().len(), before);
}

#[tokio::test]
async fn query_token_is_off_unless_named_and_never_sent_upstream() {
    let alice = token_of("alice");
    let target = |path: &str| format!("{path}?a=1&access_token={alice}&b=2");
    let off = guarded(jwt()).start().await;
    let line = format!("GET {}", target("/app/page"));
    assert_eq!(off.ask(&line, &[]).await.status(), 401);
    assert_eq!(off.shake(&target("/stream"), &[]).await.status(), 401);
    assert_eq!(off.backend().seen().len(), 0);
    let on = guarded(jwt().line(&format!("from = {}", r#"["query:access_token"]"#)))
        .start()
        .await;
    assert_eq!(on.ask(&line, &[]).await.status(), 200);
    assert_eq!(on.shake(&target("/app/socket"), &[]).await.status(), 101);
    assert_eq!(on.shake(&target("/stream"), &[]).await.status(), 101);
    on.backend().reached(3).await;
    let seen = on.backend().seen();
    let targets: Vec<&str> = seen.iter().map(|request| request.target()).collect();
    assert_eq!(
        targets,
        [
            "/app/page?a=1&b=2",
            "/app/socket?a=1&b=2",
            "/stream?a=1&b=2"
        ]
    );
    for request in &seen {
        let token = format!("Bearer {alice}");
        assert_eq!(request.field("authorization"), Some(&*token));
    }
    // Two of them, and a bad one.
    let twice = format!("GET /app/page?access_token={alice}&access_token={alice}");
    assert_eq!(on.ask(&twice, &[]).await.status(), 401);
    let bad = "GET /app/page?access_token=a.b.c";
    assert_eq!(on.ask(bad, &[]).await.status(), 401);
    assert_eq!(on.backend().seen().len(), 3);
}

#[tokio::test]
async fn cookie_token_admits_requests_and_handshakes_of_own_pages() {
    let proxy = guarded(jwt().line(&format!("from = {}", r#"["cookie:token"]"#)))
        .start()
        .await;
    let alice = token_of("alice");
    let cookie = format!("cookie: theme=dark; token={alice}");
    assert_eq!(proxy.ask("GET /app/page", &[&cookie]).await.status(), 200);
    let mut raw = proxy.open("/stream", &[&cookie]).await;
    proxy.backend().reached(2).await;
    let event = json!({"n": proxy.app().publish()});
    assert_eq!(raw.next().await, Seen::Frame(event));
    for request in proxy.backend().seen() {
        assert_eq!(request.field("x-user"), Some("alice"));
        assert_eq!(request.field("cookie"), cookie.strip_prefix("cookie: "));
    }
    // Of somebody else's page, of none, and of another place.
    let evil = "origin: https://evil.test";
    let answer = proxy.shake("/stream", &[&cookie, evil]).await;
    assert_eq!(answer.status(), 403);
    assert_eq!(proxy.shake("/stream", &[&cookie]).await.status(), 403);
    let header = proxy.ask("GET /app/page", &[&bearer(&alice)]).await;
    assert_eq!(header.status(), 401);
    assert_eq!(proxy.backend().seen().len(), 2);
}

#[tokio::test]
async fn the_first_place_in_from_where_something_is_decides() {
    let (good, bad) = (token_of("alice"), token(json!({"aud": "other"})));
    let cookie = |token: &str| format!("cookie: token={token}");
    for (places, header, in_cookie, status) in [
        (r#"["header", "cookie:token"]"#, &good, &bad, 200),
        (r#"["header", "cookie:token"]"#, &bad, &good, 401),
        (r#"["cookie:token", "header"]"#, &bad, &good, 200),
        (r#"["cookie:token", "header"]"#, &good, &bad, 401),
    ] {
        let proxy = guarded(jwt().line(&format!("from = {}", places)))
            .start()
            .await;
        let fields = [bearer(header), cookie(in_cookie)];
        let fields = [&*fields[0], &*fields[1]];
        let answer = proxy.ask("GET /app/page", &fields).await;
        assert_eq!(answer.status(), status, "{places}");
        let reached = usize::from(status == 200);
        assert_eq!(proxy.backend().seen().len(), reached, "{places}");
    }
}

#[tokio::test]
async fn first_policy_that_finds_a_credential_decides() {
    const LINE: &str =
        "k1 sha256:0000000000000000000000000000000000000000000000000000000000000000 user=ci";
    let second = format!("[auth.machines]\nkind = \"api_key\"\nkeys = [\"{LINE}\"]\n");
    let third = jwt()
        .named("page")
        .line("audience = \"page\"")
        .line("from = [\"cookie:page\"]");
    let proxy = proxy()
        .toml(&jwt().text)
        .toml(&second)
        .toml(&third.text)
        .everything()
        .line("auth = [\"login\", \"page\", \"machines\"]")
        .start()
        .await;
    let status = async |fields: &[&str]| proxy.ask("GET /app", fields).await.status();
    let (good, page) = (bearer(&token_of("alice")), token(json!({"aud": "page"})));
    let cookie = format!("cookie: page={page}");
    assert_eq!(status(&[&good]).await, 200);
    assert_eq!(status(&[&cookie]).await, 200);
    // A good one behind it does not help a bad one.
    assert_eq!(status(&[&bearer(&page), &cookie]).await, 401);
    assert_eq!(status(&["x-api-key: cfk_k1_x", &cookie]).await, 200);
    assert_eq!(status(&["x-api-key: cfk_k1_x"]).await, 401);
    assert_eq!(status(&[]).await, 401);
    assert_eq!(proxy.backend().seen().len(), 3);
    let users = proxy.backend().seen();
    let users: Vec<Option<&str>> = users.iter().map(|r| r.field("x-user")).collect();
    assert_eq!(users, [Some("alice"); 3]);
}
