//! Asks the admin API, over TCP or a Unix socket.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::outcome::{AdminOptions, Failure, print};
use crate::app::reload;
use crate::config::{Config, Listen};

/// How long an answer may take; a reload of a large file or a slow disk included.
const PATIENCE: Duration = Duration::from_secs(30);

/// Everything but unreserved characters (RFC 3986).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// One sidecar's admin API.
pub(crate) struct ApiClient {
    remote: AdminOptions,
    /// The admin address in words.
    admin: String,
    place: Place,
    patience: Duration,
}

enum Place {
    Tcp(String),
    Unix(String),
}

/// A good answer.
pub(crate) struct ApiAnswer {
    /// The body as it came.
    pub(crate) text: String,
    /// The body as JSON.
    pub(crate) json: Value,
}

/// An answer of any kind.
struct Raw {
    status: StatusCode,
    text: String,
}

/// The address of a sidecar that runs by this configuration.
pub(crate) fn admin_of(config: &Config) -> String {
    let mut address = match &config.admin.listen {
        Listen::Unix(path) => return format!("unix:{}", path.display()),
        Listen::Tcp(address) => *address,
    };
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    format!("http://{address}")
}

/// The address that the folder's file has, or the default where that is not there or not valid.
fn of_this_folder() -> String {
    match reload::read(Path::new("proxy.toml")) {
        Ok(read) => admin_of(&read.loaded.config),
        Err(_) => "http://127.0.0.1:9900".to_owned(),
    }
}

impl ApiClient {
    /// Understands the address.
    pub(crate) fn new(remote: AdminOptions) -> Result<Self, Failure> {
        let named = remote.admin.clone().unwrap_or_else(of_this_folder);
        let admin = named.trim_end_matches('/');
        let place = match (admin.strip_prefix("unix:"), admin.strip_prefix("http://")) {
            (Some(path), _) if !path.is_empty() => Place::Unix(path.to_owned()),
            (_, Some(authority)) if !authority.is_empty() && !authority.contains('/') => {
                let bare = authority.rsplit(']').next().unwrap_or_default();
                let port = if bare.contains(':') { "" } else { ":80" };
                Place::Tcp(format!("{authority}{port}"))
            }
            _ => {
                return Err(Failure::Usage(format!(
                    "error: --admin {admin}: write http://HOST:PORT or unix:/PATH"
                )));
            }
        };
        Ok(ApiClient {
            admin: admin.to_owned(),
            place,
            remote,
            patience: PATIENCE,
        })
    }

    /// For an order that takes its time.
    pub(crate) fn with_patience(self, patience: Duration) -> Self {
        ApiClient { patience, ..self }
    }

    /// Whether the answer's body is wanted as it is.
    pub(crate) fn wants_json(&self) -> bool {
        self.remote.json
    }

    /// `GET`.
    pub(crate) async fn get(&self, path: &str) -> Result<ApiAnswer, Failure> {
        self.ask(Method::GET, path, None).await
    }

    /// `POST` with a JSON document, or with none.
    pub(crate) async fn post(
        &self,
        path: &str,
        document: Option<Value>,
    ) -> Result<ApiAnswer, Failure> {
        self.ask(Method::POST, path, document).await
    }

    /// Any request. An answer that is no success becomes a failure that says what to do; with `--json` its body is printed too.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        document: Option<Value>,
    ) -> Result<ApiAnswer, Failure> {
        let raw = self.send(method, path, document).await?;
        let json: Value = serde_json::from_str(&raw.text).unwrap_or_default();
        if raw.status.is_success() {
            return Ok(ApiAnswer {
                text: raw.text,
                json,
            });
        }
        if self.remote.json {
            print(&raw.text);
        }
        Err(self.refused(raw.status, &json))
    }

    /// As [`ApiClient::ask`] for `GET`, but whatever the status is.
    pub(crate) async fn look(&self, path: &str) -> Result<(StatusCode, ApiAnswer), Failure> {
        let Raw { status, text } = self.send(Method::GET, path, None).await?;
        let json: Value = serde_json::from_str(&text).unwrap_or_default();
        match status {
            StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE => {
                Ok((status, ApiAnswer { text, json }))
            }
            _ => Err(self.refused(status, &json)),
        }
    }

    fn refused(&self, status: StatusCode, problem: &Value) -> Failure {
        let detail = problem["detail"].as_str().unwrap_or("no reason was given");
        let mut text = match status {
            StatusCode::UNAUTHORIZED => {
                "error: the admin API wants its token; give --token or set CROSSFADE_ADMIN_TOKEN"
                    .to_owned()
            }
            StatusCode::MISDIRECTED_REQUEST => format!(
                "error: {} is not one of the admin API's names; use its IP address, or add the name to admin.hosts",
                self.admin
            ),
            _ => format!("error: {detail}"),
        };
        for problem in problem["problems"].as_array().into_iter().flatten() {
            text.push('\n');
            text.push_str(&line_of(problem));
        }
        if let Some(stderr) = problem["stderr"].as_str().filter(|words| !words.is_empty()) {
            text.push_str("\nThe new process said last:\n");
            text.push_str(stderr);
        }
        Failure::No(text)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        document: Option<Value>,
    ) -> Result<Raw, Failure> {
        let request = self.request(method, path, document)?;
        let exchange = async {
            match &self.place {
                Place::Tcp(address) => exchange(TcpStream::connect(address).await?, request).await,
                Place::Unix(path) => exchange(UnixStream::connect(path).await?, request).await,
            }
        };
        let outcome = tokio::time::timeout(self.patience, exchange).await;
        let why = match outcome {
            Ok(Ok(raw)) => return Ok(raw),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} s", self.patience.as_secs()),
        };
        Err(Failure::No(format!(
            "error: cannot ask {}: {why}\nIs crossfade running there? Name its admin address with --admin (the ready line shows it).",
            self.admin
        )))
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        document: Option<Value>,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let host = match &self.place {
            Place::Tcp(authority) => authority.as_str(),
            Place::Unix(_) => "localhost",
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, host);
        if let Some(token) = &self.remote.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let body = document.map(|document| document.to_string());
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = Full::new(Bytes::from(body.unwrap_or_default()));
        let built = request.body(body);
        built.map_err(|error| Failure::Usage(format!("error: --admin or --token: {error}")))
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Raw, Box<dyn std::error::Error + Send + Sync>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    driver.abort();
    Ok(Raw {
        status,
        text: String::from_utf8_lossy(&body).into_owned(),
    })
}

/// A problem as `check` prints it.
fn line_of(problem: &Value) -> String {
    let text = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
    format!(
        "{}:{}:{}: {}: {}: {}; {}",
        text("file"),
        problem["line"],
        problem["column"],
        text("severity"),
        text("key"),
        text("message"),
        text("hint"),
    )
}

/// A path segment or a query value.
pub(crate) fn encode(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, RESERVED).to_string()
}
