//! Files that need each other.

use super::imports::{Import, Imports};
use std::collections::BTreeSet;

/// Every set of at least two files of which each needs each other one, the largest first.
pub fn circles(files: usize, imports: &Imports) -> Vec<BTreeSet<usize>> {
    let reach: Vec<BTreeSet<usize>> = (0..files).map(|file| reached(file, imports)).collect();
    let mut found: BTreeSet<BTreeSet<usize>> = BTreeSet::new();
    for file in 0..files {
        let circle: BTreeSet<usize> = reach[file]
            .iter()
            .copied()
            .filter(|other| reach[*other].contains(&file))
            .collect();
        if circle.len() > 1 {
            found.insert(circle);
        }
    }
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort_by_key(|circle| std::cmp::Reverse(circle.len()));
    found
}

/// The same imports between parts of folders, and the parts: a file and the folder of its name are one, `hub/history` is both
/// `hub/log.rs` and `hub/log/index.rs`.
pub fn between_parts(files: &[String], imports: &Imports) -> (Vec<String>, Imports) {
    let part = |file: usize| -> String {
        let path = files[file].trim_end_matches(".rs");
        path.split('/').take(2).collect::<Vec<_>>().join("/")
    };
    let parts: BTreeSet<String> = (0..files.len()).map(part).collect();
    let parts: Vec<String> = parts.into_iter().collect();
    let place = |file: usize| parts.partition_point(|other| *other < part(file));
    let mut between = Imports::new();
    for ((from, to), import) in imports {
        let (from, to) = (place(*from), place(*to));
        if from != to {
            let found = between.entry((from, to)).or_insert_with(|| Import {
                times: 0,
                ..import.clone()
            });
            found.times += import.times;
        }
    }
    (parts, between)
}

/// What a file needs, and what that needs.
fn reached(from: usize, imports: &Imports) -> BTreeSet<usize> {
    let mut seen = BTreeSet::new();
    let mut next = vec![from];
    while let Some(file) = next.pop() {
        for ((_, to), _) in imports.range((file, 0)..=(file, usize::MAX)) {
            if seen.insert(*to) {
                next.push(*to);
            }
        }
    }
    seen
}

/// Few edges without which the circle is none: the files are put in an order in which few imports
/// run back, and those are the ones.
pub fn closing(circle: &BTreeSet<usize>, imports: &Imports) -> Vec<(usize, usize)> {
    let inside: Vec<(usize, usize, isize)> = imports
        .iter()
        .filter(|((from, to), _)| circle.contains(from) && circle.contains(to))
        .map(|((from, to), import)| (*from, *to, import.times as isize))
        .collect();
    let mut left = circle.clone();
    let mut order = Vec::new();
    while let Some(next) = left.iter().copied().max_by_key(|file| {
        inside
            .iter()
            .filter(|(from, to, _)| left.contains(from) && left.contains(to))
            .map(|(from, to, times)| {
                isize::from(from == file) * times - isize::from(to == file) * times
            })
            .sum::<isize>()
    }) {
        left.remove(&next);
        order.push(next);
    }
    let place = |file: usize| order.iter().position(|other| *other == file);
    inside
        .iter()
        .filter(|(from, to, _)| place(*from) > place(*to))
        .map(|(from, to, _)| (*from, *to))
        .collect()
}
