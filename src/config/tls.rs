use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::UnixTime;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, ServerConfig, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use super::parser::pem::Pem;
use super::parser::table::Table;
use super::parser::tree::{Node, NodeForm};

/// `[server.tls]`: TLS towards clients. Where this table is, every address in `server.listen` speaks TLS 1.2 and 1.3 and nothing else. Adding or removing it needs a restart; what its files hold is reloaded when they change, and live connections stay.
#[derive(Clone)]
pub(crate) struct Tls {
    /// A PEM file with the server's certificate and those up to its authority; or a list of such files, one
    /// for each `key`. By the name that a client asks for (SNI), an exact name goes before a wildcard, and
    /// the first certificate serves a client that asks for none of them. Required.
    pub(crate) cert: Vec<PathBuf>,
    /// A PEM file with the certificate's private key, not encrypted; or a list of equal length. Required.
    pub(crate) key: Vec<PathBuf>,
    /// A PEM file with authorities: every client must then show a certificate by one of them. Default: none is asked.
    pub(crate) client_ca: Option<PathBuf>,
    engine: Arc<ServerConfig>,
    /// The same for HTTP/1.1 alone.
    plain_engine: Arc<ServerConfig>,
    /// Of all that the files hold.
    contents: [u8; 32],
}

/// What clients may choose to speak, what we like best first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", HTTP_1_1];
const HTTP_1_1: &[u8] = b"http/1.1";

impl Tls {
    /// What shakes hands with clients.
    pub(crate) fn engine(&self) -> &Arc<ServerConfig> {
        &self.engine
    }

    /// For handshakes with clients that get an error answer and are disconnected.
    pub(crate) fn plain_engine(&self) -> &Arc<ServerConfig> {
        &self.plain_engine
    }

    /// Takes the engines of an equal one, which clients hold tickets of.
    pub(crate) fn keep_engine(&mut self, old: &Tls) {
        if self == old {
            self.engine = old.engine.clone();
            self.plain_engine = old.plain_engine.clone();
        }
    }
}

impl PartialEq for Tls {
    fn eq(&self, other: &Tls) -> bool {
        let paths = |tls: &Tls| (tls.cert.clone(), tls.key.clone(), tls.client_ca.clone());
        self.contents == other.contents && paths(self) == paths(other)
    }
}

impl Eq for Tls {}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("cert", &self.cert)
            .field("key", &self.key)
            .field("client_ca", &self.client_ca)
            .finish_non_exhaustive()
    }
}

pub(super) fn read(table: &Table<'_>) -> Option<Tls> {
    table.demand("cert", "\"/etc/crossfade/tls.crt\"");
    table.demand("key", "\"/etc/crossfade/tls.key\"");
    let mut contents = Sha256::new();
    let (certs, keys) = (files(table, "cert"), files(table, "key"));
    let authorities = table.node("client_ca");
    table.note("client_ca", authorities, Json::Null);
    let authorities = authorities.map(|node| Pem::read(table.desk, node));
    let everything = certs.iter().chain(&keys).chain(&authorities).flatten();
    for pem in everything {
        contents.update(Sha256::digest(&pem.text));
    }
    let provider = Arc::new(ring::default_provider());
    let pairs: Vec<_> = (certs.iter().zip(&keys))
        .map(|(cert, key)| pair(cert.as_ref(), key.as_ref(), &provider))
        .collect();
    let verifier = authorities
        .as_ref()
        .map(|pem| verifier(pem.as_ref()?, &provider));
    if certs.len() != keys.len() && !certs.is_empty() && !keys.is_empty() {
        let (keys, certs) = (keys.len(), certs.len());
        let what = format!("is a list of {keys}, and `cert` of {certs}");
        let fix = "write one key for each certificate, in the same order";
        table.error("key", what, fix);
        return None;
    }
    let verifier = match verifier {
        Some(verifier) => verifier?,
        None => WebPkiClientVerifier::no_client_auth(),
    };
    let pairs = pairs.into_iter().collect::<Option<Vec<_>>>()?;
    let engine = engine(provider, pairs, verifier)?;
    let mut plain_engine = ServerConfig::clone(&engine);
    plain_engine.alpn_protocols = vec![HTTP_1_1.to_vec()];
    Some(Tls {
        cert: paths(&certs),
        key: paths(&keys),
        client_ca: paths(authorities.as_slice()).pop(),
        engine: Arc::new(engine),
        plain_engine: Arc::new(plain_engine),
        contents: contents.finalize().into(),
    })
}

/// The files that a string or a list of strings names; `None` stands for one that was reported.
fn files<'a>(table: &Table<'a>, key: &'static str) -> Vec<Option<Pem<'a>>> {
    let node = table.node(key);
    table.note(key, node, json!(null));
    let Some(node) = node else {
        return Vec::new();
    };
    table.refuse_empty(key, "\"/etc/crossfade/tls.pem\"");
    let nodes: &[Node] = match &node.form {
        NodeForm::List(items) => items,
        _ => std::slice::from_ref(node),
    };
    nodes
        .iter()
        .map(|node| Pem::read(table.desk, node))
        .collect()
}

fn paths(files: &[Option<Pem<'_>>]) -> Vec<PathBuf> {
    let files = files.iter().flatten();
    files.map(|pem| pem.path.clone()).collect()
}

/// A certificate and its key, found to belong together.
fn pair(
    cert: Option<&Pem<'_>>,
    key: Option<&Pem<'_>>,
    provider: &CryptoProvider,
) -> Option<CertifiedKey> {
    let chain = cert.and_then(Pem::certificates);
    let private = key.and_then(Pem::private_key);
    let (cert, key, chain, private) = (cert?, key?, chain?, private?);
    let Ok(signing) = provider.key_provider.load_private_key(private) else {
        key.refuse(
            "holds a private key of a kind that is not supported",
            "make one by RSA of 2048 bits or more, ECDSA on P-256 or P-384, or Ed25519",
        );
        return None;
    };
    let pair = CertifiedKey::new(chain, signing);
    match pair.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(rustls::Error::InconsistentKeys(_)) => {
            let what = format!(
                "does not belong to the certificate `{}`",
                cert.path.display()
            );
            let fix = "name the key that the certificate was made for; where both are being replaced, finish that";
            key.refuse(&what, fix);
            return None;
        }
        Err(_) => {
            let fix = "its first certificate must be the server's own, X.509 version 3";
            cert.refuse("holds a certificate that cannot be read", fix);
            return None;
        }
    }
    warn_of_time(cert, &pair);
    Some(pair)
}

/// A certificate out of its time is served all the same: clients that pin it lose nothing.
fn warn_of_time(cert: &Pem<'_>, pair: &CertifiedKey) {
    let Some(leaf) = pair.cert.first() else {
        return;
    };
    let Ok(leaf) = webpki::EndEntityCert::try_from(leaf) else {
        return;
    };
    let usage = webpki::KeyUsage::server_auth();
    // Its time is looked at before its authority, and without one the latter is always in vain.
    let verdict = leaf.verify_for_usage(&[], &[], &[], UnixTime::now(), usage, None, None);
    match verdict.err() {
        Some(webpki::Error::CertExpired { not_after, .. }) => {
            let what = format!("holds a certificate that expired {}", date(not_after));
            cert.warn(&what, "renew it: clients refuse it");
        }
        Some(webpki::Error::CertNotValidYet { not_before, .. }) => {
            let what = format!(
                "holds a certificate that is valid from {} on",
                date(not_before)
            );
            cert.warn(
                &what,
                "wait, or set this machine's clock: clients refuse it until then",
            );
        }
        _ => {}
    }
}

fn date(time: UnixTime) -> impl fmt::Display {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(time.as_secs());
    humantime::format_rfc3339_seconds(time)
}

/// Verifies clients' certificates.
fn verifier(pem: &Pem<'_>, provider: &Arc<CryptoProvider>) -> Option<Arc<dyn ClientCertVerifier>> {
    let mut roots = RootCertStore::empty();
    for certificate in pem.certificates()? {
        if roots.add(certificate).is_err() {
            let fix = "name a PEM file with authorities' certificates alone";
            pem.refuse("holds a certificate that cannot be read", fix);
            return None;
        }
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
    let refuse = |error| {
        let fix = "name a PEM file with authorities' certificates";
        pem.refuse(&format!("cannot be used: {error}"), fix);
    };
    verifier.build().map_err(refuse).ok()
}

fn engine(
    provider: Arc<CryptoProvider>,
    pairs: Vec<CertifiedKey>,
    verifier: Arc<dyn ClientCertVerifier>,
) -> Option<ServerConfig> {
    let mut engine = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(Certificates::new(pairs)));
    engine.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    // Resumed by tickets alone, whose keys are replaced every six hours: nothing is kept for a client that left. Early data
    // stays refused: it can be replayed.
    engine.session_storage = Arc::new(NoServerSessionStorage {});
    engine.ticketer = ring::Ticketer::new().ok()?;
    Some(engine)
}

/// The certificates by the names that they are for.
#[derive(Debug)]
struct Certificates {
    /// In the order of the file; never empty.
    all: Vec<Arc<CertifiedKey>>,
    /// Indices by exact name, or by what stands behind `*.`.
    exact: HashMap<String, Vec<usize>>,
    wildcard: HashMap<String, Vec<usize>>,
}

impl Certificates {
    fn new(pairs: Vec<CertifiedKey>) -> Self {
        let mut certificates = Certificates {
            all: pairs.into_iter().map(Arc::new).collect(),
            exact: HashMap::new(),
            wildcard: HashMap::new(),
        };
        for (index, pair) in certificates.all.iter().enumerate() {
            for name in names(pair) {
                let (table, name) = match name.strip_prefix("*.") {
                    Some(behind) => (&mut certificates.wildcard, behind.to_owned()),
                    None => (&mut certificates.exact, name),
                };
                table.entry(name).or_default().push(index);
            }
        }
        certificates
    }

    /// Those for a name, or else the first: several where one name has keys of several kinds.
    fn candidates(&self, name: Option<&str>) -> &[usize] {
        let name = name.map(str::to_ascii_lowercase).unwrap_or_default();
        let behind = name.split_once('.').map_or("", |(_, behind)| behind);
        let found = self.exact.get(&name).or_else(|| self.wildcard.get(behind));
        found.map_or(&[0], Vec::as_slice)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let candidates = self.candidates(hello.server_name()).iter();
        let mut candidates = candidates.filter_map(|index| self.all.get(*index));
        let schemes = hello.signature_schemes();
        let first = candidates.clone().next();
        let usable = candidates.find(|pair| pair.key.choose_scheme(schemes).is_some());
        usable.or(first).cloned()
    }
}

fn names(pair: &CertifiedKey) -> Vec<String> {
    let Some(leaf) = pair.cert.first() else {
        return Vec::new();
    };
    let Ok(leaf) = webpki::EndEntityCert::try_from(leaf) else {
        return Vec::new();
    };
    leaf.valid_dns_names()
        .map(str::to_ascii_lowercase)
        .collect()
}
