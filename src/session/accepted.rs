//! What is handed over with an accepted WebSocket: which client it is, and what it asked for.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use hyper::HeaderMap;
use hyper::header::HeaderValue;

use super::credentials::Presented;
use super::joined_namespace::JoinedNamespace;
use crate::config::{Emit, Route, Source};
use crate::policy::auth::Authenticated;
use crate::policy::connection_limits::Permit;
use crate::policy::rate_limit::ConnectionPermit;
use crate::protocol::Codec;
use crate::protocol::json::JsonCodec;
use crate::protocol::raw::{Named, Plain, Wrapped};
use crate::rollout::Candidate;
use crate::router::Match;

/// A handshake that was answered with 101; the session takes over from here.
pub(crate) struct Accepted {
    /// What the handshake's `X-Request-Id` said.
    pub(crate) request_id: String,
    /// Which client it is.
    pub(crate) handshake: Handshake,
    /// What may be a credential.
    pub(crate) presented: Presented,
    /// Which user it is, where a policy has asked.
    pub(crate) admission: Option<Arc<Authenticated>>,
    /// A `hello` has to say which user it is, before anything else.
    pub(crate) awaits_hello: bool,
    /// A seat under the caps of a policy; sessions of one connection share it.
    pub(crate) seat: Option<Seat>,
    /// What the connection carries.
    pub(crate) mode: Mode,
    /// Accept, then close at once with this code (4300 and its like).
    pub(crate) refuse_with: Option<u16>,
    /// The connection's place under the caps, given back with its end.
    pub(crate) permit: Option<Arc<Permit>>,
}

/// A connection's seat under the caps of a policy.
pub(crate) type Seat = Arc<Mutex<ConnectionPermit>>;

/// What a handshake says of its client.
#[derive(Clone, Debug)]
pub(crate) struct Handshake {
    /// The client's address in plain text form, without a port.
    pub(crate) remote: String,
    /// The same as a number; `None` where no address is known that would be the client's own.
    pub(crate) address: Option<IpAddr>,
    /// The `Host` field as the client sent it.
    pub(crate) host: HeaderValue,
    /// `http` or `https`, as the client sees the public address.
    pub(crate) proto: &'static str,
    /// The `Origin` field; it goes upstream with every `req`.
    pub(crate) origin: Option<HeaderValue>,
    /// That page is of another place, and was let in by a list.
    pub(crate) is_foreign: bool,
    /// What rollouts judge it by.
    pub(crate) candidate: Candidate,
    /// The handshake's header fields; the session keeps those that a route's `vary` names.
    pub(crate) headers: HeaderMap,
}

/// What a connection carries.
#[derive(Clone, Debug)]
pub(crate) enum Mode {
    /// `PREFIX/ws`: many subscriptions, `crossfade.v1.json`.
    Multiplex,
    /// A bridged route's own path: that one stream.
    Single {
        /// The route there, as the handshake was judged by it.
        found: Match,
        /// Canonical path and query, crossfade's own parameters stripped.
        url: String,
        /// `?cf_after=`, as it was.
        after: Option<String>,
        /// `?cf_last_event_id=`, decoded.
        last_event_id: Option<String>,
        /// The subprotocol.
        form: SingleForm,
    },
    /// One namespace of a Socket.IO client. Its CONNECT is the first message.
    Namespace(Arc<JoinedNamespace>),
}

/// The subprotocol of a single stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SingleForm {
    /// `crossfade.v1.json`, with subscription 0 implied.
    Json,
    /// `crossfade.v1.raw` or none offered.
    Raw {
        /// `?cf_wrap=1`.
        wrap: bool,
    },
}

impl Mode {
    /// The route of the one stream.
    pub(super) fn route(&self) -> Option<&Arc<Route>> {
        match self {
            Mode::Multiplex | Mode::Namespace(_) => None,
            Mode::Single { found, .. } => Some(&found.route),
        }
    }

    /// How the client speaks.
    pub(super) fn codec(&self) -> Box<dyn Codec> {
        let (form, found) = match self {
            Mode::Multiplex => return Box::new(JsonCodec),
            Mode::Namespace(joined) => return Box::new(joined.codec()),
            Mode::Single { form, found, .. } => (form, found),
        };
        let source = found.route.source.as_ref();
        let has_names = matches!(source, Some(Source::Poll(poll)) if poll.emit == Emit::Changes);
        match form {
            SingleForm::Json => Box::new(JsonCodec),
            SingleForm::Raw { wrap: true } => Box::new(Wrapped),
            SingleForm::Raw { wrap: false } if has_names => Box::new(Named),
            SingleForm::Raw { wrap: false } => Box::new(Plain),
        }
    }
}

/// A handshake as tests make them.
#[cfg(test)]
pub(super) fn example() -> Accepted {
    Accepted {
        request_id: "f00d".into(),
        handshake: Handshake {
            remote: "192.0.2.7".into(),
            address: Some([192, 0, 2, 7].into()),
            host: HeaderValue::from_static("app.example"),
            proto: "http",
            origin: None,
            is_foreign: false,
            candidate: Candidate::default(),
            headers: HeaderMap::new(),
        },
        presented: Default::default(),
        admission: None,
        awaits_hello: false,
        seat: None,
        mode: Mode::Multiplex,
        refuse_with: None,
        permit: None,
    }
}
