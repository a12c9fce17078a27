//! The TLS handshake of a socket that was accepted. What is no handshake is closed, counted by reason, and logged at a bounded
//! rate.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Duration, Instant, timeout_at};
use tokio_rustls::TlsAcceptor;

use super::dropped::Dropped;
use super::linger;
use super::proxy_header::{PIECE, is_header};
use super::socket::{ClientSocket, MaybeTls};
use crate::http::proxy_protocol;
use crate::policy::connection_limits::Lingering;

/// How long a client whose handshake failed is still listened to at least: closing at once could destroy the alert that tells
/// it why.
const LAST: Duration = Duration::from_secs(1);

/// Shakes hands.
pub(crate) async fn accept_tls(
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
        Ok(Ok(stream)) => Ok(MaybeTls::Right(Box::new(stream))),
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
pub(crate) async fn part(mut line: ClientSocket, place: Option<Lingering>) {
    let deadline = Instant::now() + LAST;
    if let Ok(Ok(())) = timeout_at(deadline, line.shutdown()).await {
        linger::listen(&mut line, place, deadline).await;
    }
}
