//! A record as some version has written it. What this version does not know is kept where it only informs, and admits no client
//! where it decides.

use serde_json::{Map, Value};

use super::{ChangeSource, HISTORY, Line, RolloutRecord};
use crate::rollout::EVERYBODY;

/// Characters of an unknown value that are shown.
const SHOWN: usize = 60;

/// The record, and why no client gets WebSocket where it is not understood.
pub(crate) fn read(value: Value, now: u64) -> (RolloutRecord, Option<String>) {
    let mut members = match value {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    let mut doubts = Vec::new();
    let mut take = |name: &str| members.remove(name).unwrap_or_default();
    let percent = thousandths("percent", take("percent"), &mut doubts);
    let file_percent = thousandths("file_percent", take("file_percent"), &mut doubts);
    // What only informs, or what the configuration says anew at once, does not decide.
    let mut record = RolloutRecord {
        percent,
        percent_source: serde_json::from_value(take("percent_source"))
            .unwrap_or(ChangeSource::Admin),
        file_percent,
        file_kills: take("file_kills").as_bool().unwrap_or_default(),
        paused: take("paused").as_bool().unwrap_or(true),
        latch: None,
        generation: take("generation").as_u64().unwrap_or_default().max(1),
        changed_at: take("changed_at").as_u64().unwrap_or(now),
        history: match take("history") {
            Value::Array(lines) => lines.into_iter().map(line).collect(),
            _ => Default::default(),
        },
        others: Map::new(),
    };
    let excess = record.history.len().saturating_sub(HISTORY);
    record.history.drain(..excess);
    match members.remove("latch") {
        Some(Value::Null) => {}
        Some(latch) => match serde_json::from_value(latch.clone()) {
            Ok(latch) => record.latch = Some(latch),
            Err(_) => doubts.push(unknown("latch", &latch)),
        },
        None => doubts.push("its latch is missing".to_owned()),
    }
    record.others = members;
    let why = (!doubts.is_empty()).then(|| doubts.join(", "));
    if let Some(why) = &why {
        record.distrust(why, now);
    }
    (record, why)
}

fn thousandths(name: &str, value: Value, doubts: &mut Vec<String>) -> u32 {
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    number
        .filter(|number| *number <= EVERYBODY)
        .unwrap_or_else(|| {
            doubts.push(unknown(name, &value));
            0
        })
}

fn line(value: Value) -> Line {
    match serde_json::from_value(value.clone()) {
        Ok(entry) => Line::Known(entry),
        Err(_) => Line::Unknown(value),
    }
}

fn unknown(name: &str, value: &Value) -> String {
    let shown: String = value.to_string().chars().take(SHOWN).collect();
    format!("its {name} {shown} is not known")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rollout::record::RolloutChange;
    use crate::rollout::tests::rollout;
    use crate::rollout::{Stage, StageState};

    fn record(change: Option<RolloutChange>) -> RolloutRecord {
        let mut record = RolloutRecord::new(&rollout(), 1);
        if let Some(change) = change {
            record.apply(&change, 2).unwrap();
        }
        record
    }

    fn kill() -> RolloutChange {
        RolloutChange::Kill {
            reason: String::new(),
        }
    }

    #[test]
    fn a_record_survives_its_file() {
        for record in [record(None), record(Some(kill()))] {
            let value = serde_json::to_value(&record).unwrap();
            assert_eq!(read(value, 3), (record, None));
        }
    }

    #[test]
    fn words_of_another_version_are_kept_and_passed_over() {
        let killed = record(Some(kill()));
        let mut value = serde_json::to_value(&killed).unwrap();
        value["schedule"] = json!({"step": 3});
        let told = json!({"at": 1, "by": "schedule", "action": "advance", "from": 1, "to": 5});
        let lines = value["history"].as_array_mut().unwrap();
        lines.insert(1, told);
        lines.push(json!("later"));
        lines[0]["evidence"] = json!({"metric": "error_ratio"});
        let (read, doubt) = read(value.clone(), 3);
        assert_eq!(doubt, None);
        assert_eq!(read.stage(), killed.stage());
        let told = |record: &RolloutRecord| {
            record
                .history()
                .map(|entry| entry.action)
                .collect::<Vec<_>>()
        };
        assert_eq!(told(&read), told(&killed));
        assert_eq!(serde_json::to_value(&read).unwrap(), value);
    }

    #[test]
    fn what_decides_and_is_unknown_lets_no_user_in() {
        let good = serde_json::to_value(record(None)).unwrap();
        for (member, odd) in [
            ("latch", json!("frozen")),
            ("latch", json!({"killed": 1})),
            ("latch", json!(false)),
            ("percent", json!("half")),
            ("percent", json!(100_001)),
            ("percent", json!(-1)),
            ("percent", json!(2.5)),
            ("percent", Value::Null),
            ("file_percent", json!([])),
        ] {
            let mut value = good.clone();
            value[member] = odd;
            let (mut read, doubt) = read(value, 3);
            assert!(doubt.unwrap().contains(member));
            assert_eq!(read.stage().state, StageState::Killed, "{member}");
            // Not even a percentage that the configuration brings changes that.
            read.follow(&rollout(), 4);
            assert_eq!(read.stage().effective_percent(), 0, "{member}");
        }
        for missing in ["latch", "percent", "file_percent"] {
            let mut value = good.clone();
            value.as_object_mut().unwrap().remove(missing);
            assert!(read(value, 3).1.is_some(), "{missing}");
        }
        assert!(read(json!("?"), 3).1.is_some());
    }

    #[test]
    fn what_only_tells_may_be_unknown() {
        let mut value = serde_json::to_value(record(None)).unwrap();
        for member in ["percent_source", "file_kills", "generation", "changed_at"] {
            value[member] = json!("?");
        }
        value["paused"] = json!("until noon");
        value["history"] = json!(7);
        let (read, doubt) = read(value, 3);
        assert_eq!(doubt, None);
        let expected = Stage {
            percent: rollout().percent,
            state: StageState::Paused,
        };
        assert_eq!(read.stage(), expected);
    }

    #[test]
    fn a_long_history_is_cut_at_its_beginning() {
        let mut value = serde_json::to_value(record(None)).unwrap();
        value["history"] = (0..HISTORY + 7).map(|n| json!(n)).collect();
        let (read, _) = read(value, 3);
        assert_eq!(read.history.len(), HISTORY);
        assert_eq!(read.history[0], Line::Unknown(json!(7)));
    }
}
