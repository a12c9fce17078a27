//! What a request is for, and the policies that hold there.

use std::ops::RangeInclusive;
use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, COOKIE};
use hyper::http::request::Parts;

use super::context::Address;
use super::endpoints::{self, About, OwnEndpoint};
use super::handshake;
use super::subprotocol::Subprotocols;
use crate::config::{CorsMode, Route, SocketIo};
use crate::http::problem::Problem;
use crate::policy::{Policies, cors};
use crate::router::{InForce, Match};

/// Seconds after which a client that meets a draining process retries, spread at random.
const DRAINING_SECONDS: RangeInclusive<u32> = 1..=5;

/// What a request is for.
pub(crate) enum Destination {
    /// `PREFIX/ws`.
    Multiplex,
    /// The path of Socket.IO.
    SocketIo(Arc<SocketIo>),
    /// `PREFIX/transport`, and what it is asked about.
    Transport(Option<About>),
    /// `PREFIX/ticket`, likewise.
    Ticket(Option<About>),
    /// A route of the file.
    Route(Match, Asks),
}

/// How a request asks a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asks {
    /// As it says.
    Plainly,
    /// Whether another method would be allowed.
    Ahead,
}

impl Destination {
    /// Finds it by host, method and path.
    ///
    /// # Errors
    /// There is none, or there may be two.
    pub(crate) fn find(
        address: Address<'_>,
        head: &Parts,
        has_no_body: bool,
    ) -> Result<Destination, Problem> {
        if let Some(socketio) = socketio_at(address) {
            return Ok(Destination::SocketIo(socketio.clone()));
        }
        let prefix = &address.in_force.config.server.prefix;
        Ok(match endpoints::find(prefix, address.path)? {
            Some(OwnEndpoint::WebSocket) => Destination::Multiplex,
            Some(OwnEndpoint::Transport) => Destination::Transport(endpoints::about(address)?),
            Some(OwnEndpoint::Ticket) => Destination::Ticket(endpoints::about(address)?),
            None => {
                let (found, asks) = route(address, head, has_no_body)?;
                Destination::Route(found, asks)
            }
        })
    }

    /// The route of the file.
    pub(crate) fn route(&self) -> Option<&Arc<Route>> {
        match self {
            Destination::Route(found, _) => Some(&found.route),
            Destination::Multiplex
            | Destination::SocketIo(_)
            | Destination::Transport(_)
            | Destination::Ticket(_) => None,
        }
    }

    /// The route that it is for, or that it asks about, and what the path says there.
    pub(crate) fn found(&self) -> Option<&Match> {
        match self {
            Destination::Multiplex | Destination::SocketIo(_) => None,
            Destination::Transport(about) | Destination::Ticket(about) => {
                about.as_ref().map(|about| &about.found)
            }
            Destination::Route(found, _) => Some(found),
        }
    }

    /// The policies that hold there.
    pub(crate) fn policies<'a>(&'a self, in_force: &'a InForce) -> Policies<'a> {
        match self {
            Destination::Multiplex | Destination::Transport(None) | Destination::Ticket(None) => {
                Policies::of_websocket(&in_force.config)
            }
            Destination::SocketIo(socketio) => Policies::of_socketio(socketio),
            Destination::Transport(Some(about)) | Destination::Ticket(Some(about)) => {
                Policies::of_match(&about.found)
            }
            Destination::Route(found, Asks::Plainly) => Policies::of_match(found),
            // Browsers send no credentials with it, and the answering side has to see it.
            Destination::Route(found, Asks::Ahead) => Policies {
                auth: &[],
                require: None,
                ..Policies::of_match(found)
            },
        }
    }

    /// Whether a socket may be behind it at all.
    pub(crate) fn takes_handshakes(&self) -> bool {
        matches!(
            self,
            Destination::Multiplex | Destination::SocketIo(_) | Destination::Route(..)
        )
    }

    /// Whether a handshake gets a socket of ours; any other is the backend's, and so is what it says there.
    pub(crate) fn is_bridged(&self) -> bool {
        match self {
            Destination::Multiplex | Destination::SocketIo(_) => true,
            Destination::Route(found, _) => found.bridged,
            Destination::Transport(_) | Destination::Ticket(_) => false,
        }
    }

    /// The protocol that a handshake asks us for, as metrics name it; `None` where it is the backend's own.
    pub(crate) fn asked_for(&self, head: &Parts) -> Option<&'static str> {
        match self {
            Destination::Route(found, _) if !found.bridged => None,
            Destination::Route(..) => Some(handshake::protocol(&head.headers)),
            Destination::SocketIo(_) => Some("socketio"),
            Destination::Multiplex | Destination::Transport(_) | Destination::Ticket(_) => {
                Some("json")
            }
        }
    }

    /// The form of a handshake, before authentication; `None` where it is none.
    ///
    /// # Errors
    /// 400 and 426 for its form, 503 where no new sessions are taken.
    pub(crate) fn expect_handshake(
        &self,
        is_handshake: bool,
        is_draining: bool,
        head: &Parts,
    ) -> Result<Option<Subprotocols>, Problem> {
        if !is_handshake {
            return match self {
                Destination::Multiplex => Err(Problem::upgrade_required()),
                _ => Ok(None),
            };
        }
        handshake::key(&head.headers)?;
        let is_ours = self.asked_for(head).is_some();
        if is_ours && is_draining {
            return Err(Problem::draining(fastrand::u32(DRAINING_SECONDS)));
        }
        Subprotocols::read(&head.headers).map(Some)
    }
}

/// A preflight that is answered here, or that is the backend's to answer, goes by the route that it asks about. Any other
/// request is what it says, whatever else it names.
fn route(address: Address<'_>, head: &Parts, has_no_body: bool) -> Result<(Match, Asks), Problem> {
    let plain = address.find(&head.method);
    let asked = cors::preflight_method(&head.method, &head.headers);
    if let Some(asked) = asked
        && let Ok(found) = address.find(&asked)
    {
        let mode = |route: &Route| route.cors.as_ref().map(|cors| cors.mode);
        let is_bare = has_no_body
            && !head.headers.contains_key(COOKIE)
            && !head.headers.contains_key(AUTHORIZATION);
        // What the backend gets to see unjudged holds nothing, and comes to no other route that would have judged it.
        let may_pass = || match &plain {
            Ok(plain) => {
                Arc::ptr_eq(&plain.route, &found.route)
                    || mode(&plain.route) == Some(CorsMode::Passthrough)
            }
            // Nothing is there for it; where two might be, it is neither's.
            Err(problem) => problem.status == StatusCode::NOT_FOUND,
        };
        match mode(&found.route) {
            Some(CorsMode::Enforce) => return Ok((found, Asks::Ahead)),
            Some(CorsMode::Passthrough) if is_bare && may_pass() => {
                return Ok((found, Asks::Ahead));
            }
            _ => {}
        }
    }
    Ok((plain?, Asks::Plainly))
}

/// Socket.IO, where a path is its.
fn socketio_at(address: Address<'_>) -> Option<&Arc<SocketIo>> {
    let socketio = address.in_force.config.socketio.as_ref()?;
    let rest = socketio.path.strip_prefix(address.path)?;
    matches!(rest, "" | "/").then_some(socketio)
}
