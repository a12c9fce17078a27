use std::fmt;

/// One API key; of the key itself only its hash is known.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Under which it is found.
    pub id: String,
    /// SHA-256 of the whole key as it is sent.
    pub hash: [u8; 32],
    /// Whose it is.
    pub user: String,
    /// Their tenant.
    pub tenant: Option<String>,
    /// Their roles.
    pub roles: Vec<String>,
    /// Unix seconds from which on it is no longer good.
    pub expires: Option<u64>,
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
