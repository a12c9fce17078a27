//! How much memory the system grants this process, and how much of it is used.
//!
//! A limit is that of the control group (cgroup) which a container runtime or `MemoryMax=` of systemd put us in, or of one
//! above it. Where there is none, nothing is near it.

use std::fs;
use std::path::{Path, PathBuf};

/// Memory of a control group, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    /// What the kernel cannot simply reclaim: without inactive file pages.
    pub(crate) used: u64,
    /// What the kernel ends processes for.
    pub(crate) limit: u64,
}

/// The control groups that we are in, from the inside out. Limits are read anew each time: they may change while we run.
#[derive(Clone, Debug)]
pub(crate) struct ControlGroups(Vec<Group>);

#[derive(Clone, Debug)]
struct Group {
    folder: PathBuf,
    files: &'static Files,
}

/// What the two versions of the kernel's interface call the same things.
#[derive(Debug)]
struct Files {
    used: &'static str,
    limit: &'static str,
    reclaimable: &'static str,
}

const V2: Files = Files {
    used: "memory.current",
    limit: "memory.max",
    reclaimable: "inactive_file",
};
const V1: Files = Files {
    used: "memory.usage_in_bytes",
    limit: "memory.limit_in_bytes",
    reclaimable: "total_inactive_file",
};

/// Version 1 writes no limit as the largest number of pages; nothing real is above it.
const UNLIMITED: u64 = 1 << 60;

impl ControlGroups {
    /// Those of this process; none where the kernel shows none.
    pub(crate) fn find() -> Self {
        let membership = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        ControlGroups::under(Path::new("/sys/fs/cgroup"), &membership)
    }

    /// `membership` is what `/proc/PID/cgroup` says: lines of `number:controllers:path`.
    fn under(root: &Path, membership: &str) -> Self {
        let mut groups = Vec::new();
        for line in membership.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
                continue;
            };
            let (mount, files) = if controllers.is_empty() {
                (root.to_owned(), &V2)
            } else if controllers.split(',').any(|name| name == "memory") {
                (root.join("memory"), &V1)
            } else {
                continue;
            };
            // Inside a container the path is often that of the host: what is not there is passed over, and the mount itself
            // is our group then.
            let path = Path::new(path.trim_start_matches('/'));
            for part in path.ancestors() {
                let folder = mount.join(part);
                if folder.join(files.limit).is_file() {
                    groups.push(Group { folder, files });
                }
            }
        }
        ControlGroups(groups)
    }

    /// How much more the system grants: what the groups leave, and the machine; `None` where it does not tell.
    pub(crate) fn room(&self) -> Option<u64> {
        let groups = self.0.iter().filter_map(Group::read);
        let left = groups.map(|memory| memory.limit.saturating_sub(memory.used));
        left.chain(available(Path::new("/proc/meminfo"))).min()
    }

    /// The one that is nearest to its limit; `None` where none has a limit.
    pub(crate) fn tightest(&self) -> Option<Memory> {
        let share = |memory: &Memory| u128::from(memory.used) * 1000 / u128::from(memory.limit);
        self.0.iter().filter_map(Group::read).max_by_key(share)
    }
}

/// What the machine could give before it swaps.
fn available(file: &Path) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

impl Group {
    fn read(&self) -> Option<Memory> {
        let number = |file: &str| -> Option<u64> {
            let text = fs::read_to_string(self.folder.join(file)).ok()?;
            text.trim().parse().ok()
        };
        let limit = number(self.files.limit).filter(|limit| (1..UNLIMITED).contains(limit))?;
        let used = number(self.files.used)?;
        let statistics = fs::read_to_string(self.folder.join("memory.stat")).unwrap_or_default();
        let reclaimable = statistics.lines().find_map(|line| {
            let (name, bytes) = line.split_once(' ')?;
            (name == self.files.reclaimable).then(|| bytes.trim().parse::<u64>().ok())?
        });
        Some(Memory {
            used: used.saturating_sub(reclaimable.unwrap_or(0)),
            limit,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(folder).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
    }

    #[test]
    fn the_group_nearest_to_its_limit_counts() {
        let root = tempfile::tempdir().unwrap();
        let stat = "anon 70\ninactive_file 10\nactive_file 5\n";
        write(
            &root.path().join("a/b"),
            &[
                ("memory.current", "50\n"),
                ("memory.max", "max\n"),
                ("memory.stat", stat),
            ],
        );
        write(
            &root.path().join("a"),
            &[
                ("memory.current", "80\n"),
                ("memory.max", "100\n"),
                ("memory.stat", stat),
            ],
        );
        let groups = ControlGroups::under(root.path(), "0::/a/b\n");
        let tightest = Memory {
            used: 70,
            limit: 100,
        };
        assert_eq!(groups.tightest(), Some(tightest));
        // A limit that is set later counts from then on.
        fs::write(root.path().join("a/b/memory.max"), "41\n").unwrap();
        let tightest = Memory {
            used: 40,
            limit: 41,
        };
        assert_eq!(groups.tightest(), Some(tightest));
    }

    #[test]
    fn the_room_is_what_the_tightest_group_leaves() {
        let root = tempfile::tempdir().unwrap();
        let files = |used, limit| [("memory.current", used), ("memory.max", limit)];
        write(&root.path().join("a/b"), &files("50\n", "60\n"));
        write(&root.path().join("a"), &files("96\n", "100\n"));
        let groups = ControlGroups::under(root.path(), "0::/a/b\n");
        assert_eq!(groups.room(), Some(4));
        let none = ControlGroups::under(root.path(), "");
        assert_eq!(none.room(), available(Path::new("/proc/meminfo")));
        let meminfo = root.path().join("meminfo");
        fs::write(&meminfo, "MemTotal: 9 kB\nMemAvailable:    7 kB\n").unwrap();
        assert_eq!(available(&meminfo), Some(7 * 1024));
        assert_eq!(available(root.path()), None);
    }

    #[test]
    fn version_1_inside_a_container_shows_its_group_at_the_mount() {
        let root = tempfile::tempdir().unwrap();
        write(
            &root.path().join("memory"),
            &[
                ("memory.usage_in_bytes", "90\n"),
                ("memory.limit_in_bytes", "200\n"),
                ("memory.stat", "inactive_file 7\ntotal_inactive_file 30\n"),
            ],
        );
        let membership = "5:cpu,cpuacct:/docker/x\n4:memory:/docker/x\n0::/\n";
        let groups = ControlGroups::under(root.path(), membership);
        let tightest = Memory {
            used: 60,
            limit: 200,
        };
        assert_eq!(groups.tightest(), Some(tightest));
    }

    #[test]
    fn without_a_limit_nothing_is_near_it() {
        let root = tempfile::tempdir().unwrap();
        write(
            &root.path().join("memory"),
            &[
                ("memory.usage_in_bytes", "90\n"),
                ("memory.limit_in_bytes", "9223372036854771712\n"),
            ],
        );
        for membership in ["4:memory:/\n", "0::/\n", "", "nonsense\n::\n"] {
            let groups = ControlGroups::under(root.path(), membership);
            assert_eq!(groups.tightest(), None, "{membership:?}");
        }
    }
}
