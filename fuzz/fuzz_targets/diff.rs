//! Two documents of a polled route: compared in every form that a route emits, and what is emitted turns one into the other.

#![no_main]

use std::time::Duration;

use bytes::Bytes;
use crossfade::config::{ChangeNames, Emit, Poll};
use crossfade::source::diff::{ComparedDocument, DiffOutcome};
use hyper::Method;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

// The first line is the old document, the rest is the new one.
fuzz_target!(|input: &[u8]| {
    let end = input.iter().position(|byte| *byte == b'\n');
    let (old, new) = input.split_at(end.unwrap_or(input.len()));
    let Ok(document) = ComparedDocument::parse(Bytes::copy_from_slice(old)) else {
        return;
    };
    let values = plain(old).zip(plain(new));
    for emit in [
        Emit::Document,
        Emit::Changes,
        Emit::JsonPatch,
        Emit::MergePatch,
    ] {
        for ignore in [&[][..], &["/a", "/*/b", "/0"]] {
            let poll = poll(emit, ignore);
            let Ok((_, outcome)) = document.diff(Bytes::copy_from_slice(new), &poll, true) else {
                return;
            };
            if let Some((old, new)) = &values
                && ignore.is_empty()
            {
                judge(emit, outcome, old.clone(), new);
            }
        }
    }
});

fn judge(emit: Emit, outcome: DiffOutcome, mut old: Value, new: &Value) {
    let drafts = match outcome {
        DiffOutcome::Same => return assert_eq!(old, *new),
        DiffOutcome::Events(drafts) if emit != Emit::Changes => drafts,
        DiffOutcome::Events(_) | DiffOutcome::MassDelete(_) | DiffOutcome::Whole(_) => return,
    };
    assert_ne!(old, *new);
    let [draft] = &drafts[..] else {
        panic!("{drafts:?}");
    };
    let data: Value = serde_json::from_slice(draft.data.bytes()).expect("JSON");
    match emit {
        Emit::JsonPatch => {
            let patch: json_patch::Patch = serde_json::from_value(data).expect("a patch");
            json_patch::patch(&mut old, &patch).expect("it applies");
        }
        Emit::MergePatch => json_patch::merge(&mut old, &data),
        Emit::Document | Emit::Changes => old = data,
    }
    assert_eq!(old, *new);
}

/// A document that `serde_json` reads as browsers do: without numbers that it would round.
fn plain(text: &[u8]) -> Option<Value> {
    fn is_plain(value: &Value) -> bool {
        match value {
            Value::Number(number) => !number.is_f64(),
            Value::Array(items) => items.iter().all(is_plain),
            Value::Object(members) => members.values().all(is_plain),
            Value::Null | Value::Bool(_) | Value::String(_) => true,
        }
    }
    serde_json::from_slice(text).ok().filter(is_plain)
}

fn poll(emit: Emit, ignore: &[&str]) -> Poll {
    Poll {
        every: Duration::from_secs(1),
        adaptive: None,
        jitter: 0.0,
        method: Method::GET,
        body: None,
        emit,
        items: String::new(),
        key: "/id".into(),
        ignore: ignore.iter().map(|at| at.to_string()).collect(),
        events: ChangeNames {
            created: "created".into(),
            updated: "updated".into(),
            deleted: "deleted".into(),
            snapshot: "snapshot".into(),
        },
        mass_delete_guard: 50.0,
        max_body: 1 << 20,
    }
}
