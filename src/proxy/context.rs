//! One request on its way through the house.

use std::sync::Arc;

use hyper::http::request::Parts;

use crate::config::Route;
use crate::error::Error;
use crate::http::cdn_loop::Way;
use crate::http::forwarded::{self, Client, Peer};
use crate::http::header_text::Text;
use crate::http::host::Host;
use crate::http::validate::Inspected;
use crate::router::InForce;
use crate::server::client_connection::Connection;
use crate::session::Shared;

/// A request whose form is valid.
pub struct Exchange {
    /// What outlives a reload.
    pub shared: Arc<Shared>,
    /// The configuration that this exchange is judged by.
    pub in_force: Arc<InForce>,
    /// Its number.
    pub id: Text,
    /// Who sent the connection's bytes.
    pub peer: Peer,
    /// The peer's address as text.
    pub peer_text: Text,
    /// Whom it comes from, what it asked for and how, as far as that is believed.
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

impl Exchange {
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
        Exchange {
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

impl Exchange {
    /// Tells of an answer that was refused here and not below.
    pub fn refuse_answer(&self, route: &Route, error: &Error) {
        let telemetry = &self.shared.telemetry;
        telemetry
            .upstreams
            .answer_refused(&route.upstream.name, &error.detail);
    }
}
