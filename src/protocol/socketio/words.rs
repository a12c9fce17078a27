//! What the sidecar itself says in a namespace: answers, refusals, and events that begin with `crossfade:`.

use serde_json::json;

use super::event::head;
use super::packet::{PacketHead, PacketKind};
use super::writer::{PacketWriter, ROOM};
use crate::error::{Code, Refusal};
use crate::event::{Event, EventKind};
use crate::packet::{Packet, Payload, PayloadDraft};
use crate::protocol::{EventTag, Output, ResBody, Tag};

/// What stands for the one attachment.
const ATTACHMENT: &str = r#"{"_placeholder":true,"num":0}"#;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words<'a> {
    pub(crate) namespace: &'a str,
    /// Its clients may come back.
    pub(crate) recovery: bool,
}

impl Words<'_> {
    /// Says it, where there is a packet for it.
    pub(crate) fn encode(self, output: &Output<'_>, send: &mut dyn FnMut(Packet)) {
        match *output {
            Output::Res {
                id, status, body, ..
            } => self.respond(id, status, body, send),
            Output::Emit { event, body } => self.emit(event, body, send),
            _ => {
                if let Some(payload) = self.packet(output) {
                    send(payload.into());
                }
            }
        }
    }

    /// The event that tells a gap; `None` of anything else.
    pub(crate) fn gap(self, event: &Event, path: &str) -> Option<Payload> {
        let EventKind::Gap { from, why } = &event.kind else {
            return None;
        };
        Some(self.notice("crossfade:gap", |out| {
            out.member("path", path);
            match std::str::from_utf8(event.data.bytes()) {
                Ok(named) if !named.is_empty() => out.member("from", named),
                _ => out.quoted("from", from),
            }
            out.quoted("to", event.position);
            out.quoted("why", why.as_str());
        }))
    }

    /// An event with one object.
    fn notice(self, name: &str, members: impl FnOnce(&mut PacketWriter)) -> Payload {
        let mut out = PacketWriter::new(&head(self.namespace), ROOM);
        out.text(name);
        out.open();
        members(&mut out);
        out.close();
        out.finish()
    }

    /// Answers an event with one object: by the acknowledgement that it asked for, or else, where it failed, by its rule's event.
    fn answer(
        self,
        id: &Tag,
        is_failure: bool,
        attachments: usize,
        room: usize,
        members: impl FnOnce(&mut PacketWriter),
    ) -> Option<Payload> {
        let Tag::Event(tag) = id else {
            return None;
        };
        let EventTag {
            ack, event, error, ..
        } = &**tag;
        let error = error.as_deref().filter(|_| ack.is_none());
        if ack.is_none() && (error.is_none() || !is_failure) {
            return None;
        }
        let kind = match (error, attachments) {
            (None, 0) => PacketKind::Ack,
            (None, _) => PacketKind::BinaryAck,
            (Some(_), 0) => PacketKind::Event,
            (Some(_), _) => PacketKind::BinaryEvent,
        };
        let head = PacketHead {
            attachments,
            id: *ack,
            ..PacketHead::new(kind, self.namespace)
        };
        let mut out = PacketWriter::new(&head, ROOM + room);
        if let Some(error) = error {
            out.text(error);
        }
        out.open();
        members(&mut out);
        if error.is_some() {
            out.member("event", event);
        }
        out.close();
        Some(out.finish())
    }

    fn refuse(self, id: &Tag, refusal: &Refusal) -> Option<Payload> {
        self.answer(id, true, 0, refusal.detail.len(), |out| {
            out.plain("status", refusal.status);
            out.name("error");
            out.open();
            out.quoted("code", refusal.code.as_str());
            out.member("msg", &refusal.detail);
            if let Some(retry_ms) = refusal.retry_ms {
                out.plain("retry_ms", retry_ms);
            }
            out.close();
        })
    }

    fn respond(self, id: &Tag, status: u16, body: ResBody<'_>, send: &mut dyn FnMut(Packet)) {
        let attachments = usize::from(matches!(body, ResBody::Binary(_)));
        let answer = self.answer(id, status >= 400, attachments, body.len(), |out| {
            out.plain("status", status);
            match body {
                ResBody::Empty => {}
                ResBody::Json(json) => {
                    out.name("body");
                    out.json(json);
                }
                ResBody::Text(text) => out.member("body", text),
                ResBody::Binary(_) => out.plain("body", ATTACHMENT),
            }
        });
        let Some(answer) = answer else {
            return;
        };
        send(answer.into());
        if let ResBody::Binary(bytes) = body {
            send(Payload::binary(bytes).into());
        }
    }

    fn emit(self, event: &str, body: ResBody<'_>, send: &mut dyn FnMut(Packet)) {
        let head = match body {
            ResBody::Binary(_) => PacketHead {
                attachments: 1,
                ..PacketHead::new(PacketKind::BinaryEvent, self.namespace)
            },
            _ => head(self.namespace),
        };
        let mut out = PacketWriter::new(&head, ROOM + body.len());
        out.text(event);
        match body {
            ResBody::Empty => {}
            ResBody::Json(json) => out.json(json),
            ResBody::Text(text) => out.text(text),
            ResBody::Binary(_) => out.json(ATTACHMENT.as_bytes()),
        }
        // A client that may come back takes a text at the end for a position.
        let ends_with_text = match body {
            ResBody::Empty | ResBody::Text(_) => true,
            ResBody::Json(json) => is_text(json),
            ResBody::Binary(_) => false,
        };
        if self.recovery && ends_with_text {
            out.json(b"null");
        }
        send(out.finish().into());
        if let ResBody::Binary(bytes) = body {
            send(Payload::binary(bytes).into());
        }
    }

    fn word(self, kind: PacketKind, data: &serde_json::Value) -> Payload {
        let data = data.to_string();
        let head = PacketHead {
            data: data.as_bytes(),
            ..PacketHead::new(kind, self.namespace)
        };
        let mut draft = PayloadDraft::with_capacity(ROOM + data.len());
        head.write(&mut draft);
        draft.finish()
    }

    /// The packet that says it; `None` where there is none.
    fn packet(self, output: &Output<'_>) -> Option<Payload> {
        Some(match *output {
            Output::Ok { id, .. } => {
                return self.answer(id, false, 0, 0, |out| out.plain("status", 200));
            }
            Output::Err { id, refusal } => return self.refuse(id, refusal),
            Output::State { path, state, .. } => self.notice("crossfade:state", |out| {
                out.member("path", path);
                out.plain("live", state.live);
                if let Some(why) = state.why {
                    out.member("why", why);
                }
                out.plain("since", state.since);
            }),
            Output::End { path, end, .. } => self.notice("crossfade:end", |out| {
                out.member("path", path);
                out.quoted("code", end.code.as_str());
                out.plain("retry_ms", end.retry_ms.unwrap_or(0));
                out.plain("final", end.is_final);
            }),
            Output::Notice { level, msg, d } => self.notice("crossfade:notice", |out| {
                out.member("level", level);
                out.member("msg", msg);
                if let Some(d) = d {
                    out.name("d");
                    out.json(d.get().as_bytes());
                }
            }),
            Output::Drain {
                in_ms,
                retry_ms: (least, most),
                next,
                why,
                at,
            } => self.notice("crossfade:drain", |out| {
                out.plain("in_ms", in_ms);
                out.plain("retry_ms", format_args!("[{least},{most}]"));
                out.member("next", next);
                out.member("why", why);
                out.open_list("at");
                for read in at {
                    out.open();
                    out.member("path", read.path);
                    if let Some(id) = read.id {
                        out.member("id", id);
                    }
                    out.quoted("o", read.o);
                    out.close();
                }
                out.close_list();
            }),
            Output::Connected { sid, pid } => {
                let data = match pid {
                    Some(pid) => json!({ "sid": sid, "pid": pid }),
                    None => json!({ "sid": sid }),
                };
                self.word(PacketKind::Connect, &data)
            }
            Output::Refused {
                code,
                status,
                close,
                message,
            } => self.word(
                PacketKind::ConnectError,
                &refused(code, status, close, message),
            ),
            // Its connection's heartbeat is Engine.IO's; more than one packet is written elsewhere.
            Output::Welcome { .. }
            | Output::Ping
            | Output::Pong
            | Output::Res { .. }
            | Output::Emit { .. } => return None,
        })
    }
}

fn refused(code: Code, status: u16, close: u16, message: &str) -> serde_json::Value {
    json!({
        "message": message,
        "data": { "code": code.as_str(), "status": status, "close": close },
    })
}

fn is_text(json: &[u8]) -> bool {
    json.trim_ascii_start().starts_with(b"\"")
}
