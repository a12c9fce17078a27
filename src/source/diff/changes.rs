//! Created, updated and deleted items of a list, matched by key.

use std::sync::Arc;

use bytes::Bytes;

use super::{DiffOutcome, Doubt, named};
use crate::config::Poll;
use crate::event::{Change, ChangeKind, Draft};
use crate::json::{Form, Ignored, Index, Scalar, Value, equal, tokens};

/// Below this many items a list may lose all of them at once.
const GUARDED_FROM: usize = 10;

/// Deleted items with their last known state, then the created, then the updated, each in its
/// list's order. `keeps_before`: updated ones hold what they were.
pub(crate) fn diff(
    old: Value<'_>,
    new: Value<'_>,
    (poll, ignored): (&Poll, &Ignored<'_>),
    keeps_before: bool,
) -> DiffOutcome {
    let (old, new) = match (List::read(old, poll), List::read(new, poll)) {
        (Ok(old), Ok(new)) => (old, new),
        _ if equal(old, new, &Ignored::new()) => return DiffOutcome::Same,
        (_, Err(doubt)) => return DiffOutcome::Whole(Some(doubt)),
        (Err(_), Ok(_)) => return DiffOutcome::Whole(None),
    };
    let names = &poll.events;
    let deleted = old.items().filter(|item| new.find(*item, &old).is_none());
    let mut drafts: Vec<Draft> = deleted
        .map(|item| told_as(item, ChangeKind::Deleted, &names.deleted, None))
        .collect();
    let is_mass_delete = is_mass_delete(drafts.len(), old.count(), poll.mass_delete_guard);
    let mut updated = Vec::new();
    for item in new.items() {
        match old.find(item, &new) {
            None => drafts.push(told_as(item, ChangeKind::Created, &names.created, None)),
            Some(was) if !equal(was, item, ignored) => {
                let before = keeps_before.then(|| Arc::from(was.text()));
                updated.push(told_as(item, ChangeKind::Updated, &names.updated, before));
            }
            Some(_) => {}
        }
    }
    drafts.append(&mut updated);
    match is_mass_delete {
        false => DiffOutcome::Events(drafts),
        true => DiffOutcome::MassDelete(drafts),
    }
}

fn is_mass_delete(deleted: usize, of: usize, guard: f64) -> bool {
    of >= GUARDED_FROM && deleted as f64 * 100.0 > guard * of as f64
}

/// A list whose items all have a key of their own. Numbers and text never meet as keys.
struct List<'a> {
    list: Value<'a>,
    key: Vec<String>,
    index: Index,
}

impl<'a> List<'a> {
    fn read(document: Value<'a>, poll: &Poll) -> Result<Self, Doubt> {
        let found = document.pointer(&tokens(&poll.items));
        let list = found.filter(|found| found.form() == Form::List);
        let (list, key) = (list.ok_or(Doubt::NoList)?, tokens(&poll.key));
        let mut has_keys = true;
        let keys = list.items().map_while(|item| {
            let key = key_of(item, &key);
            has_keys = key.is_some();
            key.map(|key| (key, item.place_in(list.text())))
        });
        let index = Index::new(keys);
        if !has_keys {
            return Err(Doubt::NoKey);
        }
        let read = List { list, key, index };
        let is_repeated =
            |place| read.key_at(place).and_then(|key| read.place_of(&key)) != Some(place);
        if read.index.twins().any(is_repeated) {
            return Err(Doubt::DuplicateKey);
        }
        Ok(read)
    }

    fn items(&self) -> impl Iterator<Item = Value<'a>> {
        self.list.items()
    }

    fn count(&self) -> usize {
        self.index.count()
    }

    /// The item with the key of this one in another list.
    fn find(&self, item: Value<'_>, of: &List<'_>) -> Option<Value<'a>> {
        let place = self.place_of(&key_of(item, &of.key)?)?;
        Some(self.list.inner_at(place))
    }

    fn place_of(&self, key: &Scalar) -> Option<usize> {
        let mut places = self.index.find(key);
        places.find(|place| self.key_at(*place).as_ref() == Some(key))
    }

    fn key_at(&self, place: usize) -> Option<Scalar> {
        key_of(self.list.inner_at(place), &self.key)
    }
}

fn key_of(item: Value<'_>, key: &[String]) -> Option<Scalar> {
    let key = item.pointer(key).and_then(Value::scalar);
    key.filter(|key| *key != Scalar::Null)
}

fn told_as(item: Value<'_>, kind: ChangeKind, name: &Arc<str>, before: Option<Arc<[u8]>>) -> Draft {
    Draft {
        change: Some(Change { kind, before }),
        ..named(name, Bytes::copy_from_slice(item.text()))
    }
}
