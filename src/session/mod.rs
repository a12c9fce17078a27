//! One downstream realtime connection: what it subscribed to, what it is owed, how it leaves.

mod accepted;
mod auth;
mod beginning;
mod checks;
mod client;
mod close;
mod coalesce;
mod cohort;
mod commands;
mod connection;
mod context;
pub(crate) mod credentials;
mod delivery;
mod drain;
mod filter;
mod frame;
mod handle;

mod joined_namespace;
mod joining;
mod lag;
mod link;
pub(crate) mod listing;
mod message_limit;
mod namespace;
mod reconcile;
mod recovery;
pub(crate) mod registry;
mod services;
mod session_record;
mod slow;
pub(crate) mod socketio;
mod subscription;
#[cfg(test)]
mod tests;

mod upstream_request;
mod welcome;

use std::sync::Arc;

pub(crate) use crate::session::credentials::Presented;
pub(crate) use accepted::{Accepted, Handshake, Mode, Seat, SingleForm};
pub(crate) use recovery::LeftSession;
pub(crate) use services::Services;

use crate::router::InForce;
use crate::transport::Transport;

/// Carries one client to its end. Spawn it as a task of its own: everything of the HTTP engine should be gone by then, so that
/// an idle session stays small.
pub(crate) fn run(
    transport: Box<dyn Transport>,
    opening: Accepted,
    in_force: Arc<InForce>,
    shared: Arc<Services>,
) -> impl Future<Output = ()> + Send + 'static {
    connection::Session::new(transport, opening, in_force, shared)
}
