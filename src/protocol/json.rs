//! The subprotocol `crossfade.v1.json`: one JSON object per text message, `t` is its type.

mod writer;

use std::borrow::Cow;
use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use writer::Out;

use super::bounds::is_modest;
use super::{Codec, EventView, Input, Message, Output, Req, ResBody, Tag, Violation};
use crate::event::encodings::EncodingId;
use crate::event::{Data, Event, EventKind};
use crate::json::Scalar;
use crate::packet::{Packet, Payload};

/// Room for all of an event but its data.
const HEAD: usize = 96;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct JsonCodec;

impl Codec for JsonCodec {
    fn name(&self) -> &'static str {
        "json"
    }

    fn decode(&mut self, message: Message<'_>, inputs: &mut Vec<Input>) -> Result<(), Violation> {
        inputs.push(decode(message)?);
        Ok(())
    }

    fn encode(&mut self, output: &Output<'_>, send: &mut dyn FnMut(Packet)) {
        if let Some(frame) = encode_output(output) {
            send(frame.into());
        }
    }

    fn event(&mut self, event: &Event, view: EventView<'_>, send: &mut dyn FnMut(Packet)) {
        if let Some(json) = view.data {
            let mut out = begin_event(event, view.ch, json.len());
            finish_event(&mut out, event, json, true);
            return send(out.finish().into());
        }
        let (data, is_json) = match &event.data {
            Data::Json(json) => (json, true),
            Data::Text(text) => (text, false),
        };
        if view.ch == event.ch {
            let encode = || {
                let mut out = begin_event(event, view.ch, data.len());
                finish_event(&mut out, event, data, is_json);
                out.finish()
            };
            let whole = event.encodings.get_or_encode(EncodingId::JSON, encode);
            return send(whole.into());
        }
        let encode = || {
            let mut out = Out::with_capacity(HEAD + data.len());
            finish_event(&mut out, event, data, is_json);
            out.finish()
        };
        let id = EncodingId::JSON_BEHIND_CHANNEL;
        let rest = event.encodings.get_or_encode(id, encode);
        send(Packet::with_head(
            begin_event(event, view.ch, 0).into_draft(),
            rest,
        ));
    }

    fn has_words(&self) -> bool {
        true
    }
}

fn decode(message: Message<'_>) -> Result<Input, Violation> {
    let Message::Text(text) = message else {
        return Err(closed("binary message"));
    };
    if !is_modest(text) {
        return Err(closed("too deep or too many elements"));
    }
    match serde_json::from_slice(text) {
        Ok(members) => Members(members).input(),
        Err(_) => Err(closed("not a JSON object")),
    }
}

fn closed(reason: &'static str) -> Violation {
    Violation::Close { code: 4000, reason }
}

/// A frame's members, still as text: one bad member must not hide the frame's id.
struct Members<'a>(HashMap<String, &'a RawValue>);

impl<'a> Members<'a> {
    fn input(&self) -> Result<Input, Violation> {
        let kind: Cow<'_, str> = self.required("t")?;
        match &*kind {
            "hello" => Ok(Input::Hello {
                id: self.optional("id")?.map_or(Tag::None, Tag::Number),
                token: self.optional("token")?,
            }),
            "sub" => Ok(Input::Sub {
                id: Tag::Number(self.required("id")?),
                path: self.required("path")?,
                after: self.optional("after")?,
                last_event_id: self.optional("last_event_id")?,
                filter: self.filter()?,
            }),
            "unsub" => Ok(Input::Unsub {
                id: Tag::Number(self.required("id")?),
                ch: self.required("ch")?,
            }),
            "pause" => Ok(Input::Pause {
                id: Tag::Number(self.required("id")?),
                ch: self.required("ch")?,
            }),
            "resume" => Ok(Input::Resume {
                id: Tag::Number(self.required("id")?),
                ch: self.required("ch")?,
            }),
            "req" => Ok(Input::Req(Req {
                id: Tag::Number(self.required("id")?),
                method: self.required("method")?,
                path: self.required("path")?,
                headers: self.headers()?,
                body: self
                    .0
                    .get("d")
                    .map(|body| Bytes::copy_from_slice(body.get().as_bytes())),
                is_binary: false,
                key: self.optional("key")?,
            })),
            "auth" => Ok(Input::Auth {
                id: Tag::Number(self.required("id")?),
                token: self.required("token")?,
            }),
            "ping" => Ok(Input::Ping),
            "pong" => Ok(Input::Pong),
            _ => Err(self.bad("unknown `t`")),
        }
    }

    fn required<T: Deserialize<'a>>(&self, name: &str) -> Result<T, Violation> {
        self.optional(name)?
            .ok_or_else(|| self.bad(format!("`{name}` is missing")))
    }

    /// A member that may be absent, or null.
    fn optional<T: Deserialize<'a>>(&self, name: &str) -> Result<Option<T>, Violation> {
        match self.0.get(name) {
            None => Ok(None),
            Some(value) => serde_json::from_str(value.get())
                .map_err(|_| self.bad(format!("`{name}` is not what it should be"))),
        }
    }

    fn filter(&self) -> Result<Vec<(String, Vec<Scalar>)>, Violation> {
        let fields: HashMap<String, &RawValue> = self.optional("filter")?.unwrap_or_default();
        let fields = fields.into_iter().map(|(field, values)| {
            let values: Option<Vec<&RawValue>> = serde_json::from_str(values.get()).ok();
            let read = |value: &&RawValue| Scalar::read(value.get().as_bytes());
            let values = values.and_then(|values| values.iter().map(read).collect());
            let wanted = "`filter` wants a list of plain values for each field";
            Ok((field, values.ok_or_else(|| self.bad(wanted))?))
        });
        fields.collect()
    }

    fn headers(&self) -> Result<Vec<(String, String)>, Violation> {
        let headers: HashMap<String, String> = self.optional("headers")?.unwrap_or_default();
        Ok(headers.into_iter().collect())
    }

    fn bad(&self, detail: impl Into<String>) -> Violation {
        let id = self.0.get("id").map(|id| id.get());
        Violation::Frame {
            id: id
                .and_then(|id| id.parse().ok())
                .map_or(Tag::None, Tag::Number),
            detail: detail.into(),
        }
    }
}

/// As far as the channel, with room for the rest of an event whose data has so many bytes.
fn begin_event(event: &Event, ch: u32, data: usize) -> Out {
    let mut out = Out::with_capacity(HEAD + data);
    out.begin(match &event.kind {
        EventKind::Event => "ev",
        EventKind::Snapshot => "snap",
        EventKind::Gap { .. } => "gap",
    });
    out.plain("ch", ch);
    out
}

/// What comes behind the channel.
fn finish_event(out: &mut Out, event: &Event, data: &[u8], is_json: bool) {
    if let EventKind::Gap { from, why } = &event.kind {
        match std::str::from_utf8(data) {
            Ok(named) if !named.is_empty() => out.text("from", named),
            _ => out.quoted("from", from),
        }
        out.quoted("to", event.position);
        out.quoted("why", why.as_str());
        return;
    }
    out.quoted("o", event.position);
    if let Some(id) = &event.id {
        out.text("id", id);
    }
    if let Some(name) = &event.name {
        out.text("e", name);
    }
    out.data(data, is_json);
}

/// The frame that says it; `None` where there is none.
fn encode_output(output: &Output<'_>) -> Option<Payload> {
    let mut out = Out::with_capacity(160);
    match output {
        Output::Welcome {
            conn,
            node,
            ping_ms,
            timeout_ms,
            max_bytes,
            max_subs,
            auth_exp,
        } => {
            out.begin("welcome");
            out.plain("v", 1);
            out.text("conn", conn);
            out.text("node", node);
            out.plain("ping_ms", ping_ms);
            out.plain("timeout_ms", timeout_ms);
            out.plain("max_bytes", max_bytes);
            out.plain("max_subs", max_subs);
            if let Some(auth_exp) = auth_exp {
                out.plain("auth_exp", auth_exp);
            }
        }
        Output::Ok { id, sub } => {
            out.begin("ok");
            out.id(id);
            if let Some((ch, at, recovered)) = sub {
                out.plain("ch", ch);
                out.quoted("at", at);
                out.plain("recovered", recovered);
            }
        }
        Output::Err { id, refusal } => {
            out.begin("err");
            out.id(id);
            out.quoted("code", refusal.code.as_str());
            out.plain("status", refusal.status);
            out.plain("retry_ms", refusal.retry_ms.unwrap_or(0));
            out.text("msg", &refusal.detail);
        }
        Output::State { ch, state, .. } => {
            out.begin("state");
            out.plain("ch", ch);
            out.plain("live", state.live);
            if let Some(why) = state.why {
                out.text("why", why);
            }
            out.plain("since", state.since);
        }
        Output::Res {
            id,
            status,
            headers,
            body,
        } => {
            out.begin("res");
            out.id(id);
            out.plain("status", status);
            out.headers(headers);
            match body {
                ResBody::Empty => {}
                ResBody::Json(json) => out.data(json, true),
                ResBody::Text(text) => out.text("x", text),
                ResBody::Binary(bytes) => out.text("b64", &BASE64.encode(bytes)),
            }
        }
        Output::End { ch, end, .. } => {
            out.begin("end");
            out.plain("ch", ch);
            out.quoted("code", end.code.as_str());
            out.plain("retry_ms", end.retry_ms.unwrap_or(0));
            out.plain("final", end.is_final);
        }
        Output::Notice { level, msg, d } => {
            out.begin("notice");
            out.text("level", level);
            out.text("msg", msg);
            if let Some(d) = d {
                out.data(d.get().as_bytes(), true);
            }
        }
        Output::Drain {
            in_ms,
            retry_ms: (least, most),
            next,
            why,
            ..
        } => {
            out.begin("drain");
            out.plain("in_ms", in_ms);
            out.plain("retry_ms", format_args!("[{least},{most}]"));
            out.text("next", next);
            out.text("why", why);
        }
        Output::Ping => out.begin("ping"),
        Output::Pong => out.begin("pong"),
        Output::Connected { .. } | Output::Refused { .. } | Output::Emit { .. } => return None,
    }
    Some(out.finish())
}

#[cfg(test)]
mod tests;
