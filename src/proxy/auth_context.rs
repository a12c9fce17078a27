//! The client behind a request, as far as the edge knows it.

use std::sync::Arc;

use super::subprotocol::Subprotocols;
use crate::http::reserved_params::Parameters;
use crate::policy::auth::credential::Extras;
use crate::policy::auth::{Authenticated, Identity};
use crate::policy::rate_limit::ConnectionPermit;

/// What came with a request that passed the edge, besides its head.
pub struct Came {
    /// Its subprotocols.
    pub offer: Subprotocols,
    /// Its parameters that are ours.
    pub parameters: Parameters,
    /// The client that the policies accepted.
    pub entrant: AuthContext,
}

/// The client behind a request, as far as the edge has judged it.
#[derive(Default)]
pub struct AuthContext {
    /// What the policies of the place say.
    pub entry: AuthOutcome,
    /// The users that policies of other readings of the path have accepted.
    pub others: Vec<Arc<Authenticated>>,
    /// What was presented beside header fields.
    pub extras: Extras,
    /// A seat under a policy's caps, kept as long as the connection.
    pub seat: Option<ConnectionPermit>,
}

/// What the policies of a place say of a client.
#[derive(Default)]
pub enum AuthOutcome {
    /// No policy asks which user it is.
    #[default]
    Unasked,
    /// The user is accepted.
    Admitted(Arc<Authenticated>),
    /// A `hello` has to name the user: only a socket of our own waits for one.
    Awaited,
    /// Accept, and close with this code: only a socket of our own can, and its client knows how to read it.
    TurnedAway(u16),
}

impl AuthContext {
    /// The user that a policy has accepted, and the credential.
    pub fn admission(&self) -> Option<&Arc<Authenticated>> {
        match &self.entry {
            AuthOutcome::Admitted(admission) => Some(admission),
            AuthOutcome::Unasked | AuthOutcome::Awaited | AuthOutcome::TurnedAway(_) => None,
        }
    }

    /// The user's identity.
    pub fn identity(&self) -> Option<&Identity> {
        self.admission().map(|admission| &*admission.identity)
    }

    /// Whether a backend may see this: no `hello` and no close code is pending.
    pub fn is_let_in(&self) -> bool {
        matches!(self.entry, AuthOutcome::Unasked | AuthOutcome::Admitted(_))
    }
}
