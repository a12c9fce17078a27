//! What a filter leaves of a route: items that leave it and enter it, and what it cannot judge.

use serde_json::{Value, json};

use crate::harness::{Proxy, Socket, builder::Builder, proxy};

fn list() -> Builder {
    proxy()
        .poll("/document")
        .line("source = {kind = \"poll\", every = \"20ms\", emit = \"changes\"}")
        .line("filter = [\"event\", \"severity\"]")
}

/// A client that has the items of the list that its filter lets through.
async fn viewer(proxy: &Proxy, filter: Value, items: Value) -> Socket {
    let mut socket = proxy.join(&[]).await;
    socket
        .send(json!({"t": "sub", "id": 1, "path": "/document", "filter": filter}))
        .await;
    assert_eq!(socket.frame("snap").await["d"], items);
    socket
}

async fn sees(socket: &mut Socket, name: &str, item: &Value) {
    let event = socket.frame_unless("ev", "gap").await;
    assert_eq!((&event["e"], &event["d"]), (&json!(name), item));
}

/// That nothing else was sent to it.
async fn sees_no_more(socket: &mut Socket) {
    socket.send(json!({"t": "ping"})).await;
    socket.frame_unless("pong", "ev").await;
}

#[tokio::test]
async fn an_item_that_leaves_a_filter_is_deleted() {
    let proxy = list().start().await;
    let item = |id, severity| json!({"id": id, "severity": severity});
    let (one, other) = (item(1, "high"), item(2, "low"));
    proxy.app().show(&json!([one, other]).to_string());
    let high = json!({"severity": ["high"]});
    let updates = json!({"severity": ["high"], "event": ["updated"]});
    let mut all = viewer(
        &proxy,
        json!({"event": ["created", "updated", "deleted"]}),
        json!([one, other]),
    )
    .await;
    let mut high = viewer(&proxy, high, json!([one])).await;
    let mut updates = viewer(&proxy, updates, json!([one])).await;

    let calmed = item(1, "low");
    proxy.app().show(&json!([calmed, other]).to_string());
    sees(&mut all, "updated", &calmed).await;
    // As it last matched, also where deletions were not asked for.
    sees(&mut high, "deleted", &one).await;
    sees(&mut updates, "deleted", &one).await;

    let risen = item(2, "high");
    proxy.app().show(&json!([calmed, risen]).to_string());
    sees(&mut all, "updated", &risen).await;
    sees(&mut high, "created", &risen).await;

    let noted = json!({"id": 2, "severity": "high", "n": 1});
    proxy.app().show(&json!([calmed, noted]).to_string());
    sees(&mut all, "updated", &noted).await;
    sees(&mut high, "updated", &noted).await;
    sees(&mut updates, "updated", &noted).await;

    // What it never held is not taken away.
    proxy.app().show(&json!([noted]).to_string());
    sees(&mut all, "deleted", &calmed).await;
    proxy.app().show("[]");
    sees(&mut all, "deleted", &noted).await;
    sees(&mut high, "deleted", &noted).await;
    for socket in [&mut all, &mut high] {
        sees_no_more(socket).await;
    }
}

#[tokio::test]
async fn what_a_filter_cannot_judge_is_delivered() {
    let deep = format!("{}{}", "[".repeat(130), "]".repeat(130));
    let odd = [
        r#"{"severity":"low","text":"\ud83d"}"#,
        r#"{"severity":"low","n":1e400}"#,
        &format!(r#"{{"severity":"low","deep":{deep}}}"#),
    ];
    let plain = [r#"{"severity":"low"}"#, r#"{"severity":"high"}"#];
    let events = odd.iter().chain(&plain);
    let events: String = events.map(|data| format!("data: {data}\n\n")).collect();
    let shown = format!("[{},{},{}]", odd[0], odd[1], plain[0]);
    let proxy = list()
        .sse("/stream")
        .line("filter = [\"severity\"]")
        .on("/stream", move |_, mut peer| {
            let events = events.clone();
            async move {
                peer.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
                    .await;
                peer.send(events).await;
                peer.rest().await;
                None
            }
        })
        .start()
        .await;
    proxy.app().show(&shown);
    for path in ["/stream", "/document"] {
        let mut socket = proxy.join(&[]).await;
        socket
            .send(json!({"t": "sub", "id": 1, "path": path, "filter": {"severity": ["high"]}}))
            .await;
        assert_eq!(socket.message().await["t"], "ok");
        let expected = match path {
            "/stream" => [&odd[..], &plain[1..]].concat(),
            _ => vec![],
        };
        for data in expected {
            let text = socket.text().await.unwrap();
            assert!(
                text.contains(r#""t":"ev""#) && text.contains(data),
                "{text}"
            );
        }
        if path == "/document" {
            let text = socket.text().await.unwrap();
            let items = format!("[{},{}]", odd[0], odd[1]);
            assert!(
                text.contains(r#""t":"snap""#) && text.contains(&items),
                "{text}"
            );
        }
        sees_no_more(&mut socket).await;
    }
}
