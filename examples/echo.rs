//! Echoes every WebSocket message over the session's own reader and writer, with limits lifted:
//! the system under test of the Autobahn suite (`tests/interop/autobahn.sh`).
//!
//! `cargo run --release --example echo [ADDRESS]` prints `listening 127.0.0.1:PORT`.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crossfade::packet::Payload;
use crossfade::transport::outbox::{Framing, Outbox};
use crossfade::transport::websocket::WebSocketTransport;
use crossfade::transport::websocket::reader::MessageLimits;
use crossfade::transport::{Incoming, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// The suite sends up to 16 MiB in fragments of 64 bytes.
const LIMITS: MessageLimits = MessageLimits {
    message: 64 << 20,
    fragments: u32::MAX,
};

/// Longest request head.
const HEAD: usize = 16 * 1024;

#[tokio::main]
async fn main() -> io::Result<()> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:0".into());
    let listener = TcpListener::bind(address).await?;
    println!("listening {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            if let Err(error) = serve(stream).await {
                eprintln!("{error}");
            }
        });
    }
}

async fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let leftover = shake_hands(&mut stream).await?;
    let mut socket = WebSocketTransport::new(stream, LIMITS, &leftover);
    let mut outbox = Outbox::new(Framing::WebSocket);
    poll_fn(|cx| poll_echo(&mut socket, &mut outbox, cx)).await?;
    let end = poll_fn(|cx| socket.poll_end(&mut outbox, cx));
    // A client that does not answer a close in time is left.
    drop(tokio::time::timeout(Duration::from_secs(2), end).await);
    Ok(())
}

/// Answers a WebSocket request; returns what came behind it.
async fn shake_hands(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let end = loop {
        if let Some(at) = head.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if head.len() > HEAD || stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    };
    let leftover = head.split_off(end);
    let text = String::from_utf8_lossy(&head);
    let key = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))
        .map(|(_, value)| value.trim())
        .ok_or(io::ErrorKind::InvalidData)?;
    let accept = derive_accept_key(key.as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await?;
    Ok(leftover)
}

/// Until the end begins, from either side.
fn poll_echo(
    socket: &mut WebSocketTransport<TcpStream>,
    outbox: &mut Outbox,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    loop {
        let received = socket.poll_receive(outbox, cx)?;
        match received {
            Poll::Ready(Incoming::Text(text)) => outbox.answer(Payload::copy_of(&text).into()),
            Poll::Ready(Incoming::Binary(bytes)) => outbox.answer(Payload::binary(&bytes).into()),
            Poll::Ready(Incoming::Ping | Incoming::Pong) => {}
            Poll::Ready(Incoming::Close(_) | Incoming::Broken(_)) => return Poll::Ready(Ok(())),
            // What was owed may have kept us from reading: once it is written, look again.
            Poll::Pending if outbox.is_empty() => return Poll::Pending,
            Poll::Pending => ready!(socket.poll_send(outbox, cx))?,
        }
    }
}
