//! What a pause costs, and what a client is told after it: what changed meanwhile, deletions too.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Socket, builder::Builder, cpu_seconds, eventually, proxy};

/// A list whose changes have these names.
fn list(names: [&str; 3]) -> Builder {
    let [created, updated, deleted] = names;
    let events =
        format!("created = \"{created}\", updated = \"{updated}\", deleted = \"{deleted}\"");
    proxy().poll("/document").line(&format!(
        "source = {{kind = \"poll\", every = \"20ms\", emit = \"changes\", events = {{{events}}}}}"
    ))
}

fn item(id: u64, v: u64) -> Value {
    json!({"id": id, "v": v})
}

#[tokio::test]
async fn a_pause_keeps_deletions_whatever_changes_are_called() {
    for names in [
        ["created", "updated", "deleted"],
        ["changed", "changed", "gone"],
        ["item", "item", "item"],
    ] {
        let proxy = list(names).start().await;
        let [created, updated, deleted] = names;
        let first = json!([item(1, 0), item(2, 0), item(3, 0)]);
        proxy.app().show(&first.to_string());
        // A client that goes on listening: else the route would not be read during the pause.
        let mut witness = proxy.join(&[]).await;
        witness.subscribe(1, "/document").await;
        assert_eq!(witness.frame("snap").await["d"], first);
        let mut paused = proxy.join(&[]).await;
        let ch = paused.subscribe(1, "/document").await;
        assert_eq!(paused.frame("snap").await["d"], first);
        paused.send(json!({"t": "pause", "id": 2, "ch": ch})).await;
        assert_eq!(paused.frame("ok").await["id"], 2);

        proxy
            .app()
            .show(&json!([item(1, 1), item(2, 0), item(3, 0)]).to_string());
        sees(&mut witness, &[(updated, item(1, 1))]).await;
        proxy
            .app()
            .show(&json!([item(2, 1), item(3, 0), item(5, 0)]).to_string());
        let changes = [
            (deleted, item(1, 1)),
            (created, item(5, 0)),
            (updated, item(2, 1)),
        ];
        sees(&mut witness, &changes).await;
        proxy
            .app()
            .show(&json!([item(2, 1), item(4, 0)]).to_string());
        let changes = [
            (deleted, item(3, 0)),
            (deleted, item(5, 0)),
            (created, item(4, 0)),
        ];
        sees(&mut witness, &changes).await;

        paused.send(json!({"t": "resume", "id": 3, "ch": ch})).await;
        assert_eq!(paused.frame_unless("ok", "ev").await["id"], 3);
        let net = [
            (deleted, item(1, 1)),
            (updated, item(2, 1)),
            (deleted, item(3, 0)),
            (created, item(4, 0)),
        ];
        sees(&mut paused, &net).await;
        paused.send(json!({"t": "ping"})).await;
        paused.frame_unless("pong", "ev").await;
    }
}

#[tokio::test]
async fn a_pause_costs_nothing_where_deliver_holds_back() {
    let proxy = proxy()
        .sse("/ids")
        .line("deliver = {every = \"100ms\", mode = \"batch\", max = 10}")
        .start()
        .await;
    let mut socket = proxy.join(&[]).await;
    let ch = socket.subscribe(1, "/ids").await;
    proxy.app().publish();
    socket.frame("ev").await;
    socket.send(json!({"t": "pause", "id": 2, "ch": ch})).await;
    assert_eq!(socket.frame("ok").await["id"], 2);
    proxy.app().publish();
    let head = || proxy.handle.shared().hub.topics()[0].at.offset;
    eventually("an event that waits", async || head() == 2).await;
    // The proxy runs in this thread.
    let (cpu, since) = (cpu_seconds("thread-self"), Instant::now());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let busy = (cpu_seconds("thread-self") - cpu) / since.elapsed().as_secs_f64();
    assert!(busy < 0.5, "{busy} of a core");
    socket.send(json!({"t": "resume", "id": 3, "ch": ch})).await;
    assert_eq!(socket.frame("ev").await["d"]["n"], 2);
}

async fn sees(socket: &mut Socket, changes: &[(&str, Value)]) {
    for (name, item) in changes {
        let event = socket.frame_unless("ev", "gap").await;
        assert_eq!((&event["e"], &event["d"]), (&json!(name), item));
    }
}
