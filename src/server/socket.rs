//! An accepted socket, whatever its kind, and its bytes in the clear, with TLS on the line or without.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use super::write_timeout::Taking;

/// One accepted socket, with what was read of it ahead.
#[derive(Debug)]
pub(crate) struct ClientSocket {
    end: Either<TcpStream, UnixStream>,
    ahead: Bytes,
    /// Only while a client that takes too little is to be cut off.
    taking: Option<Box<Taking>>,
}

/// One accepted connection, as it is on the line or over TLS, its handshake done. What was written over TLS may wait here until it
/// is flushed.
pub(crate) type MaybeTls = Either<ClientSocket, Box<TlsStream<ClientSocket>>>;

/// The socket below.
pub(crate) fn below(stream: &mut MaybeTls) -> &mut ClientSocket {
    match stream {
        Either::Left(line) => line,
        Either::Right(stream) => stream.get_mut().0,
    }
}

/// Whether HTTP/2 was agreed upon in the TLS handshake.
pub(crate) fn has_agreed_on_http2(stream: &MaybeTls) -> bool {
    match stream {
        Either::Left(_) => false,
        Either::Right(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
    }
}

impl ClientSocket {
    /// Over TCP.
    pub(crate) fn tcp(stream: TcpStream) -> Self {
        ClientSocket::new(Either::Left(stream))
    }

    /// Over a unix socket.
    pub(crate) fn unix(stream: UnixStream) -> Self {
        ClientSocket::new(Either::Right(stream))
    }

    fn new(end: Either<TcpStream, UnixStream>) -> Self {
        ClientSocket {
            end,
            ahead: Bytes::new(),
            taking: None,
        }
    }

    /// The next read gets these bytes first. Nothing else may have been put back.
    pub(crate) fn put_back(&mut self, bytes: Bytes) {
        self.ahead = bytes;
    }

    /// From now on writing fails where the client takes less than `rate` bytes per second of what waits for it. This is below
    /// TLS: above it a write has succeeded before the client has taken it.
    pub(crate) fn demand(&mut self, rate: u64) {
        self.taking = Some(Box::new(Taking::new(rate)));
    }

    /// Takes [`ClientSocket::demand`] back.
    pub(crate) fn demand_nothing(&mut self) {
        self.taking = None;
    }

    fn follow(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let Some(taking) = &mut self.taking else {
            return written;
        };
        let written = taking.poll(cx, written);
        if let Poll::Ready(Err(error)) = &written
            && error.kind() == io::ErrorKind::TimedOut
        {
            self.abandon();
        }
        written
    }

    /// Closing will throw away what the client has not taken. The kernel would keep it, megabytes of it, for as long as the
    /// peer answers.
    fn abandon(&self) {
        if let Either::Left(stream) = &self.end {
            // Where this fails the connection is gone already.
            let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }
}

impl AsyncRead for ClientSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let line = self.get_mut();
        if !line.ahead.is_empty() {
            let count = line.ahead.len().min(buf.remaining());
            line.ahead.copy_to_slice(buf.initialize_unfilled_to(count));
            buf.advance(count);
            if line.ahead.is_empty() {
                // Its memory goes with it.
                line.ahead = Bytes::new();
            }
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut line.end).poll_read(cx, buf)
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let line = self.get_mut();
        let written = Pin::new(&mut line.end).poll_write(cx, buf);
        line.follow(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let line = self.get_mut();
        let written = Pin::new(&mut line.end).poll_write_vectored(cx, bufs);
        line.follow(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A socket holds nothing back.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().end).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use rcgen::{CertificateParams, KeyPair};
    use rustls::crypto::ring::default_provider;
    use rustls::pki_types::{PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, RootCertStore, ServerConfig};
    use tokio::io::AsyncWriteExt;
    use tokio::net::UnixStream;
    use tokio::time::Instant;
    use tokio_rustls::{TlsAcceptor, TlsConnector, client};

    use super::*;

    /// Both ends of a connection, hands shaken.
    async fn pair() -> (MaybeTls, client::TlsStream<UnixStream>) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["a".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        let ours = ServerConfig::builder_with_provider(default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        let theirs = ClientConfig::builder_with_provider(default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let (a, b) = UnixStream::pair().unwrap();
        let name = ServerName::try_from("a").unwrap();
        let (server, client) = tokio::join!(
            TlsAcceptor::from(Arc::new(ours)).accept(ClientSocket::unix(a)),
            TlsConnector::from(Arc::new(theirs)).connect(name, b),
        );
        (MaybeTls::Right(Box::new(server.unwrap())), client.unwrap())
    }

    /// Everything was written as far as the writer knows; the client takes none of it.
    #[tokio::test(start_paused = true)]
    async fn over_tls_too_a_client_that_takes_nothing_is_given_up() {
        let (mut server, _client) = pair().await;
        below(&mut server).demand(100);
        let begun = Instant::now();
        let failed = loop {
            if let Err(error) = server.write(&[7; 1000]).await {
                break error;
            }
            if let Err(error) = server.flush().await {
                break error;
            }
        };
        assert_eq!(failed.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed().as_secs(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_or_a_tunnel_waits_as_long_as_it_takes() {
        let (mut server, _client) = pair().await;
        below(&mut server).demand(100);
        below(&mut server).demand_nothing();
        let writing = async { while server.write(&[7; 1000]).await.is_ok() {} };
        let hour = Duration::from_secs(3600);
        assert!(tokio::time::timeout(hour, writing).await.is_err());
    }
}
