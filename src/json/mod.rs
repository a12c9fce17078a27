//! JSON as it was written: a text, and where its values stand in it. Pure.
//!
//! What a browser's `JSON.parse` takes is read here, also what `serde_json` makes no value of: an unpaired surrogate,
//! a number beyond a double, a member that is there twice (the last one counts, as in browsers). Numbers stay text, so
//! they are compared exactly ([`equal()`]) and go on as they came. Whether a text is JSON at all is `serde_json`'s word.

mod equal;
mod number;
mod value;

use memchr::memchr2;
use serde_json::value::RawValue;

pub use equal::{Ignored, equal, inside_list, inside_member, is_ignored};
pub use value::{Form, Members, Scalar, Value};

/// Levels of arrays and objects that are compared by structure. Each is a call of a function that calls itself.
pub const DEPTH: usize = 128;

/// Why a text is not taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It is no JSON.
    NotJson,
    /// It is JSON, nested deeper than [`DEPTH`] (or longer than 4 GiB).
    Deep,
}

/// Whether a text is one JSON value, however deep.
pub fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<&RawValue>(text).is_ok()
}

/// A JSON text and where its values stand. One list however deep it is, so that letting it go is one step.
#[derive(Debug)]
pub struct Tree<'t> {
    text: &'t [u8],
    nodes: Vec<Node>,
}

/// One value, or the name of a member. What an array or object holds follows it, names and values in turn.
#[derive(Clone, Copy, Debug)]
struct Node {
    start: u32,
    end: u32,
    /// Index of the node behind this one and all that it holds.
    next: u32,
}

impl<'t> Tree<'t> {
    /// Takes a text apart.
    ///
    /// # Errors
    /// [`Unread`].
    pub fn read(text: &'t [u8]) -> Result<Self, Unread> {
        match is_json(text) {
            true => Tree::of_json(text).ok_or(Unread::Deep),
            false => Err(Unread::NotJson),
        }
    }

    /// Takes apart what is known to be JSON; `None` where it is nested too deep. Of any other text it makes some tree.
    pub fn of_json(text: &'t [u8]) -> Option<Self> {
        Tree::within(text, DEPTH)
    }

    /// Takes a text apart however deep it is, for looking things up: what is found is not to be compared. `None` where it is
    /// no JSON.
    pub fn read_deep(text: &'t [u8]) -> Option<Self> {
        is_json(text).then(|| Tree::within(text, usize::MAX))?
    }

    fn within(text: &'t [u8], depth: usize) -> Option<Self> {
        u32::try_from(text.len()).ok()?;
        let mut nodes: Vec<Node> = Vec::with_capacity(text.len() / 12 + 1);
        let mut open: Vec<usize> = Vec::new();
        let mut at = 0;
        while let Some(byte) = text.get(at) {
            let end = match byte {
                b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' => {
                    at += 1;
                    continue;
                }
                b']' | b'}' => {
                    at += 1;
                    let next = nodes.len() as u32;
                    if let Some(node) = open.pop().and_then(|index| nodes.get_mut(index)) {
                        (node.end, node.next) = (at as u32, next);
                    }
                    continue;
                }
                b'[' | b'{' if open.len() == depth => return None,
                b'[' | b'{' => {
                    open.push(nodes.len());
                    at + 1
                }
                b'"' => end_of_text(text, at),
                _ => end_of_word(text, at),
            };
            nodes.push(Node {
                start: at as u32,
                end: end as u32,
                next: nodes.len() as u32 + 1,
            });
            at = end;
        }
        (!nodes.is_empty()).then_some(Tree { text, nodes })
    }

    /// The whole document.
    pub fn root(&self) -> Value<'_> {
        Value::new(self.text, &self.nodes, 0)
    }
}

/// The place behind the text that begins at a quotation mark.
fn end_of_text(text: &[u8], begin: usize) -> usize {
    let mut at = begin + 1;
    while let Some(rest) = text.get(at..) {
        match memchr2(b'"', b'\\', rest) {
            Some(found) if rest.get(found) == Some(&b'"') => return at + found + 1,
            Some(found) => at += found + 2,
            None => break,
        }
    }
    text.len()
}

/// The place behind a number or a word.
fn end_of_word(text: &[u8], begin: usize) -> usize {
    let rest = text.get(begin..).unwrap_or_default();
    let is_end = |byte: &u8| {
        matches!(
            byte,
            b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r' | b':'
        )
    };
    begin + rest.iter().position(is_end).unwrap_or(rest.len()).max(1)
}

/// The tokens of a JSON Pointer (RFC 6901).
pub fn tokens(pointer: &str) -> Vec<String> {
    let tokens = pointer.split('/').skip(1);
    tokens
        .map(|token| token.replace("~1", "/").replace("~0", "~"))
        .collect()
}

#[cfg(test)]
mod tests;
