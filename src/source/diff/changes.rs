//! Created, updated and deleted items of a list, matched by key.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Doubt, NotJson, Outcome, ignore, value};
use crate::config::Poll;
use crate::event::{Data, Draft};

/// Below this many items a list may lose all of them at once.
const GUARDED_FROM: usize = 10;

/// Deleted items with their last known state, then the created, then the updated, each in its
/// list's order.
pub fn diff(old: &Bytes, new: &Bytes, poll: &Poll) -> Result<Outcome, NotJson> {
    let (old, new) = match (List::read(old, poll)?, List::read(new, poll)?) {
        (Ok(old), Ok(new)) => (old, new),
        _ if value(old)? == value(new)? => return Ok(Outcome::Same),
        (_, Err(doubt)) => return Ok(Outcome::Whole(Some(doubt))),
        (Err(_), Ok(_)) => return Ok(Outcome::Whole(None)),
    };
    let names = &poll.events;
    let deleted = old.items.iter().filter(|item| new.find(item).is_none());
    let mut drafts: Vec<Draft> = deleted.map(|item| item.told_as(&names.deleted)).collect();
    let is_mass_delete = is_mass_delete(drafts.len(), old.items.len(), poll.mass_delete_guard);
    let mut updated = Vec::new();
    for item in &new.items {
        match old.find(item) {
            None => drafts.push(item.told_as(&names.created)),
            Some(was) if !was.is_equal(item, &poll.ignore) => {
                updated.push(item.told_as(&names.updated));
            }
            Some(_) => {}
        }
    }
    drafts.append(&mut updated);
    Ok(match is_mass_delete {
        false => Outcome::Events(drafts),
        true => Outcome::MassDelete(drafts),
    })
}

fn is_mass_delete(deleted: usize, of: usize, guard: f64) -> bool {
    of >= GUARDED_FROM && deleted as f64 * 100.0 > guard * of as f64
}

/// A list whose items all have a key of their own.
struct List<'a> {
    items: Vec<Item<'a>>,
    by_key: HashMap<String, usize>,
}

struct Item<'a> {
    key: String,
    /// As the backend wrote it.
    text: &'a str,
    value: Value,
}

impl<'a> List<'a> {
    fn read(document: &'a [u8], poll: &Poll) -> Result<Result<Self, Doubt>, NotJson> {
        let Some(texts) = texts(document, &poll.items)? else {
            return Ok(Err(Doubt::NoList));
        };
        let mut list = List {
            items: Vec::with_capacity(texts.len()),
            by_key: HashMap::with_capacity(texts.len()),
        };
        for text in texts {
            let value = value(text.get().as_bytes())?;
            let Some(key) = value.pointer(&poll.key).and_then(key) else {
                return Ok(Err(Doubt::NoKey));
            };
            if list.by_key.insert(key.clone(), list.items.len()).is_some() {
                return Ok(Err(Doubt::DuplicateKey));
            }
            let text = text.get();
            list.items.push(Item { key, text, value });
        }
        Ok(Ok(list))
    }

    fn find(&self, item: &Item<'_>) -> Option<&Item<'a>> {
        self.by_key
            .get(&item.key)
            .and_then(|at| self.items.get(*at))
    }
}

impl Item<'_> {
    fn told_as(&self, name: &Arc<str>) -> Draft {
        Draft {
            name: Some(name.clone()),
            id: None,
            has_own_id: false,
            data: Data::Json(Bytes::copy_from_slice(self.text.as_bytes())),
        }
    }

    fn is_equal(&self, new: &Item<'_>, ignored: &[String]) -> bool {
        if self.text == new.text || self.value == new.value {
            return true;
        }
        if ignored.is_empty() {
            return false;
        }
        let mut current = new.value.clone();
        for pointer in ignored {
            ignore::keep_old(pointer, &self.value, &mut current);
        }
        self.value == current
    }
}

/// The items' texts; `None` where the pointer leads to no list.
fn texts<'a>(document: &'a [u8], pointer: &str) -> Result<Option<Vec<&'a RawValue>>, NotJson> {
    let mut at: &RawValue = serde_json::from_slice(document).map_err(|_| NotJson)?;
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        let step = match at.get().as_bytes().first() {
            Some(b'{') => serde_json::from_str::<HashMap<String, &RawValue>>(at.get())
                .ok()
                .and_then(|members| members.get(token.as_str()).copied()),
            Some(b'[') => serde_json::from_str::<Vec<&RawValue>>(at.get())
                .ok()
                .and_then(|items| items.get(token.parse::<usize>().ok()?).copied()),
            _ => None,
        };
        match step {
            Some(found) => at = found,
            None => return Ok(None),
        }
    }
    Ok(serde_json::from_str(at.get()).ok())
}

/// A key as text; numbers and text never meet.
fn key(value: &Value) -> Option<String> {
    match value {
        Value::String(_) | Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
