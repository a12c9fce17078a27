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

pub use api::commands::Declined;
pub(crate) use api::commands::{Applied, Ask, Entry, Routes, Snapshot, Trigger};
pub(crate) use api::explain::{parse_args, parse_claim, parse_header};
pub(crate) use api::revoke::REVOCATIONS;
pub(crate) use api::upgrade::{NotUpgraded, Upgrade, Upgraded};
pub(crate) use metrics_listener::Scrape;
pub(crate) use server::serve;

use crate::rollout::controller::Controller;
use crate::session::Services;

/// What the API works on.
pub(crate) struct Admin {
    /// The process.
    pub(crate) shared: Arc<Services>,
    /// The stages.
    pub(crate) controller: Controller,
    /// The task that owns the configuration.
    pub(crate) asks: mpsc::Sender<Ask>,
    /// Orders to start another process in this one's place.
    pub(crate) upgrades: Option<mpsc::Sender<Upgrade>>,
    /// Since when the process serves.
    pub(crate) started: Instant,
    /// Set once the process is on its way out: not ready any more, whatever else it still does.
    pub(crate) leaving: AtomicBool,
    /// Held while revocations are written: one after the other, each writes all that there are by then.
    pub(crate) keeping: tokio::sync::Mutex<()>,
}

impl Admin {
    /// Why traffic should go elsewhere; `None` while ready.
    fn unready(&self) -> Option<&'static str> {
        let leaves = self.leaving.load(Ordering::Relaxed);
        let drained = self.shared.draining.load(Ordering::Relaxed);
        (leaves || drained).then_some("draining")
    }
}
