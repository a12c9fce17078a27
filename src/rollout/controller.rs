//! The one owner of every rollout's stage: no other task stores into [`Stages`]. Its task closes the windows of what was measured.
//!
//! A change takes effect at once, under one short lock; the file in `state_dir` follows, written by one writer at a time and
//! always with the newest state, so that a slow disk delays an answer but never a kill.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::time::{Instant, MissedTickBehavior};

use self::file::Records;
use super::change::StageChange;
use super::plan::Plans;
use super::record::{RolloutChange, RolloutRecord};
use super::window::{WINDOW, Windows};
use super::{Stage, Stages};
use crate::storage::{self, PRIVATE, unix_seconds};
use crate::telemetry::{Cohorts, Counted, Telemetry};

mod file;
mod status;

pub(crate) use status::ControlledRollout;

/// The file's name in `state_dir`.
const FILE: &str = "rollouts.json";

/// The owner's handle. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Controller(Arc<Inner>);

type Told = Box<dyn Fn(&[StageChange]) + Send + Sync>;

struct Inner {
    stages: Arc<ArcSwap<Stages>>,
    kept: Mutex<Kept>,
    measured: Mutex<Measured>,
    file: Option<StateFile>,
    /// Called after every change of a stage, in their order.
    told: Told,
    telemetry: Arc<Telemetry>,
}

struct Kept {
    /// Those not configured any more stay: a kill must not be undone by taking a rollout out of the file and in again.
    records: Records,
    plans: Plans,
    /// Counts changes of anything in here.
    version: u64,
    /// Another process is their owner now: nothing changes here any more, and nothing is written.
    is_given_away: bool,
}

/// What the tick has read.
struct Measured {
    /// All that was counted before the window that is open.
    before: Counted,
    windows: BTreeMap<String, Windows>,
}

struct StateFile {
    path: PathBuf,
    /// The version that the file holds; the holder of the lock is the writer.
    written: tokio::sync::Mutex<u64>,
    /// Whether the last write succeeded.
    sound: AtomicBool,
}

/// Why a change was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChangeRefused {
    /// No rollout of that name is configured.
    Unknown,
    /// It changed since the caller looked; this is its generation.
    Stale(u64),
    /// A resume while the file says `kill = true`.
    FileKills,
    /// Another process has taken over.
    GivenAway,
}

impl Controller {
    /// Reads what was kept and lets the file's changes since then act on it. `told` is called after every change of a stage, in
    /// their order, with those that differ.
    pub(crate) fn new(
        plans: &Plans,
        state_dir: Option<&Path>,
        telemetry: Arc<Telemetry>,
        told: impl Fn(&[StageChange]) + Send + Sync + 'static,
    ) -> Self {
        let now = SystemTime::now();
        let (records, file) = match state_dir.map(|dir| dir.join(FILE)) {
            Some(path) => {
                let (records, is_writable) = file::read(&path, plans, now, &telemetry);
                (records, is_writable.then_some(path))
            }
            None => (Records::default(), None),
        };
        let controller = Controller(Arc::new(Inner {
            stages: Arc::default(),
            kept: Mutex::new(Kept {
                records,
                plans: Plans::new(),
                version: 0,
                is_given_away: false,
            }),
            measured: Mutex::new(Measured {
                before: telemetry.rollouts.counted(),
                windows: BTreeMap::new(),
            }),
            file: file.map(|path| StateFile {
                path,
                written: tokio::sync::Mutex::new(0),
                sound: AtomicBool::new(true),
            }),
            told: Box::new(told),
            telemetry,
        }));
        controller.adopt(plans);
        controller
    }

    /// What sessions and requests ask.
    pub(crate) fn stages(&self) -> Arc<ArcSwap<Stages>> {
        self.0.stages.clone()
    }

    /// The task of the process in charge: looks at every rollout when a window is over.
    pub(crate) async fn run(self) {
        let mut ticks = tokio::time::interval_at(Instant::now() + WINDOW, WINDOW);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.tick();
        }
    }

    fn tick(&self) {
        let plans = self.kept().plans.clone();
        let counted = self.0.telemetry.rollouts.counted();
        let mut measured = self.measured();
        let before = std::mem::replace(&mut measured.before, counted);
        let Measured {
            before: now,
            windows,
        } = &mut *measured;
        windows.retain(|name, _| plans.contains_key(name));
        for (name, plan) in &plans {
            let routes = || plan.routes.iter().map(|route| &*route.name);
            let lately = now.of(name, routes()).since(before.of(name, routes()));
            windows.entry(name.clone()).or_default().close(lately);
        }
    }

    /// What the cohorts of a rollout did in the last closed windows that together are at least this long.
    #[cfg_attr(
        not(test),
        expect(
            dead_code,
            reason = "nothing in the process judges a cohort by its windows yet"
        )
    )]
    pub(crate) fn lately(&self, name: &str, span: Duration) -> Option<Cohorts> {
        let measured = self.measured();
        measured.windows.get(name).map(|windows| windows.last(span))
    }

    /// A person changes one rollout, if it is still at one of the generations that they saw (`None`: at any).
    ///
    /// In force at once; done when it is also on disk.
    ///
    /// # Errors
    /// See [`ChangeRefused`]; nothing changed then.
    pub(crate) async fn change(
        &self,
        name: &str,
        seen: Option<Vec<u64>>,
        change: RolloutChange,
    ) -> Result<ControlledRollout, ChangeRefused> {
        self.apply(name, seen.as_deref(), &change)?;
        // The save goes on when the caller's connection is gone.
        let saver = self.clone();
        let saved = tokio::spawn(async move { saver.save().await });
        if saved.await.is_err() {
            self.0.telemetry.life.panicked("rollout state file");
        }
        self.status(name).ok_or(ChangeRefused::Unknown)
    }

    /// Gives everything away: where the rollouts stand, as the state file would say it. From now on nothing changes here.
    ///
    /// # Errors
    /// Where it cannot be written down.
    pub(crate) fn leave(&self) -> io::Result<String> {
        let mut kept = self.kept();
        let text = kept.records.to_text()?;
        kept.is_given_away = true;
        String::from_utf8(text).map_err(io::Error::other)
    }

    /// It was not taken over after all.
    pub(crate) fn stay(&self) {
        self.kept().is_given_away = false;
    }

    /// Takes over from a process that has left, and lets what the file says otherwise act on it.
    ///
    /// # Errors
    /// Why the text is not understood, be it in one word that decides; nothing changed then.
    pub(crate) fn inherit(&self, text: &str, plans: &Plans) -> Result<(), String> {
        let now = unix_seconds(SystemTime::now());
        let (records, doubts) =
            file::parse(text.as_bytes(), now).map_err(|unread| unread.to_string())?;
        if let Some((name, why)) = doubts.first() {
            return Err(format!("rollout {name}: {why}"));
        }
        {
            let mut kept = self.kept();
            kept.records = records;
            kept.version += 1;
        }
        self.adopt(plans);
        Ok(())
    }

    /// Lets what changed in the file act, at once; [`Controller::save`] makes it outlive the process.
    pub(crate) fn adopt(&self, plans: &Plans) {
        let now = unix_seconds(SystemTime::now());
        let mut kept = self.kept();
        if kept.is_given_away {
            return;
        }
        for (name, plan) in plans {
            let known = kept.records.by_name.get_mut(name);
            let (changed, record) = match known {
                Some(record) => (record.follow(&plan.rollout, now), record),
                None => {
                    let record = RolloutRecord::new(&plan.rollout, now);
                    (
                        true,
                        kept.records.by_name.entry(name.clone()).or_insert(record),
                    )
                }
            };
            if changed {
                tell_last(&self.0.telemetry, name, record);
                kept.version += 1;
            }
        }
        (self.0.telemetry)
            .rollouts
            .rollouts_known(plans.keys().map(String::as_str));
        for gone in kept.plans.keys().filter(|name| !plans.contains_key(*name)) {
            self.0.telemetry.rollouts.rollout_gone(gone);
        }
        kept.plans = plans.clone();
        self.put_in_force(&kept);
    }

    fn apply(
        &self,
        name: &str,
        seen: Option<&[u64]>,
        change: &RolloutChange,
    ) -> Result<(), ChangeRefused> {
        let now = unix_seconds(SystemTime::now());
        let mut kept = self.kept();
        if kept.is_given_away {
            return Err(ChangeRefused::GivenAway);
        }
        if !kept.plans.contains_key(name) {
            return Err(ChangeRefused::Unknown);
        }
        let record = kept
            .records
            .by_name
            .get_mut(name)
            .ok_or(ChangeRefused::Unknown)?;
        if seen.is_some_and(|seen| !seen.contains(&record.generation)) {
            return Err(ChangeRefused::Stale(record.generation));
        }
        let changed = record
            .apply(change, now)
            .map_err(|_| ChangeRefused::FileKills)?;
        if changed {
            tell_last(&self.0.telemetry, name, record);
            kept.version += 1;
            self.put_in_force(&kept);
        }
        Ok(())
    }

    fn put_in_force(&self, kept: &Kept) {
        let stages: Stages = kept
            .records
            .by_name
            .iter()
            .map(|(name, record)| (name.as_str().into(), record.stage()))
            .collect();
        for (name, stage) in &stages {
            if kept.plans.contains_key(&**name) {
                let percent = f64::from(stage.effective_percent()) / 1000.0;
                self.0
                    .telemetry
                    .rollouts
                    .rollout_stands(name, percent, stage.state.as_str());
            }
        }
        let before = self.0.stages.load_full();
        if *before == stages {
            return;
        }
        let stages = Arc::new(stages);
        self.0.stages.store(stages.clone());
        let changes = kept.plans.iter().filter_map(|(name, plan)| {
            let before = before.get(name.as_str()).cloned();
            let change = StageChange {
                plan: plan.clone(),
                before: before.unwrap_or_else(|| Stage::planned(&plan.rollout)),
                after: stages.get(name.as_str())?.clone(),
            };
            (change.before != change.after).then_some(change)
        });
        // Under the lock: a session learns of two changes in their order.
        (self.0.told)(&changes.collect::<Vec<_>>());
    }

    /// Brings the file up to date.
    pub(crate) async fn save(&self) {
        let Some(file) = &self.0.file else { return };
        let mut written = file.written.lock().await;
        let (version, text) = {
            let kept = self.kept();
            if kept.is_given_away {
                return;
            }
            (kept.version, kept.records.to_text())
        };
        if *written == version && file.sound.load(Ordering::Relaxed) {
            return;
        }
        let path = file.path.clone();
        let outcome = tokio::task::spawn_blocking(move || {
            text.and_then(|text| storage::write_whole(&path, &text, PRIVATE))
        })
        .await
        .unwrap_or_else(|_| Err(io::Error::other("the writer panicked")));
        if outcome.is_ok() {
            *written = version;
        }
        file.sound.store(outcome.is_ok(), Ordering::Relaxed);
        if let Err(error) = outcome {
            self.0.telemetry.life.state_not_kept(&file.path, &error);
        }
    }

    fn measured(&self) -> MutexGuard<'_, Measured> {
        self.0
            .measured
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Nothing panics under this lock; were it so, the records would still be whole.
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell_last(telemetry: &Telemetry, name: &str, record: &RolloutRecord) {
    if let Some(entry) = record.history().next_back() {
        let to = super::Percent::new(entry.to).to_string();
        telemetry.rollouts.rollout_moved(
            name,
            entry.by.as_str(),
            entry.action.as_str(),
            &to,
            &entry.why,
        );
    }
}

#[cfg(test)]
mod tests;
