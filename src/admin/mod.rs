//! The other listener: API, metrics, probes.
//!
//! A request's way: the three open paths · `Host` · `Origin` · token · path and method (`Resource`) · its function. Functions
//! return an `Answer` or a `Fault`; only `answer` turns those into bytes.

mod answer;
mod ask;
mod callers;
mod config;
mod door;
mod explain;
mod health;
mod parting;
mod read;
mod resource;
mod revoke;
mod rollouts;
mod scrape;
mod serve;
mod sessions;
mod topics;
mod upgrade;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::sync::mpsc;

pub use ask::{Applied, Ask, Declined, Entry, Routes, Snapshot, Trigger};
pub use explain::{parse_claim, parse_header};
pub use revoke::REVOCATIONS;
pub use scrape::Scrape;
pub use serve::serve;
pub use upgrade::{NotUpgraded, Upgrade, Upgraded};

use crate::rollout::controller::Controller;
use crate::session::Shared;

/// What the API works on.
pub struct Admin {
    /// The house.
    pub shared: Arc<Shared>,
    /// The stages.
    pub controller: Controller,
    /// Whoever owns the configuration.
    pub asks: mpsc::Sender<Ask>,
    /// Whoever can start another process in this one's place.
    pub upgrades: Option<mpsc::Sender<Upgrade>>,
    /// Since when the process serves.
    pub started: Instant,
    /// Set once the process is on its way out: not ready any more, whatever else it still does.
    pub leaving: AtomicBool,
    /// Whoever writes revocations down: one after the other, each all that there are by then.
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
