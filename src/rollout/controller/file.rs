//! Where the rollouts stand, as it is written down: for the next start, and for a process that takes over.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;
use std::{fmt, io};

use serde::Serialize;
use serde_json::{Map, Value};

use super::Plans;
use crate::rollout::EVERYBODY;
use crate::rollout::record::{self, RolloutRecord};
use crate::storage::{self, unix_seconds};
use crate::telemetry::Telemetry;

/// The layout of [`Written`]. Members that older versions may pass over are added without another number. A new way to take
/// users out needs another number, so that those versions give WebSocket to no user.
const LAYOUT: u32 = 1;

/// What is kept of all rollouts.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(crate) by_name: BTreeMap<String, RolloutRecord>,
    /// Members beside them that only another version knows: it finds them again.
    others: Map<String, Value>,
}

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    rollouts: &'a BTreeMap<String, RolloutRecord>,
    #[serde(flatten)]
    others: &'a Map<String, Value>,
}

/// A text that cannot be read as a whole.
#[derive(Debug)]
pub(crate) enum Unread {
    /// Another version's layout.
    Foreign(String),
    Damaged(String),
}

impl Records {
    /// # Errors
    /// Where it cannot be written down.
    pub(crate) fn to_text(&self) -> io::Result<Vec<u8>> {
        let written = Written {
            version: LAYOUT,
            rollouts: &self.by_name,
            others: &self.others,
        };
        serde_json::to_vec_pretty(&written).map_err(io::Error::other)
    }
}

/// What was kept, and whether the file may be written. One that makes no sense is set aside; where that fails too, nothing is kept.
pub(crate) fn read(
    path: &Path,
    plans: &Plans,
    now: SystemTime,
    telemetry: &Telemetry,
) -> (Records, bool) {
    let seconds = unix_seconds(now);
    let unread = match std::fs::read(path) {
        Ok(text) => match parse(&text, seconds) {
            Ok((records, doubts)) => {
                for (name, why) in doubts {
                    telemetry.rollouts.rollout_distrusted(&name, &why);
                }
                return (records, true);
            }
            Err(unread) => unread,
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => return (Records::default(), true),
        Err(error) => Unread::Damaged(error.to_string()),
    };
    let aside = storage::set_aside(path, now);
    telemetry
        .life
        .state_corrupt(path, &unread.to_string(), aside.as_deref());
    // The configuration decides, but what may have been a kill never admits all clients.
    let mut records = Records::default();
    for (name, plan) in plans {
        if matches!(unread, Unread::Foreign(_)) || plan.rollout.percent == EVERYBODY {
            let why = format!("{} cannot be read: {unread}", path.display());
            telemetry.rollouts.rollout_distrusted(name, &why);
            let mut record = RolloutRecord::new(&plan.rollout, seconds);
            record.distrust(&why, seconds);
            records.by_name.insert(name.clone(), record);
        }
    }
    (records, aside.is_ok())
}

/// The records, and for each that is not understood why no client gets WebSocket there.
///
/// # Errors
/// Where nothing of it can be read.
pub(crate) fn parse(text: &[u8], now: u64) -> Result<(Records, Vec<(String, String)>), Unread> {
    let damaged = |why: &dyn fmt::Display| Unread::Damaged(why.to_string());
    let content: Value = serde_json::from_slice(text).map_err(|error| damaged(&error))?;
    let Value::Object(mut content) = content else {
        return Err(damaged(&"it has no layout"));
    };
    match content.remove("version") {
        Some(version) if version == LAYOUT => {}
        Some(version) => {
            let why = format!("layout {version} is not known");
            return Err(Unread::Foreign(why));
        }
        None => return Err(damaged(&"it has no layout")),
    }
    let Some(Value::Object(rollouts)) = content.remove("rollouts") else {
        return Err(damaged(&"it has no rollouts"));
    };
    let mut doubts = Vec::new();
    let mut records = Records {
        others: content,
        ..Records::default()
    };
    for (name, value) in rollouts {
        let (record, doubt) = record::read(value, now);
        doubts.extend(doubt.map(|why| (name.clone(), why)));
        records.by_name.insert(name, record);
    }
    Ok((records, doubts))
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Unread::Foreign(why) | Unread::Damaged(why)) = self;
        f.write_str(why)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_of_another_version_are_found_again() {
        let written = json!({
            "version": LAYOUT,
            "rollouts": {},
            "maintenance": {"to": "legacy"},
        });
        let (records, doubts) = parse(written.to_string().as_bytes(), 1).unwrap();
        assert!(doubts.is_empty());
        let text = records.to_text().unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), written);
    }
}
