//! TLS towards https servers.

use std::io;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::verifier::{Verifier, is_authority};
use crate::config::{Authority, Trust};
use crate::error::{Error, Obstacle};

const HTTP_2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

/// Shakes hands for one upstream. Sessions are resumed.
pub(crate) struct ClientTls {
    /// Offers HTTP/2 and HTTP/1.1.
    either: TlsConnector,
    /// Offers HTTP/1.1 alone.
    plain: TlsConnector,
    name: Option<ServerName<'static>>,
}

impl ClientTls {
    /// # Errors
    /// Where no authority is named and the system has none.
    pub(crate) async fn new(trust: &Trust) -> Result<Self, Error> {
        let unusable = |error: String| Error::unconnected(Obstacle::Handshake, error);
        let provider = Arc::new(ring::default_provider());
        let engine = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(error.to_string()))?;
        let engine = match trust.roots() {
            Some(given) => {
                let verifier = Verifier::new(given.clone(), provider).map_err(unusable)?;
                engine
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(verifier))
            }
            None => engine.with_root_certificates(system_roots().await?),
        };
        let engine = engine.with_no_client_auth();
        let offering = |protocols: &[&[u8]]| {
            let mut engine = engine.clone();
            engine.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            TlsConnector::from(Arc::new(engine))
        };
        Ok(ClientTls {
            either: offering(&[HTTP_2, HTTP_1_1]),
            plain: offering(&[HTTP_1_1]),
            name: trust.server_name.clone(),
        })
    }

    /// Makes a connection to a server one of TLS.
    pub(crate) async fn shake(
        &self,
        stream: TcpStream,
        server: &Authority,
        offers_http2: bool,
    ) -> Result<TlsStream<TcpStream>, Error> {
        let connector = match offers_http2 {
            true => &self.either,
            false => &self.plain,
        };
        let name = match &self.name {
            Some(name) => name.clone(),
            None => own_name(server)?,
        };
        connector.connect(name, stream).await.map_err(|error| {
            let detail = match invalid(&error).is_some_and(is_authority) {
                // What the engine says of it names no cause.
                true => "its certificate is its own authority, and no `ca` names it".to_owned(),
                false => error.to_string(),
            };
            let detail = format!("the TLS handshake failed: {detail}");
            Error::unconnected(obstacle(&error), detail)
        })
    }
}

/// Whether HTTP/2 was agreed upon.
pub(crate) fn chose_http2(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(HTTP_2)
}

fn own_name(server: &Authority) -> Result<ServerName<'static>, Error> {
    let host = server.host().trim_matches(['[', ']']);
    ServerName::try_from(host.to_owned())
        .map_err(|_| Error::unconnected(Obstacle::WrongName, "its host is no name for TLS"))
}

async fn system_roots() -> Result<RootCertStore, Error> {
    let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await;
    let mut roots = RootCertStore::empty();
    // Systems carry certificates that no parser reads any more; the others count.
    roots.add_parsable_certificates(found.map(|found| found.certs).unwrap_or_default());
    match roots.is_empty() {
        false => Ok(roots),
        true => Err(Error::unconnected(
            Obstacle::UnknownIssuer,
            "this system trusts no authority: name one by `tls.ca`",
        )),
    }
}

/// What is wrong with the certificate, where that is it.
fn invalid(error: &io::Error) -> Option<&CertificateError> {
    match error.get_ref()?.downcast_ref()? {
        rustls::Error::InvalidCertificate(wrong) => Some(wrong),
        _ => None,
    }
}

fn obstacle(error: &io::Error) -> Obstacle {
    use CertificateError as Wrong;
    match invalid(error) {
        Some(wrong) => match wrong {
            Wrong::Expired | Wrong::ExpiredContext { .. } => Obstacle::Expired,
            Wrong::NotValidYet | Wrong::NotValidYetContext { .. } => Obstacle::NotYetValid,
            // The latter where an authority of that name is trusted and its key is another.
            Wrong::UnknownIssuer | Wrong::BadSignature => Obstacle::UnknownIssuer,
            // It is its own authority, and no `ca` names it.
            wrong if is_authority(wrong) => Obstacle::UnknownIssuer,
            Wrong::NotValidForName | Wrong::NotValidForNameContext { .. } => Obstacle::WrongName,
            _ => Obstacle::Handshake,
        },
        _ => Obstacle::Handshake,
    }
}
