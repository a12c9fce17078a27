//! A legacy backend: it records every request that reaches it, and answers as it is told.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::{Message, Peer, eventually};

/// A running backend; it ends when this is dropped.
pub struct Backend {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Message>>>,
    open: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Backend {
    /// Answers every request by `answer`, which gives the connection back to keep it alive.
    pub async fn start<F, Answered>(answer: F) -> Backend
    where
        F: Fn(Message, Peer) -> Answered + Send + Sync + 'static,
        Answered: Future<Output = Option<Peer>> + Send + 'static,
    {
        Backend::start_at(([127, 0, 0, 1], 0).into(), answer).await
    }

    /// As [`Backend::start`], at an address where another one was.
    pub async fn start_at<F, Answered>(address: SocketAddr, answer: F) -> Backend
    where
        F: Fn(Message, Peer) -> Answered + Send + Sync + 'static,
        Answered: Future<Output = Option<Peer>> + Send + 'static,
    {
        let answer = Arc::new(answer);
        Backend::listen(address, move |mut peer, seen| {
            let answer = answer.clone();
            async move {
                while let Some(request) = peer.request().await {
                    seen.lock().unwrap().push(request.clone());
                    match answer(request, peer).await {
                        Some(kept) => peer = kept,
                        None => break,
                    }
                }
            }
        })
        .await
    }

    /// Does with every connection what `script` says, reading included.
    pub async fn by_hand<F, Done>(script: F) -> Backend
    where
        F: Fn(Peer, Arc<Mutex<Vec<Message>>>) -> Done + Send + Sync + 'static,
        Done: Future<Output = ()> + Send + 'static,
    {
        Backend::listen(([127, 0, 0, 1], 0).into(), script).await
    }

    async fn listen<F, Done>(address: SocketAddr, script: F) -> Backend
    where
        F: Fn(Peer, Arc<Mutex<Vec<Message>>>) -> Done + Send + Sync + 'static,
        Done: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let open = Arc::new(AtomicUsize::new(0));
        let (script, record, count) = (Arc::new(script), seen.clone(), open.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (script, record, count) = (script.clone(), record.clone(), count.clone());
                connections.spawn(async move {
                    count.fetch_add(1, Ordering::SeqCst);
                    script(Peer::new(stream), record).await;
                    count.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Backend {
            address,
            seen,
            open,
            _tasks: tasks,
        }
    }

    /// Answers everything with 200 and the text `ok`.
    pub async fn ok() -> Backend {
        Backend::start(|_, peer| reply(peer, "200 OK", "", "ok")).await
    }

    /// What reached it so far.
    pub fn seen(&self) -> Vec<Message> {
        self.seen.lock().unwrap().clone()
    }

    /// What asked for this target so far.
    pub fn asked_for(&self, target: &str) -> Vec<Message> {
        let seen = self.seen().into_iter();
        seen.filter(|request| request.target() == target).collect()
    }

    /// The only request so far.
    pub fn only(&self) -> Message {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.into_iter().next().unwrap()
    }

    /// Waits until so many requests have reached it.
    pub async fn reached(&self, count: usize) {
        eventually("requests at the backend", async || {
            self.seen().len() >= count
        })
        .await;
    }

    /// Waits until so many connections are open.
    pub async fn has_open(&self, count: usize) {
        eventually("connections at the backend", async || {
            self.open.load(Ordering::SeqCst) == count
        })
        .await;
    }
}

/// A whole answer; the connection lives on.
pub async fn reply(mut peer: Peer, status: &str, fields: &str, body: &str) -> Option<Peer> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{fields}\r\n");
    peer.try_send(head + body).await.then_some(peer)
}

/// An event stream that says nothing.
pub async fn quiet_stream() -> Backend {
    Backend::start(|request, mut peer| async move {
        if request.field("accept") != Some("text/event-stream") {
            return reply(peer, "200 OK", "", "plain").await;
        }
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
        peer.send(head).await;
        peer.rest().await;
        None
    })
    .await
}
