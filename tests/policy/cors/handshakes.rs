//! Handshakes by their origin where they become tunnels, and what stands on a 101. Bridged ones are in `handshake.rs`.

use crate::harness::{
    Proxy, asked,
    auth::{ALICE, by, keys},
    handshake,
};
use crate::policy::world::{APP, CORS, EVIL, backend, cors_names, route};

#[tokio::test]
async fn rows_60_to_68_hold_for_tunnels_too() {
    let backend = backend().await;
    let routes = format!("{CORS}{}", route("/{*path}", "cors = \"web\""));
    let proxy = Proxy::before(&backend, "", &routes).await;
    let two = format!("Origin: {APP}\r\nOrigin: {EVIL}\r\n");
    for (row, fields, status) in [
        (
            "60",
            "Origin: https://app.example.com\r\nCookie: a=1\r\n",
            101,
        ),
        ("60", "Origin: http://localhost:3000\r\n", 101),
        ("60", "Origin: https://x.stage.example.com\r\n", 101),
        ("61", "Origin: https://evil.test\r\n", 403),
        ("62", "Origin: null\r\n", 403),
        ("63", "Origin: https://evil.test\r\nCookie: a=1\r\n", 403),
        ("64", "Cookie: a=1\r\n", 403),
        ("65", "Origin: https://app.example.com.evil.test\r\n", 403),
        ("65", "Origin: https://a.b.stage.example.com\r\n", 403),
        ("66", two.as_str(), 403),
        ("67", "Origin: http://a.example\r\nCookie: a=1\r\n", 101),
        ("67", "Origin: http://a.example:81\r\n", 403),
        ("-", "", 101),
    ] {
        let before = backend.seen().len();
        let (answer, _client) = asked(&proxy, handshake("/tunnel", fields)).await;
        assert_eq!(answer.status(), status, "row {row}: {fields}");
        let reached = usize::from(status == 101);
        assert_eq!(backend.seen().len() - before, reached, "row {row}");
    }
    let other_case = handshake("/tunnel", &format!("Origin: {EVIL}\r\n"))
        .replace("Upgrade: websocket", "Upgrade: WebSocket")
        .replace("Connection: Upgrade", "Connection: keep-alive, upgrade");
    let before = backend.seen().len();
    let (answer, _client) = asked(&proxy, other_case).await;
    assert_eq!(answer.status(), 403, "row 68");
    assert_eq!(backend.seen().len(), before, "row 68");
}

#[tokio::test]
async fn switching_answer_has_no_cors_and_origin_precedes_key() {
    let backend = backend().await;
    let routes = format!(
        "{CORS}{}[websocket]\ncors = \"web\"\nauth = \"keys\"\n{}{}",
        keys(""),
        route("/feed", "source = \"sse\"\ncors = \"web\"\nauth = \"keys\""),
        route("/tunnel", "cors = \"web\"\nauth = \"keys\""),
    );
    let proxy = Proxy::before(&backend, "", &routes).await;
    for (target, reached) in [("/feed", 1), ("/_crossfade/ws", 1), ("/tunnel", 2)] {
        let page = |origin: &str, key: &str| format!("Origin: {origin}\r\n{key}");
        let (answer, _client) = asked(&proxy, handshake(target, &page(APP, &by(ALICE)))).await;
        assert_eq!(answer.status(), 101, "{target}");
        assert_eq!(cors_names(&answer), [""; 0], "row 60: {target}");
        backend.reached(reached).await;
        let before = backend.seen().len();
        for (origin, key, status) in [
            (EVIL, by(ALICE), 403),
            (EVIL, String::new(), 403),
            (APP, String::new(), 401),
            (APP, by("cfk_alice_wrong"), 401),
        ] {
            let sent = handshake(target, &page(origin, &key));
            let (answer, _client) = asked(&proxy, sent).await;
            assert_eq!(answer.status(), status, "{target} {origin}");
        }
        // Whatever the subprotocol, a foreign page is told before the upgrade.
        let json = format!("{}Sec-WebSocket-Protocol: crossfade.v1.json\r\n", by(ALICE));
        let (answer, _client) = asked(&proxy, handshake(target, &page(EVIL, &json))).await;
        assert_eq!(answer.status(), 403, "{target}");
        assert_eq!(backend.seen().len(), before, "{target}");
    }
}
