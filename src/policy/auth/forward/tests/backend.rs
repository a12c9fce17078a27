use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::*;

/// A backend that answers every question alike, once it may.
pub(super) struct Backend {
    pub(super) asked: AtomicUsize,
    pub(super) answer: Mutex<String>,
    /// Whether answers are held back until [`Backend::release`].
    pub(super) is_held: Mutex<bool>,
    pub(super) released: Notify,
    pub(super) arrived: Notify,
}

impl Backend {
    pub(super) fn says(&self, status: &str, content_type: &str, body: &str) {
        let length = body.len();
        *self.answer.lock().unwrap() = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
    }

    pub(super) fn says_json(&self, status: &str, body: &str) {
        self.says(status, "application/json", body);
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub(super) fn hold(&self) {
        *self.is_held.lock().unwrap() = true;
    }

    pub(super) fn release(&self) {
        *self.is_held.lock().unwrap() = false;
        self.released.notify_waiters();
    }

    async fn serve(&self, mut stream: TcpStream) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        // What it says is what it knew when it was asked.
        let answer = self.answer.lock().unwrap().clone();
        self.asked.fetch_add(1, Ordering::SeqCst);
        let released = self.released.notified();
        self.arrived.notify_one();
        if *self.is_held.lock().unwrap() {
            released.await;
        }
        // The client may be gone.
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}

pub(super) async fn world() -> (Arc<Authority>, Arc<Backend>, Arc<Telemetry>) {
    world_with(|_| {}).await
}

pub(super) async fn world_with(
    change: impl FnOnce(&mut config::Forward),
) -> (Arc<Authority>, Arc<Backend>, Arc<Telemetry>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut forward = forward(&listener.local_addr().unwrap().to_string());
    change(&mut forward);
    let backend = Arc::new(Backend {
        asked: AtomicUsize::new(0),
        answer: Mutex::default(),
        is_held: Mutex::new(false),
        released: Notify::new(),
        arrived: Notify::new(),
    });
    backend.says_json("200 OK", ALICE);
    let serving = backend.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let backend = serving.clone();
            tokio::spawn(async move { backend.serve(stream).await });
        }
    });
    let telemetry = Arc::new(Telemetry::default());
    let upstreams = Upstreams::new(telemetry.clone());
    let authority = Authority::new("session".into(), forward, upstreams, telemetry.clone());
    (Arc::new(authority), backend, telemetry)
}
