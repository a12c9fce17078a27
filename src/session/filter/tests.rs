use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Method;

use super::*;
use crate::config::ChangeNames;
use crate::event::{Draft, Epoch, Position};

fn poll(emit: Emit, items: &str) -> Source {
    Source::Poll(Poll {
        every: Duration::from_secs(1),
        adaptive: None,
        jitter: 0.0,
        method: Method::GET,
        body: None,
        emit,
        items: items.into(),
        key: "/id".into(),
        ignore: Vec::new(),
        events: ChangeNames {
            created: "created".into(),
            updated: "updated".into(),
            deleted: "deleted".into(),
            snapshot: "snapshot".into(),
        },
        mass_delete_guard: 100.0,
        max_body: 1024,
    })
}

fn event(kind: EventKind, name: Option<&str>, data: &'static str) -> Event {
    changed(kind, name, data, None)
}

fn changed(
    kind: EventKind,
    name: Option<&str>,
    data: &'static str,
    change: Option<Change>,
) -> Event {
    let position = Position {
        epoch: Epoch(1),
        offset: 1,
    };
    let draft = Draft {
        name: name.map(Arc::from),
        id: None,
        has_own_id: false,
        data: Data::classify(Bytes::from_static(data.as_bytes())),
        change,
    };
    Event::new(1, position, kind, draft, Instant::now())
}

/// A route that lets clients filter by these fields.
fn allows(fields: &[&str]) -> Arc<Route> {
    let text = format!(
        "[upstream.app]\nservers = [\"http://127.0.0.1:1\"]\n\
        [[route]]\npath = \"/\"\nupstream = \"app\"\nsource = \"sse\"\nfilter = {fields:?}\n"
    );
    let none = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
    let loaded = crate::config::parse(&text, "proxy.toml", &|_| None, &none).unwrap();
    loaded.config.routes[0].clone()
}

fn filter(json: &str) -> Filter {
    let fields = Value::read(json.as_bytes()).expect("a filter in JSON");
    let wanted = fields.pairs().map(|(name, values)| {
        let name = String::from_utf8_lossy(&name.plain()).into_owned();
        (name, values.items().filter_map(Value::scalar).collect())
    });
    let route = allows(&["event", "severity", "/a/b"]);
    Filter::new(wanted.collect(), &route).expect("allowed fields")
}

/// In a form that can be compared: `-`, `whole`, the part, or `name data` of what comes instead.
fn seen(filter: &Filter, event: &Event, source: Option<&Source>) -> String {
    match filter.apply(event, source).0 {
        Seen::Hidden => "-".into(),
        Seen::Whole => "whole".into(),
        Seen::Part(part) => String::from_utf8(part).expect("UTF-8"),
        Seen::Instead(event) => {
            let data = String::from_utf8_lossy(event.data.bytes());
            format!("{} {data}", event.name.as_deref().unwrap_or_default())
        }
    }
}

#[test]
fn only_allowed_fields_may_be_named() {
    let wanted = vec![("secret".to_string(), vec![])];
    let refused = Filter::new(wanted, &allows(&["event"]));
    assert_eq!(refused, Err("secret".to_string()));
}

#[test]
fn values_are_alternatives_and_fields_are_all_required() {
    let filter = filter(r#"{"event":["alert","message"],"severity":["high",3],"/a/b":[true]}"#);
    for (name, data, expected) in [
        (
            Some("alert"),
            r#"{"severity":"high","a":{"b":true}}"#,
            "whole",
        ),
        (None, r#"{"severity":3,"a":{"b":true}}"#, "whole"),
        (Some("other"), r#"{"severity":3,"a":{"b":true}}"#, "-"),
        (Some("alert"), r#"{"severity":"high"}"#, "-"),
        (Some("alert"), "plain text", "-"),
    ] {
        let event = event(EventKind::Event, name, data);
        assert_eq!(seen(&filter, &event, None), expected, "{name:?} {data}");
    }
}

#[test]
fn a_document_shows_the_items_that_match() {
    let filter = filter(r#"{"event":["updated"],"severity":["high"]}"#);
    let list = event(
        EventKind::Snapshot,
        None,
        r#"[{"severity":"low"}, {"n":1.50,"severity":"high"}]"#,
    );
    let changes = poll(Emit::Changes, "");
    assert_eq!(
        seen(&filter, &list, Some(&changes)),
        r#"[{"n":1.50,"severity":"high"}]"#
    );
    let nested = event(
        EventKind::Event,
        None,
        r#"{"total":2,"items":[{"severity":"low"}]}"#,
    );
    assert_eq!(
        seen(&filter, &nested, Some(&poll(Emit::Document, "/items"))),
        r#"{"total":2,"items":[]}"#
    );
    let single = event(EventKind::Snapshot, None, r#"{"severity":"low"}"#);
    assert_eq!(seen(&filter, &single, Some(&changes)), "null");
}

#[test]
fn numbers_are_compared_and_kept_as_they_were_written() {
    let wanted = filter(r#"{"severity":[1.0,18446744073709551617]}"#);
    let list = event(
        EventKind::Snapshot,
        None,
        r#" {"a":117.63331139400017,"rows":[{"severity":10e-1}, {"severity":18446744073709551616}, {"severity":18446744073709551617}]} "#,
    );
    assert_eq!(
        seen(&wanted, &list, Some(&poll(Emit::Changes, "/rows"))),
        r#"{"a":117.63331139400017,"rows":[{"severity":10e-1},{"severity":18446744073709551617}]}"#
    );
}

#[test]
fn what_cannot_be_judged_is_delivered() {
    let wanted = filter(r#"{"severity":["high"]}"#);
    let deep = format!("{}{}", "[".repeat(130), "]".repeat(130));
    let deep: &'static str = deep.leak();
    for odd in [r#"{"severity":"low","t":"\ud83d"}"#, r#"{"n":1e400}"#, deep] {
        assert_eq!(
            seen(&wanted, &event(EventKind::Event, None, odd), None),
            "whole"
        );
        let item = format!("[{odd}]");
        let list = event(EventKind::Snapshot, None, item.clone().leak());
        let shown = seen(&wanted, &list, Some(&poll(Emit::Changes, "")));
        assert!(shown == "whole" || shown == item, "{shown}");
    }
    let named = filter(r#"{"event":["a"],"severity":["high"]}"#);
    let other = event(EventKind::Event, Some("b"), r#"{"n":1e400}"#);
    assert_eq!(seen(&named, &other, None), "-");
}

#[test]
fn item_leaving_the_filter_is_deleted_and_entering_created() {
    use ChangeKind::{Created, Deleted, Updated};
    const HIGH: &str = r#"{"id":1,"severity":"high"}"#;
    const OTHER: &str = r#"{"id":1,"severity":"high","n":2}"#;
    const LOW: &str = r#"{"id":1,"severity":"low"}"#;
    let all = filter(r#"{"severity":["high"]}"#);
    let updates = filter(r#"{"severity":["high"],"event":["updated"]}"#);
    let changes = poll(Emit::Changes, "");
    for (kind, before, now, expected, of_updates) in [
        (Created, None, HIGH, "whole".to_owned(), "-".to_owned()),
        (Created, None, LOW, "-".into(), "-".into()),
        (Updated, Some(HIGH), OTHER, "whole".into(), "whole".into()),
        (
            Updated,
            Some(OTHER),
            LOW,
            format!("deleted {OTHER}"),
            format!("deleted {OTHER}"),
        ),
        (
            Updated,
            Some(LOW),
            HIGH,
            format!("created {HIGH}"),
            "-".into(),
        ),
        (Updated, Some(LOW), LOW, "-".into(), "-".into()),
        (Updated, None, HIGH, "whole".into(), "whole".into()),
        (
            Updated,
            None,
            LOW,
            format!("deleted {LOW}"),
            format!("deleted {LOW}"),
        ),
        (Deleted, None, HIGH, "whole".into(), "-".into()),
        (Deleted, None, LOW, "-".into(), "-".into()),
        // After a pause: what it was at its beginning, and at its end.
        (
            Deleted,
            Some(HIGH),
            LOW,
            format!("deleted {HIGH}"),
            format!("deleted {HIGH}"),
        ),
        (
            Deleted,
            Some(HIGH),
            OTHER,
            format!("deleted {HIGH}"),
            "-".into(),
        ),
        (Deleted, Some(LOW), HIGH, "-".into(), "-".into()),
    ] {
        let change = Change {
            kind,
            before: before.map(|text| Arc::from(text.as_bytes())),
        };
        let event = changed(EventKind::Event, Some(kind.as_str()), now, Some(change));
        assert_eq!(seen(&all, &event, Some(&changes)), expected, "{event:?}");
        assert_eq!(
            seen(&updates, &event, Some(&changes)),
            of_updates,
            "{event:?}"
        );
    }
}
