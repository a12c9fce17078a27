//! How much may be asked for over HTTP, by whom, and how somebody is told that it is too much.

use crate::harness::{
    Backend, EVERYTHING, Message, Proxy,
    auth::{ALICE, BOB, by, keys},
};
use crate::policy::world::{APP, CORS, ask, assert_granted, backend, code, refused, route};

const TRUSTED: &str = "trusted_proxies = [\"127.0.0.1\"]";

/// `[rate_limit.api]` with these lines, on every route.
fn limited(lines: &str, auth: &str) -> String {
    let route = route("/{*path}", &format!("rate_limit = \"api\"\n{auth}"));
    format!("[rate_limit.api]\n{lines}\n{}{route}", keys(""))
}

async fn before(backend: &Backend, server: &str, lines: &str, auth: &str) -> Proxy {
    Proxy::before(backend, server, &limited(lines, auth)).await
}

/// A refusal says all that a client, a person and a library want to know.
fn assert_told(answer: &Message, policy: &str, quota: &str, why: &str) {
    assert_eq!(answer.status(), 429, "{why}");
    assert_eq!(code(answer), "rate_limited", "{why}");
    assert_eq!(
        answer.field("content-type"),
        Some("application/problem+json")
    );
    let wait: u32 = answer.field("retry-after").unwrap().parse().unwrap();
    assert!(wait >= 1, "{why}: {wait}");
    let told = answer.field("ratelimit-policy").unwrap();
    assert_eq!(told, format!("\"{policy}\";{quota}"), "{why}");
    let left = answer.field("ratelimit").unwrap();
    let rest = left.strip_prefix(&format!("\"{policy}\";r=0;t=")).unwrap();
    assert!(rest.parse::<u32>().unwrap() >= 1, "{why}: {left}");
}

#[tokio::test]
async fn a_client_that_asks_too_much_is_told_when_to_come_back() {
    let backend = backend().await;
    let lines = "requests = \"2/h burst 3\"";
    let proxy = before(&backend, "", lines, "").await;
    for line in ["GET /", "POST /a", "OPTIONS /b"] {
        assert_eq!(ask(&proxy, line, "").await.status(), 200, "{line}");
    }
    for line in ["GET /", "POST /a", "OPTIONS /b", "GET /c?d"] {
        let answer = ask(&proxy, line, "").await;
        assert_told(&answer, "api", "q=2;w=3600", line);
    }
    assert_eq!(ask(&proxy, "HEAD /", "").await.status(), 429);
    assert_eq!(backend.seen().len(), 3);
    let metrics = proxy.metrics();
    let counted = "crossfade_rate_limited_total{policy=\"api\"} 5";
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test]
async fn what_is_refused_for_another_reason_is_told_to_its_page_too() {
    let backend = backend().await;
    let routes = format!(
        "{CORS}[rate_limit.default]\nrequests = \"1/h\"\n{}",
        route("/{*path}", "cors = \"web\"")
    );
    let proxy = Proxy::before(&backend, "", &routes).await;
    let page = format!("Origin: {APP}\r\n");
    assert_granted("2", &ask(&proxy, "GET /", &page).await, APP);
    let answer = ask(&proxy, "GET /", &page).await;
    assert_told(&answer, "default", "q=1;w=3600", "the default");
    assert_granted("32", &answer, APP);
    // Preflights are answered before anything is counted.
    let asked = page + "Access-Control-Request-Method: PUT\r\n";
    assert_eq!(ask(&proxy, "OPTIONS /", &asked).await.status(), 204);
    assert_eq!(backend.seen().len(), 1);
}

#[tokio::test]
async fn limit_counts_client_behind_trusted_proxy_and_no_forgery() {
    let backend = backend().await;
    let lines = "requests = \"1/h\"";
    let proxy = before(&backend, TRUSTED, lines, "").await;
    let from = |addresses: &str| format!("X-Forwarded-For: {addresses}\r\n");
    for (addresses, status) in [
        ("203.0.113.1", 200),
        ("203.0.113.1", 429),
        ("203.0.113.2", 200),
        // Whatever stands left of the last untrusted address was written by its client.
        ("1.2.3.4, 203.0.113.1", 429),
        ("203.0.113.9, 203.0.113.2", 429),
        ("::ffff:203.0.113.1", 429),
        // A whole /64 is one customer.
        ("2001:db8:1:1::1", 200),
        ("2001:db8:1:1::2", 429),
        ("2001:db8:1:1:ffff::", 429),
        ("2001:db8:1:2::1", 200),
        ("2001:db8:1:2::7", 429),
    ] {
        let answer = ask(&proxy, "GET /", &from(addresses)).await;
        assert_eq!(answer.status(), status, "{addresses}");
    }
    assert_eq!(backend.seen().len(), 4);
    // Who is not trusted is the peer, whatever they write.
    let proxy = before(&backend, "", lines, "").await;
    for (addresses, status) in [("203.0.113.1", 200), ("203.0.113.2", 429), ("::1", 429)] {
        let answer = ask(&proxy, "GET /", &from(addresses)).await;
        assert_eq!(answer.status(), status, "{addresses}");
    }
    assert_eq!(backend.seen().len(), 5);
}

#[tokio::test]
async fn an_ipv6_site_has_eight_times_the_quota_of_one_network() {
    let backend = backend().await;
    let proxy = before(&backend, TRUSTED, "requests = \"1/h\"", "").await;
    for network in 1..=8 {
        let from = format!("X-Forwarded-For: 2001:db8:2:{network:x}::1\r\n");
        assert_eq!(ask(&proxy, "GET /", &from).await.status(), 200, "{from}");
    }
    let from = "X-Forwarded-For: 2001:db8:2:9::1\r\n";
    assert_eq!(ask(&proxy, "GET /", from).await.status(), 429);
    let other = "X-Forwarded-For: 2001:db8:3:9::1\r\n";
    assert_eq!(ask(&proxy, "GET /", other).await.status(), 200);
    assert_eq!(backend.seen().len(), 9);
}

#[tokio::test]
async fn users_have_a_quota_each_wherever_they_come_from() {
    let backend = backend().await;
    let lines = "requests = \"1/h\"\nby = \"user\"";
    let proxy = before(&backend, TRUSTED, lines, "auth = \"keys\"").await;
    for (key, address, status) in [
        (ALICE, "203.0.113.1", 200),
        (ALICE, "203.0.113.2", 429),
        (BOB, "203.0.113.1", 200),
        (BOB, "203.0.113.3", 429),
    ] {
        let fields = format!("X-Forwarded-For: {address}\r\n{}", by(key));
        let answer = ask(&proxy, "GET /", &fields).await;
        assert_eq!(answer.status(), status, "{fields}");
        if status == 429 {
            assert_told(&answer, "api", "q=1;w=3600", address);
        }
    }
    // Nobody uses up what is somebody else's: who shows no key is told so, and is not counted.
    for _ in 0..3 {
        assert_eq!(ask(&proxy, "GET /", "").await.status(), 401);
    }
    // Who tries keys is, by address.
    let guess = by("cfk_a_guess");
    for (address, status) in [(4, 401), (4, 429), (4, 429), (5, 401)] {
        let fields = format!("X-Forwarded-For: 203.0.113.{address}\r\n{guess}");
        assert_eq!(
            ask(&proxy, "GET /", &fields).await.status(),
            status,
            "{address}"
        );
    }
    assert_eq!(backend.seen().len(), 2);
}

#[tokio::test]
async fn quota_by_route_counts_all_clients_together() {
    let backend = backend().await;
    let routes = format!(
        "[rate_limit.each]\nrequests = \"1/h\"\nby = \"route\"\n{}{}{EVERYTHING}",
        route("/one", "rate_limit = \"each\""),
        route("/two", "rate_limit = \"each\""),
    );
    let proxy = Proxy::before(&backend, TRUSTED, &routes).await;
    for (target, address, status) in [
        ("/one", 1, 200),
        ("/one", 2, 429),
        ("/two", 3, 200),
        ("/two", 1, 429),
        ("/three", 1, 200),
        ("/three", 1, 200),
    ] {
        let from = format!("X-Forwarded-For: 203.0.113.{address}\r\n");
        let answer = ask(&proxy, &format!("GET {target}"), &from).await;
        assert_eq!(answer.status(), status, "{target} {address}");
    }
    assert_eq!(backend.seen().len(), 4);
}

#[tokio::test]
async fn handshakes_have_a_quota_of_their_own() {
    let backend = backend().await;
    let lines = "connects = \"2/h\"\nrequests = \"3/h\"";
    let routes = format!(
        "[rate_limit.api]\n{lines}\n[websocket]\nrate_limit = \"api\"\n{}{}",
        route("/feed", "source = \"sse\"\nrate_limit = \"api\""),
        route("/{*path}", "rate_limit = \"api\""),
    );
    let proxy = Proxy::before(&backend, TRUSTED, &routes).await;
    let json = crate::harness::JSON;
    for (n, path, fields, status) in [
        (1, "/feed", &[][..], 101),
        (1, "/_crossfade/ws", &[json][..], 101),
        (1, "/tunnel", &[][..], 429),
        (1, "/feed", &[][..], 429),
        (1, "/feed", &[json][..], 429),
        (1, "/_crossfade/ws", &[json][..], 429),
        (2, "/tunnel", &[][..], 101),
    ] {
        let from = format!("x-forwarded-for: 203.0.113.{n}");
        let fields = [&[from.as_str()], fields].concat();
        let status_told = refused(&proxy, path, &fields).await;
        assert_eq!(status_told, status, "{n} {path}");
    }
    for status in [200, 200, 200, 429] {
        let from = "X-Forwarded-For: 203.0.113.1\r\n";
        let answer = ask(&proxy, "GET /page", from).await;
        assert_eq!(answer.status(), status);
    }
    let tunnels = backend.seen();
    let tunnels = tunnels.iter().filter(|seen| seen.target() == "/tunnel");
    assert_eq!(tunnels.count(), 1);
}

#[tokio::test]
async fn anonymous_limit_counts_by_address_and_over_http2() {
    let backend = backend().await;
    let proxy = before(&backend, TRUSTED, "requests = \"1/h\"\nby = \"user\"", "").await;
    for (address, status) in [(1, 200), (2, 200), (1, 429), (2, 429)] {
        let client = crate::harness::http2::Client::connect(proxy.address).await;
        let address = format!("203.0.113.{address}");
        let asked = client.request(hyper::Method::GET, "/");
        let answer = client
            .ask(asked.header("x-forwarded-for", &address), b"")
            .await;
        assert_eq!(answer.status(), status, "{address}");
        if status == 429 {
            assert_eq!(answer.code(), "rate_limited");
            let policy = answer.field("ratelimit-policy");
            assert_eq!(policy, Some("\"api\";q=1;w=3600"));
            assert!(answer.field("retry-after").is_some());
        }
        let from = format!("X-Forwarded-For: {address}\r\n");
        assert_eq!(ask(&proxy, "GET /", &from).await.status(), 429);
    }
    assert_eq!(backend.seen().len(), 2);
}
