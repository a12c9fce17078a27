//! What a subscriber asked not to see. Pure.

use std::sync::Arc;

use bytes::Bytes;

use crate::config::{Emit, Poll, Route, Source};
use crate::event::{Change, ChangeKind, Data, Event, Fields, Kind, List, Parsed, Places, Reading};
use crate::json::{Scalar, Value};

/// Fields that must all match; the values of one are alternatives.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    /// The JSON Pointers (RFC 6901) that the route allows: the same list for all its clients.
    allowed: Arc<Fields>,
    fields: Vec<(Field, Vec<Scalar>)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Field {
    /// The event's name.
    Event,
    /// The number of an allowed field of the data.
    At(usize),
}

/// What is left of an event.
#[derive(Clone, Debug)]
pub enum Seen {
    /// Nothing.
    Hidden,
    /// Everything.
    Whole,
    /// This JSON in place of the data.
    Part(Vec<u8>),
    /// This event in its place: for this subscriber the item came or left.
    Instead(Arc<Event>),
}

impl Filter {
    /// A filter of fields that the route allows.
    ///
    /// # Errors
    /// The name of a field that it does not.
    pub fn new(wanted: Vec<(String, Vec<Scalar>)>, route: &Route) -> Result<Self, String> {
        let fields = wanted.into_iter().map(|(name, values)| {
            let place = route.filter.iter().position(|allowed| *allowed == name);
            match place {
                None => Err(name),
                Some(_) if name == "event" => Ok((Field::Event, values)),
                Some(place) => Ok((Field::At(place), values)),
            }
        });
        let fields = fields.collect::<Result<_, _>>()?;
        Ok(Filter {
            allowed: route.filter_fields(),
            fields,
        })
    }

    /// What a subscriber with this filter sees of an event of this source. Of a document, whether
    /// it comes as a snapshot or as an event, it sees the items that match; they have no event name.
    ///
    /// Also whether the event takes more memory from now on: what was read of it is kept for all.
    pub fn apply(&self, event: &Event, source: Option<&Source>) -> (Seen, bool) {
        let poll = match source {
            Some(Source::Poll(poll)) => Some(poll),
            Some(Source::Sse(_)) | None => None,
        };
        if matches!(event.kind, Kind::Gap { .. }) {
            return (Seen::Whole, false);
        }
        let document =
            poll.filter(|poll| event.kind == Kind::Snapshot || poll.emit == Emit::Document);
        if document.is_some() && self.is_about_names_only() {
            return (Seen::Whole, false);
        }
        let items = document.map(|poll| poll.items.as_str());
        let parsed = (!self.is_about_names_only()).then(|| event.parsed(&self.allowed, items));
        let (parsed, is_new) = parsed.unzip();
        let entry = Entry {
            event,
            parsed: parsed.as_deref(),
        };
        let seen = match (document, poll, &event.change) {
            (Some(_), _, _) => self.apply_to_document(entry),
            (None, Some(poll), Some(change)) => self.apply_to_change(entry, poll, change),
            _ => self.apply_to_event(entry),
        };
        (seen, is_new.unwrap_or_default())
    }

    fn apply_to_event(&self, entry: Entry<'_>) -> Seen {
        let name = entry.event.name.as_deref().unwrap_or("message");
        match self.lists(name) && self.suits_now(entry) {
            true => Seen::Whole,
            false => Seen::Hidden,
        }
    }

    /// The subscriber holds an item if that matched before the change. One that leaves the filter by it is sent as
    /// deleted, one that enters it as created.
    fn apply_to_change(&self, entry: Entry<'_>, poll: &Poll, change: &Change) -> Seen {
        let (event, names) = (entry.event, &poll.events);
        let now = event.data.bytes();
        let before = change.before.as_deref();
        let as_listed = |kind, seen| match self.lists(names.of(kind)) {
            true => seen,
            false => Seen::Hidden,
        };
        let instead = |kind, data| {
            let change = Change { kind, before: None };
            Seen::Instead(event.reworded(names.of(kind), Data::Json(data), change))
        };
        let left = |item: &[u8]| instead(ChangeKind::Deleted, Bytes::copy_from_slice(item));
        let (suited, suits) = (self.suited_before(entry), self.suits_now(entry));
        match (change.kind, before) {
            (ChangeKind::Created, _) if suits => as_listed(ChangeKind::Created, Seen::Whole),
            // What it was was not kept: where it might have been held, it is taken away.
            (ChangeKind::Updated, None) if !suits => left(now),
            (ChangeKind::Updated, None) => as_listed(ChangeKind::Updated, Seen::Whole),
            (ChangeKind::Updated, Some(before)) => match (suited, suits) {
                (true, true) => as_listed(ChangeKind::Updated, Seen::Whole),
                (true, false) => left(before),
                (false, true) => as_listed(
                    ChangeKind::Created,
                    instead(ChangeKind::Created, now.clone()),
                ),
                (false, false) => Seen::Hidden,
            },
            (ChangeKind::Deleted, None) if suits => as_listed(ChangeKind::Deleted, Seen::Whole),
            (ChangeKind::Deleted, Some(before)) if suited => match suits {
                true => as_listed(ChangeKind::Deleted, left(before)),
                // It left the filter before it was deleted.
                false => left(before),
            },
            (ChangeKind::Created | ChangeKind::Deleted, _) => Seen::Hidden,
        }
    }

    fn apply_to_document(&self, entry: Entry<'_>) -> Seen {
        let document = entry.event.data.bytes();
        match entry.parsed.and_then(Parsed::list) {
            Some(list) => Seen::Part(self.part_of(document, list)),
            // No list: the document is the only item. A snapshot is owed in any case.
            None => match (self.suits_now(entry), &entry.event.kind) {
                (true, _) => Seen::Whole,
                (false, Kind::Snapshot) => Seen::Part(b"null".to_vec()),
                (false, _) => Seen::Hidden,
            },
        }
    }

    /// The document, as it was written, with only those items of its list that match.
    fn part_of(&self, document: &[u8], list: &List) -> Vec<u8> {
        let kept = list
            .items(document)
            .filter(|item| self.matches(item.reading, |field| item.value(field)));
        let kept: Vec<&[u8]> = kept.map(|item| item.text).collect();
        let part = |range| document.get(range).unwrap_or_default();
        let before = part(0..list.begin).trim_ascii_start();
        let behind = part(list.end..document.len()).trim_ascii_end();
        [before, b"[", &kept.join(&b','), b"]", behind].concat()
    }

    /// Whether it asks for names of events and nothing else.
    pub fn is_about_names_only(&self) -> bool {
        self.fields.iter().all(|(field, _)| *field == Field::Event)
    }

    /// Whether events of this name are wanted.
    fn lists(&self, name: &str) -> bool {
        self.fields.iter().all(|(field, values)| match field {
            Field::Event => values.iter().any(|value| value.is_text(name)),
            Field::At(_) => true,
        })
    }

    /// Whether the data matches, or cannot be judged.
    fn suits_now(&self, entry: Entry<'_>) -> bool {
        self.suits(entry.event.data.bytes(), entry.parsed.map(Parsed::data))
    }

    /// The same of the item before a change, where that is known.
    fn suited_before(&self, entry: Entry<'_>) -> bool {
        let change = entry.event.change.as_ref();
        let before = change.and_then(|change| change.before.as_deref());
        before.is_some_and(|text| self.suits(text, entry.parsed.and_then(Parsed::before)))
    }

    fn suits(&self, text: &[u8], places: Option<&Places>) -> bool {
        places
            .is_none_or(|places| self.matches(places.reading(), |field| places.value(text, field)))
    }

    /// Whether a value matches whose fields are these. What programs read differently is not judged: it is for the client to say
    /// what it means.
    fn matches<'t>(&self, reading: Reading, value: impl Fn(usize) -> Option<Value<'t>>) -> bool {
        let is_wanted = |(field, values): &(Field, Vec<Scalar>)| match field {
            Field::Event => true,
            Field::At(field) => {
                value(*field).is_some_and(|found| values.iter().any(|wanted| wanted.is(found)))
            }
        };
        match reading {
            Reading::NotJson => false,
            Reading::Unclear => true,
            Reading::Clear => self.fields.iter().all(is_wanted),
        }
    }
}

/// An event, and what was read of it; nothing where the filter does not ask.
#[derive(Clone, Copy)]
struct Entry<'e> {
    event: &'e Event,
    parsed: Option<&'e Parsed>,
}

#[cfg(test)]
mod tests {
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
            },
            mass_delete_guard: 100.0,
            max_body: 1024,
        })
    }

    fn event(kind: Kind, name: Option<&str>, data: &'static str) -> Event {
        changed(kind, name, data, None)
    }

    fn changed(
        kind: Kind,
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
            let event = event(Kind::Event, name, data);
            assert_eq!(seen(&filter, &event, None), expected, "{name:?} {data}");
        }
    }

    #[test]
    fn a_document_shows_the_items_that_match() {
        let filter = filter(r#"{"event":["updated"],"severity":["high"]}"#);
        let list = event(
            Kind::Snapshot,
            None,
            r#"[{"severity":"low"}, {"n":1.50,"severity":"high"}]"#,
        );
        let changes = poll(Emit::Changes, "");
        assert_eq!(
            seen(&filter, &list, Some(&changes)),
            r#"[{"n":1.50,"severity":"high"}]"#
        );
        let nested = event(
            Kind::Event,
            None,
            r#"{"total":2,"items":[{"severity":"low"}]}"#,
        );
        assert_eq!(
            seen(&filter, &nested, Some(&poll(Emit::Document, "/items"))),
            r#"{"total":2,"items":[]}"#
        );
        let single = event(Kind::Snapshot, None, r#"{"severity":"low"}"#);
        assert_eq!(seen(&filter, &single, Some(&changes)), "null");
    }

    #[test]
    fn numbers_are_compared_and_kept_as_they_were_written() {
        let wanted = filter(r#"{"severity":[1.0,18446744073709551617]}"#);
        let list = event(
            Kind::Snapshot,
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
            assert_eq!(seen(&wanted, &event(Kind::Event, None, odd), None), "whole");
            let item = format!("[{odd}]");
            let list = event(Kind::Snapshot, None, item.clone().leak());
            let shown = seen(&wanted, &list, Some(&poll(Emit::Changes, "")));
            assert!(shown == "whole" || shown == item, "{shown}");
        }
        let named = filter(r#"{"event":["a"],"severity":["high"]}"#);
        let other = event(Kind::Event, Some("b"), r#"{"n":1e400}"#);
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
            let event = changed(Kind::Event, Some(kind.as_str()), now, Some(change));
            assert_eq!(seen(&all, &event, Some(&changes)), expected, "{event:?}");
            assert_eq!(
                seen(&updates, &event, Some(&changes)),
                of_updates,
                "{event:?}"
            );
        }
    }
}
