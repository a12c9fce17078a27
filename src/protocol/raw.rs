//! Raw: each event's data is one text message, and nothing else has a word. Loss and ends are told
//! by close codes.

use bytes::Bytes;

use super::frame::{self, Draft};
use super::{Input, Message, Output, Protocol, View, Violation};
use crate::event::{Data, Event, Form, Kind};

/// The name of the subprotocol in `Sec-WebSocket-Protocol`; it is also meant where none is offered.
pub const SUBPROTOCOL: &str = "crossfade.v1.raw";

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raw {
    /// The data as it is; whole documents in place of patches, which look like them.
    Plain,
    /// As `{"e","d"}`, for routes whose events mean nothing without their names (`emit = "changes"`).
    Named,
    /// As `{"e","id","o","d"|"x"}` (`?cf_wrap=1`).
    Wrapped,
}

impl Protocol for Raw {
    fn name(&self) -> &'static str {
        "raw"
    }

    fn decode(&self, _: Message<'_>) -> Result<Input, Violation> {
        Err(Violation::Close {
            code: 4000,
            reason: "nothing is expected from the client",
        })
    }

    fn encode(&self, _: &Output<'_>) -> Option<Bytes> {
        None
    }

    fn event(&self, event: &Event, view: View<'_>) -> Option<Bytes> {
        if matches!(event.kind, Kind::Gap { .. }) {
            return None;
        }
        let form = match self {
            Raw::Plain | Raw::Named => Form::Raw,
            Raw::Wrapped => Form::Wrapped,
        };
        Some(match view.data {
            None => event.frame(form, |event| self.encode_event(event, None)),
            Some(_) => self.encode_event(event, view.data),
        })
    }

    fn has_words(&self) -> bool {
        false
    }

    fn tells_patches(&self) -> bool {
        *self != Raw::Plain
    }
}

impl Raw {
    fn encode_event(self, event: &Event, data: Option<&[u8]>) -> Bytes {
        let json = match (&event.data, data) {
            (_, Some(json)) => Ok(json),
            (Data::Json(json), None) => Ok(&json[..]),
            (Data::Text(text), None) => Err(&text[..]),
        };
        match self {
            Raw::Plain => frame::text(json.unwrap_or_else(|text| text)),
            Raw::Named if event.kind == Kind::Snapshot => {
                frame::text(json.unwrap_or_else(|text| text))
            }
            Raw::Named => wrap(event, json, false),
            Raw::Wrapped => wrap(event, json, true),
        }
    }
}

fn wrap(event: &Event, data: Result<&[u8], &[u8]>, is_whole: bool) -> Bytes {
    let length = data.map_or_else(<[u8]>::len, <[u8]>::len);
    let mut out = Draft::with_capacity(96 + length);
    out.push(b"{");
    // A wrapped event always says its name: here nothing else tells it from a document.
    match &event.name {
        Some(name) => member(&mut out, "e", name),
        None if event.kind == Kind::Event => member(&mut out, "e", "message"),
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
    out.finish_text()
}

fn member(out: &mut Draft, name: &str, value: &str) {
    string(out, name);
    out.push(b":");
    string(out, value);
    out.push(b",");
}

fn string(out: &mut Draft, value: &str) {
    // Writing into memory does not fail.
    drop(serde_json::to_writer(out.writer(), value));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;
    use crate::event::{Draft as EventDraft, Epoch, GapWhy, Position};

    const SEEN: View<'_> = View { ch: 1, data: None };

    fn event(kind: Kind, name: Option<&str>, data: &'static str) -> Event {
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

    fn text_of(frame: Option<Bytes>) -> String {
        String::from_utf8(frame.expect("a frame")[2..].to_vec()).expect("UTF-8")
    }

    #[test]
    fn each_form_reads_as_the_contract_shows_it() {
        let change = event(Kind::Event, Some("updated"), r#"{"id":1}"#);
        assert_eq!(text_of(Raw::Plain.event(&change, SEEN)), r#"{"id":1}"#);
        let change = event(Kind::Event, Some("updated"), r#"{"id":1}"#);
        assert_eq!(
            text_of(Raw::Named.event(&change, SEEN)),
            r#"{"e":"updated","d":{"id":1}}"#
        );
        assert_eq!(
            text_of(Raw::Wrapped.event(&change, SEEN)),
            r#"{"e":"updated","id":"8","o":"k3-45","d":{"id":1}}"#
        );
        let text = event(Kind::Event, None, "tick \"1\"");
        assert_eq!(text_of(Raw::Plain.event(&text, SEEN)), "tick \"1\"");
        assert_eq!(
            text_of(Raw::Wrapped.event(&text, SEEN)),
            r#"{"e":"message","id":"8","o":"k3-45","x":"tick \"1\""}"#
        );
        let document = event(Kind::Snapshot, None, "[1]");
        assert_eq!(text_of(Raw::Named.event(&document, SEEN)), "[1]");
    }

    #[test]
    fn nothing_but_data_has_a_word() {
        let position = Position {
            epoch: Epoch(1),
            offset: 0,
        };
        let why = GapWhy::UpstreamReconnect;
        let gap = event(
            Kind::Gap {
                from: position,
                why,
            },
            None,
            "",
        );
        assert_eq!(Raw::Plain.event(&gap, SEEN), None);
        assert_eq!(Raw::Plain.encode(&Output::Ping), None);
        assert!(Raw::Wrapped.decode(Message::Text(b"hi")).is_err());
    }
}
