//! The public listeners: accept, route, judge, answer.

use std::sync::Arc;

use tokio::sync::watch;

use crate::listener::Listener;
use crate::session::Shared;

/// Serves one public address. Once `stop` turns true nothing more is accepted, the listener is closed, unused connections
/// end, and the call returns when every HTTP exchange under way is over; sessions are tasks of their own by then. Dropping
/// it cuts what is left.
pub async fn serve(listener: Listener, shared: Arc<Shared>, stop: watch::Receiver<bool>) {
    drop((listener, shared, stop));
    todo!()
}
