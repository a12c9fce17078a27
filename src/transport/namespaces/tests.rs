use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;
use crate::transport::engineio::EngineSettings;
use crate::transport::outbox::Framing;
use crate::transport::websocket::WebSocketTransport;
use crate::transport::websocket::reader::MessageLimits;

struct NoNamespaces;

impl Namespaces for NoNamespaces {
    fn join(&mut self, _: &str, _: NamespaceTransport) -> Option<SocketTask> {
        None
    }
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
