use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::config::ChangeNames;

/// A `[[route]] source = {kind = "poll"}` with nothing but its defaults.
pub fn poll(emit: Emit) -> Poll {
    Poll {
        every: Duration::from_secs(1),
        adaptive: None,
        jitter: 10.0,
        method: hyper::Method::GET,
        body: None,
        emit,
        items: String::new(),
        key: "/id".into(),
        ignore: Vec::new(),
        events: ChangeNames {
            created: "created".into(),
            updated: "updated".into(),
            deleted: "deleted".into(),
        },
        mass_delete_guard: 50.0,
        max_body: 8 << 20,
    }
}

fn document(json: impl ToString) -> Document {
    Document::parse(Bytes::from(json.to_string())).unwrap()
}

fn diff(poll: &Poll, old: impl ToString, new: impl ToString) -> Outcome {
    document(old)
        .diff(Bytes::from(new.to_string()), poll)
        .unwrap()
        .1
}

/// `name data` of each event.
fn told(outcome: Outcome) -> Vec<String> {
    let (Outcome::Events(drafts) | Outcome::MassDelete(drafts)) = outcome else {
        panic!("{outcome:?}");
    };
    let tell = |draft: &Draft| {
        let data = std::str::from_utf8(draft.data.bytes()).unwrap();
        format!("{} {data}", draft.name.as_deref().unwrap_or("message"))
    };
    drafts.iter().map(tell).collect()
}

#[test]
fn another_spelling_of_the_same_value_is_no_change() {
    for emit in [
        Emit::Document,
        Emit::Changes,
        Emit::JsonPatch,
        Emit::MergePatch,
    ] {
        let poll = poll(emit);
        let (old, new) = (r#"[{"id":1,"a":"é"}]"#, r#" [ {"a": "\u00e9", "id": 1} ]"#);
        let outcome = diff(&poll, old, new);
        assert!(
            matches!(&outcome, Outcome::Same) || outcome == Outcome::Events(Vec::new()),
            "{outcome:?}"
        );
    }
}

#[test]
fn a_document_goes_out_as_it_was_written() {
    let new = "{\"b\": 1.10,\n \"a\": 2}";
    assert_eq!(
        told(diff(&poll(Emit::Document), "{}", new)),
        [format!("message {new}")]
    );
}

#[test]
fn changes_are_told_by_key_deleted_first() {
    let poll = Poll {
        items: "/page/rows".into(),
        key: "/meta/key".into(),
        ..poll(Emit::Changes)
    };
    let old = r#"{"page":{"rows":[{"meta":{"key":"a"},"n": 1},{"meta":{"key":"b"},"n":2},{"meta":{"key":"c"}}]}}"#;
    let new = r#"{"page":{"rows":[{"meta":{"key":"d"}},{"meta":{"key":"c"}},{"n":3.0,"meta":{"key":"b"}}]},"total":3}"#;
    assert_eq!(
        told(diff(&poll, old, new)),
        [
            r#"deleted {"meta":{"key":"a"},"n": 1}"#,
            r#"created {"meta":{"key":"d"}}"#,
            r#"updated {"n":3.0,"meta":{"key":"b"}}"#,
        ]
    );
}

#[test]
fn order_and_surroundings_of_a_keyed_list_are_no_events() {
    let poll = Poll {
        items: "/rows".into(),
        ..poll(Emit::Changes)
    };
    let outcome = diff(
        &poll,
        json!({"rows": [{"id": 1}, {"id": "1"}], "at": 1}),
        json!({"rows": [{"id": "1"}, {"id": 1}], "at": 2}),
    );
    assert_eq!(outcome, Outcome::Events(Vec::new()));
}

#[test]
fn a_list_that_cannot_be_compared_by_key_is_told_whole() {
    let poll = poll(Emit::Changes);
    let good = json!([{"id": 1}]);
    for (bad, doubt) in [
        (json!([{"id": 1}, {"id": 1}]), Doubt::DuplicateKey),
        (json!([{"id": 1}, {}]), Doubt::NoKey),
        (json!([{"id": null}]), Doubt::NoKey),
        (json!([{"id": [1]}]), Doubt::NoKey),
        (json!([1]), Doubt::NoKey),
        (json!({"error": "no"}), Doubt::NoList),
        (json!(null), Doubt::NoList),
    ] {
        assert_eq!(
            diff(&poll, &good, &bad),
            Outcome::Whole(Some(doubt)),
            "{bad}"
        );
        assert_eq!(diff(&poll, &bad, &good), Outcome::Whole(None), "{bad}");
        let spaced = format!(" {bad}");
        assert_eq!(diff(&poll, &bad, spaced), Outcome::Same);
    }
}

#[test]
fn a_mass_delete_is_told_apart_from_ten_items_on() {
    let poll = poll(Emit::Changes);
    let list =
        |ids: std::ops::Range<i32>| json!(ids.map(|id| json!({"id": id})).collect::<Vec<_>>());
    let is_held = |old, new| matches!(diff(&poll, old, new), Outcome::MassDelete(_));
    assert!(is_held(list(0..10), list(0..0)));
    assert!(is_held(list(0..10), list(0..4)));
    assert!(is_held(list(0..10), list(6..60)));
    assert!(!is_held(list(0..10), list(0..5)));
    assert!(!is_held(list(0..9), list(0..0)));
    let off = Poll {
        mass_delete_guard: 100.0,
        ..poll.clone()
    };
    let outcome = diff(&off, list(0..10), list(0..0));
    assert!(matches!(outcome, Outcome::Events(drafts) if drafts.len() == 10));
}

#[test]
fn ignored_members_make_no_change_and_stay_out_of_patches() {
    let ignoring = |emit, pointers: &[&str]| Poll {
        ignore: pointers.iter().map(|p| p.to_string()).collect(),
        ..poll(emit)
    };
    for emit in [Emit::Document, Emit::JsonPatch, Emit::MergePatch] {
        let poll = ignoring(emit, &["/at", "/deep/a~1b", "/list/0/at"]);
        let outcome = diff(
            &poll,
            json!({"at": 1, "deep": {"a/b": 1}, "list": [{"at": 1}]}),
            json!({"deep": {"a/b": [2]}, "list": [{"at": 2}]}),
        );
        assert_eq!(outcome, Outcome::Events(Vec::new()), "{emit:?}");
        let came = diff(&poll, json!({"deep": {}}), json!({"at": 1, "deep": {}}));
        assert_eq!(came, Outcome::Events(Vec::new()), "{emit:?}");
    }
    assert_eq!(
        told(diff(
            &ignoring(Emit::JsonPatch, &["/at"]),
            json!({"at": 1, "n": 1}),
            json!({"at": 2, "n": 2})
        )),
        [r#"patch [{"op":"replace","path":"/n","value":2}]"#]
    );
    let changes = ignoring(Emit::Changes, &["/at"]);
    assert_eq!(
        told(diff(
            &changes,
            json!([{"id": 1, "at": 1}, {"id": 2, "at": 1}]),
            json!([{"id": 1, "at": 2}, {"id": 2, "at": 2, "n": 1}])
        )),
        [r#"updated {"id":2,"at":2,"n":1}"#]
    );
}

#[test]
fn a_patch_longer_than_the_document_replaces_it() {
    let old = json!((0..50).collect::<Vec<_>>());
    let new = json!((1..51).collect::<Vec<_>>());
    let told = told(diff(&poll(Emit::JsonPatch), old, &new));
    assert_eq!(
        told,
        [format!(
            r#"patch [{{"op":"replace","path":"","value":{new}}}]"#
        )]
    );
}

#[test]
fn a_merge_patch_that_would_need_a_null_is_told_whole() {
    let poll = poll(Emit::MergePatch);
    for (old, new) in [
        (json!({"a": 1}), json!({"a": null})),
        (json!({}), json!({"a": null})),
        (json!({}), json!({"a": {"b": null}})),
        (json!({"a": {"b": 1}}), json!({"a": {"b": null}})),
        (json!([]), json!({"a": null})),
        (json!({"a": 1}), json!({"a": {"b": {"c": null}}})),
    ] {
        assert_eq!(diff(&poll, &old, &new), Outcome::Whole(None), "{old} {new}");
    }
    for (old, new, patch) in [
        (
            json!({"a": 1, "b": 2}),
            json!({"b": 3}),
            json!({"a": null, "b": 3}),
        ),
        (
            json!({"a": null}),
            json!({"a": null, "b": [null]}),
            json!({"b": [null]}),
        ),
        (
            json!({"a": {"b": 1, "c": 2}}),
            json!({"a": {"c": 2}}),
            json!({"a": {"b": null}}),
        ),
        (json!({"a": null}), json!({}), json!({"a": null})),
        (json!({"a": 1}), json!(null), json!(null)),
    ] {
        assert_eq!(told(diff(&poll, old, new)), [format!("merge {patch}")]);
    }
}

#[test]
fn only_json_is_a_document() {
    for body in [
        &b""[..],
        b"<!doctype html><title>Login</title>",
        b"{\"a\":1",
        b"[1] 2",
        b"\"\xFF\"",
    ] {
        assert_eq!(Document::parse(Bytes::from_static(body)), Err(NotJson));
    }
    let nested = "[".repeat(100_000);
    assert_eq!(Document::parse(Bytes::from(nested)), Err(NotJson));
    let marked = Document::parse(Bytes::from_static(b"\xEF\xBB\xBF[1]")).unwrap();
    assert_eq!(marked.bytes(), "[1]");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3i64..3).prop_map(Value::from),
        "[a/~\u{e9}\"]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::hash_map("[ab/~]{0,2}", inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_list() -> impl Strategy<Value = Value> {
    proptest::collection::btree_map(0u8..12, any_json(), 0..12).prop_shuffle_items()
}

/// A list of items with distinct keys, in any order.
trait ShuffleItems {
    fn prop_shuffle_items(self) -> BoxedStrategy<Value>;
}

impl<S: Strategy<Value = BTreeMap<u8, Value>> + 'static> ShuffleItems for S {
    fn prop_shuffle_items(self) -> BoxedStrategy<Value> {
        self.prop_map(|items| {
            let item = |(id, body)| json!({"id": id, "body": body});
            items.into_iter().map(item).collect::<Vec<_>>()
        })
        .prop_shuffle()
        .prop_map(Value::from)
        .boxed()
    }
}

fn by_key(list: &Value) -> BTreeMap<String, Value> {
    let items = list.as_array().unwrap().iter();
    items
        .map(|item| (item["id"].to_string(), item.clone()))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn an_applied_document_is_the_new_one(old in any_json(), new in any_json()) {
        match diff(&poll(Emit::Document), &old, &new) {
            Outcome::Same => prop_assert_eq!(old, new),
            Outcome::Events(drafts) => {
                prop_assert_eq!(drafts.len(), 1);
                prop_assert_eq!(value(drafts[0].data.bytes()).unwrap(), new);
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn an_applied_json_patch_gives_the_new_document(old in any_json(), new in any_json()) {
        match diff(&poll(Emit::JsonPatch), &old, &new) {
            Outcome::Same => prop_assert_eq!(old, new),
            Outcome::Events(drafts) => {
                prop_assert_eq!(drafts.len(), 1);
                let patch: json_patch::Patch = serde_json::from_slice(drafts[0].data.bytes()).unwrap();
                let mut applied = old;
                json_patch::patch(&mut applied, &patch).unwrap();
                prop_assert_eq!(applied, new);
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn an_applied_merge_patch_gives_the_new_document(old in any_json(), new in any_json()) {
        match diff(&poll(Emit::MergePatch), &old, &new) {
            Outcome::Same => prop_assert_eq!(old, new),
            Outcome::Events(drafts) => {
                prop_assert_eq!(drafts.len(), 1);
                let mut applied = old;
                json_patch::merge(&mut applied, &value(drafts[0].data.bytes()).unwrap());
                prop_assert_eq!(applied, new);
            }
            Outcome::Whole(None) => prop_assert!(new.to_string().contains("null")),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn applied_changes_give_the_same_keyed_set(old in any_list(), new in any_list()) {
        let poll = poll(Emit::Changes);
        let mut applied = by_key(&old);
        match diff(&poll, &old, &new) {
            Outcome::Same => {}
            Outcome::Events(drafts) | Outcome::MassDelete(drafts) => {
                for draft in drafts {
                    let item = value(draft.data.bytes()).unwrap();
                    let key = item["id"].to_string();
                    let before = match draft.name.as_deref() {
                        Some("deleted") => {
                            let before = applied.remove(&key);
                            prop_assert_eq!(before.as_ref(), Some(&item));
                            before
                        }
                        _ => applied.insert(key, item),
                    };
                    prop_assert_eq!(before.is_none(), draft.name.as_deref() == Some("created"));
                }
            }
            other => prop_assert!(false, "{:?}", other),
        }
        prop_assert_eq!(applied, by_key(&new));
    }
}
