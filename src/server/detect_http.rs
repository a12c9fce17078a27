//! Which HTTP a connection speaks: as agreed in the TLS handshake, or by its first bytes.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::watch;
use tokio::time::Instant;

use super::read_timeout::KEEP_ALIVE;
use super::socket::{self, MaybeTls};

/// The first bytes of every connection, which are no frame (RFC 9113, section 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How much is read at once: a whole request, as a rule.
const PIECE: usize = 2048;

/// What a connection begins with.
pub(crate) struct FirstBytes {
    /// Whether it is HTTP/2.
    pub(crate) is_http2: bool,
    /// What was read, a preface included.
    pub(crate) ahead: Bytes,
    /// When its first byte came.
    pub(crate) since: Instant,
}

/// Reads until it is clear. A preface that does not come to its end in time is left to HTTP/1,
/// whose clock has run since the first byte. `None` where nothing came at all.
pub(crate) async fn read(
    stream: &mut MaybeTls,
    head_timeout: Duration,
    stop: &mut watch::Receiver<bool>,
) -> Option<FirstBytes> {
    let mut ahead = BytesMut::new();
    if socket::has_agreed_on_http2(stream) {
        return Some(FirstBytes {
            is_http2: true,
            ahead: Bytes::new(),
            since: Instant::now(),
        });
    }
    tokio::select! {
        biased;
        come = poll_fn(|cx| poll_more(stream, &mut ahead, cx)) => come.then_some(())?,
        () = tokio::time::sleep(KEEP_ALIVE) => return None,
        _ = stop.wait_for(|stop| *stop) => return None,
    }
    let since = Instant::now();
    let may_be = |ahead: &[u8]| {
        let count = ahead.len().min(PREFACE.len());
        ahead.get(..count) == PREFACE.get(..count)
    };
    while may_be(&ahead) && ahead.len() < PREFACE.len() {
        let more = poll_fn(|cx| poll_more(stream, &mut ahead, cx));
        if !matches!(
            tokio::time::timeout_at(since + head_timeout, more).await,
            Ok(true)
        ) {
            break;
        }
    }
    Some(FirstBytes {
        is_http2: ahead.len() >= PREFACE.len() && may_be(&ahead),
        ahead: ahead.freeze(),
        since,
    })
}

/// Reads behind what is there; false at the end. A connection that waits has no buffer.
fn poll_more(stream: &mut MaybeTls, ahead: &mut BytesMut, cx: &mut Context<'_>) -> Poll<bool> {
    let mut piece = [0; PIECE];
    let mut piece = ReadBuf::new(&mut piece);
    let read = ready!(Pin::new(stream).poll_read(cx, &mut piece));
    ahead.extend_from_slice(piece.filled());
    Poll::Ready(read.is_ok() && !piece.filled().is_empty())
}
