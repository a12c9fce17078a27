//! Preflights: the browser's question, answered here, before anybody is asked who they are. Rows bear the numbers of one table.

use crate::harness::{Backend, Message, Proxy, auth::keys};
use crate::policy::world::{
    APP, CORS, EVIL, ask, assert_granted, assert_nothing, backend, cors_names, route, varies_by,
};

async fn enforced(backend: &Backend) -> Proxy {
    let routes = format!(
        "{CORS}{}{}{}",
        keys(""),
        route("/secret", "cors = \"web\"\nauth = \"keys\""),
        route("/{*path}", "cors = \"web\""),
    );
    Proxy::before(backend, "", &routes).await
}

fn question(origin: &str, method: &str, headers: &str) -> String {
    let headers = match headers {
        "" => String::new(),
        names => format!("Access-Control-Request-Headers: {names}\r\n"),
    };
    format!("Origin: {origin}\r\nAccess-Control-Request-Method: {method}\r\n{headers}")
}

/// The words of a list in an answer.
fn words(answer: &Message, name: &str) -> Vec<String> {
    let value = answer.field(name).unwrap_or_default();
    let words = value.split(',').map(|word| word.trim().to_owned());
    words.filter(|word| !word.is_empty()).collect()
}

fn methods(answer: &Message) -> Vec<String> {
    words(answer, "access-control-allow-methods")
}

fn headers(answer: &Message) -> Vec<String> {
    words(answer, "access-control-allow-headers")
}

#[tokio::test]
async fn rows_40_to_50_and_54_an_allowed_page_hears_what_it_may() {
    let backend = backend().await;
    let proxy = enforced(&backend).await;
    for (row, target, asked) in [
        ("40", "/", question(APP, "GET", "")),
        (
            "41",
            "/",
            question(APP, "PUT", "authorization,content-type"),
        ),
        (
            "42",
            "/",
            question(APP, "PUT", "  Authorization ,  Content-Type "),
        ),
        ("48", "/secret", question(APP, "PUT", "x-csrftoken")),
        (
            "54",
            "/",
            question(APP, "PUT", ",\tauthorization,,\t content-type ,"),
        ),
    ] {
        let answer = ask(&proxy, &format!("OPTIONS {target}"), &asked).await;
        assert_eq!(answer.status(), 204, "row {row}: {answer:?}");
        let allowed = answer.field("access-control-allow-origin");
        assert_eq!(allowed, Some(APP), "row {row}");
        let credentials = answer.field("access-control-allow-credentials");
        assert_eq!(credentials, Some("true"), "row {row}");
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            assert!(methods(&answer).contains(&method.into()), "row {row}");
        }
        for header in ["authorization", "content-type", "x-csrftoken"] {
            assert!(headers(&answer).contains(&header.into()), "row {row}");
        }
        assert_eq!(answer.field("access-control-max-age"), Some("600"));
        for name in [
            "origin",
            "access-control-request-method",
            "access-control-request-headers",
        ] {
            assert!(varies_by(&answer, name), "row 41: {answer:?}");
        }
        assert_eq!(answer.field("set-cookie"), None, "row 49");
        assert!(answer.body.is_empty(), "row 49");
        let expose = answer.field("access-control-expose-headers");
        assert_eq!(expose, None, "row 50");
        let everything = format!("{answer:?}");
        assert!(!everything.contains("\"*\""), "row 57: {everything}");
    }
    assert!(backend.seen().is_empty());
}

#[tokio::test]
async fn rows_43_to_57_unlisted_values_are_never_echoed() {
    let backend = backend().await;
    let proxy = enforced(&backend).await;
    let long = format!("x-{}", "a".repeat(10 << 10));
    for (row, asked, unsaid) in [
        ("43", question(APP, "PUT", "x-evil"), "x-evil"),
        ("43", question(APP, "PUT", "content-type, x-evil"), "x-evil"),
        ("44", question(APP, "TRACE", ""), "TRACE"),
        ("45", question(APP, "patch", ""), "patch"),
        ("55", question(APP, "PUT", &long), "aaaa"),
        ("55", question(APP, "PUT", "a b, <script>"), "script"),
        ("57", question(APP, "*", "*"), "\"*\""),
    ] {
        let answer = ask(&proxy, "OPTIONS /", &asked).await;
        assert_eq!(answer.status(), 204, "row {row}");
        let everything = format!("{answer:?}");
        assert!(!everything.contains(unsaid), "row {row}: {everything}");
        assert_ne!(answer.field("access-control-allow-origin"), Some("*"));
    }
    let private = "Access-Control-Request-Private-Network: true\r\n";
    let asked = question(APP, "GET", "") + private;
    let answer = ask(&proxy, "OPTIONS /", &asked).await;
    let granted = answer.field("access-control-allow-private-network");
    assert_eq!(granted, None, "row 56");
    assert!(backend.seen().is_empty());
}

#[tokio::test]
async fn rows_46_47_and_53_a_page_that_is_not_named_hears_nothing() {
    let backend = backend().await;
    let proxy = enforced(&backend).await;
    for target in ["/", "/secret"] {
        for (row, origin) in [
            ("46", EVIL),
            ("47", "null"),
            ("46", "https://app.example.com.evil.test"),
            ("46", "https://a.b.stage.example.com"),
        ] {
            let asked = question(origin, "PUT", "content-type");
            let answer = ask(&proxy, &format!("OPTIONS {target}"), &asked).await;
            assert!(matches!(answer.status(), 200 | 204 | 403), "row {row}");
            assert_nothing(row, &answer);
        }
        let two = format!("Origin: {EVIL}\r\n{}", question(APP, "PUT", ""));
        let answer = ask(&proxy, &format!("OPTIONS {target}"), &two).await;
        assert_nothing("53", &answer);
    }
    assert!(backend.seen().is_empty());
}

#[tokio::test]
async fn rows_51_and_52_options_without_method_is_passed_on() {
    let backend = backend().await;
    let proxy = enforced(&backend).await;
    let answer = ask(&proxy, "OPTIONS /", &format!("Origin: {APP}\r\n")).await;
    assert_eq!(answer.text(), "ok", "row 51");
    assert_granted("51", &answer, APP);
    let asked = "Access-Control-Request-Method: PUT\r\n";
    for fields in ["", asked] {
        let answer = ask(&proxy, "OPTIONS /", fields).await;
        assert_eq!(answer.text(), "ok", "row 52");
        assert_nothing("52", &answer);
    }
    assert_eq!(backend.seen().len(), 3);
    // And where a route asks who it is, so is it asked.
    for fields in ["", asked, "Origin: https://app.example.com\r\n"] {
        let answer = ask(&proxy, "OPTIONS /secret", fields).await;
        assert_eq!(answer.status(), 401, "{fields}");
    }
    assert_eq!(backend.seen().len(), 3);
}

#[tokio::test]
async fn preflight_is_judged_by_the_route_its_method_reaches() {
    let backend = backend().await;
    let writes = "[cors.writes]\norigins = [\"https://writer.example.com\"]\nmethods = [\"PUT\"]\n";
    let routes = format!(
        "{CORS}{writes}{}{}{}",
        keys(""),
        route("/things/{id}", "cors = \"web\""),
        route(
            "/things/{id}",
            "methods = [\"PUT\"]\ncors = \"writes\"\nauth = \"keys\""
        ),
    );
    let proxy = Proxy::before(&backend, "", &routes).await;
    let writer = "https://writer.example.com";
    for (origin, method, granted) in [
        (APP, "GET", true),
        (APP, "DELETE", true),
        (APP, "PUT", false),
        (writer, "PUT", true),
        (writer, "GET", false),
    ] {
        let asked = question(origin, method, "");
        let answer = ask(&proxy, "OPTIONS /things/7", &asked).await;
        assert_eq!(answer.status(), 204, "{origin} {method}");
        let allowed = answer.field("access-control-allow-origin");
        assert_eq!(allowed.is_some(), granted, "{origin} {method}");
        let own = methods(&answer).contains(&method.to_owned());
        assert_eq!(own, granted, "{origin} {method}");
    }
    // Where no route takes the method there is none to judge it.
    let only = format!(
        "{CORS}{}",
        route("/put", "methods = [\"PUT\"]\ncors = \"web\"")
    );
    let proxy = Proxy::before(&backend, "", &only).await;
    let answer = ask(&proxy, "OPTIONS /put", &question(APP, "GET", "")).await;
    assert_eq!(answer.status(), 404);
    let answer = ask(&proxy, "OPTIONS /put", &question(APP, "PUT", "")).await;
    assert_eq!(answer.status(), 204);
    assert!(backend.seen().is_empty());
}

#[tokio::test]
async fn own_endpoints_answer_preflights_by_their_policy() {
    let backend = backend().await;
    let routes = format!(
        "{CORS}[cors.other]\norigins = [\"https://other.example.com\"]\n\
         [websocket]\ncors = \"web\"\nauth = \"keys\"\n{}{}",
        keys("from = [\"header\", \"ticket\"]"),
        route(
            "/feed",
            "source = \"sse\"\ncors = \"other\"\nauth = \"keys\""
        ),
    );
    let proxy = Proxy::before(&backend, "", &routes).await;
    let other = "https://other.example.com";
    for (endpoint, method) in [("transport", "GET"), ("ticket", "POST")] {
        for (query, allowed, refused) in [("", APP, other), ("?path=/feed", other, APP)] {
            let target = format!("/_crossfade/{endpoint}{query}");
            for (origin, granted) in [(allowed, true), (refused, false), (EVIL, false)] {
                let asked = question(origin, method, "authorization");
                let answer = ask(&proxy, &format!("OPTIONS {target}"), &asked).await;
                assert_eq!(answer.status(), 204, "{target} {origin}");
                let said = !cors_names(&answer).is_empty();
                assert_eq!(said, granted, "{target} {origin}: {answer:?}");
                // The endpoint itself, without credentials: a 401 that the page may read.
                let line = format!("{method} {target}");
                let answer = ask(&proxy, &line, &format!("Origin: {origin}\r\n")).await;
                let is_write = method == "POST" && !granted;
                let expected = if is_write { 403 } else { 401 };
                assert_eq!(answer.status(), expected, "{line} {origin}");
                let said = answer.field("access-control-allow-origin");
                assert_eq!(said, granted.then_some(origin), "{line}");
                assert!(varies_by(&answer, "origin"), "{line} {origin}");
            }
        }
    }
    assert!(backend.seen().is_empty());
}
