//! `proxy.toml.example`: it loads, sets every key, and no mutation of it panics the parser.

use super::{accepted, generic, judge, told};
use crate::config::Severity;

const EXAMPLE: &str = include_str!("../../../proxy.toml.example");

#[test]
fn the_example_loads_without_a_word() {
    assert_eq!(told(&accepted(EXAMPLE).warnings), "");
}

#[test]
fn the_example_sets_every_key() {
    let set: Vec<_> = accepted(&example_with_files())
        .values
        .iter()
        .filter(|value| value.source != "default")
        .map(|value| generic(&value.key))
        .collect();
    let unset: Vec<_> = accepted(include_str!("../cases/every_table.toml"))
        .values
        .iter()
        .map(|value| generic(&value.key))
        .filter(|key| {
            !set.iter()
                .any(|set| set == key || set.starts_with(&format!("{key}.")))
        })
        .collect();
    assert_eq!(unset, [""; 0]);
}

/// With the tables that are commented out because their files exist in these tests alone.
pub(super) fn example_with_files() -> String {
    let (before, table) = EXAMPLE.split_once("\n# [server.tls]").expect("the table");
    let (table, after) = table.split_once("\n\n").expect("an end");
    let table = table.replace("\n# ", "\n");
    let after = after.replacen("\n# tls = ", "\ntls = ", 1);
    let after = after.replacen("\n# file = ", "\nfile = ", 1);
    format!("{before}\n[server.tls]{table}\n\n{after}")
}

#[test]
fn no_mutation_of_the_example_panics() {
    let mut chance = fastrand::Rng::with_seed(11);
    for _ in 0..1_000 {
        let mut bytes = EXAMPLE.as_bytes().to_vec();
        for _ in 0..chance.usize(1..8) {
            let (at, length) = (chance.usize(..bytes.len()), chance.usize(0..40));
            let until = (at + length).min(bytes.len());
            match chance.u8(..4) {
                0 => bytes[at] = chance.u8(..),
                1 => drop(bytes.drain(at..until)),
                2 => {
                    let piece = bytes[at..until].to_vec();
                    let to = chance.usize(..bytes.len());
                    bytes.splice(to..to, piece);
                }
                _ => {
                    let odd = [
                        "\"", "[", "]]", "=", "{", "}", "'''", "${", "\n", "-1", "1e999", "\u{0}",
                        "é",
                    ];
                    let piece = odd[chance.usize(..odd.len())].bytes();
                    bytes.splice(at..at, piece);
                }
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        if let Err(problems) = judge(&text) {
            assert!(problems.iter().any(|p| p.severity == Severity::Error));
            assert!(
                problems.iter().all(|p| !p.to_string().contains('\n')),
                "{}",
                told(&problems)
            );
        }
    }
}
