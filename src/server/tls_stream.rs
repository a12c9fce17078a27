//! An accepted connection's bytes, in the clear whatever they are on the line.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::socket::ClientSocket;

/// One accepted connection. What was written over TLS may wait here until it is flushed.
#[derive(Debug)]
pub enum MaybeTls {
    /// As it is on the line.
    Plain(ClientSocket),
    /// Over TLS, its handshake done.
    Tls(Box<TlsStream<ClientSocket>>),
}

impl MaybeTls {
    /// Whether HTTP/2 was agreed upon in the TLS handshake.
    pub fn has_agreed_on_http2(&self) -> bool {
        match self {
            MaybeTls::Plain(_) => false,
            MaybeTls::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }

    /// The socket below.
    pub fn line_mut(&mut self) -> &mut ClientSocket {
        match self {
            MaybeTls::Plain(line) => line,
            MaybeTls::Tls(stream) => stream.get_mut().0,
        }
    }
}

impl AsyncRead for MaybeTls {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            MaybeTls::Plain(line) => Pin::new(line).poll_read(cx, buf),
            MaybeTls::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for MaybeTls {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            MaybeTls::Plain(line) => Pin::new(line).poll_write(cx, buf),
            MaybeTls::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            MaybeTls::Plain(line) => Pin::new(line).poll_write_vectored(cx, bufs),
            MaybeTls::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            MaybeTls::Plain(line) => Pin::new(line).poll_flush(cx),
            MaybeTls::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            MaybeTls::Plain(line) => Pin::new(line).poll_shutdown(cx),
            MaybeTls::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
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
        (MaybeTls::Tls(Box::new(server.unwrap())), client.unwrap())
    }

    /// Everything was written as far as the writer knows; the client takes none of it.
    #[tokio::test(start_paused = true)]
    async fn over_tls_too_who_takes_nothing_is_given_up() {
        let (mut server, _client) = pair().await;
        server.line_mut().demand(100);
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
        server.line_mut().demand(100);
        server.line_mut().demand_nothing();
        let writing = async { while server.write(&[7; 1000]).await.is_ok() {} };
        let hour = Duration::from_secs(3600);
        assert!(tokio::time::timeout(hour, writing).await.is_err());
    }
}
