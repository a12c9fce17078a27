use super::*;
use crate::rollout::tests::rollout;

fn plan(percent: u32, kill: bool) -> Rollout {
    Rollout {
        percent,
        kill,
        ..rollout()
    }
}

fn set(percent: u32) -> RolloutChange {
    RolloutChange::Adjust {
        percent: Some(percent),
        paused: None,
    }
}

fn kill() -> RolloutChange {
    RolloutChange::Kill {
        reason: "errors".into(),
    }
}

fn stands(record: &RolloutRecord) -> (u32, &'static str, &'static str) {
    let stage = record.stage();
    let percent = stage.effective_percent();
    (percent, stage.state.as_str(), record.source().as_str())
}

#[test]
fn admin_setting_outlives_an_unrelated_reload() {
    let mut record = RolloutRecord::new(&plan(10, false), 1);
    record.apply(&set(50), 2).unwrap();
    assert!(!record.follow(&plan(10, false), 3));
    assert_eq!(stands(&record), (50, "running", "admin"));
}

#[test]
fn changed_percent_in_the_file_beats_older_admin_setting() {
    let mut record = RolloutRecord::new(&plan(10, false), 1);
    record.apply(&set(50), 2).unwrap();
    assert!(record.follow(&plan(20, false), 3));
    assert_eq!(stands(&record), (20, "running", "config"));
    record.apply(&set(70), 4).unwrap();
    assert!(!record.follow(&plan(20, false), 5));
    assert_eq!(stands(&record), (70, "running", "admin"));
}

#[test]
fn kill_beats_the_file_and_resume_restores_the_last_setting() {
    let mut record = RolloutRecord::new(&plan(10, false), 1);
    assert!(record.apply(&kill(), 2).unwrap());
    assert!(!record.apply(&kill(), 3).unwrap());
    assert_eq!(stands(&record), (0, "killed", "admin"));
    record.follow(&plan(20, false), 4);
    assert_eq!(stands(&record), (0, "killed", "admin"));
    record.apply(&set(60), 5).unwrap();
    assert_eq!(stands(&record), (0, "killed", "admin"));
    assert!(record.apply(&RolloutChange::Resume, 6).unwrap());
    assert_eq!(stands(&record), (60, "running", "admin"));
    assert!(!record.apply(&RolloutChange::Resume, 7).unwrap());
}

#[test]
fn the_files_own_kill_is_taken_back_by_the_file_only() {
    let mut record = RolloutRecord::new(&plan(10, true), 1);
    assert_eq!(stands(&record), (0, "killed", "config"));
    assert_eq!(record.apply(&RolloutChange::Resume, 2), Err(FileKills));
    record.follow(&plan(10, false), 3);
    assert_eq!(stands(&record), (10, "running", "config"));
}

#[test]
fn an_admins_kill_stays_when_the_file_takes_its_own_back() {
    let mut record = RolloutRecord::new(&plan(10, true), 1);
    record.apply(&kill(), 2).unwrap();
    record.follow(&plan(10, false), 3);
    assert_eq!(stands(&record), (0, "killed", "admin"));
}

#[test]
fn a_pause_keeps_the_percentage_and_a_resume_ends_it() {
    let mut record = RolloutRecord::new(&plan(10, false), 1);
    let pause = RolloutChange::Adjust {
        percent: Some(30),
        paused: Some(true),
    };
    record.apply(&pause, 2).unwrap();
    assert_eq!(stands(&record), (30, "paused", "admin"));
    record.apply(&RolloutChange::Resume, 3).unwrap();
    assert_eq!(stands(&record), (30, "running", "admin"));
}

#[test]
fn the_history_says_what_moved_and_stays_bounded() {
    let mut record = RolloutRecord::new(&plan(10, false), 1);
    record.apply(&set(50), 2).unwrap();
    record.apply(&kill(), 3).unwrap();
    record.apply(&RolloutChange::Resume, 4).unwrap();
    let told: Vec<_> = record
        .history()
        .map(|e| (e.at, e.by.as_str(), e.action.as_str(), e.from, e.to))
        .collect();
    assert_eq!(
        told,
        [
            (1, "config", "start", 10, 10),
            (2, "admin", "set", 10, 50),
            (3, "admin", "kill", 50, 0),
            (4, "admin", "resume", 0, 50),
        ]
    );
    for n in 0..1000 {
        record.apply(&set(n), 5).unwrap();
    }
    assert_eq!(record.history.len(), HISTORY);
    assert_eq!(record.generation, 4 + 1000);
}
