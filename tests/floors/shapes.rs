//! How large the parts are: fields of a struct, files with `impl` blocks of one type, types of one name.

use super::tree::Tree;
use std::collections::BTreeMap;

/// Every struct, the widest first: file, line, name, fields.
pub fn structs(tree: &Tree) -> Vec<(usize, usize, String, usize)> {
    let mut found: Vec<_> = tree
        .modules
        .iter()
        .flat_map(|module| module.said.structs.iter().map(|item| (module.file, item)))
        .map(|(file, item)| (file, item.line, item.name.clone(), item.fields))
        .collect();
    found.sort_by_key(|(file, line, _, fields)| (std::cmp::Reverse(*fields), *file, *line));
    found
}

/// A type by the file that defines it and its name.
type Subject = (usize, String);

/// Every type, with the files in which it has `impl` blocks and a line in each.
pub fn impls(tree: &Tree) -> Vec<(Subject, BTreeMap<usize, usize>)> {
    let mut files: BTreeMap<Subject, BTreeMap<usize, usize>> = BTreeMap::new();
    for (at, module) in tree.modules.iter().enumerate() {
        for block in &module.said.impls {
            if let Some(subject) = tree.item(at, &block.path) {
                let lines = files.entry(subject).or_default();
                lines.entry(module.file).or_insert(block.line);
            }
        }
    }
    files.into_iter().collect()
}

/// Every name of a type that other modules may use, with the files and lines that define such a type.
pub fn type_names(tree: &Tree) -> BTreeMap<String, Vec<(usize, usize)>> {
    let mut names: BTreeMap<String, Vec<(usize, usize)>> = BTreeMap::new();
    for module in &tree.modules {
        for defined in &module.said.types {
            let places = names.entry(defined.name.clone()).or_default();
            places.push((module.file, defined.line));
        }
    }
    names
}
