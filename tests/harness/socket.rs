//! A WebSocket client that says what it saw.

use futures_util::{SinkExt, StreamExt};
use hyper::{Request, Response};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::auth::bearer;
use super::{Peer, Proxy, within};

/// An open WebSocket.
pub struct Socket(WebSocketStream<TcpStream>);

/// What came.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// A text message that is JSON.
    Frame(Value),
    /// The close frame's code; 1006 where there was none.
    Closed(u16),
}

/// The client's half of `crossfade.v1.json`.
pub const JSON: &str = "sec-websocket-protocol: crossfade.v1.json";

impl Proxy {
    /// A WebSocket that a page of the proxy's own origin opens, and that is granted.
    pub async fn open(&self, path: &str, fields: &[&str]) -> Socket {
        let public = &self.handle.public[0];
        let origin = format!("origin: {public}");
        let fields = [&[origin.as_str()], fields].concat();
        let opened = Socket::open(public, path, &fields).await;
        opened.unwrap_or_else(|answer| {
            let body = answer.body().as_deref().unwrap_or_default();
            let body = String::from_utf8_lossy(body);
            panic!("{path}: {} {body}", answer.status())
        })
    }

    /// An open `crossfade.v1.json`, and its `welcome`.
    pub async fn welcomed(&self, path: &str, fields: &[&str]) -> (Socket, Value) {
        let mut opening = self.socket();
        for field in fields {
            opening = opening.field(field);
        }
        opening.json(path).await
    }

    /// A multiplexed connection that has read its `welcome`.
    pub async fn join(&self, fields: &[&str]) -> Socket {
        self.welcomed("/_crossfade/ws", fields).await.0
    }
}

impl Proxy {
    /// A client's socket, to be opened: `proxy.socket().sub("/ids")`.
    pub fn socket(&self) -> Opening<'_> {
        Opening {
            proxy: self,
            fields: Vec::new(),
        }
    }
}

/// A WebSocket of the proxy's own origin before it is opened.
pub struct Opening<'a> {
    proxy: &'a Proxy,
    fields: Vec<String>,
}

impl Opening<'_> {
    /// With a header field as `name: value`.
    pub fn field(mut self, field: &str) -> Self {
        self.fields.push(field.to_owned());
        self
    }

    /// By this token, in its first header.
    pub fn token(self, token: &str) -> Self {
        self.field(&bearer(token))
    }

    /// A multiplexed connection that is subscribed to this path, as 1.
    pub async fn sub(self, path: &str) -> Socket {
        let mut socket = self.join().await;
        socket.subscribe(1, path).await;
        socket
    }

    /// A multiplexed connection that has read its `welcome`.
    pub async fn join(self) -> Socket {
        self.json("/_crossfade/ws").await.0
    }

    /// A connection of `crossfade.v1.json`, and its `welcome`.
    pub async fn json(self, path: &str) -> (Socket, Value) {
        let mut socket = self.field(JSON).raw(path).await;
        match socket.next().await {
            Seen::Frame(welcome) if welcome["t"] == "welcome" => (socket, welcome),
            seen => panic!("{path}: {seen:?}"),
        }
    }

    /// A connection of whatever subprotocol its fields offer, raw otherwise.
    pub async fn raw(self, path: &str) -> Socket {
        let fields: Vec<&str> = self.fields.iter().map(String::as_str).collect();
        self.proxy.open(path, &fields).await
    }
}

impl Socket {
    /// Shakes hands; the answer where that was refused.
    pub async fn open(
        public: &str,
        path: &str,
        fields: &[&str],
    ) -> Result<Socket, Response<Option<Vec<u8>>>> {
        let authority = public.strip_prefix("http://").unwrap();
        let mut request = Request::builder()
            .uri(format!("ws://{authority}{path}"))
            .header("host", authority)
            .header("upgrade", "websocket")
            .header("connection", "upgrade")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        for field in fields {
            let (name, value) = field.split_once(": ").unwrap();
            request = request.header(name, value);
        }
        let stream = TcpStream::connect(authority).await.unwrap();
        let request = request.body(()).unwrap();
        let shaken = tokio_tungstenite::client_async(request, stream);
        match within("a handshake", shaken).await {
            Ok((socket, _)) => Ok(Socket(socket)),
            Err(Error::Http(answer)) => Err(*answer),
            Err(error) => panic!("{error}"),
        }
    }

    /// Over a connection whose handshake was granted.
    pub async fn on(peer: Peer) -> Socket {
        let (stream, read) = peer.into_parts();
        let read = WebSocketStream::from_partially_read(stream, read, Role::Client, None);
        Socket(read.await)
    }

    /// The next message or the end; pings are answered on the way.
    pub async fn next(&mut self) -> Seen {
        match self.text().await {
            Ok(text) => Seen::Frame(serde_json::from_str(&text).unwrap()),
            Err(code) => Seen::Closed(code),
        }
    }

    /// The next message, of whatever type.
    pub async fn message(&mut self) -> Value {
        match self.next().await {
            Seen::Frame(message) => message,
            Seen::Closed(code) => panic!("closed with {code}"),
        }
    }

    /// The next message as it was written, or the close code.
    pub async fn text(&mut self) -> Result<String, u16> {
        loop {
            match within("a message", self.0.next()).await {
                Some(Ok(Message::Text(text))) => return Ok(text.to_string()),
                Some(Ok(Message::Close(Some(frame)))) => return Err(frame.code.into()),
                Some(Ok(Message::Close(None))) => return Err(1005),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(1006),
            }
        }
    }

    /// The next frame of this type; others are passed over.
    pub async fn frame(&mut self, kind: &str) -> Value {
        loop {
            match self.next().await {
                Seen::Frame(frame) if frame["t"] == kind => return frame,
                Seen::Frame(_) => {}
                Seen::Closed(code) => panic!("closed with {code} instead of `{kind}`"),
            }
        }
    }

    /// The next frame of one of two types; others are passed over.
    pub async fn either(&mut self, one: &str, other: &str) -> Value {
        loop {
            match self.next().await {
                Seen::Frame(frame) if frame["t"] == one || frame["t"] == other => return frame,
                Seen::Frame(_) => {}
                Seen::Closed(code) => panic!("closed with {code} instead of `{one}`"),
            }
        }
    }

    /// The next frame of this type, before any of that type.
    pub async fn frame_unless(&mut self, kind: &str, bad: &str) -> Value {
        let frame = self.either(kind, bad).await;
        assert_eq!(frame["t"], kind, "{frame}");
        frame
    }

    /// The close code; frames on the way are passed over.
    pub async fn closed(&mut self) -> u16 {
        loop {
            if let Seen::Closed(code) = self.next().await {
                return code;
            }
        }
    }

    /// Closes with this code and text.
    pub async fn say_goodbye(mut self, code: u16, reason: &str) {
        let frame = CloseFrame {
            code: code.into(),
            reason: reason.to_owned().into(),
        };
        self.0.close(Some(frame)).await.unwrap();
        self.closed().await;
    }

    pub async fn send(&mut self, frame: Value) {
        self.say(&frame.to_string()).await;
    }

    /// Sends a text as it is.
    pub async fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// Subscribes on a multiplexed connection; its channel.
    pub async fn subscribe(&mut self, id: u64, path: &str) -> u64 {
        self.send(serde_json::json!({"t": "sub", "id": id, "path": path}))
            .await;
        let ok = self.frame("ok").await;
        assert_eq!(ok["id"], id, "{ok}");
        ok["ch"].as_u64().unwrap()
    }
}
