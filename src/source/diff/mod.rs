//! What changed between two documents of a polled route, in the form that the route emits. Pure.
//!
//! Documents are compared by bytes first, then by value, so another order of members or another
//! spacing is no change. Whatever the emit form cannot say becomes [`Outcome::Whole`].

mod changes;
mod ignore;
mod merge;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use crate::config::{Emit, Poll};
use crate::event::{Data, Draft};

/// What the difference comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Nothing.
    Same,
    /// These events, in order; none where only something differs that doesn't count.
    Events(Vec<Draft>),
    /// The emit form cannot say it: the whole document instead.
    Whole(Option<Doubt>),
    /// Events as well, but suspicious ones: more of the list is gone than `mass_delete_guard`
    /// allows without a second look.
    MassDelete(Vec<Draft>),
}

/// Why a list could not be compared by key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// `items` points to no list.
    NoList,
    /// An item has no key, or one that is neither text, number nor boolean.
    NoKey,
    /// Two items share a key.
    DuplicateKey,
}

impl Doubt {
    /// One sentence for the operator's log.
    pub fn as_str(self) -> &'static str {
        match self {
            Doubt::NoList => "`items` points to no list",
            Doubt::NoKey => "an item has no key",
            Doubt::DuplicateKey => "two items have the same key",
        }
    }
}

/// The body is no JSON document (or nested deeper than 128).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotJson;

impl fmt::Display for NotJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body is no JSON document")
    }
}

/// A polled body that is JSON, kept as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document(Bytes);

impl Document {
    /// Takes the first body.
    ///
    /// # Errors
    /// [`NotJson`].
    pub fn parse(body: Bytes) -> Result<Document, NotJson> {
        let body = without_mark(body);
        value(&body)?;
        Ok(Document(body))
    }

    /// The document's text.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// Takes the next body, and says what it changes in the way that `poll` asks for.
    ///
    /// # Errors
    /// [`NotJson`].
    pub fn diff(&self, body: Bytes, poll: &Poll) -> Result<(Document, Outcome), NotJson> {
        let body = without_mark(body);
        if self.0 == body {
            return Ok((Document(body), Outcome::Same));
        }
        let outcome = match poll.emit {
            Emit::Changes => changes::diff(&self.0, &body, poll)?,
            Emit::Document | Emit::JsonPatch | Emit::MergePatch => self.diff_whole(&body, poll)?,
        };
        Ok((Document(body), outcome))
    }

    fn diff_whole(&self, body: &Bytes, poll: &Poll) -> Result<Outcome, NotJson> {
        let (old, mut new) = (value(&self.0)?, value(body)?);
        if old == new {
            return Ok(Outcome::Same);
        }
        for pointer in &poll.ignore {
            ignore::keep_old(pointer, &old, &mut new);
        }
        if old == new {
            return Ok(Outcome::Events(Vec::new()));
        }
        Ok(match poll.emit {
            Emit::JsonPatch => Outcome::Events(vec![json_patch(&old, &new)]),
            Emit::MergePatch => match merge::diff(&old, &new) {
                Some(patch) => Outcome::Events(vec![named("merge", patch.to_string())]),
                None => Outcome::Whole(None),
            },
            Emit::Document | Emit::Changes => {
                Outcome::Events(vec![Draft::plain(Data::Json(body.clone()))])
            }
        })
    }
}

/// A leading byte order mark is no part of a document.
fn without_mark(body: Bytes) -> Bytes {
    match body.starts_with(b"\xEF\xBB\xBF") {
        true => body.slice(3..),
        false => body,
    }
}

/// An RFC 6902 patch; one that replaces the root where that is shorter.
fn json_patch(old: &Value, new: &Value) -> Draft {
    let patch = serde_json::json!(json_patch::diff(old, new)).to_string();
    let whole = serde_json::json!([{"op": "replace", "path": "", "value": new}]).to_string();
    named(
        "patch",
        if patch.len() <= whole.len() {
            patch
        } else {
            whole
        },
    )
}

fn named(name: &str, json: String) -> Draft {
    Draft {
        name: Some(Arc::from(name)),
        id: None,
        has_own_id: false,
        data: Data::Json(Bytes::from(json)),
    }
}

fn value(json: &[u8]) -> Result<Value, NotJson> {
    serde_json::from_slice(json).map_err(|_| NotJson)
}

#[cfg(test)]
pub(super) mod tests;
