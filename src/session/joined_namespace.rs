//! A namespace that a client of Socket.IO has joined, and what its session keeps of it.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::Instant;

use super::recovery::{ComingBack, Offer, Recoverable};
use crate::config::Namespace;
use crate::protocol::Req;
use crate::protocol::socketio::codec::SocketIoCodec;
use crate::router::InForce;
use crate::transport::namespaces::UpgradeGate;

/// A namespace that a client has joined.
#[derive(Debug)]
pub(crate) struct JoinedNamespace {
    /// As the file names it.
    pub(crate) pattern: Arc<str>,
    /// As the client named it.
    pub(crate) name: Arc<str>,
    /// What the name says of the pattern's parameters.
    pub(crate) params: Vec<(String, String)>,
    /// Whether events bear positions.
    pub(crate) has_positions: bool,
    /// Keeps a client on long-polling.
    pub(crate) upgrade: UpgradeGate,
}

impl JoinedNamespace {
    /// What the configuration in force says of it; `None` where a reload has taken it away.
    pub(crate) fn of<'a>(&self, in_force: &'a InForce) -> Option<&'a Arc<Namespace>> {
        let socketio = in_force.config.socketio.as_ref()?;
        let mut namespaces = socketio.namespaces.iter();
        namespaces.find(|namespace| *namespace.name.as_str() == *self.pattern)
    }

    /// Whether a client whose rollout says legacy stays, because it polls.
    pub(crate) fn keeps_legacy(&self, in_force: &InForce) -> bool {
        let socketio = in_force.config.socketio.as_ref();
        socketio.is_some_and(|socketio| socketio.keeps_legacy()) && self.upgrade.polls()
    }

    /// How its client speaks.
    pub(crate) fn codec(&self) -> SocketIoCodec {
        let is_literal = self.params.is_empty();
        SocketIoCodec::new(self.name.clone(), is_literal, self.has_positions)
    }
}

/// What a session keeps of it.
#[derive(Default)]
pub(crate) struct NamespaceState {
    /// What CONNECT brought against forged requests.
    pub(super) csrf: Option<String>,
    /// Calls that wait for others to end, and when each has come.
    pub(super) waiting: VecDeque<(Req, Instant)>,
    /// The session before, which CONNECT has named.
    pub(super) offer: Option<Offer>,
    /// CONNECT is not answered yet: the client comes back to that session.
    pub(super) coming_back: Option<Box<ComingBack>>,
    /// How the client may come back to this one.
    pub(super) recoverable: Option<Recoverable>,
}
