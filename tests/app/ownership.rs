//! A configuration that belongs to another user than the process.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use crate::harness::{
    Folder,
    admin::{ask, get},
    process::ready,
};

/// Some user that is not root; that it has an account matters to nothing here.
const OTHER: u32 = 65534;

/// Killed when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `crossfade run` as the other user, who may not enter the folder that it was built in.
fn start(folder: &Folder) -> Child {
    let run = |binary: &std::path::Path| {
        let mut command = Command::new(binary);
        command.args(["run", "--config"]).arg(folder.config());
        command.current_dir("/").uid(OTHER).gid(OTHER);
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()
    };
    let built = env!("CARGO_BIN_EXE_crossfade");
    run(built.as_ref())
        .or_else(|error| match error.kind() {
            ErrorKind::PermissionDenied => {
                let copy = folder.0.path().join("crossfade");
                fs::copy(built, &copy)?;
                run(&copy)
            }
            _ => Err(error),
        })
        .unwrap()
}

#[tokio::test]
async fn a_file_whose_owner_cannot_be_kept_is_read_only() {
    let folder = Folder::with_rollout("percent = 25");
    let kept = fs::metadata(folder.config()).unwrap();
    if kept.uid() != 0 {
        eprintln!("not run: only root can start a process of another user");
        return;
    }
    // The other user may put any file there, and only read this one.
    fs::set_permissions(folder.config(), PermissionsExt::from_mode(0o644)).unwrap();
    chown(folder.0.path(), Some(OTHER), Some(OTHER)).unwrap();
    let mut child = start(&folder);
    let (_, admin) = ready(&mut child);
    let _running = Running(child);
    let before = (
        folder.read(),
        fs::read_dir(folder.0.path()).unwrap().count(),
    );
    let other = before.0.replace("percent = 25", "percent = 26");
    let put = ask(&admin, "PUT", "/v1/config", &["If-Match: *"], &other).await;
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
    assert_eq!(get(&admin, "/v1/config").await.json["generation"], 1);
    let rollouts = get(&admin, "/v1/rollouts").await.json;
    assert_eq!(rollouts["rollouts"][0]["percent"], 25);
}
