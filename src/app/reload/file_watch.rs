//! A file watch by looking: device, inode, size and times of the file and of all that it includes.
//!
//! That sees an editor that renames, a symlink swap as Kubernetes does it (what is looked at is where the path leads), a network
//! mount, and a file that was deleted, alike. A change counts once it has held still.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Between two looks.
const PACE: Duration = Duration::from_millis(250);

/// Between two looks while something moves.
const QUICK: Duration = Duration::from_millis(50);

/// How long a change must hold still: its writer may not be done.
const STILL: Duration = Duration::from_millis(200);

/// Looks at some files.
#[derive(Debug)]
pub(crate) struct Watch {
    known: FileStamps,
    moving: Option<(FileStamps, Instant)>,
    /// When to look again.
    next: Instant,
}

/// What tells two states of a file apart; `None` where there is none.
pub(crate) type Print = Option<[i128; 7]>;

/// Files, and how each was before it was read: whatever happens to it after that is a change.
pub(crate) type FileStamps = BTreeMap<PathBuf, Print>;

impl Watch {
    /// Everything that happened to these files since they were read counts.
    pub(crate) fn new(read: FileStamps) -> Self {
        Watch {
            known: read,
            moving: None,
            next: Instant::now() + PACE,
        }
    }

    /// These files, and no others, are the configuration now.
    pub(crate) fn follow(&mut self, read: FileStamps) {
        self.known = read;
        self.moving = None;
    }

    /// These were read in vain; what is in force still rests on the others.
    pub(crate) fn follow_too(&mut self, read: FileStamps) {
        self.known.extend(read);
        self.moving = None;
    }

    /// Resolves when something has changed and holds still. Dropping it and asking again delays nothing, however often.
    pub(crate) async fn changed(&mut self) {
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

    fn take(&self) -> FileStamps {
        let files = self.known.keys();
        files.map(|path| (path.clone(), print(path))).collect()
    }
}

/// How a file is now; a symlink counts for what it leads to.
pub(crate) fn print(path: &Path) -> Print {
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

    fn prints(path: &Path) -> FileStamps {
        FileStamps::from([(path.to_owned(), print(path))])
    }

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
                watch: Watch::new(prints(&main)),
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
        folder.watch = Watch::new(prints(&through));
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
        folder.watch.follow_too(prints(&switch));
        fs::write(&switch, "true").unwrap();
        assert!(folder.reports_once());
    }

    #[test]
    fn what_happens_between_reading_and_following_counts() {
        let mut folder = Folder::new();
        let main = folder.path("proxy.toml");
        let read = prints(&main);
        fs::write(&main, "two").unwrap();
        folder.watch.follow(read);
        assert!(folder.reports_once());
        folder.watch.follow(prints(&main));
        assert!((0..4).all(|_| !folder.look_after(250)));
    }
}
