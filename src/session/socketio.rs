//! A Socket.IO client as its handshake has left it: each namespace that it joins becomes a session.

use std::sync::Arc;

use super::accepted::{Accepted, Handshake, Mode, Seat};
use super::credentials::Presented;
use super::joined_namespace::JoinedNamespace;
use super::{Services, run};
use crate::config::Auth;
use crate::policy::auth::Authenticated;
use crate::policy::connection_limits::Permit;
use crate::transport::namespaces::{NamespaceTransport, Namespaces, SocketTask};

/// See the module.
pub(crate) struct SocketIoClient {
    /// What the handshake's `X-Request-Id` said.
    pub(crate) request_id: String,
    /// Which client it is.
    pub(crate) handshake: Handshake,
    /// What may be a credential.
    pub(crate) presented: Presented,
    /// The user that the handshake has named.
    pub(crate) admission: Option<Arc<Authenticated>>,
    /// The connection's seat under the caps of a policy, whatever its namespaces.
    pub(crate) seat: Option<Seat>,
    /// The connection's place under the caps.
    pub(crate) permit: Arc<Permit>,
    /// What sessions share.
    pub(crate) shared: Arc<Services>,
}

impl SocketIoClient {
    /// The user that the handshake has named, where one of these policies has let it in.
    fn known_to(&self, auths: &[Arc<Auth>]) -> Option<Arc<Authenticated>> {
        let admission = self.admission.as_ref()?;
        let is_theirs = auths.contains(&admission.found.auth);
        is_theirs.then(|| admission.clone())
    }
}

impl Namespaces for SocketIoClient {
    fn join(&mut self, name: &str, transport: NamespaceTransport) -> Option<SocketTask> {
        let in_force = self.shared.in_force.load_full();
        let socketio = in_force.config.socketio.as_ref()?;
        let (namespace, params) = socketio.namespace(name)?;
        let joined = JoinedNamespace {
            pattern: namespace.name.as_str().into(),
            name: name.into(),
            params,
            has_positions: namespace.recovery,
            upgrade: transport.upgrade_gate(),
        };
        let opening = Accepted {
            request_id: self.request_id.clone(),
            handshake: self.handshake.clone(),
            presented: self.presented.clone(),
            admission: self.known_to(&namespace.auth),
            awaits_hello: true,
            seat: self.seat.clone(),
            mode: Mode::Namespace(Arc::new(joined)),
            refuse_with: None,
            permit: Some(self.permit.clone()),
        };
        let shared = self.shared.clone();
        Some(Box::pin(run(
            Box::new(transport),
            opening,
            in_force,
            shared,
        )))
    }

    /// Whether the client is to use a WebSocket is known when it joins a namespace with a rollout.
    fn holds_upgrades(&self) -> bool {
        let in_force = self.shared.in_force.load();
        let socketio = in_force.config.socketio.as_ref();
        let mut namespaces = socketio.iter().flat_map(|socketio| &socketio.namespaces);
        namespaces.any(|namespace| namespace.rollout.is_some())
    }
}
