//! What a subscriber asked not to see. Pure.

use std::borrow::Cow;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::config::{Emit, Poll, Source};
use crate::event::{Data, Event, Kind};

/// Fields that must all match; the values of one are alternatives.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    fields: Vec<(Field, Vec<Value>)>,
}

#[derive(Clone, Debug, PartialEq)]
enum Field {
    /// The event's name.
    Event,
    /// A top-level member of the data.
    Member(String),
    /// A JSON Pointer (RFC 6901) into the data.
    Pointer(String),
}

/// What is left of an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// Nothing.
    Hidden,
    /// Everything.
    Whole,
    /// This JSON in place of the data.
    Part(Vec<u8>),
}

impl Filter {
    /// A filter of fields that the route allows.
    ///
    /// # Errors
    /// The name of a field that it does not.
    pub fn new(wanted: Vec<(String, Vec<Value>)>, allowed: &[String]) -> Result<Self, String> {
        let fields = wanted.into_iter().map(|(name, values)| {
            if !allowed.contains(&name) {
                return Err(name);
            }
            let field = match name.as_str() {
                "event" => Field::Event,
                pointer if pointer.starts_with('/') => Field::Pointer(name),
                _ => Field::Member(name),
            };
            Ok((field, values))
        });
        let fields = fields.collect::<Result<_, _>>()?;
        Ok(Filter { fields })
    }

    /// What a subscriber with this filter sees of an event of this source. Of a document, whether
    /// it comes as a snapshot or as an event, it sees the items that match; they have no event name.
    pub fn apply(&self, event: &Event, source: Option<&Source>) -> Seen {
        let poll = match source {
            Some(Source::Poll(poll)) => Some(poll),
            Some(Source::Sse(_)) | None => None,
        };
        match (&event.kind, poll) {
            (Kind::Gap { .. }, _) => Seen::Whole,
            (Kind::Snapshot, Some(poll)) => self.apply_to_document(event, poll),
            (Kind::Event, Some(poll)) if poll.emit == Emit::Document => {
                self.apply_to_document(event, poll)
            }
            _ => self.apply_to_event(event),
        }
    }

    fn apply_to_event(&self, event: &Event) -> Seen {
        let name = event.name.as_deref().unwrap_or("message");
        let data = match (self.is_about_names_only(), &event.data) {
            (false, Data::Json(json)) => serde_json::from_slice(json).unwrap_or(Value::Null),
            _ => Value::Null,
        };
        match self.matches(Some(name), &data) {
            true => Seen::Whole,
            false => Seen::Hidden,
        }
    }

    fn apply_to_document(&self, event: &Event, poll: &Poll) -> Seen {
        if self.is_about_names_only() {
            return Seen::Whole;
        }
        match part_of(event.data.bytes(), &poll.items, |item| {
            self.matches(None, item)
        }) {
            Some(part) => Seen::Part(part),
            // No list: the document is the only item. A snapshot is owed in any case.
            None => match (self.apply_to_event(event), &event.kind) {
                (Seen::Hidden, Kind::Snapshot) => Seen::Part(b"null".to_vec()),
                (seen, _) => seen,
            },
        }
    }

    fn is_about_names_only(&self) -> bool {
        self.fields.iter().all(|(field, _)| *field == Field::Event)
    }

    /// `name` is `None` where there are no names to be asked for.
    fn matches(&self, name: Option<&str>, data: &Value) -> bool {
        self.fields.iter().all(|(field, values)| match field {
            Field::Event => name.is_none_or(|name| values.iter().any(|value| value == name)),
            Field::Member(member) => data.get(member).is_some_and(|found| values.contains(found)),
            Field::Pointer(pointer) => data
                .pointer(pointer)
                .is_some_and(|found| values.contains(found)),
        })
    }
}

/// The document with only those items of its list that match; `None` where there is no list.
fn part_of(document: &[u8], items: &str, matches: impl Fn(&Value) -> bool) -> Option<Vec<u8>> {
    let fits =
        |item: &&RawValue| serde_json::from_str(item.get()).is_ok_and(|item: Value| matches(&item));
    if items.is_empty() {
        let all: Vec<&RawValue> = serde_json::from_slice(document).ok()?;
        let kept: Vec<Cow<'_, str>> = all
            .into_iter()
            .filter(fits)
            .map(|item| Cow::Borrowed(item.get()))
            .collect();
        return Some(format!("[{}]", kept.join(",")).into_bytes());
    }
    let mut whole: Value = serde_json::from_slice(document).ok()?;
    whole
        .pointer_mut(items)?
        .as_array_mut()?
        .retain(|item| matches(item));
    serde_json::to_vec(&whole).ok()
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
        let position = Position {
            epoch: Epoch(1),
            offset: 1,
        };
        let draft = Draft {
            name: name.map(Arc::from),
            id: None,
            has_own_id: false,
            data: Data::classify(Bytes::from_static(data.as_bytes())),
        };
        Event::new(1, position, kind, draft, Instant::now())
    }

    fn filter(json: &str) -> Filter {
        let wanted: serde_json::Map<String, Value> =
            serde_json::from_str(json).expect("a filter in JSON");
        let wanted = wanted
            .into_iter()
            .map(|(name, values)| (name, values.as_array().cloned().unwrap_or_default()));
        let allowed = ["event", "severity", "/a/b"].map(String::from);
        Filter::new(wanted.collect(), &allowed).expect("allowed fields")
    }

    #[test]
    fn only_allowed_fields_may_be_named() {
        let wanted = vec![("secret".to_string(), vec![])];
        let refused = Filter::new(wanted, &["event".to_string()]);
        assert_eq!(refused, Err("secret".to_string()));
    }

    #[test]
    fn values_are_alternatives_and_fields_are_all_required() {
        let filter = filter(r#"{"event":["alert","message"],"severity":["high",3],"/a/b":[true]}"#);
        for (name, data, seen) in [
            (
                Some("alert"),
                r#"{"severity":"high","a":{"b":true}}"#,
                Seen::Whole,
            ),
            (None, r#"{"severity":3,"a":{"b":true}}"#, Seen::Whole),
            (
                Some("other"),
                r#"{"severity":3,"a":{"b":true}}"#,
                Seen::Hidden,
            ),
            (Some("alert"), r#"{"severity":"high"}"#, Seen::Hidden),
            (Some("alert"), "plain text", Seen::Hidden),
        ] {
            let event = event(Kind::Event, name, data);
            assert_eq!(filter.apply(&event, None), seen, "{name:?} {data}");
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
            filter.apply(&list, Some(&changes)),
            Seen::Part(br#"[{"n":1.50,"severity":"high"}]"#.to_vec())
        );
        let nested = event(
            Kind::Event,
            None,
            r#"{"total":2,"items":[{"severity":"low"}]}"#,
        );
        assert_eq!(
            filter.apply(&nested, Some(&poll(Emit::Document, "/items"))),
            Seen::Part(br#"{"total":2,"items":[]}"#.to_vec())
        );
        let single = event(Kind::Snapshot, None, r#"{"severity":"low"}"#);
        assert_eq!(
            filter.apply(&single, Some(&changes)),
            Seen::Part(b"null".to_vec())
        );
    }
}
