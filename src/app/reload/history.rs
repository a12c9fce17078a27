//! The configurations that were accepted, with their texts: in memory, and in `state_dir` where there is one.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::admin::{Entry, Trigger};
use crate::storage::{self, PRIVATE, rfc3339, write_whole};
use crate::telemetry::Telemetry;

/// The file's name in `state_dir`.
const FILE: &str = "configurations.json";

/// Texts kept.
const LENGTH: usize = 20;

/// What was accepted, oldest first.
#[derive(Debug)]
pub(crate) struct AcceptedConfigs {
    kept: VecDeque<Kept>,
    path: Option<PathBuf>,
}

/// One accepted configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    generation: u64,
    /// Unix seconds.
    at: u64,
    trigger: Word,
    sha256: String,
    /// The file's text, secrets included.
    text: String,
    /// What `undo` goes back to; an undo steps over what it took back.
    before: Option<u64>,
}

/// What made us read a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Word {
    Known(Trigger),
    /// Another version's: kept, and its line is not shown.
    Unknown(String),
}

impl AcceptedConfigs {
    /// What `state_dir` remembers; nothing where it remembers nothing that makes sense.
    pub(crate) fn new(state_dir: Option<&Path>, telemetry: &Telemetry) -> Self {
        let path = state_dir.map(|dir| dir.join(FILE));
        let kept = path.as_deref().map(|path| read(path, telemetry));
        AcceptedConfigs {
            kept: kept.unwrap_or_default(),
            path,
        }
    }

    /// The number of the configuration in force; 0 before the first.
    pub(crate) fn generation(&self) -> u64 {
        self.kept.back().map_or(0, |kept| kept.generation)
    }

    /// Another configuration is in force.
    pub(crate) fn accept(&mut self, at: u64, trigger: Trigger, sha256: &str, text: &str) {
        let last = self.kept.back();
        let before = match trigger {
            // To what the one taken back replaced, there is a way on: to what that one replaced.
            Trigger::Undo => self.one_before().and_then(|kept| kept.before),
            // Only an include changed, or the process started again: one step back is still the same text.
            _ if last.is_some_and(|last| last.text == text) => last.and_then(|last| last.before),
            _ => last.map(|last| last.generation),
        };
        let generation = self.generation() + 1;
        if self.kept.len() >= LENGTH {
            self.kept.pop_front();
        }
        self.kept.push_back(Kept {
            generation,
            at,
            trigger: Word::Known(trigger),
            sha256: sha256.to_owned(),
            text: text.to_owned(),
            before,
        });
    }

    /// The text that `undo` goes back to.
    pub(crate) fn text_before(&self) -> Option<String> {
        self.one_before().map(|kept| kept.text.clone())
    }

    /// As the admin API shows them.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let entries = self.kept.iter().filter_map(|kept| {
            let Word::Known(trigger) = kept.trigger else {
                return None;
            };
            Some(Entry {
                generation: kept.generation,
                at: rfc3339(kept.at),
                trigger,
                sha256: kept.sha256.clone(),
            })
        });
        entries.collect()
    }

    /// Where they are kept.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Brings the file up to date.
    ///
    /// # Errors
    /// What the file system says; the old file is untouched then.
    pub(crate) async fn save(&self) -> io::Result<()> {
        let Some(path) = self.path.clone() else {
            return Ok(());
        };
        let text = serde_json::to_vec_pretty(&self.kept).map_err(io::Error::other)?;
        tokio::task::spawn_blocking(move || write_whole(&path, &text, PRIVATE))
            .await
            .unwrap_or_else(|_| Err(io::Error::other("the writer panicked")))
    }

    fn one_before(&self) -> Option<&Kept> {
        let before = self.kept.back()?.before?;
        self.kept.iter().find(|kept| kept.generation == before)
    }
}

fn read(path: &Path, telemetry: &Telemetry) -> VecDeque<Kept> {
    let why = match std::fs::read(path) {
        Ok(text) => match serde_json::from_slice::<VecDeque<Kept>>(&text) {
            Ok(kept) if is_sound(&kept) => return kept,
            Ok(_) => "its generations are out of order".to_owned(),
            Err(error) => error.to_string(),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => return VecDeque::new(),
        Err(error) => error.to_string(),
    };
    let aside = storage::set_aside(path, SystemTime::now());
    telemetry.life.state_corrupt(path, &why, aside.as_deref());
    VecDeque::new()
}

fn is_sound(kept: &VecDeque<Kept>) -> bool {
    let numbers: Vec<u64> = kept.iter().map(|kept| kept.generation).collect();
    numbers.is_sorted_by(|a, b| a < b) && numbers.first() != Some(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(history: &mut AcceptedConfigs, trigger: Trigger, text: &str) {
        history.accept(1, trigger, "hash", text);
    }

    fn undo(history: &mut AcceptedConfigs) -> Option<String> {
        let text = history.text_before()?;
        accept(history, Trigger::Undo, &text);
        Some(text)
    }

    fn history(texts: &[&str]) -> AcceptedConfigs {
        let mut history = AcceptedConfigs::new(None, &Telemetry::default());
        for text in texts {
            accept(&mut history, Trigger::File, text);
        }
        history
    }

    #[test]
    fn undo_goes_back_step_by_step() {
        let mut history = history(&["a", "b", "c"]);
        assert_eq!(undo(&mut history).as_deref(), Some("b"));
        assert_eq!(undo(&mut history).as_deref(), Some("a"));
        assert_eq!(undo(&mut history), None);
        accept(&mut history, Trigger::Api, "d");
        assert_eq!(undo(&mut history).as_deref(), Some("a"));
        assert_eq!(history.generation(), 7);
    }

    #[test]
    fn a_restart_with_the_same_text_is_no_step() {
        let mut history = history(&["a", "b"]);
        accept(&mut history, Trigger::Start, "b");
        assert_eq!(undo(&mut history).as_deref(), Some("a"));
    }

    #[test]
    fn what_is_no_longer_kept_cannot_come_back() {
        let mut history = history(&[]);
        for n in 0..100 {
            accept(&mut history, Trigger::File, &n.to_string());
        }
        assert_eq!(history.entries().len(), LENGTH);
        let steps = std::iter::from_fn(|| undo(&mut history)).count();
        assert!(steps < LENGTH);
    }

    #[tokio::test]
    async fn history_outlives_the_process_and_skips_a_damaged_file() {
        let folder = tempfile::tempdir().unwrap();
        let telemetry = Telemetry::default();
        let mut first = AcceptedConfigs::new(Some(folder.path()), &telemetry);
        accept(&mut first, Trigger::Start, "a");
        accept(&mut first, Trigger::File, "b");
        first.save().await.unwrap();

        let second = AcceptedConfigs::new(Some(folder.path()), &telemetry);
        assert_eq!(second.entries(), first.entries());
        assert_eq!(second.text_before().as_deref(), Some("a"));

        // A word of another version neither ends the history nor the way back.
        let path = folder.path().join(FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("\"file\"", "\"schedule\"")).unwrap();
        let mut newer = AcceptedConfigs::new(Some(folder.path()), &telemetry);
        assert_eq!(newer.entries().len(), 1);
        assert_eq!(newer.text_before().as_deref(), Some("a"));
        accept(&mut newer, Trigger::Api, "c");
        assert_eq!(newer.generation(), 3);
        newer.save().await.unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().contains("schedule"));

        std::fs::write(folder.path().join(FILE), "[{").unwrap();
        let third = AcceptedConfigs::new(Some(folder.path()), &telemetry);
        assert!(third.entries().is_empty());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
