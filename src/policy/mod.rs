//! What a client may do: which policies hold at a place, and the one order in which they are asked. Pure.

pub mod auth;
mod check;
pub(crate) mod connection_limits;
pub mod cors;
pub mod load_shedding;
pub mod rate_limit;
#[cfg(test)]
mod tests;

pub(crate) use check::{
    Ask, Carrier, CheckProgress, Known, PolicyDecision, Reason, Step, View, check,
};

use std::sync::Arc;

use crate::config::{Auth, Config, Cors, Namespace, RateLimit, Require, Route, SocketIo};
use crate::router::Match;

/// The policies of a place.
#[derive(Clone, Copy, Default)]
pub(crate) struct Policies<'a> {
    /// Which origins may use it.
    pub(crate) cors: Option<&'a Cors>,
    /// How a client is authenticated.
    pub(crate) auth: &'a [Arc<Auth>],
    /// What a client has to be.
    pub(crate) require: Option<&'a Require>,
    /// How much a client may ask for.
    pub(crate) rate_limit: Option<&'a RateLimit>,
    /// The route whose policies they are; `None` for `PREFIX/ws`.
    pub(crate) route: Option<&'a Route>,
    /// Routes that guard other readings of the path.
    pub(crate) others: &'a [Arc<Route>],
}

impl<'a> Policies<'a> {
    /// Those of a route.
    pub(crate) fn of_route(route: &'a Route) -> Self {
        Policies {
            cors: route.cors.as_deref(),
            auth: &route.auth,
            require: route.require.as_ref(),
            rate_limit: route.rate_limit.as_deref(),
            route: Some(route),
            others: &[],
        }
    }

    /// Those of the route that fits a request, and of all that its path may be read as.
    pub(crate) fn of_match(found: &'a Match) -> Self {
        Policies {
            others: &found.others,
            ..Policies::of_route(&found.route)
        }
    }

    /// Those of the path of Socket.IO: its users are known when they join a namespace.
    pub(crate) fn of_socketio(socketio: &'a SocketIo) -> Self {
        Policies {
            cors: socketio.cors.as_deref(),
            rate_limit: socketio.rate_limit.as_deref(),
            ..Policies::default()
        }
    }

    /// Those of a namespace of Socket.IO.
    pub(crate) fn of_namespace(namespace: &'a Namespace) -> Self {
        Policies {
            auth: &namespace.auth,
            require: namespace.require.as_ref(),
            rate_limit: namespace.rate_limit.as_deref(),
            ..Policies::default()
        }
    }

    /// Those of `PREFIX/ws`, and of endpoints that are asked about no route.
    pub(crate) fn of_websocket(config: &'a Config) -> Self {
        let websocket = &config.websocket;
        Policies {
            cors: websocket.cors.as_deref(),
            auth: &websocket.auth,
            rate_limit: websocket.rate_limit.as_deref(),
            ..Policies::default()
        }
    }
}
