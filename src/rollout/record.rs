//! What is kept of one rollout, and how each happening changes it. Pure: the time is an argument.
//!
//! The precedence, strongest first: `kill = true` in the file · a kill or rollback that is latched until a person resumes ·
//! the percentage set last, by whomever. What an admin set outlives reloads and restarts; a `percent` that changed in the file
//! is newer than an older admin setting, and wins.

use std::collections::VecDeque;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Stage, StageState};
use crate::config::Rollout;

mod kill_switch;
mod reading;

pub(crate) use kill_switch::FileKills;
use kill_switch::Latch;
pub(crate) use reading::read;

/// Entries of history kept for one rollout.
const HISTORY: usize = 200;

/// One rollout's kept state. [`read`] is the way back from what is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct RolloutRecord {
    /// Thousandths of a percent set last.
    pub(crate) percent: u32,
    /// What set them: the file or an operator.
    pub(crate) percent_source: ChangeSource,
    /// The file's own value when it was last read.
    file_percent: u32,
    /// Whether the file says `kill = true`.
    pub(crate) file_kills: bool,
    /// Whether a schedule must wait.
    paused: bool,
    /// What holds until a person resumes.
    latch: Option<Latch>,
    /// Counts changes, from 1.
    pub(crate) generation: u64,
    /// Unix seconds of the last change.
    pub(crate) changed_at: u64,
    /// What happened, oldest first.
    history: VecDeque<Line>,
    /// Members that only another version knows: it finds them again.
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// What set the values in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum ChangeSource {
    /// The file.
    Config,
    /// An operator, over the admin API.
    Admin,
}

impl ChangeSource {
    /// The word in documents and logs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            ChangeSource::Config => "config",
            ChangeSource::Admin => "admin",
        }
    }
}

/// One line of a rollout's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Known(HistoryEntry),
    /// Another version wrote it: kept, never shown.
    Unknown(Value),
}

/// One happening in a rollout's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HistoryEntry {
    /// Unix seconds.
    pub(crate) at: u64,
    /// What made the change.
    pub(crate) by: ChangeSource,
    /// `start`, `set`, `kill`, `resume`, `pause` or `unpause`.
    pub(crate) action: Action,
    /// Thousandths: for `set` the percentage set before, else the one in force before.
    pub(crate) from: u32,
    /// Likewise, after.
    pub(crate) to: u32,
    /// A reason, where one is known.
    pub(crate) why: String,
    /// Members that only another version knows.
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// What was done to a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum Action {
    /// First seen in the file.
    Start,
    /// A new percentage.
    Set,
    /// No client gets WebSocket any more.
    Kill,
    /// Kill, rollback and pause are over.
    Resume,
    /// A schedule waits.
    Pause,
    /// It goes on.
    Unpause,
}

impl Action {
    /// The word in documents and logs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Action::Start => "start",
            Action::Set => "set",
            Action::Kill => "kill",
            Action::Resume => "resume",
            Action::Pause => "pause",
            Action::Unpause => "unpause",
        }
    }
}

/// What a person asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RolloutChange {
    /// A new percentage, a pause, or both.
    Adjust {
        /// Thousandths.
        percent: Option<u32>,
        /// Pause or go on.
        paused: Option<bool>,
    },
    /// No client gets WebSocket until an operator resumes.
    Kill {
        /// For the history.
        reason: String,
    },
    /// Back to the percentage set last.
    Resume,
}

impl RolloutRecord {
    /// A rollout that was never seen before starts as the file says.
    pub(crate) fn new(plan: &Rollout, now: u64) -> Self {
        let mut record = RolloutRecord {
            percent: plan.percent,
            percent_source: ChangeSource::Config,
            file_percent: plan.percent,
            file_kills: plan.kill,
            paused: false,
            latch: None,
            generation: 0,
            changed_at: now,
            history: VecDeque::new(),
            others: Map::new(),
        };
        let to = record.stage().effective_percent();
        record.note(now, ChangeSource::Config, Action::Start, (to, to), "");
        record.generation = 1;
        record
    }

    /// What happened, oldest first.
    pub(crate) fn history(&self) -> impl DoubleEndedIterator<Item = &HistoryEntry> {
        self.history.iter().filter_map(|line| match line {
            Line::Known(entry) => Some(entry),
            Line::Unknown(_) => None,
        })
    }

    /// What is in force.
    pub(crate) fn stage(&self) -> Stage {
        let state = match (self.file_kills, self.latch) {
            (true, _) | (_, Some(Latch::Killed)) => StageState::Killed,
            (_, Some(Latch::RolledBack)) => StageState::RolledBack,
            _ if self.paused => StageState::Paused,
            _ => StageState::Running,
        };
        Stage {
            percent: self.percent,
            state,
        }
    }

    /// What set the values in force: the source of the kill, else of the percentage.
    pub(crate) fn source(&self) -> ChangeSource {
        match (self.file_kills, self.latch) {
            (true, _) => ChangeSource::Config,
            (_, Some(_)) => ChangeSource::Admin,
            _ => self.percent_source,
        }
    }

    /// The file was read (again). Only what changed in it counts. Returns whether anything did.
    pub(crate) fn follow(&mut self, plan: &Rollout, now: u64) -> bool {
        let before = self.generation;
        if plan.percent != self.file_percent {
            let why = match self.percent_source {
                ChangeSource::Admin => "the file's percent changed and replaces the admin's",
                ChangeSource::Config => "the file's percent changed",
            };
            let moved = (self.percent, plan.percent);
            self.file_percent = plan.percent;
            self.percent = plan.percent;
            self.percent_source = ChangeSource::Config;
            self.change(now, ChangeSource::Config, Action::Set, moved, why);
        }
        if plan.kill != self.file_kills {
            let from = self.stage().effective_percent();
            self.file_kills = plan.kill;
            let to = self.stage().effective_percent();
            let (action, why) = match plan.kill {
                true => (Action::Kill, "kill = true in the file"),
                false => (Action::Resume, "kill = false in the file"),
            };
            self.change(now, ChangeSource::Config, action, (from, to), why);
        }
        self.generation != before
    }

    /// A person asked for it. Returns whether anything changed: asking twice is as good as once.
    ///
    /// # Errors
    /// A resume while the file kills.
    pub(crate) fn apply(&mut self, change: &RolloutChange, now: u64) -> Result<bool, FileKills> {
        let before = self.generation;
        match change {
            RolloutChange::Adjust { percent, paused } => {
                if let Some(percent) = *percent {
                    self.set(percent, now);
                }
                if let Some(paused) = *paused {
                    self.pause(paused, now);
                }
            }
            RolloutChange::Kill { reason } => self.kill(reason, now),
            RolloutChange::Resume => self.resume(now)?,
        }
        Ok(self.generation != before)
    }

    fn set(&mut self, percent: u32, now: u64) {
        if percent == self.percent && self.percent_source == ChangeSource::Admin {
            return;
        }
        let moved = (self.percent, percent);
        self.percent = percent;
        self.percent_source = ChangeSource::Admin;
        let why = match self.stage().state {
            StageState::Killed | StageState::RolledBack => "takes effect at resume",
            StageState::Running | StageState::Paused => "",
        };
        self.change(now, ChangeSource::Admin, Action::Set, moved, why);
    }

    fn pause(&mut self, paused: bool, now: u64) {
        if paused == self.paused {
            return;
        }
        self.paused = paused;
        let action = match paused {
            true => Action::Pause,
            false => Action::Unpause,
        };
        let percent = self.stage().effective_percent();
        self.change(now, ChangeSource::Admin, action, (percent, percent), "");
    }

    fn change(&mut self, now: u64, by: ChangeSource, action: Action, moved: (u32, u32), why: &str) {
        self.generation += 1;
        self.changed_at = now;
        self.note(now, by, action, moved, why);
    }

    fn note(
        &mut self,
        at: u64,
        by: ChangeSource,
        action: Action,
        (from, to): (u32, u32),
        why: &str,
    ) {
        if self.history.len() >= HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(Line::Known(HistoryEntry {
            at,
            by,
            action,
            from,
            to,
            why: why.to_owned(),
            others: Map::new(),
        }));
    }
}

#[cfg(test)]
mod tests;
