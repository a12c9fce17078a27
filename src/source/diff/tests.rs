mod properties;

use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::time::Duration;

use super::*;
use crate::config::ChangeNames;
use crate::event::{Change, ChangeKind};

/// A `[[route]] source = {kind = "poll"}` with nothing but its defaults.
pub(crate) fn poll(emit: Emit) -> Poll {
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
            snapshot: "snapshot".into(),
        },
        mass_delete_guard: 50.0,
        max_body: 8 << 20,
    }
}

fn document(json: impl ToString) -> ComparedDocument {
    ComparedDocument::parse(Bytes::from(json.to_string())).unwrap()
}

fn diff(poll: &Poll, old: impl ToString, new: impl ToString) -> DiffOutcome {
    document(old)
        .diff(Bytes::from(new.to_string()), poll, true)
        .unwrap()
        .1
}

/// `name data` of each event.
fn told(outcome: DiffOutcome) -> Vec<String> {
    let (DiffOutcome::Events(drafts) | DiffOutcome::MassDelete(drafts)) = outcome else {
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
            matches!(&outcome, DiffOutcome::Same) || outcome == DiffOutcome::Events(Vec::new()),
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
    assert_eq!(outcome, DiffOutcome::Events(Vec::new()));
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
            DiffOutcome::Whole(Some(doubt)),
            "{bad}"
        );
        assert_eq!(diff(&poll, &bad, &good), DiffOutcome::Whole(None), "{bad}");
        let spaced = format!(" {bad}");
        assert_eq!(diff(&poll, &bad, spaced), DiffOutcome::Same);
    }
}

#[test]
fn a_mass_delete_is_told_apart_from_ten_items_on() {
    let poll = poll(Emit::Changes);
    let list =
        |ids: std::ops::Range<i32>| json!(ids.map(|id| json!({"id": id})).collect::<Vec<_>>());
    let is_held = |old, new| matches!(diff(&poll, old, new), DiffOutcome::MassDelete(_));
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
    assert!(matches!(outcome, DiffOutcome::Events(drafts) if drafts.len() == 10));
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
        assert_eq!(outcome, DiffOutcome::Events(Vec::new()), "{emit:?}");
        let came = diff(&poll, json!({"deep": {}}), json!({"at": 1, "deep": {}}));
        assert_eq!(came, DiffOutcome::Events(Vec::new()), "{emit:?}");
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
        assert_eq!(
            diff(&poll, &old, &new),
            DiffOutcome::Whole(None),
            "{old} {new}"
        );
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
fn numbers_go_out_as_they_were_written() {
    let old = r#"{"n":117.63331139400016,"at":1e3,"big":18446744073709551616}"#;
    let new = r#"{"n":117.63331139400017,"at":1000,"big":18446744073709551617}"#;
    for (emit, expected) in [
        (Emit::Document, format!("message {new}")),
        (
            Emit::MergePatch,
            r#"merge {"n":117.63331139400017,"big":18446744073709551617}"#.to_owned(),
        ),
    ] {
        assert_eq!(told(diff(&poll(emit), old, new)), [expected]);
    }
    let list = |text: &str| format!("[{text},{:?}]", "x".repeat(80));
    assert_eq!(
        told(diff(&poll(Emit::JsonPatch), list(old), list(new))),
        [concat!(
            r#"patch [{"op":"replace","path":"/0/n","value":117.63331139400017},"#,
            r#"{"op":"replace","path":"/0/big","value":18446744073709551617}]"#
        )]
    );
    let ids = |ids: &str| format!(r#"[{{"id":{ids}}}]"#);
    assert_eq!(
        told(diff(
            &poll(Emit::Changes),
            ids("18446744073709551616"),
            ids("18446744073709551617")
        )),
        [
            r#"deleted {"id":18446744073709551616}"#,
            r#"created {"id":18446744073709551617}"#
        ]
    );
    let same = diff(&poll(Emit::Changes), ids("1.0"), ids("1"));
    assert_eq!(same, DiffOutcome::Events(Vec::new()));
}

#[test]
fn what_browsers_read_is_a_document() {
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let deeper = format!("[{deep}]");
    for emit in [
        Emit::Document,
        Emit::Changes,
        Emit::JsonPatch,
        Emit::MergePatch,
    ] {
        let poll = poll(emit);
        let expected = match emit {
            Emit::Document => {
                DiffOutcome::Events(vec![Draft::plain(Data::Json(deeper.clone().into()))])
            }
            _ => DiffOutcome::Whole(Some(Doubt::Deep)),
        };
        assert_eq!(diff(&poll, &deep, &deeper), expected);
        assert_eq!(diff(&poll, &deep, &deep), DiffOutcome::Same);
    }
    let (old, new) = (
        r#"[{"id":"\ud83d","n":1e400}]"#,
        r#"[{"id":"\ud83d","n":1e401}]"#,
    );
    assert_eq!(
        told(diff(&poll(Emit::Changes), old, new)),
        [r#"updated {"id":"\ud83d","n":1e401}"#]
    );
}

#[test]
fn one_item_more_or_less_is_one_operation() {
    let list = |ids: &[u8]| {
        let item = |id| json!({"id": id, "text": "long enough", "at": id});
        json!(ids.iter().map(item).collect::<Vec<_>>())
    };
    let poll = poll(Emit::JsonPatch);
    let patch = |old, new| told(diff(&poll, list(old), list(new)))[0].clone();
    assert_eq!(
        patch(&[1, 2, 3], &[9, 1, 2, 3]),
        r#"patch [{"op":"add","path":"/0","value":{"id":9,"text":"long enough","at":9}}]"#
    );
    assert_eq!(
        patch(&[1, 2, 3], &[1, 3]),
        r#"patch [{"op":"remove","path":"/1"}]"#
    );
}

#[test]
fn a_star_ignores_every_item_or_member() {
    let ignoring = |emit| Poll {
        ignore: vec!["/rows/*/at".into(), "/*/seen".into()],
        ..poll(emit)
    };
    let old = r#"{"rows":[{"id":1,"at":1},{"id":2,"at":1}],"x":{"seen":1}}"#;
    let touched = r#"{"rows":[{"id":1,"at":2},{"id":2}],"x":{}}"#;
    let grown = r#"{"rows":[{"id":0,"at":2},{"id":1,"at":2},{"id":2,"at":2}],"x":{"seen":2}}"#;
    for emit in [Emit::Document, Emit::JsonPatch, Emit::MergePatch] {
        let outcome = diff(&ignoring(emit), old, touched);
        assert_eq!(outcome, DiffOutcome::Events(Vec::new()), "{emit:?}");
    }
    assert_eq!(
        told(diff(&ignoring(Emit::JsonPatch), old, grown)),
        [r#"patch [{"op":"add","path":"/rows/0","value":{"id":0,"at":2}}]"#]
    );
    let changes = Poll {
        ignore: vec!["/tags/*/at".into()],
        ..poll(Emit::Changes)
    };
    let outcome = diff(
        &changes,
        r#"[{"id":1,"tags":[{"at":1}]}]"#,
        r#"[{"id":1,"tags":[{"at":2}]}]"#,
    );
    assert_eq!(outcome, DiffOutcome::Events(Vec::new()));
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
        assert_eq!(
            ComparedDocument::parse(Bytes::from_static(body)),
            Err(NotJson)
        );
    }
    let marked = ComparedDocument::parse(Bytes::from_static(b"\xEF\xBB\xBF[1]")).unwrap();
    assert_eq!(marked.bytes(), "[1]");
}
