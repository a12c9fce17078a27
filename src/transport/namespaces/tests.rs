use std::future::poll_fn;

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;
use crate::packet::Payload;
use crate::protocol::engineio::payload::PostedPackets;
use crate::transport::engineio::EngineSettings;
use crate::transport::engineio::registry::EngineSessions;
use crate::transport::outbox::Framing;
use crate::transport::websocket::WebSocketTransport;
use crate::transport::websocket::reader::MessageLimits;

const SID: [u8; 16] = [7; 16];

struct NoNamespaces;

impl Namespaces for NoNamespaces {
    fn join(&mut self, _: &str, _: NamespaceTransport) -> Option<SocketTask> {
        None
    }
}

/// Says one thing for each that it hears.
struct Chatter;

impl Namespaces for Chatter {
    fn join(&mut self, _: &str, mut transport: NamespaceTransport) -> Option<SocketTask> {
        Some(Box::pin(async move {
            let mut outbox = Outbox::new(Framing::WebSocket);
            poll_fn(|cx| {
                loop {
                    match transport.poll_receive(&mut outbox, cx) {
                        Poll::Ready(Ok(Incoming::Text(text))) if text.starts_with(b"1") => {
                            return Poll::Ready(());
                        }
                        Poll::Ready(Ok(_)) => outbox.push(Payload::copy_of(b"4said").into()),
                        Poll::Ready(Err(_)) => return Poll::Ready(()),
                        Poll::Pending => {
                            let _ = transport.poll_send(&mut outbox, cx);
                            return Poll::Pending;
                        }
                    };
                }
            })
            .await;
        }))
    }
}

/// A connection over polling.
fn begin(sessions: &EngineSessions) {
    let settings = EngineSettings {
        ping_interval: Duration::from_secs(25),
        ping_timeout: Duration::from_secs(20),
    };
    tokio::spawn(NamespaceConnection::new(
        EngineIo::over_polling(sessions.enter(SID), settings),
        Outbox::new(Framing::EngineIo),
        Box::new(Chatter),
        Duration::from_secs(10),
    ));
}

async fn post(sessions: &EngineSessions, packets: &'static str) {
    let packets = PostedPackets::of(packets.into(), 100).unwrap();
    sessions.post(&SID, packets).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn poll_is_answered_with_all_that_was_said_before_it() {
    let sessions = EngineSessions::default();
    begin(&sessions);
    for packet in ["40", "42[1]", "42[2]"] {
        post(&sessions, packet).await;
    }
    let answer = sessions.poll(&SID).await.unwrap();
    assert_eq!(answer, "4said\x1e4said\x1e4said");
}

#[tokio::test(start_paused = true)]
async fn packet_behind_a_leave_is_ignored() {
    let sessions = EngineSessions::default();
    begin(&sessions);
    post(&sessions, "40\x1e40/a,").await;
    sessions.poll(&SID).await.unwrap();
    post(&sessions, "41/a,").await;
    post(&sessions, "451-/a,[1]\x1ebAQID\x1e41/a,\x1e42[1]").await;
    assert_eq!(sessions.poll(&SID).await.unwrap(), "4said");
    post(&sessions, "40/a,").await;
    assert_eq!(sessions.poll(&SID).await.unwrap(), "4said");
}

#[tokio::test(start_paused = true)]
async fn packet_of_a_namespace_never_joined_ends_the_connection() {
    let sessions = EngineSessions::default();
    begin(&sessions);
    let packets = PostedPackets::of("40\x1e42/a,[1]".into(), 100).unwrap();
    let (polled, posted) = tokio::join!(sessions.poll(&SID), sessions.post(&SID, packets));
    assert_eq!(polled.unwrap(), "4said\x1e1");
    assert!(posted.is_err());
}

#[tokio::test(start_paused = true)]
async fn connection_ends_when_its_client_says_so() {
    let (mut client, server) = duplex(1_000);
    let limits = MessageLimits {
        message: 1_000,
        fragments: 1,
    };
    let settings = EngineSettings {
        ping_interval: Duration::from_secs(25),
        ping_timeout: Duration::from_secs(20),
    };
    let transport = Box::new(WebSocketTransport::new(server, limits, b""));
    let connection = NamespaceConnection::new(
        EngineIo::over_websocket(transport, settings),
        Outbox::new(Framing::WebSocket),
        Box::new(NoNamespaces),
        Duration::from_secs(10),
    );
    let start = Instant::now();
    let connection = tokio::spawn(connection);
    // Engine.IO's own word, and the answer to the close frame that comes back.
    client.write_all(b"\x81\x81\0\0\0\x001").await.unwrap();
    let mut answer = [0; 4];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, [0x88, 2, 3, 0xe8]);
    client
        .write_all(&[0x88, 0x82, 0, 0, 0, 0, 3, 0xe8])
        .await
        .unwrap();
    assert_eq!(client.read(&mut answer).await.unwrap(), 0);
    connection.await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
}
