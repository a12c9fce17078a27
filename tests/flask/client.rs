//! A WebSocket client as a browser is one: it sends the page's cookies and its Origin.

use futures_util::{SinkExt, StreamExt};
use hyper::StatusCode;
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Error, Message, client::IntoClientRequest, http::HeaderValue, protocol::CloseFrame,
    },
};

use crate::world::{Person, SOON, World};

pub const JSON: &str = "crossfade.v1.json";

pub struct Socket {
    stream: WebSocketStream<TcpStream>,
}

/// What a socket receives, as far as a story cares.
#[derive(Debug)]
pub enum Received {
    /// A text message, as JSON.
    Text(Value),
    /// The close code.
    Closed(u16),
}

impl Socket {
    /// Opens `path` as `person`, from a page of the sidecar's own origin.
    pub async fn open(
        world: &World,
        path: &str,
        person: &Person,
        protocol: Option<&str>,
    ) -> Socket {
        let origin = format!("http://{}", world.public);
        Self::open_from(world, path, person, protocol, &origin)
            .await
            .expect("101")
    }

    /// Opens `path` from a page of `origin`; the status where the handshake is refused.
    pub async fn open_from(
        world: &World,
        path: &str,
        person: &Person,
        protocol: Option<&str>,
        origin: &str,
    ) -> Result<Socket, StatusCode> {
        let mut request = format!("ws://{}{path}", world.public)
            .into_client_request()
            .expect("a request");
        let headers = request.headers_mut();
        let value = |text: &str| HeaderValue::from_str(text).expect("a header");
        headers.insert("origin", value(origin));
        if !person.cookie_header().is_empty() {
            headers.insert("cookie", value(&person.cookie_header()));
        }
        if let Some(protocol) = protocol {
            headers.insert("sec-websocket-protocol", value(protocol));
        }
        let stream = TcpStream::connect(world.public)
            .await
            .expect("a connection");
        match timeout(SOON, client_async(request, stream))
            .await
            .expect("an answer in time")
        {
            Ok((stream, answer)) => {
                let chosen = answer
                    .headers()
                    .get("sec-websocket-protocol")
                    .map(|value| value.to_str().expect("text"));
                assert_eq!(chosen, protocol);
                Ok(Socket { stream })
            }
            Err(Error::Http(answer)) => Err(answer.status()),
            Err(error) => panic!("the handshake broke: {error}"),
        }
    }

    /// A connection to `PREFIX/ws` that was welcomed.
    pub async fn multiplexed(world: &World, person: &Person) -> Socket {
        let mut socket = Self::open(world, "/_crossfade/ws", person, Some(JSON)).await;
        assert_eq!(socket.frame().await["t"], "welcome");
        socket
    }

    pub async fn send(&mut self, frame: Value) {
        self.stream
            .send(Message::text(frame.to_string()))
            .await
            .expect("sent");
    }

    /// The next text message or the close. Control pings are answered by the library.
    pub async fn receive(&mut self) -> Received {
        loop {
            match timeout(SOON, self.stream.next())
                .await
                .expect("something in time")
            {
                Some(Ok(Message::Text(text))) => {
                    return Received::Text(serde_json::from_str(&text).expect("JSON"));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(Some(CloseFrame { code, .. })))) => {
                    return Received::Closed(code.into());
                }
                other => panic!("unexpected: {other:?}"),
            }
        }
    }

    /// The next text message.
    pub async fn frame(&mut self) -> Value {
        match self.receive().await {
            Received::Text(frame) => frame,
            Received::Closed(code) => panic!("closed with {code}"),
        }
    }

    /// The next message of type `t`. Only `state` and JSON pings may come before it: they tell of time, not of order.
    pub async fn next(&mut self, t: &str) -> Value {
        loop {
            let frame = self.frame().await;
            if frame["t"] == t {
                return frame;
            }
            assert!(
                frame["t"] == "state" || frame["t"] == "ping",
                "{t} was expected, not {frame}"
            );
        }
    }

    /// The close code, with nothing said before it.
    pub async fn closed(&mut self) -> u16 {
        match self.receive().await {
            Received::Closed(code) => code,
            Received::Text(frame) => panic!("a close was expected, not {frame}"),
        }
    }
}
