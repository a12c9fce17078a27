//! The connection of a client that polls over Socket.IO, which waits outside the HTTP engine.

use serde_json::Value;

use super::socketio::app;
use crate::harness::http::{handshake, request};
use crate::harness::{Peer, Proxy};

const PATH: &str = "/socket.io/?EIO=4&transport=polling";

/// A client that has joined a stream and read the acknowledgement, all on one connection; and its sid.
async fn joined(proxy: &Proxy) -> (Peer, String) {
    let mut client = proxy.client().await;
    let open = client.ask(&format!("GET {PATH}"), "", "").await.text();
    let open: Value = serde_json::from_str(&open[1..]).unwrap();
    let sid = open["sid"].as_str().unwrap().to_owned();
    let join = "40\u{1e}421[\"join\",{\"name\":\"ids\"}]";
    let post = format!("POST {PATH}&sid={sid}");
    assert_eq!(client.ask(&post, "", join).await.status(), 200);
    let mut seen = String::new();
    while !seen.contains("431") {
        seen += &client.ask(&poll(&sid), "", "").await.text();
    }
    (client, sid)
}

fn poll(sid: &str) -> String {
    format!("GET {PATH}&sid={sid}")
}

async fn start() -> Proxy {
    let app = app().server("drain_timeout = \"2s\"");
    app.everything().start().await
}

#[tokio::test]
async fn hanging_poll_is_answered_on_its_connection_again_and_again() {
    let proxy = start().await;
    let (mut client, sid) = joined(&proxy).await;
    for n in 1..=20 {
        client.send(request(&poll(&sid), "", "")).await;
        if n % 2 == 0 {
            // The other half is published while the poll may still be on its way.
            proxy.ask("GET /other", &[]).await;
        }
        proxy.app().publish();
        let answer = client.response().await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.text(), format!(r#"42["message",{{"n":{n}}}]"#));
        assert_eq!(answer.field("cache-control"), Some("no-store"));
        assert_eq!(answer.all("x-request-id").len(), 1);
    }
    // A WebSocket takes over the same connection.
    let path = format!("/socket.io/?EIO=4&transport=websocket&sid={sid}");
    client.send(handshake(&path, "")).await;
    assert_eq!(client.head().await.status(), 101);
}

#[tokio::test]
async fn request_behind_a_hanging_poll_is_answered_in_its_turn() {
    let proxy = start().await;
    let (mut client, sid) = joined(&proxy).await;
    let other = request("GET /other", "", "");
    for (ahead, status) in [
        (other.as_str(), 200),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    ] {
        client.send(request(&poll(&sid), "", "") + ahead).await;
        proxy.ask("GET /other", &[]).await;
        proxy.app().publish();
        let answer = client.response().await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
        assert_eq!(client.response().await.status(), status);
    }
    client.leaves().await;
}

#[tokio::test]
async fn poll_that_is_the_last_closes_its_connection() {
    let proxy = start().await;
    let (mut client, sid) = joined(&proxy).await;
    let last = request(&poll(&sid), "connection: close\r\n", "");
    client.send(last).await;
    proxy.app().publish();
    let answer = client.response().await;
    assert_eq!(answer.field("connection"), Some("close"));
    client.leaves().await;
}

#[tokio::test]
async fn connection_that_waits_ends_when_the_process_does() {
    for hangs in [false, true] {
        let mut proxy = start().await;
        let (mut client, sid) = joined(&proxy).await;
        if hangs {
            client.send(request(&poll(&sid), "", "")).await;
        }
        let drained = proxy.handle.drain();
        let ended = async {
            if hangs {
                let answer = client.response().await;
                assert_eq!(answer.status(), 200);
                assert_eq!(answer.field("connection"), Some("close"));
            }
            client.leaves().await;
        };
        tokio::join!(drained, ended);
    }
}
