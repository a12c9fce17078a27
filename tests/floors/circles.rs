//! Files that need each other.

use super::imports::Imports;
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
