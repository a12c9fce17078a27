use std::fmt;
use std::time::Duration;

use hyper::Uri;
use jsonwebtoken::{Algorithm, DecodingKey};

use crate::config::server::Secret;

/// `kind = "jwt"`: a signed token.
#[derive(Clone, Debug, PartialEq)]
pub struct Jwt {
    /// Accepted `iss`; `None` where the file says `false`.
    pub issuer: Option<Vec<String>>,
    /// Accepted `aud`, any of them; `None` where the file says `false`.
    pub audience: Option<Vec<String>>,
    /// What the keys may be used with; never empty. Those that do not fit a key do not count for it.
    pub algorithms: Vec<Algorithm>,
    /// What verifies.
    pub key: KeySource,
    /// How far clocks may differ.
    pub leeway: Duration,
    /// Where the user stands: a claim's name, or a JSON Pointer.
    pub user: String,
    /// Where the tenant stands, likewise.
    pub tenant: String,
    /// Where the roles stand, likewise.
    pub roles: String,
}

/// What verifies a token's signature.
#[derive(Clone, Debug, PartialEq)]
pub enum KeySource {
    /// A shared secret.
    Secret(Secret),
    /// A public key.
    Public(PublicKey),
    /// A key set (RFC 7517) behind this URL.
    Url(Uri),
}

/// A public key that was read from PEM.
#[derive(Clone)]
pub struct PublicKey {
    /// Ready to verify with.
    pub key: DecodingKey,
    /// SHA-256 of the PEM text.
    pub print: [u8; 32],
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &PublicKey) -> bool {
        self.print == other.print
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey")
    }
}
