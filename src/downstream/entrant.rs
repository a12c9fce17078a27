//! Whoever asks for something, and what the edge has found out about them.

use std::sync::Arc;

use super::offer::Offer;
use crate::edge::auth::credential::Extras;
use crate::edge::auth::{Admission, Identity};
use crate::edge::hygiene::own::Parameters;
use crate::edge::rate_limit::Seat;

/// What came with a request that passed the edge, besides its head.
pub struct Came {
    /// Its subprotocols.
    pub offer: Offer,
    /// Its parameters that are ours.
    pub parameters: Parameters,
    /// Whom the edge let in.
    pub entrant: Entrant,
}

/// Whoever asks for something, as far as the edge has got with them.
#[derive(Default)]
pub struct Entrant {
    /// How they stand.
    pub entry: Entry,
    /// Those whom the policies of other readings of the path have let in.
    pub others: Vec<Arc<Admission>>,
    /// What was presented beside header fields.
    pub extras: Extras,
    /// A seat under a policy's caps, kept as long as the connection.
    pub seat: Option<Seat>,
}

/// How somebody stands with the policies of a place.
#[derive(Default)]
pub enum Entry {
    /// None asks who it is.
    #[default]
    Unasked,
    /// They are let in.
    Admitted(Arc<Admission>),
    /// A `hello` has to tell who it is: only a socket of our own waits for one.
    Awaited,
    /// Accept, and close with this code: only a socket of our own can, and its client knows how to read it.
    TurnedAway(u16),
}

impl Entrant {
    /// Whom a policy has let in, and by what.
    pub fn admission(&self) -> Option<&Arc<Admission>> {
        match &self.entry {
            Entry::Admitted(admission) => Some(admission),
            Entry::Unasked | Entry::Awaited | Entry::TurnedAway(_) => None,
        }
    }

    /// Who it is.
    pub fn identity(&self) -> Option<&Identity> {
        self.admission().map(|admission| &*admission.identity)
    }

    /// Whether a backend may see this: nothing is still to be told, by them or to them.
    pub fn is_let_in(&self) -> bool {
        matches!(self.entry, Entry::Unasked | Entry::Admitted(_))
    }
}
