use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::ServerName;
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use super::parser::pem::Pem;
use super::parser::problem::Wrong;
use super::parser::table::Table;

/// `tls`: how certificates of the upstream's https servers are verified. Certificates are always verified,
/// TLS 1.2 and 1.3 are spoken.
#[derive(Clone, Default)]
pub struct Trust {
    /// A PEM file with the authorities that the servers' certificates may be by; read again when it changes, for connections made from then on. Default: those that the system trusts.
    pub(crate) ca: Option<PathBuf>,
    /// The name that is asked for (SNI), and that the certificates must be for. Default: each server's own host.
    pub(crate) server_name: Option<ServerName<'static>>,
    roots: Option<Arc<RootCertStore>>,
    /// Of what the file holds.
    contents: [u8; 32],
}

impl Trust {
    /// The authorities; `None` for those of the system.
    pub(crate) fn roots(&self) -> Option<&Arc<RootCertStore>> {
        self.roots.as_ref()
    }
}

impl PartialEq for Trust {
    fn eq(&self, other: &Trust) -> bool {
        self.ca == other.ca
            && self.server_name == other.server_name
            && self.contents == other.contents
    }
}

impl Eq for Trust {}

impl Hash for Trust {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.ca, &self.server_name, self.contents).hash(state);
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("ca", &self.ca)
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

pub(super) fn read(table: &Table<'_>) -> Trust {
    let node = table.node("ca");
    table.note("ca", node, Json::Null);
    let file = node.and_then(|node| Pem::read(table.desk, node));
    let trust = Trust {
        server_name: table.text("server_name", server_name),
        ..Trust::default()
    };
    let Some(file) = file else {
        return trust;
    };
    Trust {
        roots: roots(&file).map(Arc::new),
        contents: Sha256::digest(&file.text).into(),
        ca: Some(file.path),
        ..trust
    }
}

fn roots(file: &Pem<'_>) -> Option<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in file.certificates()? {
        if roots.add(certificate).is_err() {
            let fix = "name a PEM file with authorities' certificates alone";
            file.refuse("holds a certificate that cannot be read", fix);
            return None;
        }
    }
    Some(roots)
}

fn server_name(text: &str) -> Result<ServerName<'static>, Wrong> {
    let name = ServerName::try_from(text.to_ascii_lowercase());
    name.map_err(|_| {
        Wrong::new(
            "is no name that a certificate can be for",
            "write a name such as \"app.internal\", without scheme and port",
        )
    })
}
