//! A file watch by looking: device, inode, size and times of the file and of all that it includes.
//!
//! That sees an editor that renames, a symlink swap as Kubernetes does it (what is looked at is where the path leads), a network
//! mount, and a file that was deleted, alike. A change counts once it has held still.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Between two looks.
const PACE: Duration = Duration::from_millis(250);

/// Between two looks while something moves.
const QUICK: Duration = Duration::from_millis(50);

/// How long a change must hold still: whoever writes may not be done.
const STILL: Duration = Duration::from_millis(200);

/// Looks at some files.
#[derive(Debug)]
pub struct Watch {
    main: PathBuf,
    included: Vec<PathBuf>,
    known: Vec<Print>,
    moving: Option<(Vec<Print>, Instant)>,
    /// When to look again.
    next: Instant,
}

/// What tells two states of a file apart; `None` where there is none.
type Print = Option<[i128; 7]>;

impl Watch {
    /// Everything that changes from now on counts.
    pub fn new(main: &Path) -> Self {
        let mut watch = Watch {
            main: main.to_owned(),
            included: Vec::new(),
            known: Vec::new(),
            moving: None,
            next: Instant::now() + PACE,
        };
        watch.settle();
        watch
    }

    /// These files are included now.
    pub fn follow(&mut self, included: &[PathBuf]) {
        self.included = included.to_vec();
        self.settle();
    }

    /// What is there now is about to be read, or was written by us.
    pub fn settle(&mut self) {
        self.known = self.take();
        self.moving = None;
    }

    /// Resolves when something has changed and holds still. Dropping it and asking again delays nothing, however often.
    pub async fn changed(&mut self) {
        loop {
            tokio::time::sleep_until(self.next.into()).await;
            let now = Instant::now();
            let found = self.look(now);
            self.next = now
                + match self.moving {
                    Some(_) => QUICK,
                    None => PACE,
                };
            if found {
                return;
            }
        }
    }

    fn look(&mut self, now: Instant) -> bool {
        let seen = self.take();
        if seen == self.known {
            self.moving = None;
            return false;
        }
        match &self.moving {
            Some((before, since)) if *before == seen => {
                let still = now.duration_since(*since) >= STILL;
                if still {
                    self.known = seen;
                    self.moving = None;
                }
                still
            }
            _ => {
                self.moving = Some((seen, now));
                false
            }
        }
    }

    fn take(&self) -> Vec<Print> {
        let files = std::iter::once(&self.main).chain(&self.included);
        files.map(|path| print(path)).collect()
    }
}

fn print(path: &Path) -> Print {
    let found = fs::metadata(path).ok()?;
    Some([
        found.dev().into(),
        found.ino().into(),
        found.size().into(),
        found.mtime().into(),
        found.mtime_nsec().into(),
        found.ctime().into(),
        found.ctime_nsec().into(),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    struct Folder {
        folder: tempfile::TempDir,
        watch: Watch,
        now: Instant,
    }

    impl Folder {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let main = folder.path().join("proxy.toml");
            fs::write(&main, "one").unwrap();
            Folder {
                watch: Watch::new(&main),
                now: Instant::now(),
                folder,
            }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn look_after(&mut self, ms: u64) -> bool {
            self.now += Duration::from_millis(ms);
            self.watch.look(self.now)
        }

        /// Whether exactly one change is reported, once it holds still.
        fn reports_once(&mut self) -> bool {
            !self.look_after(250)
                && !self.look_after(150)
                && self.look_after(100)
                && !self.look_after(250)
                && !self.look_after(250)
        }
    }

    #[test]
    fn nothing_is_reported_without_a_change() {
        let mut folder = Folder::new();
        assert!((0..10).all(|_| !folder.look_after(250)));
    }

    #[test]
    fn a_write_a_rename_and_a_deletion_are_changes() {
        let mut folder = Folder::new();
        let main = folder.path("proxy.toml");
        fs::write(&main, "two").unwrap();
        assert!(folder.reports_once());
        fs::write(folder.path("new"), "two").unwrap();
        fs::rename(folder.path("new"), &main).unwrap();
        assert!(folder.reports_once());
        fs::remove_file(&main).unwrap();
        assert!(folder.reports_once());
        fs::write(&main, "two").unwrap();
        assert!(folder.reports_once());
    }

    #[test]
    fn a_swapped_symlink_is_a_change() {
        let mut folder = Folder::new();
        for version in ["v1", "v2"] {
            fs::create_dir(folder.path(version)).unwrap();
            fs::write(folder.path(version).join("proxy.toml"), version).unwrap();
        }
        symlink(folder.path("v1"), folder.path("data")).unwrap();
        let through = folder.path("data").join("proxy.toml");
        folder.watch = Watch::new(&through);
        symlink(folder.path("v2"), folder.path("data_tmp")).unwrap();
        fs::rename(folder.path("data_tmp"), folder.path("data")).unwrap();
        assert!(folder.reports_once());
    }

    #[test]
    fn a_file_that_is_being_written_is_waited_for() {
        let mut folder = Folder::new();
        for n in 0..20 {
            fs::write(folder.path("proxy.toml"), "x".repeat(n + 10)).unwrap();
            assert!(!folder.look_after(150), "round {n}");
        }
        assert!(!folder.look_after(100));
        assert!(folder.look_after(100));
    }

    #[test]
    fn included_files_count() {
        let mut folder = Folder::new();
        let switch = folder.path("switch");
        folder.watch.follow(std::slice::from_ref(&switch));
        fs::write(&switch, "true").unwrap();
        assert!(folder.reports_once());
    }

    #[test]
    fn what_was_settled_is_not_reported() {
        let mut folder = Folder::new();
        fs::write(folder.path("proxy.toml"), "two").unwrap();
        folder.watch.settle();
        assert!((0..4).all(|_| !folder.look_after(250)));
    }
}
