//! What a subscriber asked not to see. Pure.

use std::sync::Arc;

use bytes::Bytes;

use crate::config::{Emit, Poll, Route, Source};
use crate::event::{
    Change, ChangeKind, Data, Event, EventKind, Fields, List, MemberPlaces, Parsed, Reading,
};
use crate::json::{Scalar, Value};

/// Fields that must all match; the values of one are alternatives.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Filter {
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
pub(crate) enum Seen {
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
    pub(crate) fn new(wanted: Vec<(String, Vec<Scalar>)>, route: &Route) -> Result<Self, String> {
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

    /// As the client has named it.
    pub(crate) fn wanted(&self, route: &Route) -> Vec<(String, Vec<Scalar>)> {
        let named = self.fields.iter().filter_map(|(field, values)| {
            let name = match field {
                Field::Event => "event",
                Field::At(place) => route.filter.get(*place)?,
            };
            Some((name.to_owned(), values.clone()))
        });
        named.collect()
    }

    /// What a subscriber with this filter sees of an event of this source. Of a document, whether
    /// it comes as a snapshot or as an event, it sees the items that match; they have no event name.
    ///
    /// Also whether the event takes more memory from now on: what was read of it is kept for all.
    pub(crate) fn apply(&self, event: &Event, source: Option<&Source>) -> (Seen, bool) {
        let poll = match source {
            Some(Source::Poll(poll)) => Some(poll),
            Some(Source::Sse(_)) | None => None,
        };
        if matches!(event.kind, EventKind::Gap { .. }) {
            return (Seen::Whole, false);
        }
        let document =
            poll.filter(|poll| event.kind == EventKind::Snapshot || poll.emit == Emit::Document);
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
                (false, EventKind::Snapshot) => Seen::Part(b"null".to_vec()),
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
    pub(crate) fn is_about_names_only(&self) -> bool {
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

    fn suits(&self, text: &[u8], places: Option<&MemberPlaces>) -> bool {
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
mod tests;
