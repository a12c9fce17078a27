//! Writes the list that is an event's or an answer's data, element by element.

use std::fmt::Display;
use std::io::Write;

use super::packet::PacketHead;
use crate::packet::{Payload, PayloadDraft};

/// Room for all of a packet but its data.
pub(super) const ROOM: usize = 160;

/// A packet in the making. Its list is open.
pub(super) struct PacketWriter {
    draft: PayloadDraft,
    needs_comma: bool,
}

impl PacketWriter {
    /// A packet with this head, with room for so many bytes of data.
    pub(crate) fn new(head: &PacketHead<'_>, room: usize) -> Self {
        let mut draft = PayloadDraft::with_capacity(32 + head.namespace.len() + room);
        head.write(&mut draft);
        Self::behind(draft)
    }

    /// What comes behind a head that is written elsewhere, with room for so many bytes.
    pub(crate) fn without_head(room: usize) -> Self {
        Self::behind(PayloadDraft::with_capacity(8 + room))
    }

    fn behind(mut draft: PayloadDraft) -> Self {
        draft.push(b"[");
        PacketWriter {
            draft,
            needs_comma: false,
        }
    }

    /// An element that is JSON already.
    pub(crate) fn json(&mut self, json: &[u8]) {
        self.separate();
        self.draft.push(json);
        self.needs_comma = true;
    }

    /// An element that is text.
    pub(crate) fn text(&mut self, text: &str) {
        self.separate();
        // Writing into memory does not fail.
        drop(serde_json::to_writer(self.draft.writer(), text));
        self.needs_comma = true;
    }

    /// Begins an object: an element, or behind [`PacketWriter::name`] a member.
    pub(crate) fn open(&mut self) {
        self.separate();
        self.draft.push(b"{");
    }

    /// Ends the object that was begun last.
    pub(crate) fn close(&mut self) {
        self.draft.push(b"}");
        self.needs_comma = true;
    }

    /// The name of the member that follows.
    pub(crate) fn name(&mut self, name: &str) {
        self.text(name);
        self.draft.push(b":");
        self.needs_comma = false;
    }

    /// A member that is text.
    pub(crate) fn member(&mut self, name: &str, value: &str) {
        self.name(name);
        self.text(value);
    }

    /// A member that is text and needs no escapes.
    pub(crate) fn quoted(&mut self, name: &str, value: impl Display) {
        self.plain(name, format_args!("\"{value}\""));
    }

    /// A member whose value reads as JSON.
    pub(crate) fn plain(&mut self, name: &str, value: impl Display) {
        self.name(name);
        drop(self.draft.writer().write_fmt(format_args!("{value}")));
        self.needs_comma = true;
    }

    /// Begins a list that is a member.
    pub(crate) fn open_list(&mut self, name: &str) {
        self.name(name);
        self.draft.push(b"[");
    }

    /// Ends the list that is a member.
    pub(crate) fn close_list(&mut self) {
        self.draft.push(b"]");
        self.needs_comma = true;
    }

    pub(crate) fn finish(mut self) -> Payload {
        self.draft.push(b"]");
        self.draft.finish()
    }

    fn separate(&mut self) {
        if std::mem::take(&mut self.needs_comma) {
            self.draft.push(b",");
        }
    }
}
