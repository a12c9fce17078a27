//! One HTTP/2 connection to a backend: a task of its own, and many requests at once.

use std::error::Error as _;
use std::time::Duration;

use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::header::{HOST, HeaderValue, TE, TRANSFER_ENCODING};
use hyper::http::uri::{Authority, Scheme};
use hyper::{Request, Uri, Version};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::watch;
use tokio_util::io::InspectReader;

use super::connect::MaybeTls;
use super::peer_settings::PeerSettings;
use super::replayable_body::ReplayableBody;
use crate::error::{Error, ErrorKind};

/// Streams of one connection, at most, whatever the backend allows: another connection is made for more.
pub(crate) const STREAMS: usize = 100;

/// What a backend may send ahead of a slow reader; all streams together may send as much as each of them, so that a stalled
/// reader never holds up another.
const STREAM_WINDOW: u32 = 128 * 1024;
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS as u32;

/// A backend that fell silent with requests open is asked for a sign of life.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_PATIENCE: Duration = Duration::from_secs(10);

/// A connection whose backend has sent its settings.
pub(crate) struct Http2 {
    pub(crate) sender: SendRequest<ReplayableBody>,
    /// Streams that the backend allows now; ends with the connection.
    pub(crate) limit: watch::Receiver<usize>,
}

impl Http2 {
    /// Puts the engine over a new connection, and waits until the backend allows a stream.
    pub(crate) async fn over(stream: MaybeTls) -> Result<Self, Error> {
        let (tell, mut limit) = watch::channel(0);
        let (mut settings, mut is_first) = (PeerSettings::default(), true);
        let stream = InspectReader::new(stream, move |bytes: &[u8]| {
            settings.feed(bytes, |streams| {
                let silent = std::mem::take(&mut is_first).then_some(STREAMS);
                if let Some(streams) = streams.map(|said| said as usize).or(silent) {
                    tell.send_replace(streams.min(STREAMS));
                }
            });
        });
        let (sender, driver) = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_PATIENCE)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Error::upstream(ErrorKind::Connect, error.to_string()))?;
        tokio::spawn(async {
            // Its requests get the reason why it ended.
            let _ = driver.await;
        });
        if limit.wait_for(|streams| *streams > 0).await.is_err() {
            let detail =
                "it ended the connection before it allowed a stream: does it speak HTTP/2?";
            return Err(Error::upstream(ErrorKind::Connect, detail));
        }
        Ok(Http2 { sender, limit })
    }
}

/// The request as HTTP/2 has it: `Host` is part of the URI, and trailers are asked for.
pub(crate) fn convert(request: &mut Request<ReplayableBody>, is_https: bool) {
    *request.version_mut() = Version::HTTP_2;
    let host = request.headers_mut().remove(HOST);
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(match is_https {
        true => Scheme::HTTPS,
        false => Scheme::HTTP,
    });
    parts.authority = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    // Without an authority the engine refuses the request; `http::host` refuses such a Host before.
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    let headers = request.headers_mut();
    headers.remove(TRANSFER_ENCODING);
    headers.insert(TE, HeaderValue::from_static("trailers"));
}

/// A backend's word that it has not begun with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamRefused {
    /// It takes no more requests over this connection at the moment.
    Stream,
    /// It takes no more over this connection at all.
    Connection,
    /// It wants this one over HTTP/1.1, as IIS does where it authenticates connections.
    Version,
}

/// Whether that is what an error says (RFC 9113, sections 7 and 8.7).
pub(crate) fn refusal(error: &hyper::Error) -> Option<StreamRefused> {
    let cause: &h2::Error = error.source()?.downcast_ref()?;
    match cause.reason()? {
        _ if !cause.is_remote() => None,
        h2::Reason::HTTP_1_1_REQUIRED => Some(StreamRefused::Version),
        // A GOAWAY reaches those streams alone that are above its last one.
        _ if cause.is_go_away() => Some(StreamRefused::Connection),
        h2::Reason::REFUSED_STREAM => Some(StreamRefused::Stream),
        _ => None,
    }
}
