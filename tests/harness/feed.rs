//! A backend with one event stream that honours `Last-Event-ID`, and a slow page.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::harness::{Backend, Message, Peer, reply};

/// A running backend. `/slow` takes half a second; every other path is the stream.
pub struct Feed {
    pub backend: Backend,
    published: Arc<watch::Sender<u64>>,
}

impl Feed {
    pub async fn start() -> Self {
        let published = Arc::new(watch::Sender::new(0));
        let source = published.clone();
        let backend = Backend::start(move |request, peer| {
            let published = source.subscribe();
            async move {
                match request.target() {
                    "/slow" => {
                        tokio::time::sleep(Duration::from_millis(500)).await;
                        reply(peer, "200 OK", "", "done").await
                    }
                    _ => stream(request, peer, published).await,
                }
            }
        });
        Feed {
            backend: backend.await,
            published,
        }
    }

    /// The next event: its data is `{"n":N}` and its id N, from 1.
    pub fn publish(&self) {
        self.published.send_modify(|count| *count += 1);
    }
}

async fn stream(
    request: Message,
    mut peer: Peer,
    mut published: watch::Receiver<u64>,
) -> Option<Peer> {
    let last = request
        .field("last-event-id")
        .and_then(|id| id.parse().ok());
    let mut sent: u64 = last.unwrap_or(*published.borrow());
    peer.try_send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        .await;
    loop {
        let count = *published.borrow_and_update();
        while sent < count {
            sent += 1;
            let event = format!("id: {sent}\ndata: {{\"n\":{sent}}}\n\n");
            if !peer.try_send(event).await {
                return None;
            }
        }
        published.changed().await.ok()?;
    }
}
