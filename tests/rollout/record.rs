//! What an admin sets, against the file, restarts and damage.

use crate::harness::{
    Folder,
    admin::{ask, get, metric, post},
    eventually,
};

async fn percent(admin: &str) -> (f64, String, String) {
    let rollout = get(admin, "/v1/rollouts").await.json["rollouts"][0].clone();
    (
        rollout["effective_percent"].as_f64().unwrap(),
        rollout["state"].as_str().unwrap().to_owned(),
        rollout["source"].as_str().unwrap().to_owned(),
    )
}

fn stands(percent: f64, state: &str, source: &str) -> (f64, String, String) {
    (percent, state.to_owned(), source.to_owned())
}

#[tokio::test]
async fn admin_setting_lasts_until_the_files_percent_changes() {
    let folder = Folder::with_rollout("percent = 25");
    let house = folder.start().await;
    ask(
        &house.admin,
        "PATCH",
        "/v1/rollouts/web",
        &[],
        r#"{"percent":60}"#,
    )
    .await;

    folder.write(&folder.text("percent = 25\nfallback = false"));
    assert!(house.reload().await.unwrap().changed);
    assert_eq!(
        percent(&house.admin).await,
        stands(60.0, "running", "admin")
    );
    drop(house);

    let house = folder.start().await;
    assert_eq!(
        percent(&house.admin).await,
        stands(60.0, "running", "admin")
    );
    folder.write(&folder.text("percent = 30"));
    house.reload().await.unwrap();
    assert_eq!(
        percent(&house.admin).await,
        stands(30.0, "running", "config")
    );
    assert_eq!(
        metric(&house.admin, "crossfade_rollout_percent{rollout=\"web\"}").await,
        30.0
    );
}

#[tokio::test]
async fn a_kill_outlives_everything_but_a_resume() {
    let folder = Folder::with_rollout("percent = 25");
    let house = folder.start().await;
    post(&house.admin, "/v1/rollouts/web/kill", "").await;
    folder.write(&folder.text("percent = 80"));
    house.reload().await.unwrap();
    assert_eq!(percent(&house.admin).await, stands(0.0, "killed", "admin"));
    drop(house);
    let house = folder.start().await;
    assert_eq!(percent(&house.admin).await, stands(0.0, "killed", "admin"));
    post(&house.admin, "/v1/rollouts/web/resume", "").await;
    assert_eq!(
        percent(&house.admin).await,
        stands(80.0, "running", "config")
    );
}

#[tokio::test]
async fn the_files_kill_switch_may_be_a_file_of_its_own() {
    let folder = Folder::with_rollout("percent = 25\nkill = \"${file:switch}\"");
    let switch = folder.0.path().join("switch");
    std::fs::write(&switch, "false\n").unwrap();
    let house = folder.start().await;
    assert_eq!(
        percent(&house.admin).await,
        stands(25.0, "running", "config")
    );
    std::fs::write(&switch, "true\n").unwrap();
    eventually("killed by the file", async || {
        percent(&house.admin).await == stands(0.0, "killed", "config")
    })
    .await;
    let resume = post(&house.admin, "/v1/rollouts/web/resume", "").await;
    assert_eq!(resume.status, 409);
    std::fs::write(&switch, "false\n").unwrap();
    eventually("running again", async || {
        percent(&house.admin).await == stands(25.0, "running", "config")
    })
    .await;
}

#[tokio::test]
async fn corrupt_state_file_never_means_all_users() {
    let folder = Folder::with_rollout("percent = 5");
    let house = folder.start().await;
    ask(
        &house.admin,
        "PATCH",
        "/v1/rollouts/web",
        &[],
        r#"{"percent":100}"#,
    )
    .await;
    drop(house);
    let state = folder.state().join("rollouts.json");
    let text = std::fs::read_to_string(&state).unwrap();
    std::fs::write(&state, &text[..text.len() - 20]).unwrap();

    let house = folder.start().await;
    assert_eq!(
        percent(&house.admin).await,
        stands(5.0, "running", "config")
    );
    let aside = std::fs::read_dir(folder.state()).unwrap();
    let names: Vec<String> = aside
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(
        names
            .iter()
            .any(|name| name.starts_with("rollouts.json.corrupt-")),
        "{names:?}"
    );
}

#[tokio::test]
async fn a_kill_survives_a_history_line_of_another_version() {
    let folder = Folder::with_rollout("percent = 100");
    let house = folder.start().await;
    post(&house.admin, "/v1/rollouts/web/kill", "").await;
    drop(house);
    let state = folder.state().join("rollouts.json");
    let text = std::fs::read_to_string(&state).unwrap();
    let mut kept: serde_json::Value = serde_json::from_str(&text).unwrap();
    let line = serde_json::json!({"at": 1, "by": "schedule", "action": "advance", "from": 0, "to": 5, "why": ""});
    let history = kept["rollouts"]["web"]["history"].as_array_mut().unwrap();
    history.insert(0, line);
    let known = history.len() - 1;
    std::fs::write(&state, kept.to_string()).unwrap();

    let house = folder.start().await;
    assert_eq!(percent(&house.admin).await, stands(0.0, "killed", "admin"));
    let history = get(&house.admin, "/v1/rollouts/web/history").await;
    assert_eq!(history.json["entries"].as_array().unwrap().len(), known);
    post(&house.admin, "/v1/rollouts/web/resume", "").await;
    let text = std::fs::read_to_string(&state).unwrap();
    assert!(text.contains("advance"), "{text}");
}

#[tokio::test]
async fn unknown_latch_admits_no_one_until_a_resume() {
    let folder = Folder::with_rollout("percent = 100");
    let house = folder.start().await;
    post(&house.admin, "/v1/rollouts/web/kill", "").await;
    drop(house);
    let state = folder.state().join("rollouts.json");
    let text = std::fs::read_to_string(&state).unwrap();
    std::fs::write(&state, text.replace("\"killed\"", "\"frozen\"")).unwrap();

    let house = folder.start().await;
    assert_eq!(percent(&house.admin).await, stands(0.0, "killed", "admin"));
    let history = get(&house.admin, "/v1/rollouts/web/history").await;
    let last = history.json["entries"].as_array().unwrap().last().unwrap();
    assert!(last["why"].as_str().unwrap().contains("frozen"), "{last}");
    post(&house.admin, "/v1/rollouts/web/resume", "").await;
    let expected = stands(100.0, "running", "config");
    assert_eq!(percent(&house.admin).await, expected);
}
