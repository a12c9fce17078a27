//! Imports go down only. The floors are those of ARCHITECTURE.md; this test reads every
//! `use crate::` line and every `crate::` path, and names the rule that was broken.

use std::fs;
use std::path::{Path, PathBuf};

/// Rooms by floor, the most specific prefix first.
const FLOORS: &[(&str, u8)] = &[
    ("main", 5),
    ("cli", 5),
    ("app", 5),
    ("reload", 5),
    ("handover", 5),
    ("downstream", 4),
    ("admin", 4),
    ("rollout::controller", 3),
    ("source::answer", 2),
    ("source::diff", 2),
    ("source::sse::decode", 2),
    ("source::poll::pace", 2),
    ("upstream::fleet::balance", 2),
    ("upstream::fleet::checks", 2),
    ("upstream::fleet::ejection", 2),
    ("upstream::fleet::retries", 2),
    ("upstream::fleet::ring", 2),
    ("upstream", 3),
    ("hub", 3),
    ("source", 3),
    ("session", 3),
    ("route", 2),
    ("protocol", 2),
    ("rollout", 2),
    ("edge::auth::api_key", 2),
    ("edge::auth::credential", 2),
    ("edge::auth::csrf", 2),
    ("edge::auth::denied", 2),
    ("edge::auth::expiry", 2),
    ("edge::auth::identity", 2),
    ("edge::auth::jwt", 2),
    ("edge::auth::revocation", 2),
    ("edge::auth::ticket", 2),
    ("edge::auth", 3),
    ("edge::rate_limit", 3),
    ("edge", 2),
    ("policy", 2),
    ("config", 1),
    ("telemetry", 1),
    ("state", 1),
    ("listener", 1),
    ("memory", 1),
    ("transport", 1),
    ("event", 0),
    ("packet", 0),
    ("error", 0),
    ("json", 0),
];

/// On floor 3, who may import which sibling.
const SIBLINGS: &[(&str, &[&str])] = &[
    ("source", &["hub", "upstream"]),
    ("edge", &["upstream"]),
    ("session", &["hub", "upstream", "edge"]),
];

/// Words that a pure room may not contain.
const IMPURE: &[&str] = &[
    "tokio::",
    "Instant::now",
    "SystemTime::now",
    "std::fs",
    "std::net::Tcp",
    "getrandom",
];

#[test]
fn imports_go_down_only() {
    let mut broken = Vec::new();
    for (room, file) in rooms() {
        let floor = floor(&room)
            .unwrap_or_else(|| panic!("{}: a room that stands on no floor", file.display()));
        for (number, line) in code_lines(&file) {
            for target in imported(&line) {
                let Some(below) = self::floor(&target) else {
                    continue;
                };
                let (from, to) = (top(&room), top(&target));
                let allowed = from == to && !room_is_deeper_than_parent(&room, &target)
                    || below < floor
                    || below == floor && floor != 3
                    || SIBLINGS
                        .iter()
                        .any(|(name, may)| *name == from && may.contains(&to));
                if !allowed {
                    broken.push(format!(
                        "{}:{number}: {room} (floor {floor}) imports {target} (floor {below})",
                        file.display()
                    ));
                }
            }
        }
    }
    assert!(
        broken.is_empty(),
        "imports go down only:\n{}",
        broken.join("\n")
    );
}

#[test]
fn pure_rooms_know_no_runtime_no_clock_and_no_io() {
    let mut broken = Vec::new();
    for (room, file) in rooms() {
        if floor(&room) != Some(2) {
            continue;
        }
        for (number, line) in code_lines(&file) {
            if let Some(word) = IMPURE
                .iter()
                .find(|word| line.contains(**word) && !line.contains("tokio_tungstenite"))
            {
                broken.push(format!(
                    "{}:{number}: {room} is pure, and says {word}",
                    file.display()
                ));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// A pure part of a mixed room (`rollout`, `source`) may not import its impure siblings.
fn room_is_deeper_than_parent(room: &str, target: &str) -> bool {
    matches!((floor(room), floor(target)), (Some(from), Some(to)) if to > from)
}

fn floor(room: &str) -> Option<u8> {
    let fits = |name: &str| {
        room == name
            || room
                .strip_prefix(name)
                .is_some_and(|rest| rest.starts_with("::"))
    };
    FLOORS
        .iter()
        .filter(|(name, _)| fits(name))
        .max_by_key(|(name, _)| name.len())
        .map(|(_, floor)| *floor)
}

/// The first segment.
fn top(room: &str) -> &str {
    room.split("::").next().unwrap_or(room)
}

/// Every source file with the module path of its room; `lib.rs` is the map and imports nothing.
fn rooms() -> Vec<(String, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files
        .into_iter()
        .filter(|file| {
            file.file_name()
                .is_some_and(|name| name != "lib.rs" && name != "tests.rs")
        })
        .map(|file| {
            let inside = file
                .strip_prefix(&root)
                .expect("below src")
                .with_extension("");
            let parts: Vec<_> = inside
                .iter()
                .map(|part| part.to_string_lossy().into_owned())
                .collect();
            let room = parts.join("::");
            (
                room.strip_suffix("::mod")
                    .map(str::to_owned)
                    .unwrap_or(room),
                file,
            )
        })
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a readable source tree") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "tests") {
                collect(&path, files);
            }
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
}

/// Code outside comments, up to the file's own tests.
fn code_lines(file: &Path) -> Vec<(usize, String)> {
    let text = fs::read_to_string(file).expect("readable source");
    (1..)
        .zip(text.lines().map(str::to_owned))
        .take_while(|(_, line)| line.trim() != "mod tests {")
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .collect()
}

/// The rooms that a line names by `crate::`; `use crate::{a::b, c}` is spelt out by rustfmt's
/// habit of one path per line, nested braces after the room's own name included.
fn imported(line: &str) -> Vec<String> {
    line.match_indices("crate::")
        .filter(|(at, _)| !line[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
        .map(|(at, word)| {
            let path: String = line[at + word.len()..]
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_' || *c == ':')
                .collect();
            path.trim_end_matches(':').to_owned()
        })
        .filter(|path| !path.is_empty())
        .collect()
}
