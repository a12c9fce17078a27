//! Simulated viewers: as many in each lane, each doing what a browser would do.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::lanes::{Lane, Lanes};

/// The most viewers per lane that the button may ask for.
const MOST: usize = 1_000;
/// Between two polls of one viewer, and between two tries of one that lost its connection.
const PACE: Duration = Duration::from_secs(1);

/// The part of the document that a simulated viewer looks at.
#[derive(Deserialize)]
struct Head {
    version: u64,
    changes: Vec<(u64, f64)>,
}

/// The viewers that are open now.
pub(crate) struct Viewers {
    lanes: Arc<Lanes>,
    /// The sidecar's public address, known once it listens.
    sidecar: OnceLock<SocketAddr>,
    open: Mutex<JoinSet<()>>,
}

impl Viewers {
    /// None yet.
    pub(crate) fn new(lanes: Arc<Lanes>) -> Self {
        Viewers {
            lanes,
            sidecar: OnceLock::new(),
            open: Mutex::default(),
        }
    }

    /// Tells where the sidecar listens; the first word counts.
    pub(crate) fn connect_to(&self, sidecar: SocketAddr) {
        let _ = self.sidecar.set(sidecar);
    }

    /// Closes those that are open and opens `count` in each lane; returns how many.
    pub(crate) fn set(&self, count: usize) -> usize {
        let mut open = self
            .open
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *open = JoinSet::new();
        let Some(&sidecar) = self.sidecar.get() else {
            return 0;
        };
        let count = count.min(MOST);
        let client: Client<HttpConnector, Empty<Bytes>> =
            Client::builder(TokioExecutor::new()).build_http();
        for _ in 0..count {
            open.spawn(watch(
                Lane::Polling,
                sidecar,
                Arc::clone(&self.lanes),
                client.clone(),
            ));
            open.spawn(watch(
                Lane::Sse,
                sidecar,
                Arc::clone(&self.lanes),
                client.clone(),
            ));
            open.spawn(watch(
                Lane::WebSocket,
                sidecar,
                Arc::clone(&self.lanes),
                client.clone(),
            ));
        }
        count
    }
}

/// Counts a viewer for as long as it watches.
struct Present<'a>(&'a Lanes, Lane);

impl Drop for Present<'_> {
    fn drop(&mut self) {
        self.0.of(self.1).viewers.fetch_sub(1, Relaxed);
    }
}

async fn watch(
    lane: Lane,
    sidecar: SocketAddr,
    lanes: Arc<Lanes>,
    client: Client<HttpConnector, Empty<Bytes>>,
) {
    // Real viewers do not arrive in step.
    tokio::time::sleep(PACE.mul_f64(fastrand::f64())).await;
    lanes.of(lane).viewers.fetch_add(1, Relaxed);
    let _present = Present(&lanes, lane);
    let mut newest = 0;
    let mut look = |text: &[u8]| {
        let Ok(head) = serde_json::from_slice::<Head>(text) else {
            return;
        };
        // What was there before the viewer came is no news.
        if newest > 0 {
            let missed = head.changes.iter().filter(|(version, _)| *version > newest);
            missed.for_each(|(_, at)| lanes.of(lane).saw(*at));
        }
        newest = newest.max(head.version);
    };
    loop {
        match lane {
            Lane::Polling => poll_once(sidecar, &client, "?lane=polling", &mut look).await,
            Lane::Sse => follow_stream(sidecar, &client, &mut look).await,
            // Refused or led away: the old way, until the next try.
            Lane::WebSocket => match follow_websocket(sidecar, &mut look).await {
                Some(()) => Some(()),
                None => poll_once(sidecar, &client, "", &mut look).await,
            },
        };
        tokio::time::sleep(PACE).await;
    }
}

async fn poll_once(
    sidecar: SocketAddr,
    client: &Client<HttpConnector, Empty<Bytes>>,
    query: &str,
    look: &mut impl FnMut(&[u8]),
) -> Option<()> {
    let request = Request::get(format!("http://{sidecar}/api/jobs{query}"))
        .body(Empty::new())
        .ok()?;
    let body = client
        .request(request)
        .await
        .ok()?
        .into_body()
        .collect()
        .await
        .ok()?;
    look(&body.to_bytes());
    Some(())
}

async fn follow_stream(
    sidecar: SocketAddr,
    client: &Client<HttpConnector, Empty<Bytes>>,
    look: &mut impl FnMut(&[u8]),
) -> Option<()> {
    let request = Request::get(format!("http://{sidecar}/api/jobs/stream"))
        .body(Empty::new())
        .ok()?;
    let mut body = client.request(request).await.ok()?.into_body();
    let mut text = Vec::new();
    while let Some(frame) = body.frame().await {
        text.extend_from_slice(frame.ok()?.data_ref()?);
        while let Some(end) = text.windows(2).position(|pair| pair == b"\n\n") {
            let event: Vec<u8> = text.drain(..end + 2).collect();
            if let Some(data) = event
                .split(|byte| *byte == b'\n')
                .find_map(|line| line.strip_prefix(b"data: "))
            {
                look(data);
            }
        }
    }
    Some(())
}

async fn follow_websocket(sidecar: SocketAddr, look: &mut impl FnMut(&[u8])) -> Option<()> {
    let socket = TcpStream::connect(sidecar).await.ok()?;
    let url = format!("ws://{sidecar}/api/jobs");
    let (mut socket, _response) = tokio_tungstenite::client_async(url, socket).await.ok()?;
    while let Some(message) = socket.next().await {
        look(&message.ok()?.into_data());
    }
    Some(())
}
