//! A backend that speaks TLS and HTTP/2, and the authority that signs its certificate.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::HandshakeKind;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// Signs certificates of servers.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Authority(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    /// Its certificate.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Speaks TLS as `name`, with a certificate that ends with that year, and these protocols.
    pub fn vouch(&self, name: &str, until: i32, protocols: &[&str]) -> TlsAcceptor {
        self.vouch_from(name, 2019, until, protocols)
    }

    /// As [`Authority::vouch`], with a certificate that begins with a year.
    pub fn vouch_from(&self, name: &str, from: i32, until: i32, protocols: &[&str]) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(until, 12, 31);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub uri: String,
    pub headers: HeaderMap,
    /// Over the how manyeth connection, from 1.
    pub connection: usize,
    /// The name that was asked for.
    pub sni: Option<String>,
    pub is_resumed: bool,
}

/// A running backend; it ends when this is dropped.
pub struct Modern {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    pub connections: Arc<AtomicUsize>,
    /// Requests to `/wait` are answered when it has permits.
    pub gate: Arc<tokio::sync::Semaphore>,
    _tasks: JoinSet<()>,
}

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, hyper::Error>;

impl Modern {
    /// Speaks TLS where there is an acceptor, HTTP/2 where that was agreed upon or `is_http2`.
    pub async fn start(acceptor: Option<TlsAcceptor>, is_http2: bool) -> Modern {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let connections = Arc::new(AtomicUsize::new(0));
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        let mut tasks = JoinSet::new();
        let (record, count, held) = (seen.clone(), connections.clone(), gate.clone());
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let connection = count.fetch_add(1, Ordering::SeqCst) + 1;
                let (record, held, acceptor) = (record.clone(), held.clone(), acceptor.clone());
                open.spawn(async move {
                    carry(stream, acceptor, is_http2, connection, record, held).await;
                });
            }
        });
        Modern {
            address,
            seen,
            connections,
            gate,
            _tasks: tasks,
        }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn only(&self) -> Seen {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.into_iter().next().unwrap()
    }
}

async fn carry(
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
    is_http2: bool,
    connection: usize,
    record: Arc<Mutex<Vec<Seen>>>,
    gate: Arc<tokio::sync::Semaphore>,
) {
    let told = |sni: Option<String>, is_resumed| {
        move |request: &Request<Incoming>| Seen {
            uri: request.uri().to_string(),
            headers: request.headers().clone(),
            connection,
            sni: sni.clone(),
            is_resumed,
        }
    };
    let Some(acceptor) = acceptor else {
        return serve(stream, is_http2, told(None, false), record, gate).await;
    };
    // A client that does not trust it ends the connection here.
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let tls = stream.get_ref().1;
    let is_http2 = tls.alpn_protocol() == Some(b"h2");
    let sni = tls.server_name().map(str::to_owned);
    let is_resumed = tls.handshake_kind() == Some(HandshakeKind::Resumed);
    serve(stream, is_http2, told(sni, is_resumed), record, gate).await;
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    is_http2: bool,
    told: impl Fn(&Request<Incoming>) -> Seen + Clone,
    record: Arc<Mutex<Vec<Seen>>>,
    gate: Arc<tokio::sync::Semaphore>,
) {
    let service = service_fn(move |request| {
        record.lock().unwrap().push(told(&request));
        answer(request, gate.clone())
    });
    let io = TokioIo::new(stream);
    // How it ended is seen on the other side.
    let _ = match is_http2 {
        true => {
            let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            builder.max_concurrent_streams(2);
            builder.serve_connection(io, service).await
        }
        false => {
            let builder = hyper::server::conn::http1::Builder::new();
            builder.serve_connection(io, service).await
        }
    };
}

/// `/trailers` answers with trailers, `/wait` waits for the gate, `/close` closes the connection;
/// everything gets back what it sent.
async fn answer(
    request: Request<Incoming>,
    gate: Arc<tokio::sync::Semaphore>,
) -> Result<Response<Body>, hyper::Error> {
    let path = request.uri().path().to_owned();
    let (version, body) = (request.version(), request.into_body().collect().await?);
    if path == "/wait" {
        gate.acquire().await.unwrap().forget();
    }
    let text = format!("{version:?} {}", String::from_utf8_lossy(&body.to_bytes()));
    let mut frames = vec![Frame::data(Bytes::from(text))];
    if path != "/trailers" {
        let whole = frames.remove(0).into_data().unwrap();
        let mut response = Response::new(Full::new(whole).map_err(|e| match e {}).boxed_unsync());
        if path == "/close" {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert("connection", close);
        }
        return Ok(response);
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", HeaderValue::from_static("abc"));
    frames.push(Frame::trailers(trailers));
    let frames = futures_util::stream::iter(frames.into_iter().map(Ok));
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    let named = HeaderValue::from_static("x-checksum");
    response.headers_mut().insert("trailer", named);
    Ok(response)
}
