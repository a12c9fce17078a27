//! JSON objects that mean the same to every reader.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::json::{self, Form};

/// How deep lists and objects may stand in each other.
const DEPTH: usize = 32;

/// Reads one object, as its text says it and as a value. A member that is there twice, at any depth and in whatever spelling, is
/// refused: of two `roles` one reader takes the first and another the last.
///
/// # Errors
/// The end of a sentence about it.
pub(super) fn object(text: &[u8]) -> Result<(json::Value<'_>, Map<String, Value>), &'static str> {
    // What only some readers take is nothing that an issuer has to write.
    let read = json::Value::read_deep(text).filter(|read| !read.is_odd());
    let read = read.ok_or("is no JSON")?;
    judge(read, DEPTH)?;
    match read.exact(DEPTH) {
        Value::Object(members) => Ok((read, members)),
        _ => Err("is no JSON object"),
    }
}

fn judge(value: json::Value<'_>, room: usize) -> Result<(), &'static str> {
    let inner = || room.checked_sub(1).ok_or("is nested too deep");
    match value.form() {
        Form::List => {
            let room = inner()?;
            value.items().try_for_each(|item| judge(item, room))
        }
        Form::Object => {
            let (room, mut names) = (inner()?, HashSet::new());
            value
                .pairs()
                .try_for_each(|(name, member)| match names.insert(name.plain()) {
                    true => judge(member, room),
                    false => Err("names a member twice"),
                })
        }
        _ => Ok(()),
    }
}
