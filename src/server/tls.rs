//! What stands between a socket that was accepted and its first request: the PROXY protocol, then TLS.
//!
//! All of it has one deadline. What is no arrival is closed, counted by reason, and logged at a bounded rate.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Duration, Instant, timeout_at};
use tokio_rustls::TlsAcceptor;

use super::linger;
use super::socket::ClientSocket;
use super::tls_stream::MaybeTls;
use crate::config::ProxyProtocol;
use crate::http::proxy_protocol::{self, Beginning, Malformed, Source};
use crate::policy::connection_limits::{Full, Lingering};

/// How much is read at once while it is not known what it is.
const PIECE: usize = 512;
/// How long a client whose handshake failed is still listened to at least: closing at once could destroy the alert that tells
/// it why.
const LAST: Duration = Duration::from_secs(1);

/// Why a connection ended before its first request.
#[derive(Debug)]
pub enum Dropped {
    /// The client left, without having done anything wrong.
    Gone,
    /// For this reason, a word in `refused_total{reason}`.
    Refused(&'static str),
    /// Likewise, in a handshake: an alert is on its way.
    Alerted(&'static str, ClientSocket),
    /// Plain HTTP where TLS is spoken; the client can read an answer.
    Plain(ClientSocket),
    /// A cap on connections is reached; the client can read an answer.
    Full(Full, ClientSocket),
}

/// Reads the PROXY protocol's header where there may be one; `None` where there is none. What stands behind it is left.
pub async fn read_proxy_header(
    line: &mut ClientSocket,
    mode: ProxyProtocol,
    is_trusted: bool,
    deadline: Instant,
) -> Result<Option<Source>, Dropped> {
    match mode {
        ProxyProtocol::Off => return Ok(None),
        ProxyProtocol::Require if !is_trusted => return Err(Dropped::Refused("proxy_untrusted")),
        ProxyProtocol::Optional | ProxyProtocol::Require => {}
    }
    let mut ahead = BytesMut::new();
    loop {
        let begun = proxy_protocol::begin(&ahead);
        match begun {
            _ if is_header(&begun) && !is_trusted => {
                return Err(Dropped::Refused("proxy_untrusted"));
            }
            Err(Malformed) => return Err(Dropped::Refused("proxy_malformed")),
            Ok(Beginning::Bare) if mode == ProxyProtocol::Require => {
                return Err(Dropped::Refused("proxy_missing"));
            }
            Ok(Beginning::Bare) => {
                line.put_back(ahead.freeze());
                return Ok(None);
            }
            Ok(Beginning::Header(length, source)) => {
                line.put_back(ahead.split_off(length).freeze());
                return Ok(Some(source));
            }
            Ok(Beginning::Partial { .. }) => {}
        }
        // A header is known to be too long before this grows.
        ahead.reserve(PIECE);
        match timeout_at(deadline, line.read_buf(&mut ahead)).await {
            Ok(Ok(count)) if count > 0 => {}
            Ok(_) => return Err(Dropped::Gone),
            Err(_) if ahead.is_empty() => return Err(Dropped::Gone),
            Err(_) => return Err(Dropped::Refused("proxy_timeout")),
        }
    }
}

/// Whether it is a header, whole or broken, or the beginning of one.
fn is_header(begun: &Result<Beginning, Malformed>) -> bool {
    let is_other = matches!(
        begun,
        Ok(Beginning::Bare | Beginning::Partial { is_header: false })
    );
    !is_other
}

/// Shakes hands.
pub async fn accept_tls(
    mut line: ClientSocket,
    engine: &Arc<ServerConfig>,
    deadline: Instant,
) -> Result<MaybeTls, Dropped> {
    const HANDSHAKE: u8 = 22;
    let first = match timeout_at(deadline, read_piece(&mut line)).await {
        Ok(Ok(first)) if !first.is_empty() => first,
        Ok(_) | Err(_) => return Err(Dropped::Gone),
    };
    let (kind, begun) = (first.first().copied(), proxy_protocol::begin(&first));
    line.put_back(first);
    match kind {
        Some(HANDSHAKE) => {}
        // A header that nothing here reads: a proxy's settings do not fit ours.
        _ if is_header(&begun) => return Err(Dropped::Refused("proxy_untrusted")),
        // A method.
        Some(b'A'..=b'Z') => return Err(Dropped::Plain(line)),
        _ => return Err(Dropped::Refused("tls_garbage")),
    }
    let accepting = TlsAcceptor::from(engine.clone()).accept(line);
    match timeout_at(deadline, accepting.into_fallible()).await {
        Ok(Ok(stream)) => Ok(MaybeTls::Tls(Box::new(stream))),
        Ok(Err((error, line))) => Err(Dropped::Alerted(reason(&error), line)),
        Err(_) => Err(Dropped::Refused("tls_timeout")),
    }
}

async fn read_piece(line: &mut ClientSocket) -> io::Result<Bytes> {
    let mut piece = [0; PIECE];
    let count = line.read(&mut piece).await?;
    Ok(Bytes::copy_from_slice(
        piece.get(..count).unwrap_or_default(),
    ))
}

fn reason(error: &io::Error) -> &'static str {
    use rustls::Error;
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(Error::InvalidMessage(_) | Error::InappropriateMessage { .. }) => "tls_garbage",
        Some(Error::NoCertificatesPresented | Error::InvalidCertificate(_)) => "tls_certificate",
        _ => "tls_failed",
    }
}

/// Closes a connection so that what was said last is read.
pub async fn part(mut line: ClientSocket, place: Option<Lingering>) {
    let deadline = Instant::now() + LAST;
    if let Ok(Ok(())) = timeout_at(deadline, line.shutdown()).await {
        linger::listen(&mut line, place, deadline).await;
    }
}
