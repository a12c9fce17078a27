//! The rules on small made-up trees.

use super::imports::{Imports, imports};
use super::tree::{Sources, Tree};
use super::{circles, climbs, describe, shapes};

fn read(files: &[(&str, &str)]) -> (Tree, Imports) {
    let sources: Sources = files
        .iter()
        .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
        .collect();
    let tree = Tree::of(&sources);
    let imports = imports(&tree);
    (tree, imports)
}

/// `from -> to:line` for every import.
fn edges(files: &[(&str, &str)]) -> Vec<String> {
    let (tree, imports) = read(files);
    let name = |file: &usize| tree.files[*file].trim_end_matches(".rs").to_owned();
    imports
        .iter()
        .map(|((from, to), import)| format!("{} -> {}:{}", name(from), name(to), import.line))
        .collect()
}

#[test]
fn circle_through_super_is_found_with_its_line() {
    let (tree, imports) = read(&[
        ("lib.rs", "mod hub;"),
        ("hub/mod.rs", "mod log;\nmod node;\nmod topic;"),
        (
            "hub/log.rs",
            "use super::topic::Topic;\npub struct Log(Topic);",
        ),
        (
            "hub/node.rs",
            "use super::{\n    log::{\n        self,\n        Log,\n    },\n};\npub struct Node(Log);",
        ),
        (
            "hub/topic.rs",
            "pub struct Topic;\nfn make() {\n    let node: crate::hub::node::Node;\n}",
        ),
    ]);
    let found = circles::circles(tree.files.len(), &imports);
    let [circle] = &found[..] else {
        panic!("one circle: {found:?}");
    };
    let members: Vec<&str> = circle.iter().map(|file| &*tree.files[*file]).collect();
    assert_eq!(members, ["hub/log.rs", "hub/node.rs", "hub/topic.rs"]);
    let told = describe(&tree.files, &imports, circle);
    assert!(
        told.contains("closed by hub/topic.rs:3, which names crate::hub::node::Node"),
        "{told}"
    );
}

#[test]
fn part_is_a_file_with_its_folder() {
    let (tree, imports) = read(&[
        ("lib.rs", "mod hub;"),
        ("hub/mod.rs", "mod log;\nmod topic;"),
        (
            "hub/log.rs",
            "pub mod index;\nuse super::topic::Topic;\npub struct Log(Topic);",
        ),
        ("hub/log/index.rs", "pub struct Index;"),
        (
            "hub/topic.rs",
            "use super::log::index::Index;\npub struct Topic(Index);",
        ),
    ]);
    assert!(circles::circles(tree.files.len(), &imports).is_empty());
    let (parts, between) = circles::between_parts(&tree.files, &imports);
    let found = circles::circles(parts.len(), &between);
    let names: Vec<&str> = found[0].iter().map(|part| &*parts[*part]).collect();
    assert_eq!(names, ["hub/log", "hub/topic"]);
}

#[test]
fn climb_is_named_with_file_and_line() {
    let (tree, imports) = read(&[
        ("lib.rs", "mod config;\nmod hub;"),
        (
            "config.rs",
            "\nfn f() {\n    assert!(crate::hub::is_open());\n}",
        ),
        ("hub/mod.rs", "pub fn is_open() -> bool { true }"),
    ]);
    assert_eq!(
        climbs(&tree, &imports),
        [
            "src/config.rs:3: config names crate::hub::is_open, and hub does not stand on a floor below it"
        ]
    );
}

#[test]
fn reexport_leads_to_the_defining_file() {
    let found = edges(&[
        ("lib.rs", "mod hub;\nmod session;"),
        (
            "hub/mod.rs",
            "mod topic;\nmod parts;\npub use topic::{Topic as Shared, *};\npub(crate) use self::parts::deep;",
        ),
        (
            "hub/topic.rs",
            "use super::deep::Part;\npub struct Topic(Part);\npub fn open() {}",
        ),
        ("hub/parts/mod.rs", "pub mod deep;"),
        ("hub/parts/deep.rs", "pub struct Part;"),
        (
            "session.rs",
            "use crate::hub;\nfn f() { hub::Shared; }\n\nfn g() { hub::open(); hub::deep::Part; }",
        ),
    ]);
    assert_eq!(
        found,
        [
            "hub/topic -> hub/parts/deep:1",
            "session -> hub/topic:2",
            "session -> hub/parts/deep:4",
        ]
    );
}

#[test]
fn module_that_uses_what_it_hands_on_needs_it() {
    let found = edges(&[
        ("lib.rs", "mod hub;"),
        (
            "hub/mod.rs",
            "mod topic;\npub use topic::Topic;\nfn f() -> Topic { panic!() }",
        ),
        ("hub/topic.rs", "pub struct Topic;"),
    ]);
    assert_eq!(found, ["hub/mod -> hub/topic:3"]);
}

#[test]
fn code_for_tests_is_left_out() {
    let found = edges(&[
        ("lib.rs", "mod a;\nmod b;\n#[cfg(test)]\nmod tests;"),
        (
            "a.rs",
            "#[cfg(test)]\nuse crate::b::B;\n/// Told.\n#[cfg(test)]\n#[allow(unused)]\npub fn f(b: crate::b::B) -> [u8; 2] { [1, 2] }\n\
             struct A {\n    #[cfg(test)]\n    b: Vec<(u8, crate::b::B)>,\n    c: u8,\n}\n\
             #[cfg(test)]\nmod tests { use super::super::b::B; }",
        ),
        ("b.rs", "pub struct B;"),
        ("tests.rs", "use crate::a::A;"),
    ]);
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn paths_in_macros_and_from_the_binary_count() {
    let found = edges(&[
        ("lib.rs", "pub mod a;\nmod b;"),
        (
            "main.rs",
            "fn main() { println!(\"{}\", crossfade::a::f()) }",
        ),
        (
            "a.rs",
            "use super::b;\npub fn f() { tokio::select! { _ = b::wait() => {} } }",
        ),
        ("b.rs", "pub async fn wait() {}"),
    ]);
    assert_eq!(found, ["a -> b:2", "main -> a:1"]);
}

#[test]
fn fields_and_files_with_impls_are_counted() {
    let (tree, _) = read(&[
        ("lib.rs", "mod a;\nmod b;\nmod c;"),
        (
            "a.rs",
            "pub struct A { x: u8, y: u8, z: u8 }\nimpl A {}\nimpl Clone for A {}",
        ),
        ("b.rs", "use crate::a::A;\nimpl A {}"),
        (
            "c.rs",
            "impl Drop for super::a::A {}\n#[cfg(test)]\nimpl Copy for super::a::A {}",
        ),
    ]);
    assert_eq!(shapes::structs(&tree), [(1, 1, "A".to_owned(), 3)]);
    let lines = [(1, 2), (2, 2), (3, 1)].into();
    assert_eq!(shapes::impls(&tree), [((1, "A".to_owned()), lines)]);
}

#[test]
fn types_that_others_may_name_are_found_by_name() {
    let (tree, _) = read(&[
        ("lib.rs", "mod a;\nmod b;"),
        (
            "a.rs",
            "pub(crate) struct A;\nstruct B;\n#[cfg(test)]\npub(crate) struct C;",
        ),
        ("b.rs", "\npub(super) enum A {}\npub(crate) type C = u8;"),
    ]);
    let names = shapes::type_names(&tree);
    assert_eq!(names["A"], [(1, 1), (2, 2)]);
    assert_eq!(names["C"], [(2, 3)]);
    assert!(!names.contains_key("B"));
}
