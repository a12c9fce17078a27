//! What `/metrics` shows, where, and that dashboard and alerts ask for nothing else.

use std::collections::BTreeSet;

use crate::harness::{
    Backend, Folder, Proxy,
    admin::{ask, get},
    eventually,
};

const DASHBOARD: &str = include_str!("../../docs/grafana/crossfade.json");
const ALERTS: &str = include_str!("../../docs/prometheus/alerts.yml");

/// Names of metrics in an expression, without what a histogram adds.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| {
        let rest = word
            .strip_prefix("crossfade_")
            .or(word.strip_prefix("process_"));
        rest.is_some_and(|rest| !rest.is_empty())
    });
    ours.map(|name| {
        let base = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end));
        base.unwrap_or(name).to_owned()
    })
    .collect()
}

#[tokio::test]
async fn dashboard_and_alerts_ask_for_what_is_there() {
    let backend = Backend::ok().await;
    let proxy = Proxy::passthrough(&backend).await;
    let shown = proxy.metrics();
    let is_shown = |name: &String| shown.contains(&format!("# TYPE {name} "));
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array());
    let expressions: Vec<&str> = targets
        .flatten()
        .map(|target| target["expr"].as_str().unwrap())
        .collect();
    let asked = names(&expressions.join("\n"));
    assert!(asked.len() > 30, "{asked:?}");
    let missing: Vec<_> = asked.iter().filter(|name| !is_shown(name)).collect();
    assert!(missing.is_empty(), "the dashboard asks for {missing:?}");

    let rules = ALERTS
        .lines()
        .filter(|line| !line.trim_start().starts_with("summary"));
    let asked = names(&rules.collect::<Vec<_>>().join("\n"));
    assert!(asked.len() > 10, "{asked:?}");
    let missing: Vec<_> = asked.iter().filter(|name| !is_shown(name)).collect();
    assert!(missing.is_empty(), "the alerts ask for {missing:?}");
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test]
async fn metrics_have_an_address_of_their_own_that_a_reload_moves() {
    let folder = Folder::with_rollout("percent = 1");
    let at = |port: u16| {
        format!(
            "{}\n[metrics]\nlisten = \"127.0.0.1:{port}\"\n",
            folder.text("percent = 1")
        )
    };
    let (first, second) = (free_port(), free_port());
    folder.write(&at(first));
    let house = folder.start().await;
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let answer = get(&url(first), "/metrics").await;
    assert_eq!(answer.status, 200);
    assert!(
        answer.text.contains("crossfade_build_info{"),
        "{}",
        answer.text
    );
    assert_eq!(get(&url(first), "/v1/sessions").await.status, 404);
    assert_eq!(
        ask(&url(first), "POST", "/metrics", &[], "").await.status,
        404
    );
    assert_eq!(
        get(&house.admin, "/metrics").await.status,
        200,
        "the admin address too"
    );

    folder.write(&at(second));
    // The file's watcher may have been quicker: then there is nothing left to change.
    house.reload().await.unwrap();
    assert_eq!(get(&url(second), "/metrics").await.status, 200);
    eventually("the old address is closed", async || {
        tokio::net::TcpStream::connect(("127.0.0.1", first))
            .await
            .is_err()
    })
    .await;

    // One that is taken is a problem of the file, and nothing changes.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    folder.write(&at(taken.local_addr().unwrap().port()));
    assert!(house.reload().await.is_err());
    assert_eq!(get(&url(second), "/metrics").await.status, 200);
}
