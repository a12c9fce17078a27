//! The kill switch: what takes every user off WebSocket until an operator resumes.

use serde::{Deserialize, Serialize};

use super::{Action, ChangeSource, RolloutRecord};

/// Holds until a person resumes, whatever the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Latch {
    Killed,
    RolledBack,
}

/// The file says `kill = true`: only the file can take it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileKills;

impl RolloutRecord {
    /// What is kept of it cannot be understood: no client gets WebSocket until an operator resumes.
    pub(crate) fn distrust(&mut self, why: &str, now: u64) {
        let from = self.stage().effective_percent();
        self.latch = Some(Latch::Killed);
        self.change(now, ChangeSource::Config, Action::Kill, (from, 0), why);
    }

    /// An operator's kill.
    pub(super) fn kill(&mut self, reason: &str, now: u64) {
        if self.latch == Some(Latch::Killed) {
            return;
        }
        let from = self.stage().effective_percent();
        self.latch = Some(Latch::Killed);
        self.change(now, ChangeSource::Admin, Action::Kill, (from, 0), reason);
    }

    /// Back to the percentage set last.
    ///
    /// # Errors
    /// The file kills.
    pub(super) fn resume(&mut self, now: u64) -> Result<(), FileKills> {
        if self.file_kills {
            return Err(FileKills);
        }
        if self.latch.is_none() && !self.paused {
            return Ok(());
        }
        let from = self.stage().effective_percent();
        self.latch = None;
        self.paused = false;
        let to = self.stage().effective_percent();
        self.change(now, ChangeSource::Admin, Action::Resume, (from, to), "");
        Ok(())
    }
}
