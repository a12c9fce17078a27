//! Who decides about origins over HTTP: `passthrough` and `off` leave it to the backend. Handshakes are judged in every mode.

use crate::harness::{
    Proxy,
    auth::{ALICE, by, keys},
};
use crate::policy::world::{APP, EVIL, ask, backend, refused, route, write};

/// Routes under a policy in this mode: an open one, one with authentication, and a bridged one.
fn routes(mode: &str) -> String {
    format!(
        "[cors.web]\norigins = [\"https://app.example.com\"]\nmode = \"{mode}\"\n{}{}{}{}",
        keys(""),
        route("/secret", "cors = \"web\"\nauth = \"keys\""),
        route("/feed", "cors = \"web\"\nsource = \"sse\""),
        route("/{*path}", "cors = \"web\""),
    )
}

#[tokio::test]
async fn backends_own_cors_stays_and_it_answers_preflights() {
    for mode in ["passthrough", "off"] {
        let backend = backend().await;
        let proxy = Proxy::before(&backend, "", &routes(mode)).await;
        for origin in [APP, EVIL, "null"] {
            let fields = format!("Origin: {origin}\r\n");
            for answer in [
                ask(&proxy, "GET /", &fields).await,
                write(&proxy, "POST /", &fields).await,
            ] {
                assert_eq!(answer.status(), 200, "{mode} {origin}");
                let allowed = answer.all("access-control-allow-origin");
                assert_eq!(allowed, ["*", "https://other.test"], "{mode} {origin}");
                let expose = answer.field("access-control-expose-headers");
                assert_eq!(expose, Some("x-backend"), "{mode} {origin}");
                assert_eq!(answer.field("vary"), Some("Accept-Encoding"), "{mode}");
            }
            let asked = fields + "Access-Control-Request-Method: PUT\r\n";
            let answer = ask(&proxy, "OPTIONS /", &asked).await;
            assert_eq!(answer.text(), "ok", "{mode} {origin}");
        }
        assert_eq!(backend.seen().len(), 9, "{mode}");
    }
}

#[tokio::test]
async fn passthrough_preflight_alone_goes_on_without_credentials() {
    let backend = backend().await;
    let proxy = Proxy::before(&backend, "", &routes("passthrough")).await;
    let asked = format!("Origin: {EVIL}\r\nAccess-Control-Request-Method: PUT\r\n");
    let answer = ask(&proxy, "OPTIONS /secret", &asked).await;
    assert_eq!(answer.text(), "ok");
    assert_eq!(backend.seen().len(), 1);
    for (line, fields) in [
        ("OPTIONS /secret", ""),
        ("OPTIONS /secret", "Access-Control-Request-Method: PUT\r\n"),
        ("OPTIONS /secret", "Origin: https://app.example.com\r\n"),
        ("GET /secret", asked.as_str()),
        ("PUT /secret", asked.as_str()),
    ] {
        let answer = ask(&proxy, line, fields).await;
        assert_eq!(answer.status(), 401, "{line} {fields}");
    }
    assert_eq!(backend.seen().len(), 1);
    assert_eq!(ask(&proxy, "GET /secret", &by(ALICE)).await.status(), 200);
    // Off is as without a policy: the route asks everybody.
    let proxy = Proxy::before(&backend, "", &routes("off")).await;
    let answer = ask(&proxy, "OPTIONS /secret", &asked).await;
    assert_eq!(answer.status(), 401);
    assert_eq!(backend.seen().len(), 2);
}

#[tokio::test]
async fn handshakes_are_judged_in_every_mode() {
    for (mode, listed) in [("enforce", 101), ("passthrough", 101), ("off", 403)] {
        let backend = backend().await;
        let proxy = Proxy::before(&backend, "", &routes(mode)).await;
        for path in ["/feed", "/tunnel"] {
            for (origin, status) in [
                (APP, listed),
                (EVIL, 403),
                ("null", 403),
                ("https://app.example.com.evil.test", 403),
            ] {
                let before = backend.seen().len();
                let origin = format!("origin: {origin}");
                let got = refused(&proxy, path, &[&origin]).await;
                assert_eq!(got, status, "{mode} {path} {origin}");
                if status == 101 {
                    backend.reached(before + 1).await;
                } else {
                    assert_eq!(backend.seen().len(), before, "{mode} {path} {origin}");
                }
            }
        }
    }
}
