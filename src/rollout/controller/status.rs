//! Where the rollouts stand, for the admin API.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Controller;
use crate::config::Rollout;
use crate::rollout::record::{HistoryEntry, RolloutRecord};

/// One rollout as it stands.
#[derive(Clone, Debug)]
pub(crate) struct ControlledRollout {
    /// What the file says.
    pub(crate) plan: Arc<Rollout>,
    /// What is in force, and how it came to be.
    pub(crate) record: RolloutRecord,
    /// Whether it would outlive a restart.
    pub(crate) durable: bool,
}

impl Controller {
    /// One rollout.
    pub(crate) fn status(&self, name: &str) -> Option<ControlledRollout> {
        self.list().into_iter().find(|s| *s.plan.name == *name)
    }

    /// All configured rollouts, by name.
    pub(crate) fn list(&self) -> Vec<ControlledRollout> {
        let kept = self.kept();
        let durable = self
            .0
            .file
            .as_ref()
            .is_some_and(|file| file.sound.load(Ordering::Relaxed));
        kept.plans
            .iter()
            .filter_map(|(name, plan)| {
                Some(ControlledRollout {
                    plan: plan.rollout.clone(),
                    record: kept.records.by_name.get(name)?.clone(),
                    durable,
                })
            })
            .collect()
    }

    /// What happened to one rollout, oldest first.
    pub(crate) fn history(&self, name: &str) -> Option<Vec<HistoryEntry>> {
        let status = self.status(name)?;
        Some(status.record.history().cloned().collect())
    }
}
