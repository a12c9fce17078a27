//! A configuration that belongs to another user than the process.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::harness::{
    Folder, Process,
    admin::{ask, get},
    process::BINARY,
};

/// Some user that is not root; that it has an account matters to nothing here.
const OTHER: u32 = 65534;

/// `crossfade run` as the other user, who may not enter the folder that it was built in.
fn start(folder: &Folder) -> Process {
    let run = |binary: &Path| {
        let mut command = Command::new(binary);
        command.args(["run", "--config"]).arg(folder.config());
        command.current_dir("/").uid(OTHER).gid(OTHER);
        command
    };
    let may_run = |binary: &Path| {
        let mut version = Command::new(binary);
        version
            .arg("--version")
            .current_dir("/")
            .uid(OTHER)
            .gid(OTHER);
        version.output().is_ok()
    };
    if may_run(BINARY.as_ref()) {
        return Process::spawn(&mut run(BINARY.as_ref()));
    }
    let copy = folder.0.path().join("crossfade");
    fs::copy(BINARY, &copy).unwrap();
    Process::spawn(&mut run(&copy))
}

#[tokio::test]
async fn file_of_another_owner_is_read_only() {
    let folder = Folder::with_rollout("percent = 25");
    let kept = fs::metadata(folder.config()).unwrap();
    if kept.uid() != 0 {
        eprintln!("not run: only root can start a process of another user");
        return;
    }
    // The other user may put any file there, and only read this one.
    fs::set_permissions(folder.config(), PermissionsExt::from_mode(0o644)).unwrap();
    chown(folder.0.path(), Some(OTHER), Some(OTHER)).unwrap();
    let process = start(&folder);
    let admin = &process.admin;
    let before = (
        folder.read(),
        fs::read_dir(folder.0.path()).unwrap().count(),
    );
    let other = before.0.replace("percent = 25", "percent = 26");
    let put = ask(admin, "PUT", "/v1/config", &["If-Match: *"], &other).await;
    assert_eq!(
        (put.status, &put.json["code"]),
        (409, &"read_only".into()),
        "{}",
        put.text
    );
    let detail = put.json["detail"].as_str().unwrap();
    assert!(detail.contains("belongs to user 0 and group 0"), "{detail}");
    let left = fs::read_dir(folder.0.path()).unwrap().count();
    assert_eq!((folder.read(), left), before);
    let now = fs::metadata(folder.config()).unwrap();
    assert_eq!(
        (now.ino(), now.uid(), now.mode()),
        (kept.ino(), 0, 0o100_644)
    );
    assert_eq!(get(admin, "/v1/config").await.json["generation"], 1);
    let rollouts = get(admin, "/v1/rollouts").await.json;
    assert_eq!(rollouts["rollouts"][0]["percent"], 25);
}
