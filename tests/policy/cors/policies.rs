//! CORS policies of other shapes: for everybody, for the house's own pages, and in the words of the file.

use crate::harness::Proxy;
use crate::policy::world::{APP, EVIL, ask, backend, cors_names, refused, route, varies_by, write};

#[tokio::test]
async fn star_policy_grants_any_page_and_none_with_cookies() {
    let backend = backend().await;
    let routes = format!(
        "[cors.any]\norigins = [\"*\"]\n{}{}",
        route("/feed", "source = \"sse\"\ncors = \"any\""),
        route("/{*path}", "cors = \"any\"")
    );
    let proxy = Proxy::before(&backend, "", &routes).await;
    for origin in [APP, EVIL, "null", "https://[::1]"] {
        let fields = format!("Origin: {origin}\r\n");
        for line in ["GET /", "POST /"] {
            let answer = ask(&proxy, line, &fields).await;
            assert_eq!(answer.status(), 200, "{line} {origin}");
            let allowed = answer.all("access-control-allow-origin");
            assert_eq!(allowed, ["*"], "{line} {origin}");
            let credentials = answer.field("access-control-allow-credentials");
            assert_eq!(credentials, None, "{line} {origin}");
        }
        let before = backend.seen().len();
        let with_cookie = fields + "Cookie: sid=1\r\n";
        let answer = ask(&proxy, "GET /", &with_cookie).await;
        assert_eq!(cors_names(&answer), [""; 0], "{origin}");
        assert!(varies_by(&answer, "origin") && varies_by(&answer, "cookie"));
        let answer = write(&proxy, "POST /", &with_cookie).await;
        assert_eq!(answer.status(), 403, "{origin}");
        assert_eq!(backend.seen().len(), before + 1, "{origin}");
        let origin = format!("origin: {origin}");
        assert_eq!(
            refused(&proxy, "/feed", &[&origin, "cookie: sid=1"]).await,
            403
        );
        assert_eq!(
            refused(&proxy, "/tunnel", &[&origin, "cookie: sid=1"]).await,
            403
        );
        assert_eq!(backend.seen().len(), before + 1, "{origin}");
        assert_eq!(refused(&proxy, "/tunnel", &[&origin]).await, 101);
    }
}

#[tokio::test]
async fn own_pages_are_those_of_public_url_and_requested_host() {
    let backend = backend().await;
    let server = "public_url = \"https://www.example.com\"\ntrusted_proxies = [\"127.0.0.1\"]";
    let routes = format!(
        "[cors.none]\norigins = []\n{}",
        route("/{*path}", "cors = \"none\"")
    );
    let proxy = Proxy::before(&backend, server, &routes).await;
    let forwarded = "X-Forwarded-Host: shop.example.com\r\nX-Forwarded-Proto: https\r\n";
    for (origin, fields, status) in [
        ("https://www.example.com", "", 200),
        ("http://a.example", "", 200),
        ("https://shop.example.com", forwarded, 200),
        ("https://shop.example.com", "", 403),
        ("https://www.example.com:8443", "", 403),
        ("https://www.example.com.evil.test", "", 403),
        ("https://evil.test", forwarded, 403),
        ("null", forwarded, 403),
    ] {
        let before = backend.seen().len();
        let fields = format!("Origin: {origin}\r\n{fields}");
        let answer = write(&proxy, "POST /", &fields).await;
        assert_eq!(answer.status(), status, "{fields}");
        assert_eq!(cors_names(&answer), [""; 0], "{fields}");
        assert!(varies_by(&answer, "origin"), "{fields}");
        let reached = usize::from(status == 200);
        assert_eq!(backend.seen().len() - before, reached, "{fields}");
    }
}

#[tokio::test]
async fn what_a_page_may_send_and_read_is_what_the_file_lists() {
    let backend = backend().await;
    let policy = "[cors.web]\norigins = [\"https://app.example.com\"]\nmethods = [\"GET\", \"REPORT\"]\n\
        headers = [\"x-one\", \"x-two\"]\nexpose = [\"x-three\"]\nmax_age = \"2h\"\n";
    let routes = format!("{policy}{}", route("/{*path}", "cors = \"web\""));
    let proxy = Proxy::before(&backend, "", &routes).await;
    let asked = format!(
        "Origin: {APP}\r\nAccess-Control-Request-Method: REPORT\r\nAccess-Control-Request-Headers: x-two\r\n"
    );
    let answer = ask(&proxy, "OPTIONS /", &asked).await;
    for (name, value) in [
        ("access-control-allow-origin", Some(APP)),
        ("access-control-allow-methods", Some("GET, REPORT")),
        ("access-control-allow-headers", Some("x-one, x-two")),
        ("access-control-max-age", Some("7200")),
        ("access-control-allow-credentials", None),
    ] {
        assert_eq!(answer.field(name), value, "{name}");
    }
    assert!(backend.seen().is_empty());
    let answer = ask(&proxy, "GET /", &format!("Origin: {APP}\r\n")).await;
    assert_eq!(
        answer.field("access-control-expose-headers"),
        Some("x-three")
    );
    assert_eq!(answer.field("access-control-allow-credentials"), None);
}
