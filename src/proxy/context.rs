//! One request on its way through the process, and the client that was let in with it.

use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use hyper::http::request::Parts;
use hyper::{Method, Response};

use super::subprotocol::Subprotocols;
use crate::config::Route;
use crate::error::Error;
use crate::http::body::Body;
use crate::http::cdn_loop::Way;
use crate::http::forwarded::{self, ForwardedClient, Peer};
use crate::http::header_text::Text;
use crate::http::host::Host;
use crate::http::problem::Problem;
use crate::http::reserved_params::ReservedParameters;
use crate::http::validate::Inspected;
use crate::policy::auth::credential::Extras;
use crate::policy::auth::{Authenticated, Identity};
use crate::policy::rate_limit::ConnectionPermit;
use crate::router::{InForce, Match};
use crate::server::client_connection::Connection;
use crate::session::{Seat, Services};

/// A request whose form is valid.
pub(crate) struct RequestContext {
    /// What outlives a reload.
    pub(crate) shared: Arc<Services>,
    /// The configuration that this exchange is judged by.
    pub(crate) in_force: Arc<InForce>,
    /// Its number.
    pub(crate) id: Text,
    /// The sender of the connection's bytes.
    pub(crate) peer: Peer,
    /// The peer's address as text.
    pub(crate) peer_text: Text,
    /// The client's address, and what it asked for and how, as far as that is believed.
    pub(crate) client: ForwardedClient,
    /// `Host` as it was sent.
    pub(crate) host: Host,
    /// The canonical path.
    pub(crate) path: Arc<str>,
    /// The query; once the place is known, without what is crossfade's own.
    pub(crate) query: Option<String>,
    /// Whether it is a WebSocket handshake.
    pub(crate) is_handshake: bool,
    /// Where it has been.
    pub(crate) way: Way,
}

/// The address of a request: what decides where it belongs, beside its method.
#[derive(Clone, Copy)]
pub(crate) struct Address<'a> {
    /// The configuration that it is judged by.
    pub(crate) in_force: &'a InForce,
    /// Its host, without port, in lower case.
    pub(crate) host: &'a str,
    /// Its canonical path.
    pub(crate) path: &'a str,
    /// Its query.
    pub(crate) query: Option<&'a str>,
}

/// Where the path of a request ends.
pub(super) enum Walked {
    /// It has its answer.
    Answered(Response<Body>),
    /// The answer may be a long time coming.
    Waits(BoxFuture<'static, Result<Response<Body>, Problem>>),
}

impl RequestContext {
    /// Puts together what is known of a request.
    pub(crate) fn new(
        connection: &Connection,
        in_force: Arc<InForce>,
        peer: Peer,
        id: Text,
        inspected: Inspected,
        head: &Parts,
    ) -> Self {
        let trusted = &in_force.config.server.trusted_proxies;
        RequestContext {
            shared: connection.shared.clone(),
            id,
            client: forwarded::client(
                &head.headers,
                peer,
                &connection.peer,
                &inspected.host,
                trusted,
            ),
            peer,
            peer_text: connection.peer.clone(),
            host: inspected.host,
            path: inspected.path,
            query: head.uri.query().map(str::to_owned),
            is_handshake: inspected.is_handshake,
            way: connection.shared.upstreams.tag().read(&head.headers),
            in_force,
        }
    }
}

impl RequestContext {
    /// What decides where it belongs.
    pub(crate) fn address(&self) -> Address<'_> {
        Address {
            in_force: &self.in_force,
            host: &self.host.name,
            path: &self.path,
            query: self.query.as_deref(),
        }
    }

    /// Tells of an answer that was refused here and not below.
    pub(crate) fn refuse_answer(&self, route: &Route, error: &Error) {
        let telemetry = &self.shared.telemetry;
        telemetry
            .upstreams
            .answer_refused(&route.upstream.name, &error.detail);
    }
}

impl Address<'_> {
    /// The route there by this method, and those that guard other readings of its path.
    ///
    /// # Errors
    /// There is none, or a backend may read the path as one that other policies guard.
    pub(crate) fn find(self, method: &Method) -> Result<Match, Problem> {
        let routes = &self.in_force.routes;
        let (host, path) = (self.host, self.path);
        let mut found = routes
            .find(host, method, path)
            .ok_or_else(Problem::no_route)?;
        found.others = routes
            .read_otherwise(host, method, path, &found.route)
            .map_err(|unclear| Problem::unclear_path(&unclear))?;
        Ok(found)
    }
}

/// What came with a request that passed the edge, besides its head.
pub(super) struct Came {
    /// Its subprotocols.
    pub offer: Subprotocols,
    /// Its parameters that are ours.
    pub parameters: ReservedParameters,
    /// The client that the policies accepted.
    pub entrant: AuthContext,
}

/// The client behind a request, as far as the edge has judged it.
#[derive(Default)]
pub(super) struct AuthContext {
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
pub(super) enum AuthOutcome {
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

/// A seat that the sessions of a connection share.
pub(super) fn shared_seat(seat: ConnectionPermit) -> Seat {
    Arc::new(Mutex::new(seat))
}

impl AuthContext {
    /// The user that a policy has accepted, and the credential.
    pub(super) fn admission(&self) -> Option<&Arc<Authenticated>> {
        match &self.entry {
            AuthOutcome::Admitted(admission) => Some(admission),
            AuthOutcome::Unasked | AuthOutcome::Awaited | AuthOutcome::TurnedAway(_) => None,
        }
    }

    /// The user's identity.
    pub(super) fn identity(&self) -> Option<&Identity> {
        self.admission().map(|admission| &*admission.identity)
    }

    /// Whether a backend may see this: no `hello` and no close code is pending.
    pub(super) fn is_let_in(&self) -> bool {
        matches!(self.entry, AuthOutcome::Unasked | AuthOutcome::Admitted(_))
    }
}
