//! What filters ask of an entry's JSON, found once for all of them.

use std::sync::Arc;

use super::{Data, Event};
use crate::json::{Form, Unread, Value, tokens};

/// The tokens of the JSON Pointers that may be asked for.
pub(crate) type Fields = [Vec<String>];

/// Where the asked fields stand in an entry's data, in the item before, and in the items of its list. It takes a few bytes for
/// each field and item: the values are read where they stand.
#[derive(Clone, Debug)]
pub(crate) struct Parsed {
    fields: Arc<Fields>,
    data: MemberPlaces,
    before: Option<MemberPlaces>,
    list: Option<List>,
}

/// Where the fields stand in one text.
#[derive(Clone, Debug)]
pub(crate) struct MemberPlaces {
    reading: Reading,
    /// One for each field; [`NOWHERE`] where there is none.
    fields: Box<[u32]>,
}

/// How a text reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// It is no JSON.
    NotJson,
    /// What it says cannot be judged: it is nested too deep, or programs read it in different ways.
    Unclear,
    /// As it stands.
    Clear,
}

/// The list of a document.
#[derive(Clone, Debug)]
pub(crate) struct List {
    /// Where it begins and ends.
    pub(crate) begin: usize,
    /// See [`List::begin`].
    pub(crate) end: usize,
    /// How each item reads.
    readings: Vec<Reading>,
    /// Of each item where it begins and ends, and where its fields stand.
    places: Vec<u32>,
}

const NOWHERE: u32 = u32::MAX;

impl Parsed {
    /// Reads an entry. `items` is the pointer to the list of a document.
    pub(crate) fn of(event: &Event, fields: &Arc<Fields>, items: Option<&str>) -> Self {
        let text = event.data.bytes();
        let value = match event.data {
            Data::Json(_) => Value::of_json(text).ok_or(Unread::Deep),
            Data::Text(_) => Value::read(text),
        };
        let list = items.and_then(|items| value.ok()?.pointer(&tokens(items)));
        let list = list.filter(|list| list.form() == Form::List);
        let before = event.change.as_ref();
        let before = before.and_then(|change| change.before.as_deref());
        Parsed {
            fields: fields.clone(),
            data: match list {
                // Its items are judged, and not itself.
                Some(_) => MemberPlaces::unclear(),
                None => MemberPlaces::of(value, text, fields),
            },
            before: before.map(|text| MemberPlaces::of(Value::read(text), text, fields)),
            list: list.map(|list| List::of(list, text, fields)),
        }
    }

    /// Whether it was read for these fields.
    pub(crate) fn is_for(&self, fields: &Arc<Fields>) -> bool {
        Arc::ptr_eq(&self.fields, fields) || self.fields == *fields
    }

    /// Bytes of memory that it takes.
    pub(crate) fn bytes(&self) -> usize {
        let fields = self.data.fields.len() + self.before.as_ref().map_or(0, |b| b.fields.len());
        let list = self.list.as_ref().map_or(0, List::bytes);
        size_of::<Self>() + fields * size_of::<u32>() + list
    }

    /// Bytes of its list.
    pub(super) fn list_bytes(&self) -> usize {
        self.list.as_ref().map_or(0, List::bytes)
    }

    /// Of the data.
    pub(crate) fn data(&self) -> &MemberPlaces {
        &self.data
    }

    /// Of the item before, where there is one.
    pub(crate) fn before(&self) -> Option<&MemberPlaces> {
        self.before.as_ref()
    }

    /// Of a document that holds a list.
    pub(crate) fn list(&self) -> Option<&List> {
        self.list.as_ref()
    }
}

impl MemberPlaces {
    fn of(value: Result<Value<'_>, Unread>, text: &[u8], fields: &Fields) -> Self {
        match value {
            Ok(value) => MemberPlaces {
                reading: reading(value),
                fields: places(value, text, fields).collect(),
            },
            Err(Unread::Deep) => MemberPlaces::unclear(),
            Err(Unread::NotJson) => MemberPlaces {
                reading: Reading::NotJson,
                fields: Box::default(),
            },
        }
    }

    fn unclear() -> Self {
        MemberPlaces {
            reading: Reading::Unclear,
            fields: Box::default(),
        }
    }

    /// How the text reads.
    pub(crate) fn reading(&self) -> Reading {
        self.reading
    }

    /// What stands at the field of this number.
    pub(crate) fn value<'t>(&self, text: &'t [u8], field: usize) -> Option<Value<'t>> {
        value(self.fields.get(field), text)
    }
}

/// One item of a list.
pub(crate) struct Item<'l, 't> {
    /// How it reads.
    pub(crate) reading: Reading,
    /// As it was written.
    pub(crate) text: &'t [u8],
    document: &'t [u8],
    fields: &'l [u32],
}

impl List {
    fn of(list: Value<'_>, text: &[u8], fields: &Fields) -> Self {
        let (mut readings, mut all) = (Vec::new(), Vec::new());
        for item in list.items() {
            let begin = item.place_in(text);
            readings.push(reading(item));
            all.extend([begin as u32, (begin + item.text().len()) as u32]);
            all.extend(places(item, text, fields));
        }
        readings.shrink_to_fit();
        all.shrink_to_fit();
        let begin = list.place_in(text);
        List {
            begin,
            end: begin + list.text().len(),
            readings,
            places: all,
        }
    }

    fn bytes(&self) -> usize {
        self.readings.len() + self.places.len() * size_of::<u32>()
    }

    /// Its items, of the text that it was found in.
    pub(crate) fn items<'l, 't>(
        &'l self,
        document: &'t [u8],
    ) -> impl Iterator<Item = Item<'l, 't>> {
        let width = self.places.len() / self.readings.len().max(1);
        let rows = self.places.chunks_exact(width.max(1));
        rows.zip(&self.readings).filter_map(move |(row, reading)| {
            let (&[begin, end], fields) = row.split_first_chunk()?;
            Some(Item {
                reading: *reading,
                text: document.get(begin as usize..end as usize)?,
                document,
                fields,
            })
        })
    }
}

impl<'t> Item<'_, 't> {
    /// What stands at the field of this number.
    pub(crate) fn value(&self, field: usize) -> Option<Value<'t>> {
        value(self.fields.get(field), self.document)
    }
}

fn reading(value: Value<'_>) -> Reading {
    match value.is_odd() {
        true => Reading::Unclear,
        false => Reading::Clear,
    }
}

fn places(value: Value<'_>, text: &[u8], fields: &Fields) -> impl Iterator<Item = u32> {
    let place = move |field: &Vec<String>| {
        let found = value.pointer(field);
        found.map_or(NOWHERE, |found| found.place_in(text) as u32)
    };
    fields.iter().map(place)
}

fn value<'t>(place: Option<&u32>, text: &'t [u8]) -> Option<Value<'t>> {
    let place = place.filter(|place| **place != NOWHERE)?;
    Some(Value::at(text, *place as usize))
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::time::Instant;

    use bytes::Bytes;

    use super::*;
    use crate::event::{Draft, Epoch, EventKind, Position};

    fn event(data: &str) -> Event {
        let position = Position {
            epoch: Epoch(1),
            offset: 1,
        };
        let data = Data::classify(Bytes::copy_from_slice(data.as_bytes()));
        Event::new(
            1,
            position,
            EventKind::Event,
            Draft::plain(data),
            Instant::now(),
        )
    }

    fn fields(pointers: &[&str]) -> Arc<Fields> {
        pointers.iter().map(|pointer| tokens(pointer)).collect()
    }

    #[test]
    fn an_event_is_read_once_for_all_same_requests() {
        let event = event(r#"{"a":{"b":7},"c":"x"}"#);
        let (first, is_new) = event.parsed(&fields(&["/c", "/a/b", "/no"]), None);
        assert!(is_new && matches!(first, Cow::Borrowed(_)));
        let text = event.data.bytes();
        let value = |field| Some(first.data().value(text, field)?.text());
        assert_eq!(value(0), Some(&b"\"x\""[..]));
        assert_eq!(value(1), Some(&b"7"[..]));
        assert_eq!((value(2), value(3)), (None, None));
        let (again, is_new) = event.parsed(&fields(&["/c", "/a/b", "/no"]), None);
        assert!(!is_new && std::ptr::eq(&*again, &*first));
        // A reload allows other fields: this filter's places are its own.
        let (others, is_new) = event.parsed(&fields(&["/a/b"]), None);
        assert!(!is_new && matches!(others, Cow::Owned(_)));
        let value = others.data().value(text, 0);
        assert_eq!(value.map(Value::text), Some(&b"7"[..]));
        assert_eq!(event.made_bytes(), first.bytes());
    }

    #[test]
    fn a_list_is_kept_where_it_takes_less_than_the_document() {
        let asked = fields(&["/id"]);
        let long = event(r#" {"rows":[{"id":1,"text":"as long as one is"}, {"id":2}]} "#);
        let (parsed, is_new) = long.parsed(&asked, Some("/rows"));
        let text = long.data.bytes();
        let items = parsed.list().expect("a list").items(text);
        let items: Vec<_> = items
            .map(|item| (item.text, item.value(0).map(Value::text)))
            .collect();
        assert_eq!(items[0].1, Some(&b"1"[..]));
        assert_eq!(items[1], (&br#"{"id":2}"#[..], Some(&b"2"[..])));
        assert!(is_new && long.made_bytes() == parsed.bytes());
        let numbers = event(&format!("[{}1]", "1,".repeat(1000)));
        let (parsed, is_new) = numbers.parsed(&asked, Some(""));
        assert_eq!(parsed.list().map(|list| list.items(b"").count()), Some(0));
        let items = parsed.list().expect("a list").items(numbers.data.bytes());
        assert_eq!(items.count(), 1001);
        assert!(!is_new && numbers.made_bytes() == 0);
    }
}
