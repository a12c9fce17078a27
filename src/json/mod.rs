//! JSON as it was written: texts, and the values that stand in them. Pure.
//!
//! What a browser's `JSON.parse` takes is read here, also what `serde_json` makes no value of: an unpaired surrogate,
//! a number beyond a double, a member that is there twice (the last one counts, as in browsers). Numbers stay text, so
//! they are compared exactly ([`equal()`]) and go on as they came. Whether a text is JSON at all is `serde_json`'s word.
//!
//! No tree is built: a [`Value`] is its text, and what it holds is found by reading that text again. So documents of
//! megabytes are compared in no more memory than they take, and what is equal by its bytes is not looked into.

mod equal;
mod index;
mod number;
mod scan;
mod value;

use serde_json::value::RawValue;

pub(crate) use equal::{Ignored, equal, inside_list, inside_member, is_ignored};
pub(crate) use index::Index;
pub(crate) use value::{Form, Scalar, Value};

/// Levels of arrays and objects that are compared by structure. Each is a call of a function that calls itself.
pub(crate) const DEPTH: usize = 128;

/// Why a text is not taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// It is no JSON.
    NotJson,
    /// It is JSON, nested deeper than [`DEPTH`] (or longer than 4 GiB).
    Deep,
}

/// Whether a text is one JSON value, however deep.
pub(crate) fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<&RawValue>(text).is_ok()
}

/// The tokens of a JSON Pointer (RFC 6901).
pub(crate) fn tokens(pointer: &str) -> Vec<String> {
    let tokens = pointer.split('/').skip(1);
    tokens
        .map(|token| token.replace("~1", "/").replace("~0", "~"))
        .collect()
}

#[cfg(test)]
mod tests;
