//! The other listener: API, metrics, probes.
//!
//! A request's way: the three open paths · `Host` · `Origin` · token · path and method (`router`) · its function in `api`. Functions
//! take and return the types of their bodies (`typed`), or a `Fault`; only `response` turns those into bytes. `openapi` describes
//! the same endpoints by the same types.

mod access;
mod api;
mod callers;
mod endpoint;
mod endpoints;
mod linger;
mod metrics_listener;
mod openapi;
mod request;
mod response;
mod router;
mod schema;
mod server;
mod typed;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::sync::mpsc;

pub use api::commands::{Applied, Ask, Declined, Entry, Routes, Snapshot, Trigger};
pub use api::explain::{parse_claim, parse_header};
pub use api::revoke::REVOCATIONS;
pub use api::upgrade::{NotUpgraded, Upgrade, Upgraded};
pub use metrics_listener::Scrape;
pub use server::serve;

use crate::rollout::controller::Controller;
use crate::session::Services;

/// What the API works on.
pub struct Admin {
    /// The process.
    pub shared: Arc<Services>,
    /// The stages.
    pub controller: Controller,
    /// The task that owns the configuration.
    pub asks: mpsc::Sender<Ask>,
    /// Orders to start another process in this one's place.
    pub upgrades: Option<mpsc::Sender<Upgrade>>,
    /// Since when the process serves.
    pub started: Instant,
    /// Set once the process is on its way out: not ready any more, whatever else it still does.
    pub leaving: AtomicBool,
    /// Held while revocations are written: one after the other, each writes all that there are by then.
    pub keeping: tokio::sync::Mutex<()>,
}

impl Admin {
    /// Why traffic should go elsewhere; `None` while ready.
    fn unready(&self) -> Option<&'static str> {
        let leaves = self.leaving.load(Ordering::Relaxed);
        let drained = self.shared.draining.load(Ordering::Relaxed);
        (leaves || drained).then_some("draining")
    }
}
