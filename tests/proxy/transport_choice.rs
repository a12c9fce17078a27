//! Who gets WebSocket, and how everybody is told.

use serde_json::Value;

use crate::harness::{
    Backend, Message, Peer, Proxy, asked, handshake, quiet_stream, reply, request, routes,
};

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

#[tokio::test]
async fn legacy_unit_is_refused_in_its_clients_own_way() {
    let backend = quiet_stream().await;
    for (rollout, code) in [("percent = 0", 4300), ("percent = 100\nkill = true", 4302)] {
        let routes = routes(&format!("{rollout}\nby = \"ip\""));
        let proxy = Proxy::before(&backend, "", &routes).await;
        for target in ["/api/stream/1", "/_crossfade/ws"] {
            let (answer, _) = asked(&proxy, handshake(target, "")).await;
            assert_eq!(answer.status(), 403, "{target}");
            let problem = answer.json();
            assert_eq!(
                (&problem["code"], &problem["side"]),
                (&"legacy".into(), &"edge".into())
            );
            let json = "Sec-WebSocket-Protocol: crossfade.v1.json\r\n";
            let (answer, mut client) = asked(&proxy, handshake(target, json)).await;
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
            assert!(proxy.metrics().contains(&counted), "{counted}");
        }
        // What is not bridged goes on as before.
        let (answer, _) = asked(&proxy, request("GET /api/stream/1", "", "")).await;
        assert_eq!((answer.status(), answer.text()), (200, "plain".into()));
        assert_eq!(answer.field("crossfade-transport"), Some("legacy"));
    }
}

#[tokio::test]
async fn ordinary_answer_of_a_bridged_route_names_the_transport() {
    let backend = quiet_stream().await;
    let proxy = Proxy::before(&backend, "", &routes("percent = 100\nby = \"ip\"")).await;
    for line in [
        "GET /api/stream/1",
        "HEAD /api/stream/1",
        "POST /api/stream/1",
    ] {
        let answer = proxy.client().await.ask(line, "", "").await;
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
    let answer = proxy.client().await.ask("GET /elsewhere", "", "").await;
    assert_eq!(answer.field("crossfade-transport"), None);
}

#[tokio::test]
async fn ordinary_answers_count_for_their_rollout() {
    let backend = Backend::start(|request, peer| async move {
        match request.target() {
            "/api/stream/bad" => reply(peer, "503 Service Unavailable", "", "").await,
            "/api/stream/missing" => reply(peer, "404 Not Found", "", "").await,
            // Not answered at all.
            "/api/stream/none" => None,
            _ => reply(peer, "200 OK", "", "plain").await,
        }
    })
    .await;
    // Whichever transport the client was told.
    for percent in [0, 100] {
        let rollout = format!("percent = {percent}\nby = \"ip\"");
        let proxy = Proxy::before(&backend, "", &routes(&rollout)).await;
        for (line, status) in [
            ("GET /api/stream/1", 200),
            ("POST /api/stream/1", 200),
            ("GET /api/stream/missing", 404),
            ("GET /api/stream/bad", 503),
            ("GET /api/stream/none", 502),
            ("GET /elsewhere", 200),
        ] {
            let (answer, _) = asked(&proxy, request(line, "", "")).await;
            assert_eq!(answer.status(), status, "{line}");
        }
        let shown = proxy.metrics();
        for (result, count) in [("ok", 3), ("failed", 2)] {
            let sample = format!(
                "crossfade_rollout_requests_total{{cohort=\"legacy\",result=\"{result}\",rollout=\"web\"}} {count}\n"
            );
            assert!(shown.contains(&sample), "{sample} is missing in\n{shown}");
        }
    }
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
    let proxy = Proxy::before(&backend, "", &routes("percent = 50\nby = \"cookie\"")).await;
    let (mut sides, origin) = ([0, 0], "Origin: http://a.example\r\n");
    for _ in 0..40 {
        // Each of the three ways to get one.
        let (answer, _) = asked(&proxy, request("GET /api/stream/1", "", "")).await;
        let cookie = unit_cookie(&answer).expect("a unit on an ordinary answer");
        let side = answer.field("crossfade-transport").unwrap().to_owned();
        let sent = format!("{origin}Cookie: other=1; {cookie}\r\n");

        let (again, _) = asked(&proxy, request("GET /api/stream/1", &sent, "")).await;
        assert_eq!(
            again.field("crossfade-transport"),
            Some(side.as_str()),
            "sticky"
        );
        assert_eq!(again.field("set-cookie"), None, "one is enough");
        let (socket, _) = asked(&proxy, handshake("/api/stream/1", &sent)).await;
        let expected = [403, 101][usize::from(side == "websocket")];
        assert_eq!(socket.status(), expected, "both ways agree");
        sides[usize::from(side == "websocket")] += 1;

        let (socket, _) = asked(&proxy, handshake("/api/stream/2", "")).await;
        let cookie = unit_cookie(&socket).expect("a unit on a 101 or 403");
        let sent = format!("{origin}Cookie: {cookie}\r\n");
        let (again, _) = asked(&proxy, handshake("/api/stream/2", &sent)).await;
        assert_eq!(again.status(), socket.status(), "judged by the new unit");
    }
    assert!(sides[0] > 0 && sides[1] > 0, "{sides:?}");
    for seen in backend.seen() {
        let cookies = seen.all("cookie").concat();
        assert!(!cookies.contains("crossfade_unit"), "{cookies}");
    }
    let (forged, _) = asked(
        &proxy,
        request(
            "GET /api/stream/1",
            "Cookie: crossfade_unit=abc.def\r\n",
            "",
        ),
    )
    .await;
    assert!(unit_cookie(&forged).is_some(), "a forged one is none");
}

async fn transport(proxy: &Proxy, query: &str, fields: &str) -> (Value, Message) {
    let target = format!("GET /_crossfade/transport{query}");
    let answer = proxy.client().await.ask(&target, fields, "").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.field("content-type"), Some("application/json"));
    (answer.json(), answer)
}

#[tokio::test]
async fn the_discovery_document_says_what_a_handshake_would() {
    let backend = quiet_stream().await;
    let config =
        routes("percent = 12.5\nby = \"ip\"\nheader = \"X-Test\"\nnever = [\"127.0.0.1\"]");
    let proxy = Proxy::before(&backend, "", &config).await;
    let (document, _) = transport(&proxy, "", "").await;
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
    let (document, _) = transport(&proxy, "?path=/api/stream/1%3Fa%3D1", "").await;
    assert_eq!(document["websocket_url"], "ws://a.example/api/stream/1?a=1");
    assert_eq!(document["reason"], "never");
    let missing = "GET /_crossfade/transport?path=/a/../b";
    assert_eq!(
        proxy.client().await.ask(missing, "", "").await.status(),
        400
    );
    let post = proxy
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
    let proxy = Proxy::before(&backend, server, &config).await;
    let (document, answer) = transport(&proxy, "", "X-Test: websocket\r\n").await;
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
    let (document, _) = transport(&proxy, "", "Cookie: x-test=websocket\r\n").await;
    assert_eq!(document["reason"], "header");
    let (document, _) = transport(&proxy, "", "Cookie: X-Test=legacy\r\n").await;
    assert_eq!(
        (&document["reason"], &document["transport"]),
        (&"header".into(), &"legacy".into())
    );
}

#[tokio::test]
async fn bridged_route_without_rollout_is_on_for_all() {
    let backend = quiet_stream().await;
    let route = "[[route]]\npath = \"/s\"\nupstream = \"app\"\nsource = \"sse\"\n";
    let proxy = Proxy::before(&backend, "", route).await;
    let (document, _) = transport(&proxy, "?path=/s", "").await;
    assert_eq!(
        (&document["reason"], &document["percent"]),
        (&"none".into(), &100.into())
    );
    assert_eq!(document["transport"], "websocket");
    assert_eq!(asked(&proxy, handshake("/s", "")).await.0.status(), 101);
}
