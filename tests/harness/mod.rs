//! The world of the stories: a backend that records what reaches it, clients that send exactly what a test says, and
//! crossfade between them, in this process or as a process of its own.

pub mod admin;
pub mod app;
pub mod auth;
pub mod backend;
pub mod builder;
pub mod folder;
pub mod http;
pub mod http2;
pub mod http2_frames;
pub mod process;
pub mod proxy;
pub mod socket;
pub mod tls;
pub mod tls_backend;

pub use app::App;
pub use backend::{Backend, quiet_stream, reply};
pub use builder::proxy;
pub use folder::Folder;
pub use http::{KEY, Message, Peer, handshake, request};
pub use process::Process;
pub use proxy::{EVERYTHING, Proxy, asked, routes};
pub use socket::{JSON, Seen, Socket};

use std::time::Duration;

/// Longer than anything here takes; a test that waits for it has failed.
pub const LONG: Duration = Duration::from_secs(40);

/// Waits for a fact, at most [`LONG`].
pub async fn within<T>(what: &str, fact: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, fact)
        .await
        .unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// Waits until the condition holds, at most [`LONG`]; it is looked at again and again.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let mut pause = Duration::from_millis(1);
    within(what, async {
        while !condition().await {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(16));
        }
    })
    .await;
}

/// Seconds of a core that a process, or `thread-self`, has used.
pub fn cpu_seconds(process: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}
