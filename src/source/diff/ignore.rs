//! Members that don't count as change.

use serde_json::Value;

/// Makes what `pointer` (RFC 6901) names in `new` equal to what it names in `old`.
///
/// The rest is then compared as if the backend had not touched it, and a patch leaves it alone.
/// An element of an array is only kept where both have it: inserting or removing one would move
/// its neighbours.
pub fn keep_old(pointer: &str, old: &Value, new: &mut Value) {
    let kept = old.pointer(pointer);
    if let (Some(kept), Some(place)) = (kept, new.pointer_mut(pointer)) {
        kept.clone_into(place);
        return;
    }
    let Some((parent, token)) = pointer.rsplit_once('/') else {
        return;
    };
    let token = token.replace("~1", "/").replace("~0", "~");
    let Some(Value::Object(members)) = new.pointer_mut(parent) else {
        return;
    };
    match kept {
        Some(kept) => {
            members.insert(token, kept.clone());
        }
        None => {
            members.shift_remove(&token);
        }
    }
}
