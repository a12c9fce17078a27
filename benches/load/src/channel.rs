//! A client's connection, in the clear or over TLS.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

/// All servers are asked for the same: TLS 1.3 with this cipher, and every connection anew.
pub fn trust(certificate: &Path) -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(certificate).map_err(io::Error::other)?;
    roots.add(certificate).map_err(io::Error::other)?;
    let provider = CryptoProvider {
        cipher_suites: vec![ring::cipher_suite::TLS13_AES_128_GCM_SHA256],
        ..ring::default_provider()
    };
    let mut config = ClientConfig::builder_with_provider(provider.into())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Never blocks. What is written before the handshakes are over leaves after them.
pub enum Channel {
    Plain(TcpStream),
    Tls(Box<(ClientConnection, TcpStream)>),
}

impl Channel {
    pub fn new(stream: TcpStream, tls: Option<&Arc<ClientConfig>>) -> io::Result<Channel> {
        let Some(config) = tls else {
            return Ok(Channel::Plain(stream));
        };
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let session = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        Ok(Channel::Tls(Box::new((session, stream))))
    }

    pub fn socket(&mut self) -> &mut TcpStream {
        match self {
            Channel::Plain(stream) => stream,
            Channel::Tls(both) => &mut both.1,
        }
    }

    /// Whether a read that does not fill its buffer has emptied the socket.
    pub fn is_plain(&self) -> bool {
        matches!(self, Channel::Plain(_))
    }
}

impl Read for Channel {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (session, stream) = match self {
            Channel::Plain(stream) => return stream.read(buffer),
            Channel::Tls(both) => &mut **both,
        };
        loop {
            match session.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
            if session.read_tls(stream)? == 0 {
                return Ok(0);
            }
            session.process_new_packets().map_err(io::Error::other)?;
            send_records(session, stream)?;
        }
    }
}

impl Write for Channel {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Channel::Plain(stream) => stream.write(bytes),
            Channel::Tls(both) => {
                let (session, stream) = &mut **both;
                let taken = session.writer().write(bytes)?;
                send_records(session, stream)?;
                Ok(taken)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn send_records(session: &mut ClientConnection, stream: &mut TcpStream) -> io::Result<()> {
    while session.wants_write() {
        match session.write_tls(stream) {
            Ok(_) => {}
            // What clients say is short: it goes with the next piece that is read.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
