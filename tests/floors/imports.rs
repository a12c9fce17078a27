//! Which file needs which other, and in which line it says so.

use super::tree::Tree;
use std::collections::BTreeMap;

/// Edges by (importing file, defining file).
pub type Imports = BTreeMap<(usize, usize), Import>;

/// The first line that needs the other file, and how many do.
#[derive(Clone)]
pub struct Import {
    pub line: usize,
    pub path: String,
    pub times: usize,
}

/// A module that hands on a name of its own children needs none of them: whoever uses the name is
/// counted as a user of the file that defines it.
pub fn imports(tree: &Tree) -> Imports {
    let mut found = Imports::new();
    for (at, module) in tree.modules.iter().enumerate() {
        for import in &module.said.imports {
            let Some((file, _)) = tree.item(at, &import.path) else {
                continue;
            };
            let hands_on = import.public && tree.owns(at, &import.path);
            if !hands_on {
                add(&mut found, module.file, file, import.line, &import.path);
            }
        }
        for mention in &module.said.mentions {
            if let Some((file, _)) = tree.item(at, &mention.path) {
                add(&mut found, module.file, file, mention.line, &mention.path);
            }
        }
    }
    found
}

fn add(found: &mut Imports, from: usize, to: usize, line: usize, path: &[String]) {
    if from != to {
        found
            .entry((from, to))
            .or_insert_with(|| Import {
                line,
                path: path.join("::"),
                times: 0,
            })
            .times += 1;
    }
}
