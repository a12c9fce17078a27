//! One request on its way through the process.

use std::sync::Arc;

use hyper::Method;
use hyper::http::request::Parts;

use crate::config::Route;
use crate::error::Error;
use crate::http::cdn_loop::Way;
use crate::http::forwarded::{self, Client, Peer};
use crate::http::header_text::Text;
use crate::http::host::Host;
use crate::http::problem::Problem;
use crate::http::validate::Inspected;
use crate::router::{InForce, Match};
use crate::server::client_connection::Connection;
use crate::session::Services;

/// A request whose form is valid.
pub struct RequestContext {
    /// What outlives a reload.
    pub shared: Arc<Services>,
    /// The configuration that this exchange is judged by.
    pub in_force: Arc<InForce>,
    /// Its number.
    pub id: Text,
    /// The sender of the connection's bytes.
    pub peer: Peer,
    /// The peer's address as text.
    pub peer_text: Text,
    /// The client's address, and what it asked for and how, as far as that is believed.
    pub client: Client,
    /// `Host` as it was sent.
    pub host: Host,
    /// The canonical path.
    pub path: Arc<str>,
    /// The query; once the place is known, without what is crossfade's own.
    pub query: Option<String>,
    /// Whether it is a WebSocket handshake.
    pub is_handshake: bool,
    /// Where it has been.
    pub way: Way,
}

/// The address of a request: what decides where it belongs, beside its method.
#[derive(Clone, Copy)]
pub struct Address<'a> {
    /// The configuration that it is judged by.
    pub in_force: &'a InForce,
    /// Its host, without port, in lower case.
    pub host: &'a str,
    /// Its canonical path.
    pub path: &'a str,
    /// Its query.
    pub query: Option<&'a str>,
}

impl RequestContext {
    /// Puts together what is known of a request.
    pub fn new(
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
    pub fn address(&self) -> Address<'_> {
        Address {
            in_force: &self.in_force,
            host: &self.host.name,
            path: &self.path,
            query: self.query.as_deref(),
        }
    }

    /// Tells of an answer that was refused here and not below.
    pub fn refuse_answer(&self, route: &Route, error: &Error) {
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
    pub fn find(self, method: &Method) -> Result<Match, Problem> {
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
