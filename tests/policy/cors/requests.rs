//! Plain requests by their origin. Rows bear the numbers of one table, so that a failure names its row.

use crate::harness::{
    Backend, EVERYTHING, Proxy,
    auth::{BOB, by, keys},
    http2::Client,
    request,
};
use crate::policy::world::{
    APP, CORS, EVIL, ask, assert_granted, assert_nothing, backend, code, route, varies_by, write,
};

/// Origins that look like an allowed one.
const LOOKALIKES: &[(&str, &str)] = &[
    ("10", "https://app.example.com.evil.test"),
    ("11", "https://evilapp.example.com"),
    ("12", "http://app.example.com"),
    ("13", "https://app.example.com:8443"),
    ("14", "https://app.example.com."),
    ("15", "https://APP.example.com"),
    ("16", "https://app.example.com/"),
    ("17", "https://example.com"),
    ("18", "https://a.b.stage.example.com"),
    ("19", "https://x.stage.example.com.evil.test"),
    ("20", "https://app.example.com@evil.test"),
    ("21", "https://app.example.com#evil.test"),
    ("22", "https://app.example.com, https://evil.test"),
    ("23", "https://appxexample.com"),
    ("24", "https://app.example.com%00.evil.test"),
    ("25", "https://[::1]"),
    ("25", "https://[::ffff:127.0.0.1]:3000"),
    ("25", "http://[::1]:3000"),
    ("18", "https://stage.example.com"),
    ("18", "https://.stage.example.com"),
    ("13", "https://app.example.com:443"),
    ("13", "http://localhost"),
    ("15", "https://äpp.example.com"),
    ("8", "null"),
    ("5", EVIL),
];

async fn enforced(backend: &Backend) -> Proxy {
    let routes = format!("{CORS}{}", route("/{*path}", "cors = \"web\""));
    Proxy::before(backend, "", &routes).await
}

fn from(origin: &str) -> String {
    format!("Origin: {origin}\r\n")
}

#[tokio::test]
async fn rows_1_to_4_and_7_allowed_page_reads_and_is_named_alone() {
    let backend = backend().await;
    let proxy = enforced(&backend).await;
    let answer = ask(&proxy, "GET /", "").await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"));
    assert_nothing("1", &answer);
    for (row, line, origin) in [
        ("2", "GET /", APP),
        ("3", "GET /", "https://x.stage.example.com"),
        ("4", "GET /", "http://localhost:3000"),
        ("7", "POST /", APP),
        ("7", "DELETE /", APP),
        ("7", "POST /socket.io/?EIO=4&transport=polling&sid=x", APP),
        ("2", "GET /socket.io/?EIO=4&transport=polling&sid=x", APP),
        ("2", "GET /sock/info", APP),
        ("7", "POST /sock/0/1/xhr_streaming", APP),
    ] {
        let answer = ask(&proxy, line, &from(origin)).await;
        assert_eq!(answer.status(), 200, "row {row}");
        assert_granted(row, &answer, origin);
    }
    assert_eq!(backend.seen().len(), 10);
}

#[tokio::test]
async fn rows_5_to_25_unlisted_page_reads_and_writes_nothing() {
    let backend = backend().await;
    let proxy = enforced(&backend).await;
    for (row, origin) in LOOKALIKES {
        let before = backend.seen().len();
        let answer = ask(&proxy, "GET /", &from(origin)).await;
        assert_eq!(answer.status(), 200, "row {row}: {origin}");
        assert_nothing(row, &answer);
        assert_eq!(backend.seen().len(), before + 1, "row {row}: {origin}");
        for line in [
            "POST /",
            "PUT /",
            "PATCH /",
            "DELETE /",
            "POST /socket.io/?EIO=4&sid=x",
            "POST /sock/0/1/xhr",
            "LOCK /",
        ] {
            let answer = write(&proxy, line, &from(origin)).await;
            assert_eq!(answer.status(), 403, "rows 6 and 9: {line} {origin}");
            assert_eq!(code(&answer), "forbidden");
            assert_nothing("6", &answer);
        }
        assert_eq!(backend.seen().len(), before + 1, "row 6: {origin}");
    }
}

#[tokio::test]
async fn rows_26_to_28_two_origins_none_to_speak_of_and_ones_own() {
    let backend = backend().await;
    let proxy = enforced(&backend).await;
    for line in ["GET /", "POST /", "OPTIONS /"] {
        for two in [[APP, EVIL], [EVIL, APP], [APP, APP]] {
            let answer = ask(&proxy, line, &two.map(from).concat()).await;
            assert_eq!(answer.status(), 403, "row 26: {line}");
            assert_nothing("26", &answer);
        }
    }
    assert!(backend.seen().is_empty(), "row 26");
    let answer = ask(&proxy, "GET /", "Origin:\r\n").await;
    assert_eq!(answer.status(), 200, "row 27");
    assert_nothing("27", &answer);
    let empty = write(&proxy, "POST /", "Origin:\r\n").await;
    assert_eq!(empty.status(), 403, "row 27");
    for (line, origin) in [
        ("GET /", "http://a.example"),
        ("POST /", "http://a.example"),
        ("DELETE /", "http://a.example"),
    ] {
        let answer = ask(&proxy, line, &from(origin)).await;
        assert_eq!(answer.status(), 200, "row 28: {line}");
        assert_nothing("28", &answer);
    }
    for foreign in ["http://a.example:81", "http://b.example", "ftp://a.example"] {
        let answer = ask(&proxy, "POST /", &from(foreign)).await;
        assert_eq!(answer.status(), 403, "row 28: {foreign}");
    }
    assert_eq!(backend.seen().len(), 4);
}

#[tokio::test]
async fn rows_29_to_35_allowed_page_reads_any_backend_answer() {
    let backend = backend().await;
    let proxy = enforced(&backend).await;
    for (row, line, status) in [
        ("29", "GET /304", 304),
        ("30", "GET /302", 302),
        ("31", "GET /500", 500),
        ("33", "GET /", 200),
        ("35", "HEAD /", 200),
    ] {
        let fields = format!("{}If-None-Match: \"1\"\r\n", from(APP));
        let answer = ask(&proxy, line, &fields).await;
        assert_eq!(answer.status(), status, "row {row}");
        assert_granted(row, &answer, APP);
        assert!(varies_by(&answer, "accept-encoding"), "row 34: {answer:?}");
        assert_eq!(answer.all("vary").len(), 1, "row 34");
        for (name, value) in [
            ("timing-allow-origin", "*"),
            ("cross-origin-resource-policy", "same-origin"),
            ("set-cookie", "s=1"),
            ("etag", "\"1\""),
        ] {
            assert_eq!(answer.field(name), Some(value), "row 33: {line}");
        }
        let evil = ask(&proxy, line, &from(EVIL)).await;
        assert_nothing(row, &evil);
    }
}

/// Names, for each of our own refusals, a route where it happens.
async fn refusing() -> (Backend, Proxy) {
    let backend = backend().await;
    let dead = Backend::ok().await.address;
    let routes = format!(
        "{CORS}{}[rate_limit.one]\nrequests = \"1/h\"\nby = \"route\"\n\
         [upstream.dead]\nservers = [\"http://{dead}\"]\n\
         [upstream.slow]\nservers = [\"http://{}\"]\nresponse_timeout = \"100ms\"\n\
         [[route]]\npath = \"/dead\"\nupstream = \"dead\"\ncors = \"web\"\n\
         [[route]]\npath = \"/slow\"\nupstream = \"slow\"\ncors = \"web\"\n{}{}{}",
        keys(""),
        silent().await,
        route("/secret", "auth = \"keys\"\ncors = \"web\""),
        route(
            "/admin",
            "auth = \"keys\"\ncors = \"web\"\nrequire = {roles = [\"admin\"]}"
        ),
        route("/once", "cors = \"web\"\nrate_limit = \"one\""),
    );
    // Where no route is, the default speaks.
    let default = CORS.replace("cors.web", "cors.default");
    let proxy = Proxy::before(&backend, "", &(routes + &default)).await;
    (backend, proxy)
}

/// An address where nobody ever answers.
async fn silent() -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            kept.push(stream);
        }
    });
    address
}

#[tokio::test]
async fn row_32_what_the_edge_itself_answers_can_be_read_too() {
    let (backend, proxy) = refusing().await;
    assert_eq!(ask(&proxy, "GET /once", "").await.status(), 200);
    let bob = by(BOB);
    for (line, fields, status, problem) in [
        ("GET /dead", "", 502, "upstream_down"),
        ("GET /slow", "", 504, "upstream_timeout"),
        ("GET /secret", "", 401, "unauthorized"),
        ("POST /secret", "", 401, "unauthorized"),
        ("GET /admin", bob.as_str(), 403, "forbidden"),
        ("GET /once", "", 429, "rate_limited"),
        ("GET /nowhere", "", 404, "no_route"),
        ("POST /nowhere", "", 404, "no_route"),
    ] {
        let answer = ask(&proxy, line, &(from(APP) + fields)).await;
        assert_eq!(answer.status(), status, "row 32: {line}");
        assert_eq!(code(&answer), problem, "row 32: {line}");
        assert_granted("32", &answer, APP);
    }
    let answer = ask(&proxy, "GET /nowhere", &from(EVIL)).await;
    assert_nothing("32", &answer);
    assert_eq!(backend.seen().len(), 1);
}

#[tokio::test]
async fn the_same_rows_hold_over_http2() {
    let (backend, proxy) = refusing().await;
    let routes = format!("{CORS}{}", route("/{*path}", "cors = \"web\""));
    let open = Proxy::before(&backend, "", &routes).await;
    let get = |method: &str| method.parse::<hyper::Method>().unwrap();
    for (row, house, method, path, origin, status, granted) in [
        ("2", &open, "GET", "/", APP, 200, true),
        ("5", &open, "GET", "/", EVIL, 200, false),
        ("6", &open, "POST", "/", EVIL, 403, false),
        ("8", &open, "GET", "/", "null", 200, false),
        ("31", &open, "GET", "/500", APP, 500, true),
        ("32", &proxy, "GET", "/secret", APP, 401, true),
        ("32", &proxy, "GET", "/dead", APP, 502, true),
        ("32", &proxy, "GET", "/nowhere", APP, 404, true),
    ] {
        let before = backend.seen().len();
        let client = Client::connect(house.address).await;
        let request = client.request(get(method), path).header("origin", origin);
        let answer = client.ask(request, b"").await;
        assert_eq!(answer.status(), status, "row {row}");
        let headers = answer.head.headers();
        let allowed = headers.get_all("access-control-allow-origin").iter();
        let allowed: Vec<_> = allowed.collect();
        assert_eq!(allowed.len(), usize::from(granted), "row {row}");
        assert!(allowed.iter().all(|one| *one == origin), "row {row}");
        let vary = answer.field("vary").unwrap_or_default().to_lowercase();
        assert!(vary.contains("origin"), "row {row}: {vary}");
        if matches!(status, 401 | 403 | 404) {
            assert_eq!(backend.seen().len(), before, "row {row}");
        }
    }
    // A preflight, and two origins.
    let client = Client::connect(open.address).await;
    let preflight = client
        .request(hyper::Method::OPTIONS, "/")
        .header("origin", APP)
        .header("access-control-request-method", "PUT");
    let before = backend.seen().len();
    let answer = client.ask(preflight, b"").await;
    assert_eq!(answer.status(), 204, "row 41");
    assert_eq!(answer.field("access-control-allow-origin"), Some(APP));
    let two = client
        .request(hyper::Method::GET, "/")
        .header("origin", APP);
    let answer = client.ask(two.header("origin", EVIL), b"").await;
    assert_eq!(answer.status(), 403, "row 26");
    assert_eq!(backend.seen().len(), before);
}

#[tokio::test]
async fn the_default_policy_holds_where_a_route_names_none() {
    let backend = backend().await;
    let default = CORS.replace("cors.web", "cors.default");
    let proxy = Proxy::before(&backend, "", &format!("{default}{EVERYTHING}")).await;
    assert_granted("2", &ask(&proxy, "GET /", &from(APP)).await, APP);
    let answer = write(&proxy, "POST /", &from(EVIL)).await;
    assert_eq!((answer.status(), backend.seen().len()), (403, 1));
    // Without any policy all of it is the backend's own matter.
    let without = Proxy::passthrough(&backend).await;
    let answer = write(&without, "POST /", &from(EVIL)).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.all("access-control-allow-origin").len(), 2);
}

#[tokio::test]
async fn one_connection_answers_each_request_for_its_own_origin() {
    let backend = backend().await;
    let proxy = enforced(&backend).await;
    let mut client = proxy.client().await;
    for origin in [APP, EVIL, "http://localhost:3000", "null", APP] {
        client.send(request("GET /", &from(origin), "")).await;
        let answer = client.response().await;
        match origin {
            EVIL | "null" => assert_nothing("5", &answer),
            allowed => assert_granted("2", &answer, allowed),
        }
    }
}
