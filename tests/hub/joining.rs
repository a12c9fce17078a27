//! A page that is reloaded gets a stream's beginning again, as with EventSource, and then shares the stream.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::watch;

use crate::harness::{Backend, JSON, Message, Peer, Proxy, Socket};

const ROUTES: &str = r#"
[[route]]
path = "/ids"
upstream = "app"
source = "sse"

[[route]]
path = "/plain"
upstream = "app"
source = "sse"
replay = {events = 4}
"#;

/// A backend that sends an inbox of three entries to each new connection, and then what happens.
struct Inbox {
    backend: Backend,
    proxy: Proxy,
    happened: Arc<watch::Sender<u64>>,
}

impl Inbox {
    async fn start() -> Inbox {
        let happened = Arc::new(watch::Sender::new(3));
        let shown = happened.clone();
        let backend = Backend::start(move |request, peer| stream(request, peer, shown.subscribe()));
        let backend = backend.await;
        let proxy = Proxy::before(&backend, "", ROUTES).await;
        Inbox {
            backend,
            proxy,
            happened,
        }
    }

    /// Entry number four, and so on.
    fn happen(&self) {
        self.happened.send_modify(|count| *count += 1);
    }

    fn requests(&self) -> usize {
        self.backend.seen().len()
    }
}

async fn stream(
    request: Message,
    mut peer: Peer,
    mut happened: watch::Receiver<u64>,
) -> Option<Peer> {
    let has_ids = request.target() == "/ids";
    peer.try_send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        .await;
    let mut sent = *happened.borrow_and_update() - 3;
    loop {
        while sent < *happened.borrow_and_update() {
            sent += 1;
            let id = if has_ids {
                format!("id: {sent}\n")
            } else {
                String::new()
            };
            if !peer.try_send(format!("{id}data: {sent}\n\n")).await {
                return None;
            }
        }
        tokio::select! {
            changed = happened.changed() => changed.ok()?,
            _ = peer.byte() => return None,
        }
    }
}

/// The next event of a raw socket.
async fn next(socket: &mut Socket) -> u64 {
    socket.message().await.as_u64().unwrap()
}

async fn entries(socket: &mut Socket, expected: &[u64]) {
    for entry in expected {
        assert_eq!(next(socket).await, *entry);
    }
}

/// The stream's beginning is over so long after its head.
async fn beginning_over(since: Instant) {
    tokio::time::sleep_until((since + Duration::from_millis(400)).into()).await;
}

#[tokio::test]
async fn a_reloaded_page_gets_entries_with_ids_and_then_shares() {
    let inbox = Inbox::start().await;
    let mut page = inbox.proxy.open("/ids", &[]).await;
    entries(&mut page, &[1, 2, 3]).await;
    beginning_over(Instant::now()).await;
    page.say_goodbye(1000, "").await;
    let mut reloaded = inbox.proxy.open("/ids", &[]).await;
    let mut other = inbox.proxy.open("/ids", &[]).await;
    entries(&mut reloaded, &[1, 2, 3]).await;
    entries(&mut other, &[1, 2, 3]).await;
    assert_eq!(inbox.requests(), 3);
    // Their own requests are over.
    inbox.backend.has_open(1).await;
    for entry in 4..8 {
        inbox.happen();
        assert_eq!(next(&mut reloaded).await, entry);
        assert_eq!(next(&mut other).await, entry);
    }
    assert_eq!(inbox.requests(), 3);
}

#[tokio::test]
async fn a_reloaded_page_gets_entries_without_ids_from_the_window() {
    let inbox = Inbox::start().await;
    let mut page = inbox.proxy.open("/plain", &[]).await;
    entries(&mut page, &[1, 2, 3]).await;
    beginning_over(Instant::now()).await;
    page.say_goodbye(1000, "").await;
    inbox.happen();
    let mut reloaded = inbox.proxy.open("/plain", &[]).await;
    entries(&mut reloaded, &[1, 2, 3, 4]).await;
    assert_eq!(inbox.requests(), 1);
    inbox.happen();
    entries(&mut reloaded, &[5]).await;
    // The window has let go of the beginning: the backend is asked, and goes on being read.
    let mut late = inbox.proxy.open("/plain", &[]).await;
    entries(&mut late, &[3, 4, 5]).await;
    assert_eq!(inbox.requests(), 2);
    inbox.happen();
    entries(&mut reloaded, &[6]).await;
    entries(&mut late, &[6]).await;
    late.say_goodbye(1000, "").await;
    inbox.backend.has_open(1).await;
}

#[tokio::test]
async fn a_join_keeps_the_order_of_frames_and_the_channel() {
    let inbox = Inbox::start().await;
    let mut first = inbox.proxy.open("/ids", &[JSON]).await;
    let ok = first.frame("ok").await;
    let mut last = first.frame("ev").await;
    for _ in 0..2 {
        last = first.frame("ev").await;
    }
    beginning_over(Instant::now()).await;
    let mut late = inbox.proxy.join(&[]).await;
    late.send(json!({"t": "sub", "id": 1, "path": "/ids"}))
        .await;
    let answer = late.message().await;
    assert_eq!((&answer["t"], &answer["ch"]), (&"ok".into(), &ok["ch"]));
    assert_eq!(answer["recovered"], false);
    let epoch = |position: &serde_json::Value| {
        let text = position.as_str().unwrap();
        text.split_once('-').unwrap().0.to_owned()
    };
    assert_ne!(epoch(&answer["at"]), epoch(&last["o"]));
    let own = late.frame_unless("ev", "gap").await;
    assert_eq!(
        (&own["id"], epoch(&own["o"])),
        (&"1".into(), epoch(&answer["at"]))
    );
    // It has met the shared stream, whose frames are the same for all.
    for entry in ["2", "3"] {
        let shared = late.frame_unless("ev", "gap").await;
        assert_eq!(
            (&shared["id"], epoch(&shared["o"])),
            (&entry.into(), epoch(&last["o"]))
        );
    }
    inbox.happen();
    let event = late.frame_unless("ev", "gap").await;
    assert_eq!(event, first.frame("ev").await);
    // A client that says where it was costs the backend nothing.
    let requests = inbox.requests();
    for resume in [json!({"after": last["o"]}), json!({"last_event_id": "3"})] {
        let mut back = inbox.proxy.join(&[]).await;
        let mut sub = resume;
        sub["t"] = "sub".into();
        sub["id"] = 1.into();
        sub["path"] = "/ids".into();
        back.send(sub).await;
        assert_eq!(back.frame("ok").await["recovered"], true);
        assert_eq!(back.frame("ev").await, event);
    }
    assert_eq!(inbox.requests(), requests);
}
