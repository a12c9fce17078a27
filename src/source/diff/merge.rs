//! Merge Patch (RFC 7396) between two documents.

use serde_json::{Map, Value};

/// The patch that turns `old` into `new`; `None` where the form cannot say it, because an object
/// would have to get a member that is null.
pub fn diff(old: &Value, new: &Value) -> Option<Value> {
    let (Value::Object(old), Value::Object(new)) = (old, new) else {
        return can_be_said(new).then(|| new.clone());
    };
    let mut patch = Map::new();
    for (name, was) in old {
        match new.get(name) {
            None => {
                patch.insert(name.clone(), Value::Null);
            }
            Some(Value::Null) if !was.is_null() => return None,
            Some(is) if is != was => {
                patch.insert(name.clone(), diff(was, is)?);
            }
            Some(_) => {}
        }
    }
    for (name, is) in new {
        if !old.contains_key(name) {
            if is.is_null() || !can_be_said(is) {
                return None;
            }
            patch.insert(name.clone(), is.clone());
        }
    }
    Some(Value::Object(patch))
}

/// Whether merging this value into nothing gives this value. Arrays are taken as they are.
fn can_be_said(value: &Value) -> bool {
    match value {
        Value::Object(members) => members
            .values()
            .all(|member| !member.is_null() && can_be_said(member)),
        _ => true,
    }
}
