//! Raw: each event's data is one text message, and nothing else has a word. Loss and ends are reported
//! by close codes.

use super::{Codec, EventView, Input, Message, Output, Violation};
use crate::event::encodings::EncodingId;
use crate::event::{Data, Event, EventKind};
use crate::packet::{Packet, Payload, PayloadDraft};

/// The data as it is; whole documents in place of patches, which look like them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plain;

/// As `{"e","d"}`, for routes whose events mean nothing without their names (`emit = "changes"`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named;

/// As `{"e","id","o","d"|"x"}` (`?cf_wrap=1`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wrapped;

/// How a client sees events. Each form is a type of its own, without a size: what every session has in a box takes no memory.
pub(crate) trait Form: Send {
    /// What clients that see the same bytes share.
    const ENCODING: EncodingId;

    /// Whether clients can distinguish a patch from a whole document.
    const TELLS_PATCHES: bool;

    /// An event whose data is JSON, or else text.
    fn encode_event(event: &Event, data: Result<&[u8], &[u8]>) -> Payload;
}

impl Form for Plain {
    const ENCODING: EncodingId = EncodingId::RAW;
    const TELLS_PATCHES: bool = false;

    fn encode_event(_: &Event, data: Result<&[u8], &[u8]>) -> Payload {
        let (Ok(data) | Err(data)) = data;
        Payload::copy_of(data)
    }
}

impl Form for Named {
    const ENCODING: EncodingId = EncodingId::RAW_NAMED;
    const TELLS_PATCHES: bool = true;

    fn encode_event(event: &Event, data: Result<&[u8], &[u8]>) -> Payload {
        match event.kind {
            EventKind::Snapshot => Plain::encode_event(event, data),
            _ => wrap(event, data, false),
        }
    }
}

impl Form for Wrapped {
    const ENCODING: EncodingId = EncodingId::RAW_WRAPPED;
    const TELLS_PATCHES: bool = true;

    fn encode_event(event: &Event, data: Result<&[u8], &[u8]>) -> Payload {
        wrap(event, data, true)
    }
}

impl<F: Form> Codec for F {
    fn name(&self) -> &'static str {
        "raw"
    }

    fn decode(&mut self, _: Message<'_>, _: &mut Vec<Input>) -> Result<(), Violation> {
        Err(Violation::Close {
            code: 4000,
            reason: "nothing is expected from the client",
        })
    }

    fn encode(&mut self, _: &Output<'_>, _: &mut dyn FnMut(Packet)) {}

    fn event(&mut self, event: &Event, view: EventView<'_>, send: &mut dyn FnMut(Packet)) {
        if matches!(event.kind, EventKind::Gap { .. }) {
            return;
        }
        let data = match &event.data {
            Data::Json(json) => Ok(&json[..]),
            Data::Text(text) => Err(&text[..]),
        };
        let payload = match view.data {
            Some(json) => F::encode_event(event, Ok(json)),
            None => (event.encodings).get_or_encode(F::ENCODING, || F::encode_event(event, data)),
        };
        send(payload.into());
    }

    fn has_words(&self) -> bool {
        false
    }

    fn tells_patches(&self) -> bool {
        F::TELLS_PATCHES
    }
}

fn wrap(event: &Event, data: Result<&[u8], &[u8]>, is_whole: bool) -> Payload {
    let length = data.map_or_else(<[u8]>::len, <[u8]>::len);
    let mut out = PayloadDraft::with_capacity(96 + length);
    out.push(b"{");
    // A wrapped event always says its name: here nothing else distinguishes it from a document.
    match &event.name {
        Some(name) => member(&mut out, "e", name),
        None if event.kind == EventKind::Event => member(&mut out, "e", "message"),
        None => {}
    }
    if is_whole {
        if let Some(id) = &event.id {
            member(&mut out, "id", id);
        }
        member(&mut out, "o", &event.position.to_string());
    }
    match data {
        Ok(json) => {
            out.push(b"\"d\":");
            out.push(json);
        }
        Err(text) => {
            out.push(b"\"x\":");
            string(&mut out, &String::from_utf8_lossy(text));
        }
    }
    out.push(b"}");
    out.finish()
}

fn member(out: &mut PayloadDraft, name: &str, value: &str) {
    string(out, name);
    out.push(b":");
    string(out, value);
    out.push(b",");
}

fn string(out: &mut PayloadDraft, value: &str) {
    // Writing into memory does not fail.
    drop(serde_json::to_writer(out.writer(), value));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use bytes::Bytes;

    use super::*;
    use crate::event::{Draft as EventDraft, Epoch, GapWhy, Position};
    use crate::protocol::example::seen_as;

    fn event(kind: EventKind, name: Option<&str>, data: &'static str) -> Event {
        let draft = EventDraft {
            name: name.map(Arc::from),
            id: Some(Arc::from("8")),
            has_own_id: true,
            data: Data::classify(Bytes::from_static(data.as_bytes())),
            change: None,
        };
        let position = Position {
            epoch: Epoch(723),
            offset: 45,
        };
        Event::new(1, position, kind, draft, Instant::now())
    }

    fn text_of(mut raw: impl Codec, event: &Event) -> Option<String> {
        let mut text = None;
        raw.event(event, seen_as(1), &mut |packet| {
            text = String::from_utf8(packet.into_bytes().to_vec()).ok();
        });
        text
    }

    #[test]
    fn each_form_reads_as_the_contract_shows_it() {
        let change = event(EventKind::Event, Some("updated"), r#"{"id":1}"#);
        assert_eq!(text_of(Plain, &change).unwrap(), r#"{"id":1}"#);
        let change = event(EventKind::Event, Some("updated"), r#"{"id":1}"#);
        assert_eq!(
            text_of(Named, &change).unwrap(),
            r#"{"e":"updated","d":{"id":1}}"#
        );
        assert_eq!(
            text_of(Wrapped, &change).unwrap(),
            r#"{"e":"updated","id":"8","o":"k3-45","d":{"id":1}}"#
        );
        let text = event(EventKind::Event, None, "tick \"1\"");
        assert_eq!(text_of(Plain, &text).unwrap(), "tick \"1\"");
        assert_eq!(
            text_of(Wrapped, &text).unwrap(),
            r#"{"e":"message","id":"8","o":"k3-45","x":"tick \"1\""}"#
        );
        let document = event(EventKind::Snapshot, None, "[1]");
        assert_eq!(text_of(Named, &document).unwrap(), "[1]");
    }

    #[test]
    fn nothing_but_data_has_a_word() {
        let position = Position {
            epoch: Epoch(1),
            offset: 0,
        };
        let why = GapWhy::UpstreamReconnect;
        let gap = event(
            EventKind::Gap {
                from: position,
                why,
            },
            None,
            "",
        );
        assert_eq!(text_of(Plain, &gap), None);
        Plain.encode(&Output::Ping, &mut |packet| panic!("{packet:?}"));
        assert!(
            Wrapped
                .decode(Message::Text(b"hi"), &mut Vec::new())
                .is_err()
        );
    }
}
