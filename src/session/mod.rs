//! One downstream realtime connection: what it subscribed to, what it is owed, how it leaves.

mod beginning;
mod call;
mod checks;
mod client;
mod coalesce;
mod cohort;
mod connection;
mod context;
mod delivery;
mod effect;
mod ending;
mod filter;
mod following;
mod frame;
mod heartbeat;
mod hello;
mod identity;
pub mod keep;
mod lag;
mod leaving;
mod life;
mod link;
pub mod listing;
mod member;
mod opening;
mod pace;
mod parking;
mod presented;
pub mod registry;
mod requests;
mod shared;
mod slow;
mod subscription;
#[cfg(test)]
mod tests;
mod timer;
mod watch;

use std::sync::Arc;

pub use opening::{Handshake, Mode, Opening, SingleForm};
pub use presented::Presented;
pub use shared::Shared;

use crate::router::InForce;
use crate::transport::Transport;

/// Carries one client to its end. Spawn it as a task of its own: everything of the HTTP engine should be gone by then, so that
/// an idle session stays small.
pub fn run(
    transport: Box<dyn Transport>,
    opening: Opening,
    in_force: Arc<InForce>,
    shared: Arc<Shared>,
) -> impl Future<Output = ()> + Send + 'static {
    connection::Session::new(transport, opening, in_force, shared)
}
