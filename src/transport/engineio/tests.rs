use std::future::poll_fn;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::registry::EngineSessions;
use super::*;
use crate::protocol::engineio::error::EngineError;
use crate::protocol::engineio::payload::PostedPackets;
use crate::transport::websocket::WebSocketTransport;
use crate::transport::websocket::reader::MessageLimits;

const SID: [u8; 16] = [7; 16];

const SETTINGS: EngineSettings = EngineSettings {
    ping_interval: Duration::from_secs(25),
    ping_timeout: Duration::from_secs(20),
};

/// A session that polls. It echoes, and is carried through to its end.
fn begin(sessions: &EngineSessions) {
    let mut engine = EngineIo::over_polling(sessions.enter(SID), SETTINGS);
    tokio::spawn(async move {
        let mut outbox = Outbox::new(Framing::EngineIo);
        poll_fn(|cx| poll_echo(&mut engine, &mut outbox, cx)).await;
        poll_fn(|cx| engine.poll_end(&mut outbox, cx)).await;
    });
}

fn poll_echo(engine: &mut EngineIo, outbox: &mut Outbox, cx: &mut Context<'_>) -> Poll<()> {
    loop {
        match engine.poll_receive(outbox, cx) {
            Poll::Ready(Ok(Incoming::Text(text))) => outbox.push(EnginePacket::Text(text).frame()),
            Poll::Ready(_) => return Poll::Ready(()),
            Poll::Pending => {
                let _ = engine.poll_send(outbox, cx);
                return Poll::Pending;
            }
        };
    }
}

fn posted(body: &'static str) -> PostedPackets {
    PostedPackets::of(Bytes::from_static(body.as_bytes()), 1_000).unwrap()
}

/// A short message of a client, as a frame.
fn masked(text: &str) -> Vec<u8> {
    let head = [0x81, 0x80 | text.len() as u8, 0, 0, 0, 0];
    [&head[..], text.as_bytes()].concat()
}

fn websocket() -> (DuplexStream, Box<dyn Transport>) {
    let (client, server) = duplex(4_096);
    let limits = MessageLimits {
        message: 1_000,
        fragments: 1,
    };
    let transport = WebSocketTransport::new(server, limits, b"");
    (client, Box::new(transport))
}

#[tokio::test(start_paused = true)]
async fn close_over_polling_answers_what_waits_and_ends_at_once() {
    let sessions = EngineSessions::default();
    begin(&sessions);
    let start = Instant::now();
    let (polled, answered) = tokio::join!(
        sessions.poll(&SID),
        sessions.post(&SID, posted("1\x1e4late"))
    );
    assert_eq!((polled, answered), (Ok("6".into()), Ok(())));
    assert_eq!(sessions.poll(&SID).await, Err(EngineError::Sid));
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn bad_packet_over_polling_ends_the_session_at_once() {
    let sessions = EngineSessions::default();
    begin(&sessions);
    let answered = sessions.post(&SID, posted("abc")).await;
    assert_eq!(answered, Err(EngineError::BadRequest));
    assert_eq!(sessions.poll(&SID).await, Err(EngineError::Sid));
}

#[tokio::test(start_paused = true)]
async fn second_poll_at_once_ends_both() {
    let sessions = EngineSessions::default();
    begin(&sessions);
    let polls = tokio::join!(sessions.poll(&SID), sessions.poll(&SID));
    assert_eq!(polls, (Ok("1".into()), Err(EngineError::BadRequest)));
    assert_eq!(sessions.poll(&SID).await, Err(EngineError::Sid));
}

#[tokio::test(start_paused = true)]
async fn silent_client_of_polling_is_unknown_after_its_time() {
    let sessions = EngineSessions::default();
    begin(&sessions);
    let whole = SETTINGS.ping_interval + SETTINGS.ping_timeout;
    tokio::time::sleep(whole - Duration::from_millis(10)).await;
    assert_eq!(sessions.expect(&SID), Ok(()));
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(sessions.expect(&SID), Err(EngineError::Sid));
}

#[tokio::test(start_paused = true)]
async fn poll_behind_an_upgrade_is_refused() {
    let sessions = EngineSessions::default();
    begin(&sessions);
    let (mut client, transport) = websocket();
    let words = [masked("2probe"), masked("5"), masked("4hello")].concat();
    client.write_all(&words).await.unwrap();
    let ((), polled) = tokio::join!(sessions.probe(&SID, transport), sessions.poll(&SID));
    assert_eq!(polled, Err(EngineError::BadRequest));
    assert_eq!(sessions.expect(&SID), Ok(()));
    let mut answer = [0; 8];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"\x81\x064hello");
}
