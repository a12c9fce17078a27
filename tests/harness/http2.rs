//! A polite client of HTTP/2.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::{Connection, SendRequest};
use h2::{RecvStream, SendStream};
use hyper::http::{HeaderMap, Method, Request, Response};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::harness::within;

/// One connection. It ends when this is dropped.
pub struct Client {
    send: SendRequest<Bytes>,
    address: SocketAddr,
    driver: JoinHandle<Result<(), h2::Error>>,
}

/// A whole answer.
pub struct Answer {
    pub head: Response<()>,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
}

impl Answer {
    pub fn status(&self) -> u16 {
        self.head.status().as_u16()
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        let value = self.head.headers().get(name)?;
        Some(value.to_str().expect("text"))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The code of a problem document.
    pub fn code(&self) -> String {
        let document: serde_json::Value = serde_json::from_slice(&self.body).expect("a document");
        document["code"].as_str().expect("a code").to_owned()
    }
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Client {
        Client::with(address, h2::client::Builder::new()).await
    }

    /// With settings of its own.
    pub async fn with(address: SocketAddr, settings: h2::client::Builder) -> Client {
        let stream = TcpStream::connect(address).await.expect("a listener");
        stream.set_nodelay(true).unwrap();
        let handshake = settings.handshake(stream);
        let (send, connection): (_, Connection<_, Bytes>) =
            within("a handshake", handshake).await.expect("HTTP/2");
        Client {
            send,
            address,
            driver: tokio::spawn(connection),
        }
    }

    /// A request to this listener.
    pub fn request(&self, method: Method, path: &str) -> hyper::http::request::Builder {
        let uri = format!("http://{}{path}", self.address);
        Request::builder().method(method).uri(uri)
    }

    /// Sends a head, and what may follow it.
    pub async fn begin(
        &self,
        request: hyper::http::request::Builder,
        is_whole: bool,
    ) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
        let ready = self.send.clone().ready();
        let mut send = within("room for a stream", ready).await.expect("open");
        let request = request.body(()).expect("a request");
        send.send_request(request, is_whole).expect("a stream")
    }

    /// Sends a request with this body, and reads the whole answer.
    pub async fn ask(&self, request: hyper::http::request::Builder, body: &[u8]) -> Answer {
        let (response, mut to) = self.begin(request, body.is_empty()).await;
        if !body.is_empty() {
            to.send_data(Bytes::copy_from_slice(body), true)
                .expect("open");
        }
        whole(response).await.expect("an answer")
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask(self.request(Method::GET, path), b"").await
    }

    /// Waits for the end of the connection.
    pub async fn ended(self) -> Result<(), h2::Error> {
        drop(self.send);
        within("the end", self.driver).await.expect("no panic")
    }

    /// Whether the connection has ended, by whatever.
    pub fn has_ended(&self) -> bool {
        self.driver.is_finished()
    }
}

/// Reads an answer to its end.
pub async fn whole(response: h2::client::ResponseFuture) -> Result<Answer, h2::Error> {
    let (head, mut body) = within("an answer", response).await?.into_parts();
    let mut bytes = Vec::new();
    while let Some(piece) = next(&mut body).await? {
        bytes.extend(piece);
    }
    let trailers = within("trailers", body.trailers()).await?;
    Ok(Answer {
        head: Response::from_parts(head, ()),
        body: bytes,
        trailers,
    })
}

/// The next piece of a body, its window opened again.
pub async fn next(body: &mut RecvStream) -> Result<Option<Bytes>, h2::Error> {
    let Some(piece) = within("a piece", body.data()).await else {
        return Ok(None);
    };
    let piece = piece?;
    body.flow_control().release_capacity(piece.len())?;
    Ok(Some(piece))
}
