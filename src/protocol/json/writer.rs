//! Writes one message, member by member.

use std::io::Write;

use crate::packet::{Payload, PayloadDraft};
use crate::protocol::Tag;

/// A message in the making, member by member.
pub(super) struct Out(PayloadDraft);

impl Out {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Out(PayloadDraft::with_capacity(bytes))
    }

    pub(crate) fn begin(&mut self, kind: &str) {
        self.0.push(b"{\"t\":\"");
        self.0.push(kind.as_bytes());
        self.0.push(b"\"");
    }

    pub(crate) fn name(&mut self, name: &str) {
        self.0.push(b",\"");
        self.0.push(name.as_bytes());
        self.0.push(b"\":");
    }

    /// Which message is answered.
    pub(crate) fn id(&mut self, id: &Tag) {
        if let Tag::Number(id) = id {
            self.plain("id", id);
        }
    }

    /// A value that needs no quotes.
    pub(crate) fn plain(&mut self, name: &str, value: impl std::fmt::Display) {
        self.name(name);
        self.write(format_args!("{value}"));
    }

    /// A value that needs quotes and no escapes.
    pub(crate) fn quoted(&mut self, name: &str, value: impl std::fmt::Display) {
        self.name(name);
        self.write(format_args!("\"{value}\""));
    }

    pub(crate) fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        self.string(value);
    }

    /// The payload: JSON embedded as it was, anything else as text.
    pub(crate) fn data(&mut self, data: &[u8], is_json: bool) {
        if is_json {
            self.name("d");
            self.0.push(data);
        } else {
            self.text("x", &String::from_utf8_lossy(data));
        }
    }

    pub(crate) fn headers(&mut self, headers: &[(String, String)]) {
        self.name("headers");
        self.0.push(b"{");
        for (index, (name, value)) in headers.iter().enumerate() {
            if index > 0 {
                self.0.push(b",");
            }
            self.string(name);
            self.0.push(b":");
            self.string(value);
        }
        self.0.push(b"}");
    }

    fn string(&mut self, value: &str) {
        // Writing into memory does not fail.
        drop(serde_json::to_writer(self.0.writer(), value));
    }

    fn write(&mut self, value: std::fmt::Arguments<'_>) {
        drop(self.0.writer().write_fmt(value));
    }

    /// What is written so far, to be followed by shared bytes.
    pub(crate) fn into_draft(self) -> PayloadDraft {
        self.0
    }

    pub(crate) fn finish(mut self) -> Payload {
        self.0.push(b"}");
        self.0.finish()
    }
}
