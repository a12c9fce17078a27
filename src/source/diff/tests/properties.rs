//! Whatever two documents are, the difference applied to the old one gives the new one.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Spellings, and which number each is.
const NUMBERS: &[(&str, &str)] = &[
    ("0", "0"),
    ("-0.0", "0"),
    ("1", "1"),
    ("1.0", "1"),
    ("10e-1", "1"),
    ("-2", "-2"),
    ("117.63331139400017", "a"),
    ("117.63331139400016", "b"),
    ("9007199254740991.0", "c"),
    ("9007199254740992.0", "d"),
    ("18446744073709551616", "e"),
    ("18446744073709551617", "f"),
    ("1000000000000000000001", "g"),
    ("1e400", "h"),
    ("10e399", "h"),
    ("0.1000000000000000000000000001", "i"),
];

/// JSON texts as backends may write them.
fn any_json() -> impl Strategy<Value = String> {
    let numbers: Vec<_> = NUMBERS.iter().map(|(spelled, _)| *spelled).collect();
    let words = [
        "null",
        "true",
        "\"a\"",
        "\"\\u0061\"",
        "\"~/\"",
        "\"\\ud83d\"",
        "\"é\"",
    ];
    let leaf = prop_oneof![
        proptest::sample::select(numbers).prop_map(String::from),
        proptest::sample::select(words.to_vec()).prop_map(String::from),
    ];
    let names = [
        "a", "\\u0061", "b", "~", "/", "\\/", "\\u002F", "\\u007e~", "", "\\\\", "\\\"",
    ];
    let name = proptest::sample::select(names.to_vec());
    leaf.prop_recursive(4, 40, 5, move |inner| {
        let member =
            (name.clone(), inner.clone()).prop_map(|(name, is)| format!("\"{name}\" : {is}"));
        prop_oneof![
            proptest::collection::vec(inner, 0..6)
                .prop_map(|items| format!("[{}]", items.join(", "))),
            proptest::collection::vec(member, 0..6)
                .prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

/// What a text says, numbers as the names of [`NUMBERS`]: equal exactly where the texts say the same.
fn meaning(text: &str) -> Value {
    let text = text.trim();
    let named = NUMBERS.iter().find(|(spelled, _)| *spelled == text);
    match text.as_bytes()[0] {
        b'{' => {
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(text).unwrap();
            let members = members.into_iter();
            members
                .map(|(name, is)| (name, meaning(is.get())))
                .collect()
        }
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(text).unwrap();
            items.into_iter().map(|item| meaning(item.get())).collect()
        }
        b'"' => serde_json::from_str(text).unwrap_or_else(|_| json!(format!("unpaired {text}"))),
        _ => match named {
            Some((_, name)) => json!(format!("number {name}")),
            None => serde_json::from_str(text).unwrap(),
        },
    }
}

fn meaning_of(draft: &Draft) -> Value {
    meaning(std::str::from_utf8(draft.data.bytes()).unwrap())
}

/// Items with keys of their own, in any order.
fn any_list() -> impl Strategy<Value = String> {
    let keys = [
        "1.0",
        "18446744073709551616",
        "18446744073709551617",
        "\"1\"",
        "1e400",
        "true",
    ];
    let items = proptest::collection::btree_map(0..keys.len(), any_json(), 0..=keys.len());
    let items = items.prop_map(move |items| {
        let item =
            |(key, body): (usize, String)| format!("{{\"id\":{},\"body\":{body}}}", keys[key]);
        items.into_iter().map(item).collect::<Vec<_>>()
    });
    items
        .prop_shuffle()
        .prop_map(|items| format!("[{}]", items.join(",")))
}

fn by_key(list: &str) -> BTreeMap<String, Value> {
    let items: Vec<&RawValue> = serde_json::from_str(list).unwrap();
    let items = items.into_iter().map(|item| {
        let key: BTreeMap<String, &RawValue> = serde_json::from_str(item.get()).unwrap();
        (key["id"].get().to_owned(), meaning(item.get()))
    });
    items.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn an_applied_document_is_the_new_one(old in any_json(), new in any_json()) {
        match diff(&poll(Emit::Document), &old, &new) {
            DiffOutcome::Same => prop_assert_eq!(meaning(&old), meaning(&new)),
            DiffOutcome::Events(drafts) => {
                prop_assert_ne!(meaning(&old), meaning(&new));
                prop_assert_eq!(drafts, [Draft::plain(Data::Json(new.into()))]);
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn an_applied_json_patch_gives_the_new_document(old in any_json(), new in any_json()) {
        match diff(&poll(Emit::JsonPatch), &old, &new) {
            DiffOutcome::Same => prop_assert_eq!(meaning(&old), meaning(&new)),
            DiffOutcome::Events(drafts) => {
                prop_assert_eq!(drafts.len(), 1);
                let patch: json_patch::Patch = serde_json::from_value(meaning_of(&drafts[0])).unwrap();
                prop_assert!(!patch.is_empty());
                let mut applied = meaning(&old);
                json_patch::patch(&mut applied, &patch).unwrap();
                prop_assert_eq!(applied, meaning(&new));
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn an_applied_merge_patch_gives_the_new_document(old in any_json(), new in any_json()) {
        match diff(&poll(Emit::MergePatch), &old, &new) {
            DiffOutcome::Same => prop_assert_eq!(meaning(&old), meaning(&new)),
            DiffOutcome::Events(drafts) => {
                prop_assert_eq!(drafts.len(), 1);
                let mut applied = meaning(&old);
                json_patch::merge(&mut applied, &meaning_of(&drafts[0]));
                prop_assert_eq!(applied, meaning(&new));
            }
            DiffOutcome::Whole(None) => prop_assert!(new.contains("null")),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn applied_changes_give_the_same_keyed_set(old in any_list(), new in any_list()) {
        let mut applied = by_key(&old);
        match diff(&poll(Emit::Changes), &old, &new) {
            DiffOutcome::Same => {}
            DiffOutcome::Events(drafts) | DiffOutcome::MassDelete(drafts) => {
                for draft in drafts {
                    let text = std::str::from_utf8(draft.data.bytes()).unwrap();
                    let (key, item) = by_key(&format!("[{text}]")).pop_first().unwrap();
                    let Change { kind, before: was } = draft.change.unwrap();
                    let before = match kind {
                        ChangeKind::Deleted => {
                            let before = applied.remove(&key);
                            prop_assert_eq!(before.as_ref(), Some(&item));
                            before
                        }
                        _ => applied.insert(key, item),
                    };
                    prop_assert_eq!(before.is_none(), kind == ChangeKind::Created);
                    let was = was.map(|was| meaning(std::str::from_utf8(&was).unwrap()));
                    prop_assert_eq!(was, before.filter(|_| kind == ChangeKind::Updated));
                }
            }
            other => prop_assert!(false, "{:?}", other),
        }
        prop_assert_eq!(applied, by_key(&new));
    }
}
