//! The client's connection, as every exchange on it sees it.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use hyper::Version;
use hyper::header::HeaderName;
use hyper::http::request::Parts;
use ipnet::IpNet;

use super::http1_state::Http1State;
use crate::http::forwarded::Peer;
use crate::http::header_names;
use crate::http::header_text::Text;
use crate::http::proxy_protocol::ProxySource;
use crate::policy::connection_limits::Permit;
use crate::session::Services;
use crate::upstream::Pins;

/// One downstream connection, as every exchange on it sees it.
pub(crate) struct Connection {
    /// What outlives a reload.
    pub(crate) shared: Arc<Services>,
    /// Where it comes from.
    pub(crate) remote: Remote,
    /// Its address as text.
    pub(crate) peer: Text,
    /// The notice board of its wire; HTTP/2 has none, its streams fail one by one.
    pub(crate) traffic: Option<Http1State>,
    /// Its place among the connections; goes with an upgrade.
    pub(crate) permit: Arc<Permit>,
    /// Backends' connections that it has authenticated.
    pub(crate) pins: OnceLock<Pins>,
}

impl Connection {
    /// Where backends' connections are pinned for this request; `None` where requests of several users may come over this
    /// connection.
    pub(crate) fn pins(&self, head: &Parts, trusted: &[IpNet]) -> Option<Pins> {
        let is_http1 = self.traffic.is_some() && head.version == Version::HTTP_11;
        let is_a_clients = self.remote.counted(trusted).is_some();
        let is_forwarded = |name: &HeaderName| header_names::is_forwarded(name.as_str());
        let is_direct = is_a_clients && !head.headers.keys().any(is_forwarded);
        (is_http1 && is_direct).then(|| self.pins.get_or_init(Pins::default).clone())
    }
}

/// A connection's other end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Remote {
    /// The client's address: that of the PROXY header, else of the socket's other end; `None` on a unix socket.
    pub(crate) address: Option<IpAddr>,
    /// A proxy connects for a client and does not name its address.
    pub(crate) is_unnamed: bool,
    /// `http`, or `https` over TLS.
    pub(crate) proto: &'static str,
}

impl Remote {
    /// A connection from this address, as far as the socket shows.
    pub(crate) fn new(address: Option<IpAddr>) -> Self {
        Remote {
            address,
            is_unnamed: false,
            proto: "http",
        }
    }

    /// What the PROXY protocol says; without it nothing changes.
    pub(crate) fn learn(&mut self, source: Option<ProxySource>) {
        match source {
            None | Some(ProxySource::Proxy) => {}
            Some(ProxySource::Client(ip)) => self.address = Some(ip),
            Some(ProxySource::Unnamed) => self.is_unnamed = true,
        }
    }

    /// The peer that the requests are counted for. Forwarded fields of a client without an address are not believed, also behind a
    /// trusted proxy.
    pub(crate) fn peer(&self, trusted: &[IpNet]) -> Peer {
        let peer = Peer::new(self.address, trusted);
        Peer {
            is_trusted: peer.is_trusted && !self.is_unnamed,
            is_unnamed: self.is_unnamed,
            proto: self.proto,
            ..peer
        }
    }

    /// The address that its connections are counted by; a proxy speaks for many.
    pub(crate) fn counted(&self, trusted: &[IpNet]) -> Option<IpAddr> {
        self.address
            .filter(|_| !self.is_unnamed && !self.peer(trusted).is_trusted)
    }
}
