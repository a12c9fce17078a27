//! WebSocket handshakes that crossfade itself answers, and who gets one.

use serde_json::Value;

use crate::support::peer::request;
use crate::support::sidecar::EVERYTHING;
use crate::support::{Backend, Message, Peer, Sidecar, until};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A bridged stream, its rollout `web`, and all the rest.
fn routes(rollout: &str) -> String {
    format!(
        "[[route]]\npath = \"/api/stream/{{id}}\"\nupstream = \"app\"\nsource = \"sse\"\n\
         rollout = \"web\"\n[rollout.web]\n{rollout}\n{EVERYTHING}"
    )
}

fn handshake(target: &str, extra: &str) -> String {
    let fields = format!(
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {KEY}\r\n{extra}"
    );
    request(&format!("GET {target}"), &fields, "")
}

async fn asked(sidecar: &Sidecar, request: String) -> (Message, Peer) {
    let mut client = sidecar.client().await;
    client.send(request).await;
    let answer = client.response().await;
    (answer, client)
}

/// The code of the close frame that comes before the end; events before it are passed over.
async fn close_code(client: &mut Peer) -> u16 {
    loop {
        let head = client.exactly(2).await;
        let length = match head[1] & 127 {
            126 => {
                let length = client.exactly(2).await;
                usize::from(u16::from_be_bytes([length[0], length[1]]))
            }
            length => usize::from(length),
        };
        let payload = client.exactly(length).await;
        if head[0] == 0x88 {
            return u16::from_be_bytes([payload[0], payload[1]]);
        }
    }
}

/// An event stream that says nothing.
async fn quiet_stream() -> Backend {
    Backend::start(|request, mut peer| async move {
        if request.field("accept") != Some("text/event-stream") {
            return crate::support::backend::reply(peer, "200 OK", "", "plain").await;
        }
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
        peer.send(head).await;
        peer.rest().await;
        None
    })
    .await
}

#[tokio::test]
async fn a_handshake_is_answered_as_the_standard_says() {
    let backend = quiet_stream().await;
    let sidecar = Sidecar::before(&backend, "", &routes("percent = 100\nby = \"ip\"")).await;
    for (target, offered, chosen) in [
        ("/api/stream/1", "", None),
        (
            "/api/stream/1",
            "crossfade.v1.raw",
            Some("crossfade.v1.raw"),
        ),
        (
            "/api/stream/1",
            "crossfade.v1.json",
            Some("crossfade.v1.json"),
        ),
        (
            "/api/stream/1",
            "crossfade.v1.raw, crossfade.v1.json",
            Some("crossfade.v1.json"),
        ),
        (
            "/api/stream/1",
            "x, crossfade.v1.raw",
            Some("crossfade.v1.raw"),
        ),
        (
            "/api/stream/1",
            "crossfade.v1.json, cf.bearer.dG9rZW4",
            Some("crossfade.v1.json"),
        ),
        (
            "/_crossfade/ws",
            "crossfade.v1.json",
            Some("crossfade.v1.json"),
        ),
    ] {
        let offer = match offered {
            "" => String::new(),
            offered => format!("Sec-WebSocket-Protocol: {offered}\r\n"),
        };
        let (answer, _client) = asked(&sidecar, handshake(target, &offer)).await;
        assert_eq!(answer.status(), 101, "{target} {offered}");
        assert_eq!(answer.field("upgrade"), Some("websocket"));
        assert_eq!(answer.field("connection"), Some("Upgrade"));
        let accept = answer.field("sec-websocket-accept");
        assert_eq!(accept, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(answer.field("sec-websocket-protocol"), chosen, "{offered}");
        assert!(answer.field("x-request-id").is_some());
        assert_eq!(answer.field("access-control-allow-origin"), None);
    }
}

#[tokio::test]
async fn a_handshake_that_is_none_is_refused_before_the_backend_hears_of_it() {
    let backend = quiet_stream().await;
    let sidecar = Sidecar::before(&backend, "", &routes("percent = 100\nby = \"ip\"")).await;
    let good = |extra: &str| handshake("/api/stream/1", extra);
    for (request, status, code) in [
        (
            good("Sec-WebSocket-Protocol: chat\r\n"),
            400,
            "bad_handshake",
        ),
        (
            good("Sec-WebSocket-Protocol: cf.bearer.dG9rZW4\r\n"),
            400,
            "bad_handshake",
        ),
        (
            good("Sec-WebSocket-Protocol: crossfade.v1.json, cf.bearer.!\r\n"),
            400,
            "bad_handshake",
        ),
        (good("Sec-WebSocket-Key: AAAA\r\n"), 400, "bad_handshake"),
        (good("").replace(KEY, "short"), 400, "bad_handshake"),
        (
            good("").replace("Sec-WebSocket-Key", "X-Key"),
            400,
            "bad_handshake",
        ),
        (
            good("").replace("Version: 13", "Version: 12"),
            426,
            "upgrade_required",
        ),
        (
            good("").replace("Sec-WebSocket-Version", "X-Version"),
            400,
            "bad_handshake",
        ),
        (
            handshake(
                "/_crossfade/ws",
                "Sec-WebSocket-Protocol: crossfade.v1.raw\r\n",
            ),
            400,
            "bad_handshake",
        ),
        (
            request("GET /_crossfade/ws", "", ""),
            426,
            "upgrade_required",
        ),
        (handshake("/_crossfade/nothing", ""), 404, "no_route"),
    ] {
        let (answer, _) = asked(&sidecar, request.clone()).await;
        assert_eq!(answer.status(), status, "{request}");
        assert_eq!(answer.json()["code"], code, "{request}");
        if status == 426 {
            assert_eq!(answer.field("sec-websocket-version"), Some("13"));
        }
    }
    assert!(backend.seen().is_empty());
    let counted =
        r#"connects_total{protocol="json",reason="bad_handshake",result="refused",route="-"} 1"#;
    assert!(sidecar.metrics().contains(counted), "{}", sidecar.metrics());
}

#[tokio::test]
async fn rows_60_to_68_of_the_table_of_origins() {
    let backend = quiet_stream().await;
    let policy = "[cors.default]\norigins = [\"https://app.example.com\", \
                  \"https://*.stage.example.com\", \"http://localhost:3000\"]\n\
                  [websocket]\ncors = \"default\"\n";
    let routes = format!("{policy}{}", routes("percent = 100\nby = \"ip\""));
    let sidecar = Sidecar::before(&backend, "", &routes).await;
    for target in ["/api/stream/1", "/_crossfade/ws"] {
        for (row, fields, status) in [
            (
                "60",
                "Origin: https://app.example.com\r\nCookie: a=1\r\n",
                101,
            ),
            ("60", "Origin: https://x.stage.example.com\r\n", 101),
            ("61", "Origin: https://evil.test\r\n", 403),
            ("62", "Origin: null\r\n", 403),
            ("63", "Origin: https://evil.test\r\nCookie: a=1\r\n", 403),
            ("64", "Cookie: a=1\r\n", 403),
            ("65", "Origin: https://app.example.com.evil.test\r\n", 403),
            (
                "66",
                "Origin: https://app.example.com\r\nOrigin: https://evil.test\r\n",
                403,
            ),
            ("67", "Origin: http://a.example\r\nCookie: a=1\r\n", 101),
            ("-", "", 101),
        ] {
            for offer in ["", "Sec-WebSocket-Protocol: crossfade.v1.json\r\n"] {
                let (answer, _) =
                    asked(&sidecar, handshake(target, &format!("{fields}{offer}"))).await;
                assert_eq!(answer.status(), status, "row {row} {target} {fields:?}");
                let text = format!("{answer:?}").to_lowercase();
                assert!(!text.contains("access-control"), "row {row}");
            }
        }
        let shouted = handshake(target, "Origin: https://evil.test\r\n")
            .replace("Upgrade: websocket", "Upgrade: WebSocket")
            .replace("Connection: Upgrade", "Connection: keep-alive, upgrade");
        assert_eq!(asked(&sidecar, shouted).await.0.status(), 403, "row 68");
    }
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_origin_is_the_host_that_it_tells() {
    let backend = quiet_stream().await;
    let told =
        "X-Forwarded-Host: public.example\r\nOrigin: https://public.example\r\nCookie: a=1\r\n";
    for (server, status) in [("", 403), ("trusted_proxies = [\"127.0.0.1/32\"]", 101)] {
        let sidecar =
            Sidecar::before(&backend, server, &routes("percent = 100\nby = \"ip\"")).await;
        let (answer, _) = asked(&sidecar, handshake("/api/stream/1", told)).await;
        assert_eq!(answer.status(), status, "{server}");
    }
    let server = "public_url = \"https://public.example\"";
    let sidecar = Sidecar::before(&backend, server, &routes("percent = 100\nby = \"ip\"")).await;
    let told = "Origin: https://public.example\r\nCookie: a=1\r\n";
    let (answer, _) = asked(&sidecar, handshake("/api/stream/1", told)).await;
    assert_eq!(answer.status(), 101);
}

#[tokio::test]
async fn the_legacy_side_is_told_in_the_way_that_the_client_understands() {
    let backend = quiet_stream().await;
    for (rollout, code) in [("percent = 0", 4300), ("percent = 100\nkill = true", 4302)] {
        let routes = routes(&format!("{rollout}\nby = \"ip\""));
        let sidecar = Sidecar::before(&backend, "", &routes).await;
        for target in ["/api/stream/1", "/_crossfade/ws"] {
            let (answer, _) = asked(&sidecar, handshake(target, "")).await;
            assert_eq!(answer.status(), 403, "{target}");
            let problem = answer.json();
            assert_eq!(
                (&problem["code"], &problem["side"]),
                (&"legacy".into(), &"edge".into())
            );
            let json = "Sec-WebSocket-Protocol: crossfade.v1.json\r\n";
            let (answer, mut client) = asked(&sidecar, handshake(target, json)).await;
            assert_eq!(answer.status(), 101, "{target}");
            assert_eq!(close_code(&mut client).await, code, "{target}");
        }
        for (protocol, route, count) in [
            ("raw", "/api/stream/{id}", 1),
            ("json", "/api/stream/{id}", 1),
            ("json", "-", 2),
        ] {
            let counted = format!(
                "connects_total{{protocol=\"{protocol}\",reason=\"legacy\",result=\"refused\",route=\"{route}\"}} {count}"
            );
            assert!(sidecar.metrics().contains(&counted), "{counted}");
        }
        // What is not bridged goes on as before.
        let (answer, _) = asked(&sidecar, request("GET /api/stream/1", "", "")).await;
        assert_eq!((answer.status(), answer.text()), (200, "plain".into()));
        assert_eq!(answer.field("crossfade-transport"), Some("legacy"));
    }
}

#[tokio::test]
async fn every_ordinary_answer_of_a_bridged_route_names_the_transport() {
    let backend = quiet_stream().await;
    let sidecar = Sidecar::before(&backend, "", &routes("percent = 100\nby = \"ip\"")).await;
    for line in [
        "GET /api/stream/1",
        "HEAD /api/stream/1",
        "POST /api/stream/1",
    ] {
        let answer = sidecar.client().await.ask(line, "", "").await;
        assert_eq!(
            answer.field("crossfade-transport"),
            Some("websocket"),
            "{line}"
        );
        assert_eq!(
            answer.field("set-cookie"),
            None,
            "{line}: by = ip needs none"
        );
    }
    let answer = sidecar.client().await.ask("GET /elsewhere", "", "").await;
    assert_eq!(answer.field("crossfade-transport"), None);
}

fn unit_cookie(answer: &Message) -> Option<String> {
    let cookie = answer.field("set-cookie")?;
    assert!(
        cookie.contains("; Path=/;") && cookie.contains("HttpOnly"),
        "{cookie}"
    );
    Some(cookie.split(';').next().unwrap().to_owned())
}

#[tokio::test]
async fn the_sticky_cookie_is_set_where_none_came_and_judged_at_once() {
    let backend = quiet_stream().await;
    let sidecar = Sidecar::before(&backend, "", &routes("percent = 50\nby = \"cookie\"")).await;
    let (mut sides, origin) = ([0, 0], "Origin: http://a.example\r\n");
    for _ in 0..40 {
        // Each of the three ways to get one.
        let (answer, _) = asked(&sidecar, request("GET /api/stream/1", "", "")).await;
        let cookie = unit_cookie(&answer).expect("a unit on an ordinary answer");
        let side = answer.field("crossfade-transport").unwrap().to_owned();
        let sent = format!("{origin}Cookie: other=1; {cookie}\r\n");

        let (again, _) = asked(&sidecar, request("GET /api/stream/1", &sent, "")).await;
        assert_eq!(
            again.field("crossfade-transport"),
            Some(side.as_str()),
            "sticky"
        );
        assert_eq!(again.field("set-cookie"), None, "one is enough");
        let (socket, _) = asked(&sidecar, handshake("/api/stream/1", &sent)).await;
        let expected = [403, 101][usize::from(side == "websocket")];
        assert_eq!(socket.status(), expected, "both ways agree");
        sides[usize::from(side == "websocket")] += 1;

        let (socket, _) = asked(&sidecar, handshake("/api/stream/2", "")).await;
        let cookie = unit_cookie(&socket).expect("a unit on a 101 or 403");
        let sent = format!("{origin}Cookie: {cookie}\r\n");
        let (again, _) = asked(&sidecar, handshake("/api/stream/2", &sent)).await;
        assert_eq!(again.status(), socket.status(), "judged by the new unit");
    }
    assert!(sides[0] > 0 && sides[1] > 0, "{sides:?}");
    for seen in backend.seen() {
        let cookies = seen.all("cookie").concat();
        assert!(!cookies.contains("crossfade_unit"), "{cookies}");
    }
    let (forged, _) = asked(
        &sidecar,
        request(
            "GET /api/stream/1",
            "Cookie: crossfade_unit=abc.def\r\n",
            "",
        ),
    )
    .await;
    assert!(unit_cookie(&forged).is_some(), "a forged one is none");
}

async fn transport(sidecar: &Sidecar, query: &str, fields: &str) -> (Value, Message) {
    let target = format!("GET /_crossfade/transport{query}");
    let answer = sidecar.client().await.ask(&target, fields, "").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.field("content-type"), Some("application/json"));
    (answer.json(), answer)
}

#[tokio::test]
async fn the_discovery_document_says_what_a_handshake_would() {
    let backend = quiet_stream().await;
    let config =
        routes("percent = 12.5\nby = \"ip\"\nheader = \"X-Test\"\nnever = [\"127.0.0.1\"]");
    let sidecar = Sidecar::before(&backend, "", &config).await;
    let (document, _) = transport(&sidecar, "", "").await;
    let expected = serde_json::json!({
        "transport": "legacy",
        "websocket_available": false,
        "websocket_url": "ws://a.example/_crossfade/ws",
        "websocket_namespaces": ["/"],
        "fallback_mode": true,
        "fallback_allowed": true,
        "reason": "never",
        "percent": 12.5,
        "ttl_ms": 30000,
    });
    assert_eq!(document, expected);
    let (document, _) = transport(&sidecar, "?path=/api/stream/1%3Fa%3D1", "").await;
    assert_eq!(document["websocket_url"], "ws://a.example/api/stream/1?a=1");
    assert_eq!(document["reason"], "never");
    let missing = "GET /_crossfade/transport?path=/a/../b";
    assert_eq!(
        sidecar.client().await.ask(missing, "", "").await.status(),
        400
    );
    let post = sidecar
        .client()
        .await
        .ask("POST /_crossfade/transport", "", "")
        .await;
    assert_eq!(
        (post.status(), post.field("allow")),
        (405, Some("GET, HEAD"))
    );

    let config = routes("percent = 0\nby = \"cookie\"\nheader = \"X-Test\"\nfallback = false");
    let server = "public_url = \"https://public.example\"";
    let sidecar = Sidecar::before(&backend, server, &config).await;
    let (document, answer) = transport(&sidecar, "", "X-Test: websocket\r\n").await;
    assert_eq!(document["transport"], "websocket");
    assert_eq!(document["websocket_available"], true);
    assert_eq!(
        (&document["reason"], &document["percent"]),
        (&"header".into(), &0.into())
    );
    assert_eq!(
        document["websocket_url"],
        "wss://public.example/_crossfade/ws"
    );
    assert_eq!(document["fallback_allowed"], false);
    assert!(unit_cookie(&answer).is_some());
    let (document, _) = transport(&sidecar, "", "Cookie: x-test=websocket\r\n").await;
    assert_eq!(document["reason"], "header");
    let (document, _) = transport(&sidecar, "", "Cookie: X-Test=legacy\r\n").await;
    assert_eq!(
        (&document["reason"], &document["transport"]),
        (&"header".into(), &"legacy".into())
    );
}

#[tokio::test]
async fn without_a_rollout_a_bridged_route_is_on_for_everybody() {
    let backend = quiet_stream().await;
    let route = "[[route]]\npath = \"/s\"\nupstream = \"app\"\nsource = \"sse\"\n";
    let sidecar = Sidecar::before(&backend, "", route).await;
    let (document, _) = transport(&sidecar, "?path=/s", "").await;
    assert_eq!(
        (&document["reason"], &document["percent"]),
        (&"none".into(), &100.into())
    );
    assert_eq!(document["transport"], "websocket");
    assert_eq!(asked(&sidecar, handshake("/s", "")).await.0.status(), 101);
}

#[tokio::test]
async fn own_parameters_and_cookies_stay_here_and_the_last_event_id_travels() {
    let backend = Backend::ok().await;
    let sidecar = Sidecar::before(&backend, "", &routes("percent = 100\nby = \"ip\"")).await;
    let mut client = sidecar.client().await;
    let cookie = "Cookie: a=1; crossfade_unit=x; b=2\r\n";
    client
        .ask(
            "GET /api/stream/1?x=1&cf_after=k-1&cf_last_event_id=7%2B1&cf_wrap=1",
            cookie,
            "",
        )
        .await;
    client
        .ask(
            "GET /api/stream/1?cf_last_event_id=7",
            "Last-Event-ID: 8\r\n",
            "",
        )
        .await;
    client.ask("GET /elsewhere?cf_after=1", cookie, "").await;
    let seen = backend.seen();
    assert_eq!(seen[0].target(), "/api/stream/1?x=1");
    assert_eq!(seen[0].field("last-event-id"), Some("7+1"));
    assert_eq!(seen[0].field("cookie"), Some("a=1; b=2"));
    assert_eq!(seen[1].target(), "/api/stream/1");
    assert_eq!(seen[1].field("last-event-id"), Some("8"));
    assert_eq!(
        seen[2].target(),
        "/elsewhere?cf_after=1",
        "not a bridged path"
    );
    assert_eq!(seen[2].field("cookie"), Some("a=1; b=2"));
}

#[tokio::test]
async fn who_drains_takes_no_new_sessions() {
    let backend = quiet_stream().await;
    let sidecar = Sidecar::before(&backend, "", &routes("percent = 100\nby = \"ip\"")).await;
    let draining = &sidecar.handle.shared().draining;
    draining.store(true, std::sync::atomic::Ordering::SeqCst);
    for target in ["/api/stream/1", "/_crossfade/ws"] {
        let (answer, _) = asked(&sidecar, handshake(target, "")).await;
        assert_eq!(
            (answer.status(), &answer.json()["code"]),
            (503, &"draining".into())
        );
        let seconds: u32 = answer.field("retry-after").unwrap().parse().unwrap();
        assert!((1..=5).contains(&seconds));
    }
    let (answer, _) = asked(&sidecar, request("GET /api/stream/1", "", "")).await;
    assert_eq!(answer.status(), 200, "ordinary requests go on");
}

#[tokio::test]
async fn a_write_that_passes_through_triggers_the_poll() {
    let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = count.clone();
    let backend = Backend::start(move |request, peer| {
        let counter = counter.clone();
        async move {
            use std::sync::atomic::Ordering::SeqCst;
            let json = "Content-Type: application/json\r\n";
            match request.line.as_str() {
                "POST /api/items/1 HTTP/1.1" => {
                    counter.fetch_add(1, SeqCst);
                    crate::support::backend::reply(peer, "204 No Content", "", "").await
                }
                "PUT /api/items/1 HTTP/1.1" => {
                    crate::support::backend::reply(peer, "422 No", "", "").await
                }
                _ => {
                    let body = format!("[{}]", counter.load(SeqCst));
                    crate::support::backend::reply(peer, "200 OK", json, &body).await
                }
            }
        }
    })
    .await;
    let route = "[[route]]\npath = \"/api/items\"\nupstream = \"app\"\n\
                 source = {kind = \"poll\", every = \"1h\"}\n\
                 refresh_on = [\"POST /api/items/{id}\", \"PUT /api/items/{id}\"]\n";
    let sidecar = Sidecar::before(&backend, "", &format!("{route}{EVERYTHING}")).await;
    let (answer, mut socket) = asked(&sidecar, handshake("/api/items", "")).await;
    assert_eq!(answer.status(), 101);
    assert_eq!(socket.exactly(5).await, b"\x81\x03[0]");
    let polls = || {
        let seen = backend.seen();
        seen.iter()
            .filter(|seen| seen.target() == "/api/items")
            .count()
    };
    let refused = sidecar
        .client()
        .await
        .ask("PUT /api/items/1", "", "x")
        .await;
    assert_eq!((refused.status(), polls()), (422, 1));
    let written = sidecar
        .client()
        .await
        .ask("POST /api/items/1", "", "x")
        .await;
    assert_eq!(written.status(), 204);
    assert_eq!(socket.exactly(5).await, b"\x81\x03[1]");
    until("the second poll", || polls() == 2).await;
}
