//! A reload changes all or nothing, however the file is written.

use std::os::unix::fs::symlink;

use crossfade::admin::Declined;

use crate::harness::{
    Folder,
    admin::{get, metric},
    eventually,
    folder::start,
};

const BROKEN: &str = "crossfade_reloads_total{result=\"invalid\"}";

async fn generation(admin: &str) -> u64 {
    get(admin, "/v1/config").await.json["generation"]
        .as_u64()
        .unwrap()
}

#[tokio::test]
async fn an_editor_that_writes_in_place_or_renames_is_noticed() {
    let folder = Folder::with_rollout("percent = 1");
    let house = folder.start().await;
    std::fs::write(folder.config(), folder.text("percent = 2")).unwrap();
    eventually("generation 2", async || generation(&house.admin).await == 2).await;
    folder.write(&folder.text("percent = 3"));
    eventually("generation 3", async || generation(&house.admin).await == 3).await;
    assert_eq!(
        metric(&house.admin, "crossfade_config_generation").await,
        3.0
    );
    assert_eq!(
        metric(&house.admin, "crossfade_reloads_total{result=\"ok\"}").await,
        2.0
    );
}

/// `..data -> ..v1`, `proxy.toml -> ..data/proxy.toml`; an update swaps `..data`.
#[tokio::test]
async fn a_mounted_config_map_is_noticed() {
    let folder = Folder::with_rollout("percent = 1");
    let mount = folder.0.path().join("mount");
    for (version, percent) in [("..v1", "percent = 1"), ("..v2", "percent = 2")] {
        std::fs::create_dir_all(mount.join(version)).unwrap();
        std::fs::write(mount.join(version).join("proxy.toml"), folder.text(percent)).unwrap();
    }
    symlink("..v1", mount.join("..data")).unwrap();
    symlink("..data/proxy.toml", mount.join("proxy.toml")).unwrap();
    let house = start(&mount.join("proxy.toml")).await;
    symlink("..v2", mount.join("..data_tmp")).unwrap();
    std::fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    std::fs::remove_dir_all(mount.join("..v1")).unwrap();
    eventually("generation 2", async || generation(&house.admin).await == 2).await;
}

#[tokio::test]
async fn missing_or_partial_file_changes_nothing_until_it_returns() {
    let folder = Folder::with_rollout("percent = 1");
    let house = folder.start().await;
    let good = folder.text("percent = 2");
    std::fs::remove_file(folder.config()).unwrap();
    eventually("told of the loss", async || {
        metric(&house.admin, BROKEN).await == 1.0
    })
    .await;
    folder.write("");
    eventually("told of the void", async || {
        metric(&house.admin, BROKEN).await == 2.0
    })
    .await;
    folder.write(&good[..good.len() - 9]);
    eventually("told of the half", async || {
        metric(&house.admin, BROKEN).await == 3.0
    })
    .await;
    assert_eq!(generation(&house.admin).await, 1);
    assert_eq!(get(&house.admin, "/readyz").await.status, 200);
    folder.write(&good);
    eventually("generation 2", async || generation(&house.admin).await == 2).await;
}

#[tokio::test]
async fn hundred_broken_files_change_nothing_and_good_ones_apply() {
    let folder = Folder::with_rollout("percent = 0");
    let house = folder.start().await;
    let breaks: [fn(&str) -> String; 5] = [
        |text| text.replace("[server]", "[server"),
        |text| text.replace("percent =", "percentage ="),
        |text| text.replace("upstream = \"app\"", "upstream = \"nobody\""),
        |text| text.replace("[server]", "[server]\nprefix = \"/moved\""),
        |_| " \n".to_owned(),
    ];
    for n in 1..=100 {
        let good = folder.text(&format!("percent = {n}"));
        let broken = breaks[n % breaks.len()];
        folder.write(&broken(&good));
        let refused = house.reload().await.unwrap_err();
        assert!(
            matches!(refused, Declined::Invalid(_) | Declined::RestartRequired(_)),
            "{refused:?}"
        );
        assert_eq!(house.shared().in_force.load().generation, n as u64);
        folder.write(&good);
        let applied = house.reload().await.unwrap();
        assert!(applied.changed);
        assert_eq!(applied.generation, n as u64 + 1);
    }
    let rollouts = get(&house.admin, "/v1/rollouts").await.json;
    assert_eq!(rollouts["rollouts"][0]["percent"], 100);
}

#[tokio::test]
async fn a_reload_names_what_it_did_to_the_routes() {
    let folder = Folder::with_rollout("percent = 1");
    let house = folder.start().await;
    let text = folder.read();
    let text = text.replace("name = \"rest\"", "name = \"other\"");
    let text = text.replace(
        "source = \"sse\"",
        "source = {kind = \"sse\", idle_timeout = \"9s\"}",
    );
    folder.write(&text);
    let routes = house.reload().await.unwrap().routes;
    assert_eq!(routes.added, ["other"]);
    assert_eq!(routes.removed, ["rest"]);
    assert_eq!(routes.changed, ["feed"]);
}

#[tokio::test]
async fn every_key_that_needs_a_restart_is_named() {
    let folder = Folder::with_rollout("percent = 1");
    let house = folder.start().await;
    let text = folder.read();
    let moved = text.replacen("listen = \"127.0.0.1:0\"", "listen = \"127.0.0.2:0\"", 2);
    let moved = moved.replace("[server]", "[server]\nworkers = 3\nprefix = \"/x\"");
    let moved = moved.replace("/state\"", "/elsewhere\"");
    folder.write(&moved);
    let Err(Declined::RestartRequired(keys)) = house.reload().await else {
        panic!("a restart is needed");
    };
    assert_eq!(
        keys,
        [
            "server.listen",
            "server.prefix",
            "server.workers",
            "server.state_dir",
            "admin.listen"
        ]
    );
    folder.write(&text);
    assert!(!house.reload().await.unwrap().changed);
}

#[tokio::test]
async fn an_include_that_comes_later_than_the_file_is_waited_for() {
    let folder = Folder::with_rollout("percent = 1");
    let house = folder.start().await;
    folder.write(&folder.text("percent = \"${file:percent}\""));
    eventually("told of the missing include", async || {
        metric(&house.admin, BROKEN).await == 1.0
    })
    .await;
    std::fs::write(folder.0.path().join("percent"), "7\n").unwrap();
    eventually("generation 2", async || generation(&house.admin).await == 2).await;
}
