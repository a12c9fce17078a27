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

/// The folders and files directly below `src`, floor by floor from the top. Each needs only what stands on floors below its
/// own, so no two need each other. `lib` only declares.
const FLOORS: &[&[&str]] = &[
    &["main"],
    &["cli"],
    &["app"],
    &["admin"],
    &["proxy"],
    &["server"],
    &["session"],
    &["source", "policy"],
    &["hub", "rollout", "upstream"],
    &["transport"],
    &["protocol", "telemetry"],
    &["router"],
    &["http"],
    &["config"],
    &["bindings", "event", "storage", "memory"],
    &["json", "packet", "error"],
];

/// Folders without a runtime, a clock or IO; so is each file whose first comment says "Pure.".
const PURE: &[&str] = &["http", "router", "protocol", "bindings", "event", "json"];

/// Paths that a pure file may not name.
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

/// A struct has at most so many fields; plain data below `src/config`, one field for each key that an operator
/// may write, may have more.
const MOST_FIELDS: usize = 14;

/// A file has at most so many lines.
const MOST_LINES: usize = 400;

/// Files that are longer: models that tests compare the hub with, each in one piece. None may grow, and none may come.
const LONG_MODELS: &[(&str, usize)] = &[
    ("hub/tests/identity.rs", 409),
    ("hub/tests/join.rs", 426),
    ("hub/tests/walk.rs", 719),
];

/// Names that stand for several types today, of which at most one is public. None may grow, and none may come.
const SHARED_NAMES_OF_TODAY: &[(&str, usize)] = &[
    ("Action", 2),
    ("Admin", 2),
    ("Ask", 2),
    ("Asked", 5),
    ("Asking", 2),
    ("Authority", 2),
    ("Budget", 2),
    ("Call", 2),
    ("Caller", 2),
    ("Checked", 2),
    ("Checks", 2),
    ("Clock", 2),
    ("Command", 5),
    ("Context", 2),
    ("Form", 3),
    ("Identity", 2),
    ("Index", 2),
    ("MaybeTls", 2),
    ("Members", 2),
    ("Named", 2),
    ("Names", 2),
    ("Next", 2),
    ("Problem", 2),
    ("Queue", 2),
    ("Reading", 2),
    ("Reason", 2),
    ("Refusal", 2),
    ("Routes", 2),
    ("State", 2),
    ("Text", 3),
    ("Turn", 3),
    ("Unread", 3),
    ("Upgrade", 2),
    ("Way", 2),
];

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
    judge(found, LARGEST_CIRCLE, &[]);
}

/// A part is a file with the folder of its name.
#[test]
fn circles_of_parts_are_small() {
    let (tree, imports) = &*SOURCES;
    let (parts, imports) = circles::between_parts(&tree.files, imports);
    let found = circles_among(&parts, &imports);
    judge(found, LARGEST_CIRCLE, &[]);
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

/// Those in the last column of the lexicon.
/// One thing has one name, and one name is one thing: what is only unique with its folder has to be looked up.
#[test]
fn types_have_names_of_their_own() {
    let (tree, _) = &*SOURCES;
    let found = shapes::type_names(tree)
        .into_iter()
        .map(|(name, places)| {
            let files: Vec<String> = places
                .iter()
                .map(|(file, line)| format!("src/{}:{line}", tree.files[*file]))
                .collect();
            let told = format!("{name} is {} types: {}", places.len(), files.join(" "));
            (name, places.len(), told)
        })
        .collect();
    judge(found, 1, SHARED_NAMES_OF_TODAY);
}

#[test]
fn types_that_the_lexicon_names_exist() {
    let (tree, _) = &*SOURCES;
    let defined = tree.modules.iter().flat_map(|module| &module.said.defined);
    let defined: BTreeSet<&str> = defined.map(String::as_str).collect();
    let rows = include_str!("../docs/lexicon.md").lines();
    let columns = rows.filter_map(|row| row.rsplit('|').nth(1));
    let missing: Vec<&str> = columns
        .flat_map(|types| types.split('`').skip(1).step_by(2))
        .filter(|name| !defined.contains(name))
        .collect();
    assert!(missing.is_empty(), "docs/lexicon.md: no types: {missing:?}");
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
fn pure_files_know_no_runtime_no_clock_and_no_io() {
    let (tree, _) = &*SOURCES;
    let sources = tree::sources();
    let mut broken = Vec::new();
    for module in &tree.modules {
        let file = &tree.files[module.file];
        if !PURE.contains(&top(file)) && !says_pure(&sources[file]) {
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
            // The type of an instant is no clock: `now` is.
            let is_type = path == "tokio::time::Instant";
            if !is_type && IMPURE.iter().any(|word| path.starts_with(word)) {
                broken.push(format!("src/{file}:{line}: is pure, and names {path}"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

fn says_pure(text: &str) -> bool {
    text.lines()
        .take_while(|line| line.starts_with("//!"))
        .any(|line| line.contains("Pure.") || line.contains("Pure:"))
}

#[test]
fn files_are_short() {
    let found = tree::sources()
        .into_iter()
        .map(|(file, text)| {
            let lines = text.lines().count();
            let line = format!("src/{file} has {lines} lines");
            (file, lines, line)
        })
        .collect();
    judge(found, MOST_LINES, LONG_MODELS);
}

/// Read once for all rules.
static SOURCES: LazyLock<(Tree, Imports)> = LazyLock::new(|| {
    let tree = Tree::of(&tree::sources());
    let imports = imports::imports(&tree);
    (tree, imports)
});

/// Imports of a folder that does not stand on a lower floor.
fn climbs(tree: &Tree, imports: &Imports) -> Vec<String> {
    let mut broken = Vec::new();
    for ((from, to), Import { line, path, .. }) in imports {
        let file = &tree.files[*from];
        let (from, to) = (top(file), top(&tree.files[*to]));
        if from == to || from == "lib" || to == "lib" {
            continue;
        }
        let [Some(floor), Some(below)] = [from, to].map(floor) else {
            broken.push(format!("src/{file}: {from} or {to} stands on no floor"));
            continue;
        };
        if below <= floor {
            broken.push(format!(
                "src/{file}:{line}: {from} names {path}, and {to} does not stand on a floor below it"
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

/// Counted from the top.
fn floor(folder: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&folder))
}

/// The folder below `src`, of a file.
fn top(file: &str) -> &str {
    let folder = file.split('/').next().unwrap_or(file);
    folder.strip_suffix(".rs").unwrap_or(folder)
}
