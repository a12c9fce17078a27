//! Happenings of an upgrade: one process takes another's place.

use std::fmt::Display;
use std::path::Path;

use prometheus::IntCounterVec;

use super::metric_names;
use super::metric_registry::{self, Book};

/// What upgrades count.
#[derive(Debug)]
pub(crate) struct UpgradeTelemetry {
    upgrades: IntCounterVec,
}

impl UpgradeTelemetry {
    pub(super) fn new(book: &mut Book) -> Self {
        UpgradeTelemetry {
            upgrades: metric_registry::counters(book, &metric_names::UPGRADES),
        }
    }

    /// A new process is asked to take over.
    pub(crate) fn upgrade_began(&self, binary: Option<&Path>) {
        let binary = binary.map(|path| path.display().to_string());
        tracing::info!(binary, "upgrade: starting a new process");
    }

    /// A new process serves; this one leaves.
    pub(crate) fn upgrade_done(&self, pid: u32, version: &str, topics: usize) {
        tracing::warn!(
            pid,
            version,
            topics,
            "upgrade: the new process serves, this one leaves"
        );
    }

    /// No new process serves; this one goes on.
    pub(crate) fn upgrade_failed(&self, why: &str) {
        self.upgrades.with_label_values(&["failed"]).inc();
        tracing::error!(why, "upgrade failed: the running process serves on");
    }

    /// This process has taken over from another.
    pub(crate) fn upgraded(&self, version: &str, topics: usize) {
        self.upgrades.with_label_values(&["done"]).inc();
        tracing::info!(version, topics, "took over from the process before");
    }

    /// The process before went before it had handed everything over.
    pub(crate) fn predecessor_lost(&self, error: &dyn Display) {
        tracing::error!(%error, "the process before ended too early: serving with what it left");
    }
}
