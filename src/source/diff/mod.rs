//! What changed between two documents of a polled route, in the form that the route emits. Pure.
//!
//! Documents are compared by bytes first, then by value, so another order of members or another
//! spacing is no change. Numbers are compared as decimals and go out as they were written. Whatever
//! the emit form cannot say becomes [`DiffOutcome::Whole`].

mod changes;
mod merge;
mod patch;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::config::{Emit, Poll};
use crate::event::{Data, Draft};
use crate::json::{self, Ignored, Value, equal};

/// What the difference comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum DiffOutcome {
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

/// Why documents could not be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// `items` points to no list.
    NoList,
    /// An item has no key, or one that is neither text, number nor boolean.
    NoKey,
    /// Two items share a key.
    DuplicateKey,
    /// A document is nested deeper than is looked at.
    Deep,
}

impl Doubt {
    /// One sentence for the operator's log.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Doubt::NoList => "`items` points to no list",
            Doubt::NoKey => "an item has no key",
            Doubt::DuplicateKey => "two items have the same key",
            Doubt::Deep => "the document is nested deeper than 128 levels",
        }
    }
}

/// The body is no JSON document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotJson;

impl fmt::Display for NotJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body is no JSON document")
    }
}

/// A polled body that is JSON, kept as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComparedDocument(Bytes);

impl ComparedDocument {
    /// Takes the first body.
    ///
    /// # Errors
    /// [`NotJson`].
    pub fn parse(body: Bytes) -> Result<ComparedDocument, NotJson> {
        let body = without_mark(body);
        match json::is_json(&body) {
            true => Ok(ComparedDocument(body)),
            false => Err(NotJson),
        }
    }

    /// The document's text.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// Takes the next body, and says what it changes in the way that `poll` asks for. Where clients may filter
    /// (`is_filtered`) a changed item holds what it was.
    ///
    /// # Errors
    /// [`NotJson`].
    pub fn diff(
        &self,
        body: Bytes,
        poll: &Poll,
        is_filtered: bool,
    ) -> Result<(ComparedDocument, DiffOutcome), NotJson> {
        let body = without_mark(body);
        if self.0 == body {
            return Ok((ComparedDocument(body), DiffOutcome::Same));
        }
        let new = ComparedDocument::parse(body)?;
        let outcome = self.compare(&new, poll, is_filtered);
        Ok((new, outcome))
    }

    fn compare(&self, new: &ComparedDocument, poll: &Poll, is_filtered: bool) -> DiffOutcome {
        let whole = || DiffOutcome::Events(vec![Draft::plain(Data::Json(new.0.clone()))]);
        let Some((old, new)) = Value::of_json(&self.0).zip(Value::of_json(&new.0)) else {
            return match poll.emit {
                Emit::Document => whole(),
                _ => DiffOutcome::Whole(Some(Doubt::Deep)),
            };
        };
        let pointers: Vec<_> = poll.ignore.iter().map(|at| json::tokens(at)).collect();
        let ignored: Ignored<'_> = pointers.iter().map(Vec::as_slice).collect();
        if poll.emit == Emit::Changes {
            return changes::diff(old, new, (poll, &ignored), is_filtered);
        }
        if equal(old, new, &Ignored::new()) {
            return DiffOutcome::Same;
        }
        if equal(old, new, &ignored) {
            return DiffOutcome::Events(Vec::new());
        }
        match poll.emit {
            Emit::JsonPatch => {
                let patch = patch::diff(old, new, &ignored);
                DiffOutcome::Events(vec![named(&Arc::from("patch"), patch.into())])
            }
            Emit::MergePatch => match merge::diff(old, new, &ignored) {
                Some(patch) => DiffOutcome::Events(vec![named(&Arc::from("merge"), patch.into())]),
                None => DiffOutcome::Whole(None),
            },
            Emit::Document | Emit::Changes => whole(),
        }
    }
}

/// A leading byte order mark is no part of a document.
fn without_mark(body: Bytes) -> Bytes {
    match body.starts_with(b"\xEF\xBB\xBF") {
        true => body.slice(3..),
        false => body,
    }
}

fn named(name: &Arc<str>, json: Bytes) -> Draft {
    Draft {
        name: Some(name.clone()),
        ..Draft::plain(Data::Json(json))
    }
}

#[cfg(test)]
pub(super) mod tests;
