//! Rules over all sources. They are read as the compiler reads them: from `lib.rs` by every `mod`;
//! every `use` and every path counts, in macros too, and leads to the file that defines the name,
//! however it was re-exported. Code for tests only is left out. A module that re-exports a name of its
//! own children does not need them by that, so a `mod.rs` that only declares is in no circle.
//!
//! `cargo test --test floors -- --nocapture` lists what is larger than allowed today.

#[path = "floors/circles.rs"]
mod circles;
#[path = "floors/imports.rs"]
mod imports;
#[path = "floors/said.rs"]
mod said;
#[path = "floors/shapes.rs"]
mod shapes;
#[path = "floors/tests.rs"]
mod tests;
#[path = "floors/tree.rs"]
mod tree;

use imports::{Import, Imports};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use tree::Tree;

/// Rooms by floor, the most specific prefix first.
const FLOORS: &[(&str, u8)] = &[
    ("main", 5),
    ("cli", 5),
    ("app", 5),
    ("proxy", 4),
    ("server", 4),
    ("admin", 4),
    ("rollout::controller", 3),
    ("source::answer", 2),
    ("source::diff", 2),
    ("source::sse::decode", 2),
    ("source::poll::pace", 2),
    ("upstream::cluster::load_balancer", 2),
    ("upstream::cluster::health_state", 2),
    ("upstream::cluster::outlier_detection", 2),
    ("upstream::cluster::retry_budget", 2),
    ("upstream::cluster::consistent_hash", 2),
    ("upstream", 3),
    ("hub", 3),
    ("source", 3),
    ("session", 3),
    ("router", 2),
    ("protocol", 2),
    ("rollout", 2),
    ("policy::auth::api_key", 2),
    ("policy::auth::credential", 2),
    ("policy::auth::csrf", 2),
    ("policy::auth::error", 2),
    ("policy::auth::expiry", 2),
    ("policy::auth::identity", 2),
    ("policy::auth::jwt", 2),
    ("policy::auth::revocation", 2),
    ("policy::auth::ticket", 2),
    ("policy::auth", 3),
    ("policy::rate_limit", 3),
    ("http", 2),
    ("policy", 2),
    ("config", 1),
    ("telemetry", 1),
    ("storage", 1),
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
    ("policy", &["upstream"]),
    ("session", &["hub", "upstream", "policy"]),
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

/// So many files may need each other; a noun and its own parts.
const LARGEST_CIRCLE: usize = 3;

/// Circles that are larger today, by folder: those of files, and those of parts. None may grow, and none may come.
const CIRCLES_OF_TODAY: &[(&str, usize)] = &[("config", 41)];
const CIRCLES_OF_PARTS_TODAY: &[(&str, usize)] = &[("config", 35)];

/// A struct has at most so many fields; plain data below `src/config`, one field for each key that an operator
/// may write, may have more.
const MOST_FIELDS: usize = 14;

/// A type has its `impl` blocks in at most so many files.
const MOST_FILES: usize = 3;

#[test]
fn imports_go_down_only() {
    let (tree, imports) = &*SOURCES;
    let broken = climbs(tree, imports);
    assert!(
        broken.is_empty(),
        "imports go down only:\n{}",
        broken.join("\n")
    );
}

#[test]
fn circles_of_files_are_small() {
    let (tree, imports) = &*SOURCES;
    let found = circles_among(&tree.files, imports);
    judge(found, LARGEST_CIRCLE, CIRCLES_OF_TODAY);
}

/// A part is a file with the folder of its name.
#[test]
fn circles_of_parts_are_small() {
    let (tree, imports) = &*SOURCES;
    let (parts, imports) = circles::between_parts(&tree.files, imports);
    let found = circles_among(&parts, &imports);
    judge(found, LARGEST_CIRCLE, CIRCLES_OF_PARTS_TODAY);
}

fn circles_among(names: &[String], imports: &Imports) -> Vec<(String, usize, String)> {
    circles::circles(names.len(), imports)
        .into_iter()
        .map(|circle| {
            let folders: BTreeSet<&str> = circle.iter().map(|file| top(&names[*file])).collect();
            let folders: Vec<&str> = folders.into_iter().collect();
            (
                folders.join(" "),
                circle.len(),
                describe(names, imports, &circle),
            )
        })
        .collect()
}

#[test]
fn structs_are_narrow() {
    let (tree, _) = &*SOURCES;
    let found = shapes::structs(tree)
        .into_iter()
        .filter(|(file, ..)| top(&tree.files[*file]) != "config")
        .map(|(file, line, name, fields)| {
            let told = format!(
                "src/{}:{line}: {name} has {fields} fields",
                tree.files[file]
            );
            (name, fields, told)
        })
        .collect();
    judge(found, MOST_FIELDS, &[]);
}

#[test]
fn impls_of_a_type_lie_together() {
    let (tree, _) = &*SOURCES;
    let found = shapes::impls(tree)
        .into_iter()
        .map(|((file, name), places)| {
            let lines: Vec<String> = places
                .iter()
                .map(|(file, line)| format!("src/{}:{line}", tree.files[*file]))
                .collect();
            let told = format!(
                "{name} of src/{} has impl blocks in {} files: {}",
                tree.files[file],
                places.len(),
                lines.join(" ")
            );
            (name, places.len(), told)
        })
        .collect();
    judge(found, MOST_FILES, &[]);
}

/// What is larger than allowed, and what is larger today than it will be. `found` is name, size and
/// what there is to say.
fn judge(found: Vec<(String, usize, String)>, most: usize, today: &[(&str, usize)]) {
    let today: BTreeMap<&str, usize> = today.iter().copied().collect();
    let mut broken = Vec::new();
    for (name, size, told) in found {
        if size <= most {
            continue;
        }
        if today.get(&*name).is_some_and(|known| size <= *known) {
            println!("{told}");
        } else {
            broken.push(told);
        }
    }
    assert!(
        broken.is_empty(),
        "more than {most}:\n{}",
        broken.join("\n")
    );
}

#[test]
fn pure_rooms_know_no_runtime_no_clock_and_no_io() {
    let (tree, _) = &*SOURCES;
    let mut broken = Vec::new();
    for module in &tree.modules {
        let file = &tree.files[module.file];
        if floor(&room(file)) != Some(2) {
            continue;
        }
        let said = &module.said;
        let imports = said
            .imports
            .iter()
            .map(|import| (&import.path, import.line));
        let mentions = said
            .mentions
            .iter()
            .map(|mention| (&mention.path, mention.line));
        for (path, line) in imports.chain(mentions) {
            let path = path.join("::");
            if IMPURE.iter().any(|word| path.starts_with(word)) {
                broken.push(format!("src/{file}:{line}: is pure, and says {path}"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Read once for all rules.
static SOURCES: LazyLock<(Tree, Imports)> = LazyLock::new(|| {
    let tree = Tree::of(&tree::sources());
    let imports = imports::imports(&tree);
    (tree, imports)
});

/// Imports of what stands higher, or of a neighbour that may not be known.
fn climbs(tree: &Tree, imports: &Imports) -> Vec<String> {
    let mut broken = Vec::new();
    for ((from, to), Import { line, path, .. }) in imports {
        let file = &tree.files[*from];
        let (from, to) = (room(file), room(&tree.files[*to]));
        if from == "lib" || to == "lib" {
            continue;
        }
        let [Some(floor), Some(below)] = [&from, &to].map(|room| self::floor(room)) else {
            broken.push(format!("src/{file}: {from} or {to} stands on no floor"));
            continue;
        };
        let allowed = below < floor
            || top(&from) == top(&to) && below == floor
            || below == floor && floor != 3
            || SIBLINGS
                .iter()
                .any(|(name, may)| *name == top(&from) && may.contains(&top(&to)));
        if !allowed {
            broken.push(format!(
                "src/{file}:{line}: {from} (floor {floor}) names {path}, which is of {to} (floor {below})"
            ));
        }
    }
    broken
}

/// The members of a circle, and the lines without which it would be none.
fn describe(names: &[String], imports: &Imports, circle: &BTreeSet<usize>) -> String {
    let members: Vec<&str> = circle.iter().map(|file| names[*file].as_str()).collect();
    let mut told = format!("circle of {}: {}", members.len(), members.join(" "));
    for (from, to) in circles::closing(circle, imports) {
        let Import { line, path, times } = &imports[&(from, to)];
        told += &format!(
            "\n  closed by {}:{line}, which names {path} of {} ({times} such)",
            names[from], names[to]
        );
    }
    told
}

/// `policy::auth` of `edge/auth/mod.rs`.
fn room(file: &str) -> String {
    let path = file.strip_suffix(".rs").unwrap_or(file);
    path.strip_suffix("/mod").unwrap_or(path).replace('/', "::")
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

/// The folder below `src`, of a file or of a room.
fn top(place: &str) -> &str {
    let place = place.split(['/', ':']).next().unwrap_or(place);
    place.strip_suffix(".rs").unwrap_or(place)
}
