//! An authority, what it signed, and clients that believe it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::{Backend, Peer, Proxy, within};

/// Signs certificates, and keeps their files.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
    folder: TempDir,
}

/// A certificate and its key as PEM.
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

pub type Client = Peer<TlsStream<TcpStream>>;

impl Authority {
    pub fn new() -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap().pem();
        let authority = Authority {
            certificate,
            issuer: Issuer::new(params, key),
            folder: tempfile::tempdir().unwrap(),
        };
        authority.write("authority.crt", &authority.certificate);
        authority
    }

    /// A new certificate for these names.
    pub fn sign(&self, names: &[&str]) -> Pair {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).unwrap();
        Pair {
            certificate: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    /// Where a file of this name is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces a file at once.
    pub fn write(&self, name: &str, text: &str) {
        let scratch = self.path("scratch");
        std::fs::write(&scratch, text).unwrap();
        std::fs::rename(scratch, self.path(name)).unwrap();
    }

    /// Puts a pair into `NAME.crt` and `NAME.key`.
    pub fn place(&self, name: &str, pair: &Pair) {
        self.write(&format!("{name}.crt"), &pair.certificate);
        self.write(&format!("{name}.key"), &pair.key);
    }

    /// `[server.tls]` with `tls.crt` and `tls.key` for `app.example`, which are made, and these lines.
    pub fn server(&self, lines: &str) -> String {
        self.place("tls", &self.sign(&["app.example"]));
        self.table(&["tls"], lines)
    }

    /// `[server.tls]` with these pairs, which are there already.
    pub fn table(&self, pairs: &[&str], lines: &str) -> String {
        let list = |end: &str| {
            let paths = pairs.iter().map(|pair| self.path(&format!("{pair}.{end}")));
            let quoted: Vec<_> = paths.map(|path| format!("{path:?}")).collect();
            quoted.join(", ")
        };
        let (certs, keys) = (list("crt"), list("key"));
        format!("[server.tls]\ncert = [{certs}]\nkey = [{keys}]\n{lines}\n")
    }

    /// A client that trusts this authority, and shows this pair where it is asked for.
    pub fn client(&self, shown: Option<&Pair>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(certificate(&self.certificate)).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        match shown {
            None => config.with_no_client_auth(),
            Some(pair) => {
                let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
                let chain = vec![certificate(&pair.certificate)];
                config.with_client_auth_cert(chain, key).unwrap()
            }
        }
    }

    /// A new connection of a client that wants `app.example`.
    pub async fn connect(&self, address: SocketAddr) -> Client {
        Peer::new(
            connect(address, "app.example", self.client(None))
                .await
                .unwrap(),
        )
    }
}

/// Shakes hands and asks for a name.
pub async fn connect(
    address: SocketAddr,
    name: &str,
    config: ClientConfig,
) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    shake_hands(stream, name, config).await
}

/// As [`connect`], on a connection that is there.
pub async fn shake_hands(
    stream: TcpStream,
    name: &str,
    config: ClientConfig,
) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    within("a handshake", connector.connect(name, stream)).await
}

/// The first certificate of a PEM.
pub fn certificate(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

/// A backend behind a proxy over TLS, everything passed through.
pub async fn passthrough(authority: &Authority) -> (Backend, Proxy) {
    let backend = Backend::ok().await;
    let server = authority.server("");
    let proxy = Proxy::before(&backend, &server, crate::harness::EVERYTHING).await;
    (backend, proxy)
}
