//! A client of the admin API.

use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// An answer of the admin API.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
    /// Null where the body is no JSON.
    pub json: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
}

/// Asks an admin address; fields as `Name: value`.
pub async fn ask(admin: &str, method: &str, path: &str, fields: &[&str], body: &str) -> Answer {
    let address = admin.strip_prefix("http://").unwrap();
    let mut request = Request::builder().method(method).uri(path);
    if !fields.iter().any(|f| f.to_lowercase().starts_with("host:")) {
        request = request.header("host", address);
    }
    for field in fields {
        let (name, value) = field.split_once(':').unwrap();
        request = request.header(name, value.trim());
    }
    let request = request
        .body(Full::new(bytes::Bytes::from(body.to_owned())))
        .unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let text = String::from_utf8(body.to_vec()).unwrap();
    Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        json: serde_json::from_str(&text).unwrap_or_default(),
        text,
    }
}

pub async fn get(admin: &str, path: &str) -> Answer {
    ask(admin, "GET", path, &[], "").await
}

pub async fn post(admin: &str, path: &str, body: &str) -> Answer {
    ask(admin, "POST", path, &[], body).await
}

/// One sample of `/metrics`, 0 where it is not there.
pub async fn metric(admin: &str, name: &str) -> f64 {
    let text = get(admin, "/metrics").await.text;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(0.0, |value| value.trim().parse().unwrap())
}
