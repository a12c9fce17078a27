//! What a handshake has left to its session for the first round.

use std::sync::Arc;

use super::accepted::Mode;
use crate::policy::auth::Authenticated;

/// See the module.
pub(super) struct Beginning {
    pub(crate) mode: Mode,
    /// The number of the configuration that the handshake was judged by.
    pub(crate) judged_by: u64,
    pub(crate) refuse_with: Option<u16>,
    /// The user that the handshake has admitted.
    pub(crate) admission: Option<Arc<Authenticated>>,
    /// A `hello` says which user it is.
    pub(crate) awaits_hello: bool,
}
