//! WebSocket handshakes that crossfade itself answers, and what travels with them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::{
    Backend, EVERYTHING, KEY, Proxy, asked, eventually, handshake, quiet_stream, reply, request,
    routes,
};

#[tokio::test]
async fn a_handshake_is_answered_as_the_standard_says() {
    let backend = quiet_stream().await;
    let proxy = Proxy::before(&backend, "", &routes("percent = 100\nby = \"ip\"")).await;
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
        let (answer, _client) = asked(&proxy, handshake(target, &offer)).await;
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
async fn malformed_handshake_is_refused_before_the_backend() {
    let backend = quiet_stream().await;
    let proxy = Proxy::before(&backend, "", &routes("percent = 100\nby = \"ip\"")).await;
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
        let (answer, _) = asked(&proxy, request.clone()).await;
        assert_eq!(answer.status(), status, "{request}");
        assert_eq!(answer.json()["code"], code, "{request}");
        if status == 426 {
            assert_eq!(answer.field("sec-websocket-version"), Some("13"));
        }
    }
    assert!(backend.seen().is_empty());
    let counted =
        r#"connects_total{protocol="json",reason="bad_handshake",result="refused",route="-"} 1"#;
    assert!(proxy.metrics().contains(counted), "{}", proxy.metrics());
}

#[tokio::test]
async fn rows_60_to_68_of_the_table_of_origins() {
    let backend = quiet_stream().await;
    let policy = "[cors.default]\norigins = [\"https://app.example.com\", \
                  \"https://*.stage.example.com\", \"http://localhost:3000\"]\n\
                  [websocket]\ncors = \"default\"\n";
    let routes = format!("{policy}{}", routes("percent = 100\nby = \"ip\""));
    let proxy = Proxy::before(&backend, "", &routes).await;
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
                    asked(&proxy, handshake(target, &format!("{fields}{offer}"))).await;
                assert_eq!(answer.status(), status, "row {row} {target} {fields:?}");
                let text = format!("{answer:?}").to_lowercase();
                assert!(!text.contains("access-control"), "row {row}");
            }
        }
        let shouted = handshake(target, "Origin: https://evil.test\r\n")
            .replace("Upgrade: websocket", "Upgrade: WebSocket")
            .replace("Connection: Upgrade", "Connection: keep-alive, upgrade");
        assert_eq!(asked(&proxy, shouted).await.0.status(), 403, "row 68");
    }
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_origin_is_the_host_that_it_tells() {
    let backend = quiet_stream().await;
    let told =
        "X-Forwarded-Host: public.example\r\nOrigin: https://public.example\r\nCookie: a=1\r\n";
    for (server, status) in [("", 403), ("trusted_proxies = [\"127.0.0.1/32\"]", 101)] {
        let proxy = Proxy::before(&backend, server, &routes("percent = 100\nby = \"ip\"")).await;
        let (answer, _) = asked(&proxy, handshake("/api/stream/1", told)).await;
        assert_eq!(answer.status(), status, "{server}");
    }
    let server = "public_url = \"https://public.example\"";
    let proxy = Proxy::before(&backend, server, &routes("percent = 100\nby = \"ip\"")).await;
    let told = "Origin: https://public.example\r\nCookie: a=1\r\n";
    let (answer, _) = asked(&proxy, handshake("/api/stream/1", told)).await;
    assert_eq!(answer.status(), 101);
}

#[tokio::test]
async fn own_parameters_stay_and_last_event_id_goes_upstream() {
    let backend = Backend::ok().await;
    let proxy = Proxy::before(&backend, "", &routes("percent = 100\nby = \"ip\"")).await;
    let mut client = proxy.client().await;
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
async fn draining_process_takes_no_new_sessions() {
    let backend = quiet_stream().await;
    let proxy = Proxy::before(&backend, "", &routes("percent = 100\nby = \"ip\"")).await;
    let draining = &proxy.handle.shared().draining;
    draining.store(true, Ordering::SeqCst);
    for target in ["/api/stream/1", "/_crossfade/ws"] {
        let (answer, _) = asked(&proxy, handshake(target, "")).await;
        assert_eq!(
            (answer.status(), &answer.json()["code"]),
            (503, &"draining".into())
        );
        let seconds: u32 = answer.field("retry-after").unwrap().parse().unwrap();
        assert!((1..=5).contains(&seconds));
    }
    let (answer, _) = asked(&proxy, request("GET /api/stream/1", "", "")).await;
    assert_eq!(answer.status(), 200, "ordinary requests go on");
}

#[tokio::test]
async fn a_write_that_passes_through_triggers_the_poll() {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    let backend = Backend::start(move |request, peer| {
        let counter = counter.clone();
        async move {
            let json = "Content-Type: application/json\r\n";
            match request.line.as_str() {
                "POST /api/items/1 HTTP/1.1" => {
                    counter.fetch_add(1, Ordering::SeqCst);
                    reply(peer, "204 No Content", "", "").await
                }
                "PUT /api/items/1 HTTP/1.1" => reply(peer, "422 No", "", "").await,
                _ => {
                    let body = format!("[{}]", counter.load(Ordering::SeqCst));
                    reply(peer, "200 OK", json, &body).await
                }
            }
        }
    })
    .await;
    let route = "[[route]]\npath = \"/api/items\"\nupstream = \"app\"\n\
                 source = {kind = \"poll\", every = \"1h\"}\n\
                 refresh_on = [\"POST /api/items/{id}\", \"PUT /api/items/{id}\"]\n";
    let proxy = Proxy::before(&backend, "", &format!("{route}{EVERYTHING}")).await;
    let (answer, mut socket) = asked(&proxy, handshake("/api/items", "")).await;
    assert_eq!(answer.status(), 101);
    assert_eq!(socket.exactly(5).await, b"\x81\x03[0]");
    let polls = || {
        let seen = backend.seen();
        seen.iter()
            .filter(|seen| seen.target() == "/api/items")
            .count()
    };
    let refused = proxy.client().await.ask("PUT /api/items/1", "", "x").await;
    assert_eq!((refused.status(), polls()), (422, 1));
    let written = proxy.client().await.ask("POST /api/items/1", "", "x").await;
    assert_eq!(written.status(), 204);
    assert_eq!(socket.exactly(5).await, b"\x81\x03[1]");
    eventually("the second poll", async || polls() == 2).await;
}
