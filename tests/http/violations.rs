//! Every rule of the gate over sockets: on plain requests, on handshakes, and in what is counted.

use std::collections::BTreeSet;

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::harness::{
    Backend, EVERYTHING, Message, Peer, Proxy, eventually,
    http2_frames::{END_HEADERS, END_STREAM, HEADERS, RESET, Raw, block, frame},
    request,
};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A handshake without `Connection`.
fn handshake(fields: &str) -> String {
    let own =
        format!("Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n");
    request("GET /socket", &(own + fields), "")
}

/// Grants every handshake, and answers everything else with `ok`.
async fn granting() -> Backend {
    Backend::start(|request, mut peer: Peer| async move {
        let Some(key) = request
            .field("sec-websocket-key")
            .filter(|_| request.field("upgrade").is_some())
        else {
            let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            return peer.try_send(ok).await.then_some(peer);
        };
        let accept = derive_accept_key(key.as_bytes());
        peer.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        ))
        .await;
        peer.rest().await;
        None
    })
    .await
}

/// What reached the backend of one request.
async fn passed(proxy: &Proxy, backend: &Backend, sent: &str) -> (u16, Option<Message>) {
    let before = backend.seen().len();
    let mut client = proxy.client().await;
    client.send(sent).await;
    let status = client.head().await.status();
    (status, backend.seen().split_off(before).pop())
}

/// Twenty names that some backend takes for one that only a proxy may set.
const ALIASES: [&str; 20] = [
    "X_Forwarded_For",
    "X-Forwarded_For",
    "x_forwarded-for",
    "X.Forwarded.For",
    "X!Forwarded!For",
    "X~Forwarded-For",
    "X_Forwarded_Host",
    "X.Forwarded-Host",
    "X_Forwarded_Proto",
    "X*Forwarded*Proto",
    "X_Forwarded_Prefix",
    "X_Forwarded_Port",
    "X_Real_IP",
    "X.Real.IP",
    "X+Real-IP",
    "X_Original_URL",
    "X_Request_Id",
    "Content_Length",
    "Transfer.Encoding",
    "Content_Type",
];

#[tokio::test]
async fn no_name_that_passes_for_a_proxys_reaches_the_backend() {
    let backend = granting().await;
    for policy in ["drop", "allow"] {
        let server = format!("underscore_headers = \"{policy}\"");
        let proxy = Proxy::before(&backend, &server, EVERYTHING).await;
        for alias in ALIASES {
            let field = format!("{alias}: evil\r\n");
            let upgrade = format!("Connection: Upgrade\r\n{field}");
            for (sent, expected) in [
                (request("GET /", &field, ""), 200),
                (request("POST /", &field, "abc"), 200),
                (handshake(&upgrade), 101),
            ] {
                let (status, seen) = passed(&proxy, &backend, &sent).await;
                assert_eq!(status, expected, "{policy}: {sent}");
                let seen = seen.unwrap();
                assert!(!format!("{seen:?}").contains("evil"), "{policy}: {seen:?}");
            }
        }
    }
    let proxy = Proxy::before(&backend, "underscore_headers = \"reject\"", EVERYTHING).await;
    let before = backend.seen().len();
    for alias in ALIASES {
        let sent = request("GET /", &format!("{alias}: evil\r\n"), "");
        assert_eq!(passed(&proxy, &backend, &sent).await.0, 400, "{alias}");
    }
    assert_eq!(backend.seen().len(), before);
}

#[tokio::test]
async fn an_allowed_name_may_not_stand_beside_its_double() {
    let backend = Backend::ok().await;
    let proxy = Proxy::before(&backend, "underscore_headers = \"allow\"", EVERYTHING).await;
    for (fields, status) in [
        ("X_User: a\r\n", 200),
        ("X_User: a\r\nX-User: b\r\n", 400),
        ("X_User: a\r\nX.User: b\r\n", 400),
    ] {
        let sent = request("GET /", fields, "");
        let (found, _) = passed(&proxy, &backend, &sent).await;
        assert_eq!(found, status, "{fields:?}");
    }
    assert_eq!(backend.only().field("x_user"), Some("a"));
}

#[tokio::test]
async fn a_nomination_takes_away_nothing_that_the_backend_relies_on() {
    let backend = granting().await;
    let proxy = Proxy::passthrough(&backend).await;
    let nominated = "Host, Cookie, Authorization, Origin, Content-Length, Transfer-Encoding, \
                     X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto, Forwarded, X-Real-IP, \
                     X-Request-Id, Content-Type, X-Gone";
    let fields = "Cookie: a=1\r\nAuthorization: Bearer t\r\nOrigin: http://a.example\r\n\
                  Content-Type: text/plain\r\nX-Gone: 1\r\nX-Here: 1\r\n";
    let plain = format!("Connection: keep-alive, {nominated}\r\n{fields}");
    let upgrade = format!("Connection: Upgrade, {nominated}\r\n{fields}");
    for (sent, expected) in [
        (request("GET /", &plain, ""), 200),
        (request("POST /", &plain, "abc"), 200),
        (handshake(&upgrade), 101),
    ] {
        let (status, seen) = passed(&proxy, &backend, &sent).await;
        assert_eq!(status, expected, "{sent}");
        let seen = seen.unwrap();
        for (name, value) in [
            ("host", "a.example"),
            ("cookie", "a=1"),
            ("authorization", "Bearer t"),
            ("origin", "http://a.example"),
            ("content-type", "text/plain"),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-host", "a.example"),
            ("x-forwarded-proto", "http"),
            ("x-real-ip", "127.0.0.1"),
            ("x-here", "1"),
        ] {
            assert_eq!(seen.field(name), Some(value), "{name}: {sent}");
        }
        assert!(seen.field("forwarded").is_some() && seen.field("x-request-id").is_some());
        assert_eq!(seen.field("x-gone"), None, "{sent}");
        assert_eq!(
            seen.text(),
            if sent.starts_with("POST") { "abc" } else { "" }
        );
    }
}

/// Spellings of a path, and what the backend gets of them: nothing, or exactly what was decided.
const PATHS: &[(&str, Option<&str>)] = &[
    ("/a/b", Some("/a/b")),
    ("//a", Some("//a")),
    ("/a//b/", Some("/a//b/")),
    ("/%61/%62", Some("/a/b")),
    ("/%41", Some("/A")),
    ("/a%2fb", Some("/a%2Fb")),
    ("/a%5cb", Some("/a%5Cb")),
    ("/a;x=1/b", Some("/a;x=1/b")),
    ("/a%3bx", Some("/a%3Bx")),
    ("/%252e%252e/a", Some("/%252e%252e/a")),
    ("/a%252fb", Some("/a%252fb")),
    ("/...", Some("/...")),
    ("/a.", Some("/a.")),
    ("/a%20b", Some("/a%20b")),
    ("/%C3%A4", Some("/%C3%A4")),
    ("/%e4", Some("/%E4")),
    ("/a\"{}|^[]", Some("/a%22%7B%7D%7C%5E%5B%5D")),
    ("/a?b=/../c", Some("/a?b=/../c")),
    ("/a?b=%2e%00", Some("/a?b=%2e%00")),
    ("http://a.example/%61", Some("/a")),
    ("http://a.example", Some("/")),
    ("/.", None),
    ("/..", None),
    ("/./a", None),
    ("/a/..", None),
    ("/a/../b", None),
    ("/a/.%2e/b", None),
    ("/a/%2E%2E/b", None),
    ("/%2e/a", None),
    ("//../a", None),
    ("/a/..;/b", None),
    ("/a/..;x=1/b", None),
    ("/a/.;/b", None),
    ("/a/..%2fb", None),
    ("/a%2f..%2fb", None),
    ("/a/..%5cb", None),
    ("/a%5c..%5cb", None),
    ("/a/..%3bb", None),
    ("/a\\b", None),
    ("/..\\a", None),
    ("/a%00", None),
    ("/%00", None),
    ("/a%", None),
    ("/a%2", None),
    ("/a%gg", None),
    ("/a%u002e", None),
    ("/%c0%ae%c0%ae/a", Some("/%C0%AE%C0%AE/a")),
    ("/a%c0%afb", Some("/a%C0%AFb")),
    ("/%e0%80%ae", Some("/%E0%80%AE")),
    ("/%f0%80%80%ae", Some("/%F0%80%80%AE")),
    ("http://a.example/../a", None),
];

#[tokio::test]
async fn a_path_is_decided_once_and_forwarded_as_decided() {
    let backend = granting().await;
    let proxy = Proxy::passthrough(&backend).await;
    for (sent, reached) in PATHS {
        let plain = request(&format!("GET {sent}"), "", "");
        let upgrade = handshake("Connection: Upgrade\r\n").replace("/socket", sent);
        for sent in [plain, upgrade] {
            let (status, seen) = passed(&proxy, &backend, &sent).await;
            let target = seen.as_ref().map(Message::target);
            assert_eq!(target, *reached, "{sent}");
            assert_eq!(status == 400, reached.is_none(), "{sent}");
        }
    }
}

#[tokio::test]
async fn a_route_cannot_be_walked_around_by_another_spelling() {
    let (backend, inner) = (Backend::ok().await, Backend::ok().await);
    let routes = format!(
        "{EVERYTHING}[upstream.inner]\nservers = [\"http://{}\"]\n\
         [[route]]\npath = \"/admin/{{*rest}}\"\nupstream = \"inner\"\n\
         [[route]]\npath = \"/{{*path}}\"\nhost = \"inner.example\"\nupstream = \"inner\"\n",
        inner.address
    );
    let proxy = Proxy::before(&backend, "", &routes).await;
    for target in [
        "/admin/x",
        "/%61dmin/x",
        "/adm%69n/%78",
        "http://a.example/admin/x",
    ] {
        let sent = request(&format!("GET {target}"), "", "");
        assert_eq!(
            passed(&proxy, &inner, &sent).await.1.unwrap().target(),
            "/admin/x"
        );
    }
    for host in [
        "inner.example",
        "INNER.example",
        "inner.example.",
        "inner.example:80",
    ] {
        let sent = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert!(passed(&proxy, &inner, &sent).await.1.is_some(), "{host}");
    }
    assert!(backend.seen().is_empty());
}

#[tokio::test]
async fn trailers_are_judged_as_fields_are() {
    let sent = "POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\
                Trailer: X-Sum, X-Forwarded-For, X_Forwarded_For, X_User, Cookie, Authorization, X.Sum\r\n\r\n\
                3\r\nabc\r\n0\r\nX-Sum: 1\r\nX-Forwarded-For: evil\r\nX_Forwarded_For: evil\r\n\
                X_User: evil\r\nCookie: evil\r\nAuthorization: evil\r\nX.Sum: evil\r\n\r\n";
    let backend = Backend::ok().await;
    let proxy = Proxy::passthrough(&backend).await;
    let (status, seen) = passed(&proxy, &backend, sent).await;
    assert_eq!(status, 200);
    assert_eq!(
        seen.unwrap().trailers,
        [("X-Sum".to_owned(), "1".to_owned())]
    );
    let strict = Proxy::before(&backend, "underscore_headers = \"reject\"", EVERYTHING).await;
    assert_eq!(passed(&strict, &backend, sent).await.0, 400);
    assert_eq!(backend.seen().len(), 1, "the second was never completed");
}

/// Sends one head over HTTP/2; what reached the backend of it.
async fn passed_http2(
    proxy: &Proxy,
    backend: &Backend,
    fields: &[(&str, &str)],
) -> Option<Message> {
    let before = backend.seen().len();
    let mut raw = Raw::connect(proxy.address).await;
    let head = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(fields));
    raw.send(&head).await;
    while let Some(frame) = raw.next().await {
        if matches!(frame.kind, HEADERS | RESET) {
            break;
        }
    }
    backend.seen().split_off(before).pop()
}

#[tokio::test]
async fn the_same_holds_over_http2() {
    let backend = Backend::ok().await;
    let usual = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "a.example"),
    ];
    for policy in ["drop", "allow"] {
        let server = format!("underscore_headers = \"{policy}\"");
        let proxy = Proxy::before(&backend, &server, EVERYTHING).await;
        for alias in ALIASES.map(str::to_lowercase) {
            let fields = [&usual[..], &[(":path", "/"), (alias.as_str(), "evil")]].concat();
            let seen = passed_http2(&proxy, &backend, &fields).await;
            let seen = seen.unwrap_or_else(|| panic!("{alias} did not pass"));
            assert!(!format!("{seen:?}").contains("evil"), "{policy}: {seen:?}");
            assert_eq!(seen.field("x-forwarded-for"), Some("127.0.0.1"));
            assert_eq!(seen.field("x-real-ip"), Some("127.0.0.1"));
        }
    }
    let proxy = Proxy::passthrough(&backend).await;
    for (sent, reached) in PATHS.iter().filter(|(sent, _)| sent.starts_with('/')) {
        let fields = [&usual[..], &[(":path", *sent)]].concat();
        let seen = passed_http2(&proxy, &backend, &fields).await;
        assert_eq!(seen.as_ref().map(Message::target), *reached, "{sent}");
    }
    for host in [
        "a b", "u@a", "a/b", "a,b", "a:b", "a:080", "a..b", ".a", "[::1", "",
    ] {
        let fields = [&usual[..2], &[(":authority", host), (":path", "/")]].concat();
        let seen = passed_http2(&proxy, &backend, &fields).await;
        assert!(seen.is_none(), "{host:?}: {seen:?}");
    }
    for (method, expectation) in [("TRACE", None), ("POST", Some("200-ok"))] {
        let mut fields = vec![(":method", method), (":path", "/")];
        fields.extend(&usual[1..]);
        fields.extend(expectation.map(|value| ("expect", value)));
        assert!(passed_http2(&proxy, &backend, &fields).await.is_none());
    }
}

/// Socket.IO of the backend's own: its polling is plain HTTP, its WebSocket a tunnel.
#[tokio::test]
async fn limits_hold_for_tunnels_and_for_polling_that_pass_through() {
    let backend = granting().await;
    let limits = "[server.limits]\nconnections_per_ip = 2";
    let proxy = Proxy::before(&backend, limits, EVERYTHING).await;
    let target = "/socket.io/?EIO=4&transport=";
    let upgrade = |origin: &str| {
        handshake(&format!(
            "Connection: Upgrade\r\nOrigin: {origin}\r\nCookie: io=1\r\n"
        ))
        .replace("/socket", &format!("{target}websocket&sid=1"))
    };
    let mut tunnel = proxy.client().await;
    tunnel.send(upgrade("http://a.example")).await;
    assert_eq!(tunnel.head().await.status(), 101);
    let mut polling = proxy.client().await;
    let poll = format!("GET {target}polling");
    assert_eq!(polling.ask(&poll, "", "").await.status(), 200);
    let mut third = proxy.client().await;
    let full = third.ask(&poll, "", "").await;
    assert_eq!(
        (full.status(), &full.json()["code"]),
        (503, &"overloaded".into())
    );
    // The polling client's place is its own; the tunnel gives its place back when it ends.
    assert_eq!(polling.ask(&poll, "", "").await.status(), 200);
    drop((tunnel, third));
    let connections = || proxy.handle.shared().connections.count();
    eventually("the places to be given back", async || connections() == 1).await;
    let mut evil = proxy.client().await;
    let before = backend.seen().len();
    evil.send(upgrade("https://evil.test")).await;
    assert_eq!(evil.head().await.status(), 403);
    assert_eq!(backend.seen().len(), before);
}

/// Requests that are refused, each for its reason; nothing of them reaches the backend.
fn refused() -> Vec<(&'static str, u16, String)> {
    let get = |fields: &str| request("GET /", fields, "");
    let post = |fields: &str, body: &str| {
        format!("POST / HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n\r\n{body}")
    };
    let line = |line: &str| format!("{line}\r\nHost: a.example\r\n\r\n");
    let upgrade = "Connection: Upgrade\r\n";
    vec![
        ("request_line", 400, line("GET  / HTTP/1.1")),
        ("target", 400, line("GET * HTTP/1.1")),
        (
            "target_too_long",
            414,
            line(&format!("GET /{} HTTP/1.1", "a".repeat(33_000))),
        ),
        ("path", 400, line("GET /../a HTTP/1.1")),
        ("line_end", 400, "GET / HTTP/1.1\r\nHost: a\n\r\n".into()),
        ("control_byte", 400, get("X: \u{1}\r\n")),
        ("field_name", 400, get("X : 1\r\n")),
        ("fold", 400, get("X: 1\r\n 2\r\n")),
        ("content_length", 400, post("Content-Length: 3, 3", "abc")),
        (
            "transfer_encoding",
            400,
            post("Transfer-Encoding: x", "abc"),
        ),
        (
            "framing",
            400,
            post("Content-Length: 3\r\nTransfer-Encoding: chunked", "abc"),
        ),
        ("chunk", 400, post("Transfer-Encoding: chunked", "x\r\n")),
        (
            "head_too_large",
            431,
            get(&format!("X: {}\r\n", "a".repeat(40_000))),
        ),
        ("too_many_fields", 431, get(&"X: 1\r\n".repeat(200))),
        ("head_timeout", 408, "GET / HTTP/1.1\r\n".into()),
        ("body_timeout", 408, post("Content-Length: 3", "a")),
        ("host", 400, "GET / HTTP/1.1\r\n\r\n".into()),
        ("connect", 400, line("CONNECT a:443 HTTP/1.1")),
        ("trace", 405, line("TRACE / HTTP/1.1")),
        ("expect", 417, post("Expect: x\r\nContent-Length: 0", "")),
        (
            "upgrade_body",
            400,
            handshake("Connection: Upgrade\r\nContent-Length: 1\r\n") + "x",
        ),
        ("ambiguous_name", 400, get("X_User: 1\r\n")),
        ("no_route", 404, request("GET /_crossfade/nothing", "", "")),
        (
            "method_not_allowed",
            405,
            request("POST /_crossfade/transport", "", ""),
        ),
        (
            "bad_handshake",
            400,
            handshake(upgrade).replace("Version: 13\r\nSec-WebSocket-Key", "Version: 13\r\nX-Key"),
        ),
        (
            "upgrade_required",
            426,
            handshake(upgrade).replace("Version: 13", "Version: 8"),
        ),
        (
            "origin",
            403,
            handshake(&format!("{upgrade}Origin: https://evil.test\r\n")),
        ),
        (
            "legacy",
            403,
            handshake(upgrade).replace("/socket", "/bridged"),
        ),
    ]
}

#[tokio::test]
async fn refusal_is_counted_by_reason_and_reaches_no_backend() {
    let backend = Backend::ok().await;
    let server = "underscore_headers = \"reject\"\n\
                  [server.limits]\nheader_timeout = \"300ms\"\nbody_idle_timeout = \"300ms\"";
    let routes = "[[route]]\npath = \"/bridged\"\nupstream = \"app\"\nsource = \"sse\"\nrollout = \"web\"\n\
                  [rollout.web]\nkill = true\n";
    let proxy = Proxy::before(&backend, server, &format!("{EVERYTHING}{routes}")).await;
    let all = refused();
    for (reason, status, sent) in &all {
        let mut client = proxy.client().await;
        client.try_send(sent).await;
        let answer = client.response().await;
        assert_eq!(answer.status(), *status, "{reason}");
        assert_eq!(
            answer.field("content-type"),
            Some("application/problem+json")
        );
        let counted = format!("crossfade_refused_total{{reason=\"{reason}\"}} 1\n");
        let metrics = proxy.metrics();
        assert!(metrics.contains(&counted), "{reason}: {metrics}");
    }
    assert!(backend.seen().is_empty(), "{:?}", backend.seen());

    // None of the rules is missing above, and the page that lists them has them all.
    let walked: BTreeSet<&str> = all.iter().map(|(reason, ..)| *reason).collect();
    let source = include_str!("../../src/http/violation.rs");
    let reasons = source.split_once("fn reason").unwrap().1;
    let reasons = reasons.split_once("fn detail").unwrap().0;
    let page = include_str!("../../docs/security.md");
    for line in reasons.lines().filter(|line| line.contains("=> \"")) {
        let reason = line.split('"').nth(1).unwrap();
        // HTTP/1 has no such fault: there blanks around a value are nobody's.
        let is_tried = walked.contains(reason) || reason == "field_value";
        assert!(is_tried, "{reason} is not tried here");
    }
    for reason in walked {
        assert!(
            page.contains(&format!("`{reason}`")),
            "docs/security.md misses {reason}"
        );
    }
}
