//! The program that is to take over: where it is, whether it may be run, and starting it.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

use super::VARIABLE;

/// How long a program may take to say its name.
const NAMING: Duration = Duration::from_secs(5);

/// As much of a failed program's stderr is part of the answer.
const TAIL: usize = 4096;

/// What belongs to one process alone, and would mislead the next.
const OWN_VARIABLES: [&str; 4] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"];

/// How this process was started.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// `None` where the system does not tell, as without `/proc`.
    path: Option<PathBuf>,
    arguments: Vec<OsString>,
}

impl Image {
    /// To be asked at the start: once the file is replaced, the system no longer tells its path.
    pub(crate) fn of_this_process() -> Self {
        let mut arguments = std::env::args_os();
        let called = arguments.next().map(PathBuf::from).unwrap_or_default();
        let path = std::env::current_exe().ok();
        // A name that leads here by way of a symlink leads to the new version once that is turned.
        let is_path = called.components().count() > 1;
        let named = std::path::absolute(&called).ok().filter(|named| {
            let is_it = path.as_ref().is_none_or(|path| is_same_file(named, path));
            is_path && is_it
        });
        Image {
            path: named.or(path),
            arguments: arguments.collect(),
        }
    }

    /// The file to start: the one asked for, else the one that this process was started from.
    ///
    /// # Errors
    /// Why no file is run, in a sentence.
    pub(crate) fn choose(&self, asked: Option<&Path>) -> Result<PathBuf, String> {
        let path = asked.or(self.path.as_deref());
        trusted(path.ok_or("this process does not know its own file: name one with --binary")?)
    }
}

/// Lets a program say its name, so that nothing else is ever started as a successor: users of the admin
/// API can run no other program in our place, and no build for another machine.
///
/// # Errors
/// What it said instead.
pub(crate) async fn ask_for_name(path: &Path) -> Result<(), String> {
    let mut command = Command::new(path);
    command
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    clean(&mut command);
    let shown = path.display();
    let mut child = command
        .spawn()
        .map_err(|error| format!("{shown} cannot be started: {error}"))?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let hearing = async {
        let heard = tokio::join!(first_bytes(out), first_bytes(err));
        (heard, child.wait().await)
    };
    let Ok(((said, complaint), ended)) = timeout(NAMING, hearing).await else {
        let seconds = NAMING.as_secs();
        return Err(format!(
            "{shown} did not answer --version within {seconds} s"
        ));
    };
    if ended.is_ok_and(|status| status.success()) && said.starts_with("crossfade ") {
        return Ok(());
    }
    let complaint = match complaint.trim() {
        "" => String::new(),
        words => format!(": {words}"),
    };
    Err(format!(
        "{shown} is no crossfade: --version does not say so{complaint}"
    ))
}

async fn first_bytes(from: Option<impl tokio::io::AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        // What was read before an error is what there is to tell.
        let _ = from.take(TAIL as u64).read_to_end(&mut bytes).await;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A started program that is not trusted yet: it is ended where this is dropped.
pub(crate) struct ChildProcess {
    child: Option<Child>,
    tail: Arc<Mutex<Vec<u8>>>,
    copier: tokio::task::JoinHandle<()>,
}

impl ChildProcess {
    /// Starts it with this process's arguments and environment; its standard input is `link`. What it writes to stderr goes to
    /// ours, until it is given that itself.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn start(image: &Image, path: &Path, link: OwnedFd) -> io::Result<Self> {
        let mut command = Command::new(path);
        command
            .args(&image.arguments)
            .stdin(Stdio::from(link))
            .stderr(Stdio::piped());
        clean(&mut command);
        command.env(VARIABLE, "stdin");
        let mut child = command.spawn()?;
        let tail = Arc::<Mutex<Vec<u8>>>::default();
        let copier = tokio::spawn(copy(child.stderr.take(), tail.clone()));
        Ok(ChildProcess {
            child: Some(child),
            tail,
            copier,
        })
    }

    /// It serves: from now on it lives for itself.
    pub(crate) fn trust(mut self) {
        self.child = None;
    }

    /// Ends it, and tells how it went: its exit status where it ended by itself, and its last words.
    pub(crate) async fn bury(mut self) -> (String, String) {
        let mut how = "it was stopped".to_owned();
        if let Some(mut child) = self.child.take() {
            // A program that closes its link is mostly about to exit.
            match timeout(Duration::from_secs(1), child.wait()).await {
                Ok(Ok(status)) => how = status.to_string(),
                Ok(Err(_)) | Err(_) => {
                    // It may have ended in between.
                    let _ = child.kill().await;
                }
            }
        }
        // A grandchild may hold the pipe open.
        let _ = timeout(Duration::from_secs(1), &mut self.copier).await;
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        (how, String::from_utf8_lossy(&tail).trim().to_owned())
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended already.
            let _ = child.start_kill();
        }
    }
}

fn clean(command: &mut Command) {
    for name in OWN_VARIABLES {
        command.env_remove(name);
    }
    command.env_remove(VARIABLE);
}

/// Passes on what it says, and keeps the end.
async fn copy(from: Option<ChildStderr>, tail: Arc<Mutex<Vec<u8>>>) {
    let Some(mut from) = from else { return };
    let mut chunk = vec![0; TAIL];
    while let Ok(count) = from.read(&mut chunk).await
        && count > 0
    {
        let said = chunk.get(..count).unwrap_or_default();
        // Our own log has no better place to complain to.
        let _ = io::stderr().write_all(said);
        let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
        tail.extend_from_slice(said);
        let excess = tail.len().saturating_sub(TAIL);
        tail.drain(..excess);
    }
}

/// The real path of a file that only root and this process's own user can have written, its folders included.
fn trusted(asked: &Path) -> Result<PathBuf, String> {
    let shown = asked.display();
    if !asked.is_absolute() {
        return Err(format!("{shown}: give the binary's absolute path"));
    }
    let cannot = |error: io::Error| format!("{shown} cannot be used: {error}");
    let path = fs::canonicalize(asked).map_err(cannot)?;
    let mut file = fs::File::open(&path).map_err(cannot)?;
    let metadata = file.metadata().map_err(cannot)?;
    if !metadata.is_file() || metadata.mode() & 0o111 == 0 {
        return Err(format!("{shown} is no executable file"));
    }
    // An operator could not inspect a file that cannot be read.
    file.read_exact(&mut [0]).map_err(cannot)?;
    for part in path.ancestors() {
        let metadata = fs::metadata(part).map_err(cannot)?;
        let own = rustix::process::geteuid().as_raw();
        let is_sticky_folder = metadata.is_dir() && metadata.mode() & 0o1000 != 0;
        if ![0, own].contains(&metadata.uid()) || metadata.mode() & 0o022 != 0 && !is_sticky_folder
        {
            let part = part.display();
            return Err(format!(
                "{shown} is not run: others than root and this process's user may write {part}; chown it, or chmod go-w"
            ));
        }
    }
    Ok(path)
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    let identity = |path| fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
    identity(one).is_some_and(|one| Some(one) == identity(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn script(folder: &Path, text: &str, mode: u32) -> PathBuf {
        let path = folder.join("program");
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a_file_that_others_may_write_is_not_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = script(folder.path(), "", 0o755);
        assert_eq!(trusted(&path), Ok(fs::canonicalize(&path).unwrap()));
        let link = folder.path().join("link");
        symlink(&path, &link).unwrap();
        assert_eq!(trusted(&link), Ok(fs::canonicalize(&path).unwrap()));
        for (mode, why) in [
            (0o775, "may write"),
            (0o757, "may write"),
            (0o644, "no executable"),
        ] {
            script(folder.path(), "", mode);
            assert!(trusted(&path).unwrap_err().contains(why), "{mode:o}");
        }
        script(folder.path(), "", 0o755);
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(trusted(&path).unwrap_err().contains("may write"));
        assert!(
            trusted(Path::new("program"))
                .unwrap_err()
                .contains("absolute")
        );
        assert!(
            trusted(folder.path())
                .unwrap_err()
                .contains("no executable")
        );
        assert!(trusted(&folder.path().join("none")).is_err());
    }

    #[test]
    fn a_running_file_that_others_may_write_is_not_run_again() {
        let folder = tempfile::tempdir().unwrap();
        let image = |path: Option<PathBuf>| Image {
            path,
            arguments: Vec::new(),
        };
        let path = script(folder.path(), "", 0o755);
        let running = image(Some(path.clone()));
        assert_eq!(running.choose(None), running.choose(Some(&path)));
        assert!(running.choose(None).is_ok());
        script(folder.path(), "", 0o777);
        for asked in [None, Some(&*path)] {
            let why = running.choose(asked).unwrap_err();
            assert!(why.contains("may write"), "{why}");
        }
        assert!(image(None).choose(None).unwrap_err().contains("--binary"));
    }

    #[tokio::test]
    async fn only_what_calls_itself_crossfade_is_started() {
        let folder = tempfile::tempdir().unwrap();
        let named = script(folder.path(), "echo crossfade 9.9.9", 0o755);
        assert_eq!(ask_for_name(&named).await, Ok(()));
        for (text, why) in [
            ("echo nginx", "is no crossfade"),
            ("echo crossfade 1; exit 3", "is no crossfade"),
            ("echo wrong libc >&2; exit 1", "wrong libc"),
        ] {
            let path = script(folder.path(), text, 0o755);
            assert!(ask_for_name(&path).await.unwrap_err().contains(why));
        }
        let missing = ask_for_name(Path::new("/nowhere")).await.unwrap_err();
        assert!(missing.contains("cannot be started"), "{missing}");
    }
}
