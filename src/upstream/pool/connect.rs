//! From addresses to a connection, and how an upstream's connections are made and kept.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::Path;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::tls;
use crate::config::{self, Trust, Upstream};

/// How long an address may hesitate before the next one is tried beside it (RFC 8305, section 5).
/// One after the other would let a single dead address use up all of `connect_timeout`.
const STAGGER: Duration = Duration::from_millis(250);

/// A backend that vanished without a word is found out on idle and on busy connections alike.
const SILENCE: Duration = Duration::from_secs(15);
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
const PROBES: u32 = 3;
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// In place of the address of a socket on this machine.
pub(crate) const NOWHERE: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));

/// A new connection to a backend.
pub(crate) struct Connected {
    /// The other end.
    pub(crate) address: SocketAddr,
    /// Whether it speaks HTTP/2, as agreed upon or known before.
    pub(crate) is_http2: bool,
    pub(crate) stream: MaybeTls,
}

/// A backend's bytes in the clear, with TLS on the line or without.
pub(crate) type MaybeTls = Either<Either<TcpStream, UnixStream>, Box<TlsStream<TcpStream>>>;

impl Connected {
    pub(crate) fn tcp(address: SocketAddr, stream: TcpStream, is_http2: bool) -> Self {
        Connected {
            address,
            is_http2,
            stream: Either::Left(Either::Left(stream)),
        }
    }

    pub(crate) fn unix(stream: UnixStream, is_http2: bool) -> Self {
        Connected {
            address: NOWHERE,
            is_http2,
            stream: Either::Left(Either::Right(stream)),
        }
    }

    pub(crate) fn tls(address: SocketAddr, stream: TlsStream<TcpStream>) -> Self {
        Connected {
            address,
            is_http2: tls::chose_http2(&stream),
            stream: Either::Right(Box::new(stream)),
        }
    }
}

/// What of an upstream's definition a pool depends on; the rest may change under it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Settings {
    pub(super) name: String,
    pub(super) connect_timeout: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) keepalive: usize,
    pub(super) http2: bool,
    pub(super) trust: Trust,
    pub(super) response_headers: usize,
}

impl Settings {
    /// `response_headers` is the limit of `[server.limits]`.
    pub(crate) fn of(upstream: &Upstream, response_headers: usize) -> Self {
        Settings {
            name: upstream.name.clone(),
            connect_timeout: upstream.connect_timeout,
            idle_timeout: upstream.idle_timeout,
            keepalive: upstream.keepalive,
            http2: upstream.http2,
            trust: upstream.tls.clone(),
            response_headers,
        }
    }

    /// For a server of no upstream's.
    pub(crate) fn outside(name: &str, keepalive: usize) -> Self {
        Settings {
            name: name.to_owned(),
            connect_timeout: Duration::from_secs(3),
            idle_timeout: Duration::from_secs(60),
            keepalive,
            http2: false,
            trust: Trust::default(),
            response_headers: config::RESPONSE_HEADERS,
        }
    }
}

/// Connects to the first address that accepts; one that fails makes way at once.
pub(crate) async fn connect(addresses: Vec<SocketAddr>) -> io::Result<(SocketAddr, TcpStream)> {
    let mut rest = addresses.into_iter();
    let mut trying = FuturesUnordered::new();
    let mut failed = io::Error::other("its name leads to no address");
    loop {
        match rest.next() {
            Some(address) => trying.push(open(address)),
            None if trying.is_empty() => return Err(failed),
            None => {}
        }
        let has_more = rest.len() > 0;
        tokio::select! {
            Some(outcome) = trying.next() => match outcome {
                Ok(connected) => return Ok(connected),
                Err(error) => failed = error,
            },
            () = tokio::time::sleep(STAGGER), if has_more => {}
        }
    }
}

/// Connects to a socket on this machine; an error names its file.
pub(crate) async fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    let connected = UnixStream::connect(path).await;
    connected.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

async fn open(address: SocketAddr) -> io::Result<(SocketAddr, TcpStream)> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    let alive = TcpKeepalive::new()
        .with_time(SILENCE)
        .with_interval(PROBE_INTERVAL)
        .with_retries(PROBES);
    socket.set_tcp_keepalive(&alive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    Ok((address, stream))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn refusing_address_yields_to_the_next_and_last_error_stays() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let closed = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap()
        };
        let (address, stream) = connect(vec![closed, open]).await.unwrap();
        assert_eq!(address, open);
        assert!(stream.nodelay().unwrap());
        let error = connect(vec![closed]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(connect(Vec::new()).await.is_err());
    }
}
