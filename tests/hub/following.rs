//! Nobody who follows loses, doubles or reorders anything without being told.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use crate::harness::{JSON, Socket, proxy, within};

/// Clients, cuts of each one's own connection, and events.
const CLIENTS: usize = 12;
const EVENTS: u64 = 600;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_arrives_once_across_reconnects() {
    let proxy = proxy().sse("/ids").start().await;
    let mut first = Vec::new();
    for _ in 0..CLIENTS {
        let mut socket = proxy.join(&[]).await;
        socket.subscribe(1, "/ids").await;
        first.push(socket);
    }
    let public = proxy.public();
    let mut clients = JoinSet::new();
    for socket in first {
        clients.spawn(follow(public.to_owned(), socket));
    }
    for n in 1..=EVENTS {
        proxy.app().publish();
        if n % 150 == 0 {
            proxy.app().cut();
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let mut cuts = 0;
    while let Some(client) = within("the clients", clients.join_next()).await {
        cuts += client.unwrap();
    }
    assert!(cuts > CLIENTS, "{cuts} cuts prove little");
}

/// Reads to the last event, breaking off now and then; how often.
async fn follow(public: String, mut socket: Socket) -> usize {
    let (mut last, mut cuts) = (0, 0);
    while last < EVENTS {
        let event = socket.frame_unless("ev", "gap").await;
        assert_eq!(event["d"]["n"], last + 1, "{event}");
        last += 1;
        if fastrand::u32(..40) == 0 && last < EVENTS {
            cuts += 1;
            let origin = format!("origin: {public}");
            let fields = ["sec-websocket-protocol: crossfade.v1.json", &origin];
            let again = Socket::open(&public, "/_crossfade/ws", &fields).await;
            socket = again.unwrap_or_else(|answer| panic!("{}", answer.status()));
            socket
                .send(json!({"t": "sub", "id": 1, "path": "/ids", "after": event["o"]}))
                .await;
            let ok = socket.frame("ok").await;
            assert_eq!(ok["recovered"], true, "{ok}");
        }
    }
    cuts
}

#[tokio::test]
async fn a_stream_without_ids_tells_each_loss_once() {
    let proxy = proxy().sse("/plain").start().await;
    let mut socket = proxy.join(&[]).await;
    let ch = socket.subscribe(1, "/plain").await;
    proxy.app().publish();
    let event = socket.frame("ev").await;
    proxy.app().cut();
    let gap = socket.frame("gap").await;
    assert_eq!(gap["ch"], ch);
    assert_eq!(gap["from"], event["o"]);
    assert_eq!(gap["why"], "upstream_reconnect");
    proxy.app().publish();
    let next = socket.frame_unless("ev", "gap").await;
    assert_eq!(next["d"]["n"], 2);
}

#[tokio::test]
async fn a_document_converges_and_staleness_is_told() {
    let proxy = proxy().poll("/document").start().await;
    proxy.app().show(r#"{"v":1}"#);
    let mut socket = proxy.join(&[]).await;
    socket.subscribe(1, "/document").await;
    assert_eq!(socket.frame("snap").await["d"]["v"], 1);
    proxy.app().show(r#"{"v":2}"#);
    assert_eq!(socket.frame("ev").await["d"]["v"], 2);
    proxy.app().show("<html>please log in</html>");
    let state = socket.frame("state").await;
    assert_eq!(state["live"], false);
    proxy.app().show(r#"{"v":3}"#);
    assert_eq!(socket.frame("state").await["live"], true);
    assert_eq!(socket.frame("ev").await["d"]["v"], 3);
}

#[tokio::test]
async fn raw_has_no_words_but_the_data() {
    let proxy = proxy().sse("/ids").start().await;
    let mut raw = proxy.open("/ids", &[]).await;
    let mut wrapped = proxy.open("/ids?cf_wrap=1", &[]).await;
    proxy.backend().reached(1).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    proxy.app().publish();
    let data = raw.message().await;
    assert_eq!(data["n"], 1);
    let event = wrapped.message().await;
    assert_eq!((&event["id"], &event["d"]["n"]), (&"1".into(), &1.into()));
    let path = format!("/ids?cf_after={}", event["o"].as_str().unwrap());
    let mut again = proxy.open(&path, &[]).await;
    proxy.app().publish();
    let data = again.message().await;
    assert_eq!(data["n"], 2);
    assert_eq!(
        proxy.backend().seen().len(),
        1,
        "one stream for all of them"
    );
}

#[tokio::test]
async fn a_position_of_another_epoch_is_told_as_it_was_sent() {
    let proxy = proxy().sse("/plain").poll("/document").start().await;
    for path in ["/plain", "/document"] {
        let foreign = format!("{path}?cf_after=deadbeef-07");
        let mut multiplex = proxy.join(&[]).await;
        let wish = json!({"t": "sub", "id": 1, "path": path, "after": "deadbeef-07"});
        multiplex.send(wish).await;
        let single = proxy.open(&foreign, &[JSON]).await;
        for mut socket in [multiplex, single] {
            let gap = socket.frame_unless("gap", "err").await;
            assert_eq!(
                (&gap["from"], &gap["why"]),
                (&json!("deadbeef-07"), &json!("epoch"))
            );
        }

        let junk = format!("{path}?cf_after=junk");
        let mut multiplex = proxy.join(&[]).await;
        let wish = json!({"t": "sub", "id": 1, "path": path, "after": "junk"});
        multiplex.send(wish).await;
        let mut single = proxy.open(&junk, &[JSON]).await;
        for socket in [&mut multiplex, &mut single] {
            let refused = socket.either("ok", "err").await;
            assert_eq!(refused["code"], "bad_frame", "{refused}");
        }
        assert_eq!(single.closed().await, 4000);
        let mut raw = proxy.open(&junk, &[]).await;
        assert_eq!(raw.closed().await, 4000);
    }
}
