//! One end of a connection that speaks HTTP/1.1 by hand.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::within;

/// A request or a response as it came over the wire.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// Request or status line.
    pub line: String,
    /// Fields in order, as they were written.
    pub fields: Vec<(String, String)>,
    /// Body, chunks joined; only where it was read.
    pub body: Vec<u8>,
    /// Trailer fields.
    pub trailers: Vec<(String, String)>,
}

impl Message {
    /// The status code of a response.
    pub fn status(&self) -> u16 {
        let code = self.line.split(' ').nth(1).unwrap_or_default();
        code.parse().unwrap_or_else(|_| panic!("{}", self.line))
    }

    /// The target of a request.
    pub fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }

    /// All values of a field, in any case.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let named = self.fields.iter();
        named
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// The one value of a field; panics where there are more.
    pub fn field(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(values.len() < 2, "{name} is there {} times", values.len());
        values.first().copied()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }
}

/// One end of a connection.
#[derive(Debug)]
pub struct Peer<S = TcpStream> {
    stream: S,
    read: Vec<u8>,
}

impl Peer {
    pub async fn connect(address: SocketAddr) -> Peer {
        let stream = TcpStream::connect(address).await.expect("a listener");
        stream.set_nodelay(true).unwrap();
        Peer::new(stream)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    pub fn new(stream: S) -> Peer<S> {
        Peer {
            stream,
            read: Vec::new(),
        }
    }

    /// The socket, and what was read ahead.
    pub fn into_parts(self) -> (S, Vec<u8>) {
        (self.stream, self.read)
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.expect("open");
    }

    /// Sends what the other side may no longer want.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok()
    }

    /// Says that nothing more will be sent; answers are still read.
    pub async fn end_sending(&mut self) {
        self.stream.shutdown().await.expect("open");
    }

    /// Sends a request with a `Host`, these fields (each with its line end) and this body, and
    /// reads the whole answer.
    pub async fn ask(&mut self, line: &str, fields: &str, body: &str) -> Message {
        self.send(request(line, fields, body)).await;
        match line.starts_with("HEAD ") {
            true => self.head().await,
            false => self.response().await,
        }
    }

    /// Reads a head; the body is left where it is.
    pub async fn head(&mut self) -> Message {
        self.try_head().await.expect("a head")
    }

    /// Reads a head, or finds the connection closed.
    pub async fn try_head(&mut self) -> Option<Message> {
        let end = loop {
            if let Some(end) = find(&self.read, b"\r\n\r\n") {
                break end;
            }
            if !self.fill().await {
                return None;
            }
        };
        let head = self.take(end + 4);
        let text = String::from_utf8_lossy(&head).into_owned();
        let mut lines = text.trim_end().split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        Some(Message {
            line,
            fields: lines.map(split_field).collect(),
            ..Message::default()
        })
    }

    /// Reads a whole request, or finds that it breaks off.
    pub async fn request(&mut self) -> Option<Message> {
        let head = self.try_head().await?;
        self.body_of(head, false).await
    }

    /// Reads a whole response that is no answer to HEAD.
    pub async fn response(&mut self) -> Message {
        let head = self.head().await;
        let bodiless = matches!(head.status(), 100..200 | 204 | 304);
        self.body_of(head, !bodiless).await.expect("a whole body")
    }

    /// `None` where the connection ends before the body.
    async fn body_of(&mut self, mut message: Message, until_close: bool) -> Option<Message> {
        if message.field("transfer-encoding") == Some("chunked") {
            loop {
                match self.try_chunk().await? {
                    chunk if chunk.is_empty() => break,
                    chunk => message.body.extend(chunk),
                }
            }
            loop {
                let line = self.line().await?;
                if line.is_empty() {
                    break;
                }
                message.trailers.push(split_field(&line));
            }
        } else if let Some(length) = message.field("content-length") {
            let length = length.parse().expect("a length");
            message.body = self.try_exactly(length).await?;
        } else if until_close {
            message.body = self.rest().await;
        }
        Some(message)
    }

    /// Reads one chunk of a chunked body; `None` at its end, before the trailers.
    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        let chunk = self.try_chunk().await.expect("a chunk");
        Some(chunk).filter(|chunk| !chunk.is_empty())
    }

    async fn try_chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.line().await?;
        let size =
            usize::from_str_radix(&line, 16).unwrap_or_else(|_| panic!("chunk size {line:?}"));
        if size == 0 {
            return Some(Vec::new());
        }
        let chunk = self.try_exactly(size).await?;
        assert_eq!(self.line().await?, "", "a chunk ends in CR LF");
        Some(chunk)
    }

    pub async fn exactly(&mut self, count: usize) -> Vec<u8> {
        self.try_exactly(count).await.expect("more bytes")
    }

    async fn try_exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.read.len() < count {
            if !self.fill().await {
                return None;
            }
        }
        Some(self.take(count))
    }

    /// The next byte, or the end.
    pub async fn byte(&mut self) -> Option<u8> {
        match !self.read.is_empty() || self.fill().await {
            true => self.take(1).pop(),
            false => None,
        }
    }

    /// Waits until the other side leaves, however long that takes; what it still says is dropped.
    pub async fn leaves(&mut self) {
        let mut said = [0; 1024];
        while let Ok(1..) = self.stream.read(&mut said).await {}
    }

    /// Everything up to the end of the connection, a reset included.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.fill().await {}
        std::mem::take(&mut self.read)
    }

    async fn line(&mut self) -> Option<String> {
        let end = loop {
            if let Some(end) = find(&self.read, b"\r\n") {
                break end;
            }
            if !self.fill().await {
                return None;
            }
        };
        let line = self.take(end + 2);
        Some(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let rest = self.read.split_off(count);
        std::mem::replace(&mut self.read, rest)
    }

    async fn fill(&mut self) -> bool {
        let read = self.stream.read_buf(&mut self.read);
        within("bytes", read).await.is_ok_and(|count| count > 0)
    }
}

/// A whole request with a `Host`, as text.
pub fn request(line: &str, fields: &str, body: &str) -> String {
    let length = match body.len() {
        0 => String::new(),
        length => format!("Content-Length: {length}\r\n"),
    };
    format!("{line} HTTP/1.1\r\nHost: a.example\r\n{length}{fields}\r\n{body}")
}

/// The key of the standard's own example.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A WebSocket handshake, as text.
pub fn handshake(target: &str, extra: &str) -> String {
    let fields = format!(
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {KEY}\r\n{extra}"
    );
    request(&format!("GET {target}"), &fields, "")
}

fn split_field(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    (name.to_owned(), value.trim().to_owned())
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}
