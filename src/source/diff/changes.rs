//! Created, updated and deleted items of a list, matched by key.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::{Doubt, Outcome, named};
use crate::config::Poll;
use crate::event::{Change, ChangeKind, Draft};
use crate::json::{Form, Ignored, Scalar, Value, equal, tokens};

/// Below this many items a list may lose all of them at once.
const GUARDED_FROM: usize = 10;

/// Deleted items with their last known state, then the created, then the updated, each in its
/// list's order. `keeps_before`: updated ones hold what they were.
pub fn diff(
    old: Value<'_>,
    new: Value<'_>,
    (poll, ignored): (&Poll, &Ignored<'_>),
    keeps_before: bool,
) -> Outcome {
    let (old, new) = match (List::read(old, poll), List::read(new, poll)) {
        (Ok(old), Ok(new)) => (old, new),
        _ if equal(old, new, &Ignored::new()) => return Outcome::Same,
        (_, Err(doubt)) => return Outcome::Whole(Some(doubt)),
        (Err(_), Ok(_)) => return Outcome::Whole(None),
    };
    let names = &poll.events;
    let deleted = old.items.iter().filter(|item| new.find(item).is_none());
    let mut drafts: Vec<Draft> = deleted
        .map(|item| item.told_as(ChangeKind::Deleted, &names.deleted, None))
        .collect();
    let is_mass_delete = is_mass_delete(drafts.len(), old.items.len(), poll.mass_delete_guard);
    let mut updated = Vec::new();
    for item in &new.items {
        match old.find(item) {
            None => drafts.push(item.told_as(ChangeKind::Created, &names.created, None)),
            Some(was) if !equal(was.value, item.value, ignored) => {
                let before = keeps_before.then(|| Arc::from(was.value.text()));
                updated.push(item.told_as(ChangeKind::Updated, &names.updated, before));
            }
            Some(_) => {}
        }
    }
    drafts.append(&mut updated);
    match is_mass_delete {
        false => Outcome::Events(drafts),
        true => Outcome::MassDelete(drafts),
    }
}

fn is_mass_delete(deleted: usize, of: usize, guard: f64) -> bool {
    of >= GUARDED_FROM && deleted as f64 * 100.0 > guard * of as f64
}

/// A list whose items all have a key of their own.
struct List<'a> {
    items: Vec<Item<'a>>,
    by_key: HashMap<Scalar, usize>,
}

struct Item<'a> {
    key: Scalar,
    value: Value<'a>,
}

impl<'a> List<'a> {
    fn read(document: Value<'a>, poll: &Poll) -> Result<Self, Doubt> {
        let (items, key) = (tokens(&poll.items), tokens(&poll.key));
        let list = document
            .pointer(&items)
            .filter(|found| found.form() == Form::List);
        let mut read = List {
            items: Vec::new(),
            by_key: HashMap::new(),
        };
        for value in list.ok_or(Doubt::NoList)?.items() {
            // Numbers and text never meet.
            let key = value.pointer(&key).and_then(Value::scalar);
            let key = key.filter(|key| *key != Scalar::Null).ok_or(Doubt::NoKey)?;
            if read.by_key.insert(key.clone(), read.items.len()).is_some() {
                return Err(Doubt::DuplicateKey);
            }
            read.items.push(Item { key, value });
        }
        Ok(read)
    }

    fn find(&self, item: &Item<'_>) -> Option<&Item<'a>> {
        self.by_key
            .get(&item.key)
            .and_then(|at| self.items.get(*at))
    }
}

impl Item<'_> {
    fn told_as(&self, kind: ChangeKind, name: &Arc<str>, before: Option<Arc<[u8]>>) -> Draft {
        Draft {
            change: Some(Change { kind, before }),
            ..named(name, Bytes::copy_from_slice(self.value.text()))
        }
    }
}
