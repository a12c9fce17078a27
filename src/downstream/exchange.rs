//! One request on its way through the house, and the connection it came over.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use hyper::Version;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;

use super::respond::REQUEST_ID;
use super::wire::Traffic;
use crate::config::{Network, Route};
use crate::edge::caps::Permit;
use crate::edge::hygiene::forwarded::{self, Client, Peer};
use crate::edge::hygiene::host::Host;
use crate::edge::hygiene::names;
use crate::edge::hygiene::proxy::Source;
use crate::edge::hygiene::request::Inspected;
use crate::edge::hygiene::rounds::Way;
use crate::edge::hygiene::text::Text;
use crate::error::Error;
use crate::route::InForce;
use crate::session::Shared;
use crate::upstream::Pins;

/// Longest request id that is taken over.
const ID_LIMIT: usize = 128;

/// One downstream connection, as every exchange on it sees it.
pub struct Connection {
    /// What outlives a reload.
    pub shared: Arc<Shared>,
    /// Where it comes from.
    pub remote: Remote,
    /// Its address as text.
    pub peer: Text,
    /// The notice board of its wire; HTTP/2 has none, its streams fail one by one.
    pub traffic: Option<Traffic>,
    /// Its place among the connections; goes with an upgrade.
    pub permit: Arc<Permit>,
    /// Backends' connections that it has authenticated.
    pub pins: OnceLock<Pins>,
}

impl Connection {
    /// Where backends' connections are pinned for this request; `None` where requests of several people may come over this
    /// connection.
    pub fn pins(&self, head: &Parts, trusted: &[Network]) -> Option<Pins> {
        let is_http1 = self.traffic.is_some() && head.version == Version::HTTP_11;
        let is_a_clients = self.remote.counted(trusted).is_some();
        let is_forwarded = |name: &HeaderName| names::is_forwarded(name.as_str());
        let is_direct = is_a_clients && !head.headers.keys().any(is_forwarded);
        (is_http1 && is_direct).then(|| self.pins.get_or_init(Pins::default).clone())
    }
}

/// A connection's other end.
#[derive(Clone, Copy, Debug)]
pub struct Remote {
    /// The client's address, or the socket's other end where nobody named another; `None` on a unix socket.
    pub address: Option<IpAddr>,
    /// A proxy says that it speaks for somebody, and not for whom.
    pub is_unnamed: bool,
    /// `http`, or `https` over TLS.
    pub proto: &'static str,
}

impl Remote {
    /// A connection from this address, as far as the socket tells.
    pub fn new(address: Option<IpAddr>) -> Self {
        Remote {
            address,
            is_unnamed: false,
            proto: "http",
        }
    }

    /// What the PROXY protocol tells; without it nothing changes.
    pub fn learn(&mut self, source: Option<Source>) {
        match source {
            None | Some(Source::Proxy) => {}
            Some(Source::Client(ip)) => self.address = Some(ip),
            Some(Source::Unnamed) => self.is_unnamed = true,
        }
    }

    /// Whose requests these are. What somebody without a name forwards is not believed, whoever carries it.
    pub fn peer(&self, trusted: &[Network]) -> Peer {
        let peer = Peer::new(self.address, trusted);
        Peer {
            is_trusted: peer.is_trusted && !self.is_unnamed,
            is_unnamed: self.is_unnamed,
            proto: self.proto,
            ..peer
        }
    }

    /// The address that its connections are counted by; a proxy speaks for many.
    pub fn counted(&self, trusted: &[Network]) -> Option<IpAddr> {
        self.address
            .filter(|_| !self.is_unnamed && !self.peer(trusted).is_trusted)
    }
}

/// A request that passed hygiene.
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
        telemetry.answer_refused(&route.upstream.name, &error.detail);
    }
}

/// The id that a trusted proxy gave, or a new one.
pub fn request_id(peer: Peer, headers: &HeaderMap) -> Text {
    let given = headers
        .get(REQUEST_ID)
        .filter(|_| peer.is_trusted)
        .map(HeaderValue::as_bytes)
        .filter(|id| (1..=ID_LIMIT).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic));
    let given = given.and_then(|id| Text::new(Bytes::copy_from_slice(id)));
    given.unwrap_or_else(new_request_id)
}

/// 128 random bits in hexadecimal.
pub fn new_request_id() -> Text {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let random = fastrand::u128(..);
    let digit = |place: u32| DIGITS[(random >> (4 * place)) as usize % DIGITS.len()];
    // Such digits are always a text.
    Text::new((0..32).map(digit).collect::<Vec<u8>>()).unwrap_or(Text::fixed("-"))
}
