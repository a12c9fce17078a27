//! What a server and all its descendants used, from `/proc`.

use std::fs;

/// `USER_HZ`, the unit of `/proc/PID/stat`: 100 on every Linux architecture that Rust supports.
const TICKS_PER_SECOND: f64 = 100.0;

/// A process and its descendants, found once.
pub struct Tree(Vec<u32>);

impl Tree {
    pub fn of(root: u32) -> Tree {
        let parents: Vec<(u32, u32)> = processes()
            .filter_map(|pid| Some((pid, parent(pid)?)))
            .collect();
        let mut tree = vec![root];
        let mut next = 0;
        while let Some(&pid) = tree.get(next) {
            tree.extend(
                parents
                    .iter()
                    .filter(|(_, parent)| *parent == pid)
                    .map(|(pid, _)| *pid),
            );
            next += 1;
        }
        Tree(tree)
    }

    /// User and system time of all threads, those that ended included.
    pub fn cpu_seconds(&self) -> f64 {
        self.0
            .iter()
            .filter_map(|pid| cpu_ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?))
            .sum::<u64>() as f64
            / TICKS_PER_SECOND
    }

    /// Proportional set size: private pages, and each process's share of common ones.
    pub fn pss_bytes(&self) -> u64 {
        self.0
            .iter()
            .filter_map(|pid| {
                pss_kib(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?)
            })
            .sum::<u64>()
            * 1024
    }
}

fn processes() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn parent(pid: u32) -> Option<u32> {
    fields(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?
        .get(1)?
        .parse()
        .ok()
}

fn cpu_ticks(stat: &str) -> Option<u64> {
    let fields = fields(stat)?;
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

/// The fields after the command's name, which may hold spaces and brackets itself: the first is the state (proc(5), field 3).
fn fields(stat: &str) -> Option<Vec<&str>> {
    Some(stat.rsplit_once(") ")?.1.split(' ').collect())
}

fn pss_kib(rollup: &str) -> Option<u64> {
    rollup.lines().find_map(|line| {
        line.strip_prefix("Pss:")?
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_behind_the_last_bracket() {
        let stat = "7 (a ) b) S 3 7 7 0 -1 4194560 1 0 0 0 250 50 9 9 20 0 1 0";
        assert_eq!(cpu_ticks(stat), Some(300));
        assert_eq!(
            fields(stat).and_then(|fields| fields.get(1).and_then(|ppid| ppid.parse().ok())),
            Some(3)
        );
    }

    #[test]
    fn pss_is_not_pss_dirty() {
        assert_eq!(
            pss_kib("Rss: 9 kB\nPss_Dirty:  1 kB\nPss:    471 kB\n"),
            Some(471)
        );
    }
}
