//! How field names are spelled on HTTP/1.1. Names have no case (RFC 9110, section 5.1), but programs
//! have that look for one spelling: PHP's `getallheaders()["Authorization"]`, firmware that looks for
//! `Content-Length:`.
//!
//! The engines forget a name's case and write all names in Title-Case. What is spelled otherwise is
//! noted below them as it comes ([`Spelling`]) and put right below them as it goes ([`Outgoing`]).
//! Nothing is noted where a name is spelled as it would be without a note: most heads cost
//! one look at each name.

mod outgoing;
mod usual;

use hyper::HeaderMap;
use hyper::header::HeaderName;

use super::header_names;
pub(crate) use outgoing::Outgoing;
pub(crate) use usual::usual;

/// As many notes are taken of one head; further names are spelled as usual.
const NOTES: usize = 256;

/// Fields that every hop writes for itself, or that crossfade rebuilds: a peer's case does not apply.
const OWN: [&str; 13] = [
    "connection",
    "content-length",
    "transfer-encoding",
    "host",
    "te",
    "upgrade",
    "keep-alive",
    "proxy-connection",
    "x-request-id",
    "cdn-loop",
    "traceparent",
    "tracestate",
    "crossfade-transport",
];

/// The names that are not spelled as usual, as they are spelled. A name that stands on several lines in
/// several spellings has the first of them that is not the usual one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spelling {
    /// Each behind its length in one byte.
    names: Vec<u8>,
    count: usize,
}

impl Spelling {
    /// Notes a name that came, where it is neither spelled as usual nor rebuilt here.
    pub(crate) fn note(&mut self, name: &[u8]) {
        if !usual::is_usual(name) && self.count < NOTES && !is_own(name) {
            self.push(name);
        }
    }

    /// From now on a name is spelled so, however it came.
    pub(crate) fn set(&mut self, name: &[u8]) {
        self.forget(|other| other.eq_ignore_ascii_case(name));
        self.push(name);
    }

    /// Forgets how names came: they are written here.
    pub(crate) fn forget(&mut self, is_written: impl Fn(&[u8]) -> bool) {
        if self.is_empty() {
            return;
        }
        let before = std::mem::take(self);
        for name in before.iter().filter(|name| !is_written(name)) {
            self.push(name);
        }
    }

    /// Forgets how one name came.
    pub(crate) fn forget_name(&mut self, name: &HeaderName) {
        self.forget(|other| other.eq_ignore_ascii_case(name.as_str().as_bytes()));
    }

    /// How a name is spelled, where that is noted.
    pub(crate) fn of(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter().find(|noted| noted.eq_ignore_ascii_case(name))
    }

    /// Whether every name is spelled as usual.
    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Holds from now on what the engine, with its Title-Case, writes otherwise than it is to be.
    pub(crate) fn fill(&mut self, headers: &HeaderMap, noted: Option<&Spelling>) {
        self.names.clear();
        self.count = 0;
        for name in headers.keys() {
            let name = name.as_str().as_bytes();
            let noted = noted.and_then(|noted| noted.of(name));
            if let Some(spelled) = noted.or_else(|| usual(name).map(str::as_bytes)) {
                self.push(spelled);
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.names.as_slice();
        std::iter::from_fn(move || {
            let (length, names) = rest.split_first()?;
            let (name, names) = names.split_at_checked(usize::from(*length))?;
            rest = names;
            Some(name)
        })
    }

    /// A name that is longer than any that means something is spelled as usual.
    fn push(&mut self, name: &[u8]) {
        if let Ok(length) = u8::try_from(name.len()) {
            self.names.push(length);
            self.names.extend_from_slice(name);
            self.count += 1;
        }
    }
}

/// Whether no other spells this name.
fn is_own(name: &[u8]) -> bool {
    std::str::from_utf8(name).is_ok_and(|name| {
        OWN.iter().any(|own| own.eq_ignore_ascii_case(name)) || header_names::is_forwarded(name)
    })
}

/// A name in its usual spelling.
pub(crate) fn spelled(name: &HeaderName) -> String {
    let name = name.as_str();
    if let Some(usual) = usual(name.as_bytes()) {
        return usual.to_owned();
    }
    let mut is_first = true;
    let letter = |byte: char| {
        let letter = match is_first {
            true => byte.to_ascii_uppercase(),
            false => byte,
        };
        is_first = byte == '-';
        letter
    };
    name.chars().map(letter).collect()
}

#[cfg(test)]
mod tests;
