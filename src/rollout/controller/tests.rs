use super::*;
use crate::config::Rollout;
use crate::rollout::plan::Plan;
use crate::rollout::tests::rollout;
use crate::rollout::{EVERYBODY, Stage, StageState};

fn plans(percent: u32) -> Plans {
    let plan = Plan {
        rollout: Arc::new(Rollout {
            percent,
            ..rollout()
        }),
        routes: Vec::new(),
    };
    Plans::from([("web".to_owned(), Arc::new(plan))])
}

fn controller(percent: u32, dir: Option<&Path>) -> Controller {
    Controller::new(&plans(percent), dir, Arc::default(), |_| {})
}

fn set(percent: u32) -> RolloutChange {
    RolloutChange::Adjust {
        percent: Some(percent),
        paused: None,
    }
}

fn kill() -> RolloutChange {
    RolloutChange::Kill {
        reason: String::new(),
    }
}

fn stage(controller: &Controller) -> Stage {
    controller.stages().load()["web"].clone()
}

#[tokio::test]
async fn what_an_admin_sets_outlives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let first = controller(10, Some(dir.path()));
    let status = first.change("web", None, set(50)).await.unwrap();
    assert!(status.durable);
    first.change("web", None, kill()).await.unwrap();

    let second = controller(10, Some(dir.path()));
    let expected = Stage {
        percent: 50,
        state: StageState::Killed,
    };
    assert_eq!(stage(&second), expected);
    assert_eq!(second.history("web").unwrap().len(), 3);
}

#[tokio::test]
async fn percent_changed_while_down_beats_older_admin_setting() {
    let dir = tempfile::tempdir().unwrap();
    let first = controller(10, Some(dir.path()));
    first.change("web", None, set(50)).await.unwrap();
    assert_eq!(stage(&controller(10, Some(dir.path()))).percent, 50);
    assert_eq!(stage(&controller(20, Some(dir.path()))).percent, 20);
}

#[tokio::test]
async fn without_a_state_dir_nothing_is_durable() {
    let controller = controller(10, None);
    let status = controller.change("web", None, set(50)).await.unwrap();
    assert!(!status.durable);
    assert_eq!(stage(&controller).percent, 50);
}

/// `rollouts.json` after an operator had admitted all clients.
async fn kept_text() -> String {
    let dir = tempfile::tempdir().unwrap();
    let first = controller(10, Some(dir.path()));
    first.change("web", None, set(EVERYBODY)).await.unwrap();
    std::fs::read_to_string(dir.path().join(FILE)).unwrap()
}

#[tokio::test]
async fn a_corrupt_file_is_set_aside_and_the_configuration_decides() {
    use StageState::{Killed, Running};
    let good = kept_text().await;
    let half = &good[..good.len() / 2];
    let newer = good.replace("\"version\": 1", "\"version\": 9");
    for (broken, file_percent, state) in [
        ("", 10, Running),
        ("{}", 10, Running),
        ("[]", 10, Running),
        ("\0\0\0", 10, Running),
        (half, 10, Running),
        (half, EVERYBODY, Killed),
        (&newer, 10, Killed),
    ] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), broken).unwrap();
        let controller = controller(file_percent, Some(dir.path()));
        let expected = Stage {
            percent: file_percent,
            state,
        };
        assert_eq!(stage(&controller), expected, "{broken}");
        let aside = std::fs::read_dir(dir.path())
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
            .find(|name| name.starts_with("rollouts.json.corrupt-"));
        let kept = std::fs::read_to_string(dir.path().join(aside.unwrap())).unwrap();
        assert_eq!(kept, broken);
        let change = controller.change("web", None, set(5)).await;
        assert!(change.unwrap().durable);
    }
}

#[tokio::test]
async fn an_unknown_word_that_decides_lets_no_user_in() {
    let good = kept_text().await;
    for (known, unknown) in [
        ("\"percent\": 100000", "\"percent\": 4000000"),
        ("\"latch\": null", "\"latch\": \"frozen\""),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let text = good.replace(known, unknown);
        assert_ne!(text, good);
        std::fs::write(dir.path().join(FILE), &text).unwrap();
        let controller = controller(EVERYBODY, Some(dir.path()));
        assert_eq!(stage(&controller).effective_percent(), 0, "{unknown}");
        let history = controller.history("web").unwrap();
        let said = history.iter().any(|e| e.why.contains("is not known"));
        assert!(said, "{history:?}");
        // A process that takes over has the one before to go on in its place.
        assert!(controller.inherit(&text, &plans(10)).is_err());
        assert!(controller.inherit(&good, &plans(10)).is_ok());
    }
}

#[tokio::test]
async fn unwritable_state_still_takes_effect_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    std::fs::create_dir(&state).unwrap();
    let controller = controller(10, Some(&state));
    std::fs::remove_dir(&state).unwrap();
    let status = controller.change("web", None, kill()).await.unwrap();
    assert!(!status.durable);
    assert_eq!(stage(&controller).state, StageState::Killed);
    std::fs::create_dir(&state).unwrap();
    assert!(
        controller
            .change("web", None, set(20))
            .await
            .unwrap()
            .durable
    );
}

#[tokio::test]
async fn rollout_removed_and_added_again_is_still_killed() {
    let controller = controller(10, None);
    controller.change("web", None, kill()).await.unwrap();
    controller.adopt(&Plans::new());
    assert!(controller.list().is_empty());
    let gone = controller.change("web", None, set(5)).await;
    assert_eq!(gone.unwrap_err(), ChangeRefused::Unknown);
    controller.adopt(&plans(10));
    assert_eq!(stage(&controller).state, StageState::Killed);
}

#[tokio::test]
async fn of_writers_of_the_same_generation_one_wins() {
    let dir = tempfile::tempdir().unwrap();
    let controller = controller(0, Some(dir.path()));
    for round in 1..=20 {
        let writers = (1..=10).map(|n| {
            let controller = controller.clone();
            tokio::spawn(async move {
                controller
                    .change("web", Some(vec![round]), set(n * 100 + round as u32))
                    .await
            })
        });
        let outcomes = futures_util::future::join_all(writers).await;
        let won = outcomes.iter().filter(|o| o.as_ref().unwrap().is_ok());
        assert_eq!(won.count(), 1);
    }
    assert_eq!(controller.status("web").unwrap().record.generation, 21);
}

#[tokio::test]
async fn sessions_are_told_of_changes_only() {
    let rung = Arc::new(Mutex::new(Vec::new()));
    let bell = rung.clone();
    let controller = Controller::new(&plans(10), None, Arc::default(), move |changes| {
        for StageChange { before, after, .. } in changes {
            let moved = (before.effective_percent(), after.effective_percent());
            bell.lock().unwrap().push(moved);
        }
    });
    let rings = || std::mem::take(&mut *rung.lock().unwrap());
    controller.adopt(&plans(10));
    assert_eq!(rings(), []);
    controller.adopt(&plans(20));
    assert_eq!(rings(), [(10, 20)]);
    controller.change("web", None, kill()).await.unwrap();
    assert_eq!(rings(), [(20, 0)]);
    controller.change("web", None, kill()).await.unwrap();
    assert_eq!(rings(), []);
}

#[tokio::test]
async fn the_metrics_say_what_is_in_force() {
    let telemetry = Arc::new(Telemetry::default());
    let controller = Controller::new(&plans(12_500), None, telemetry.clone(), |_| {});
    let shows = |line: &str| {
        let text = telemetry.render();
        assert!(
            text.lines().any(|l| l == line),
            "{line} is missing in\n{text}"
        );
    };
    shows("crossfade_rollout_percent{rollout=\"web\"} 12.5");
    shows("crossfade_rollout_state{rollout=\"web\",state=\"running\"} 1");
    controller.change("web", None, kill()).await.unwrap();
    shows("crossfade_rollout_percent{rollout=\"web\"} 0");
    shows("crossfade_rollout_state{rollout=\"web\",state=\"killed\"} 1");
    shows("crossfade_rollout_state{rollout=\"web\",state=\"running\"} 0");
}

#[tokio::test(start_paused = true)]
async fn the_tick_closes_windows_of_what_metrics_show() {
    let telemetry = Arc::new(Telemetry::default());
    telemetry.rollouts.rollouts_known(["web"].into_iter());
    telemetry.rollouts.legacy_answered("web", true);
    let controller = Controller::new(&plans(10), None, telemetry.clone(), |_| {});
    tokio::spawn(controller.clone().run());
    // Behind each tick, so that the window is closed.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let legacy = |seconds| {
        let counts = controller.lately("web", Duration::from_secs(seconds));
        counts.map(|cohorts| (cohorts.legacy.requests, cohorts.legacy.failed))
    };
    // Nothing of before counts, nor what no window has closed on.
    telemetry.rollouts.legacy_answered("web", false);
    assert_eq!(legacy(10), None);
    tokio::time::sleep(WINDOW).await;
    assert_eq!(legacy(10), Some((1, 0)));
    telemetry.rollouts.legacy_answered("web", false);
    telemetry.rollouts.legacy_answered("web", true);
    assert_eq!(legacy(10), Some((1, 0)));
    tokio::time::sleep(WINDOW).await;
    assert_eq!((legacy(10), legacy(20)), (Some((2, 1)), Some((3, 1))));
    tokio::time::sleep(WINDOW).await;
    assert_eq!((legacy(10), legacy(60)), (Some((0, 0)), Some((3, 1))));
    controller.adopt(&Plans::new());
    tokio::time::sleep(WINDOW).await;
    assert_eq!(legacy(60), None);
    // All that the windows have closed on, and what was before them.
    let shown = telemetry.render();
    for (result, count) in [("ok", 2), ("failed", 2)] {
        let sample = format!(
            r#"crossfade_rollout_requests_total{{cohort="legacy",result="{result}",rollout="web"}} {count}"#
        );
        assert!(shown.contains(&sample), "{sample} is missing in\n{shown}");
    }
}
