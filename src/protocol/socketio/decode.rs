//! What a client's packets mean.

use std::collections::HashMap;

use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;

use super::packet::{PacketHead, PacketKind};
use crate::bindings::RESERVED_EVENTS;
use crate::protocol::bounds::is_modest;
use crate::protocol::{BadPacket, ClientEvent, Connect, Input};

/// A packet whose attachments have not all come.
#[derive(Debug)]
pub(super) struct Unfinished {
    /// What to do with them; nothing with those of an acknowledgement.
    event: Option<ClientEvent>,
    missing: usize,
}

/// What a packet came to.
#[derive(Debug)]
pub(super) enum Decoded {
    /// It is whole.
    Whole(Option<Input>),
    /// Attachments follow.
    Begun(Unfinished),
}

impl Unfinished {
    /// Takes the next attachment.
    pub(crate) fn attach(mut self, bytes: &[u8]) -> Decoded {
        self.missing = self.missing.saturating_sub(1);
        if let Some(event) = &mut self.event {
            event.attachments.push(Bytes::copy_from_slice(bytes));
        }
        match self.missing {
            0 => Decoded::Whole(self.event.map(Input::Event)),
            _ => Decoded::Begun(self),
        }
    }
}

/// Reads a packet.
///
/// # Errors
/// It is none, or means nothing from a client.
pub(super) fn decode(text: &[u8]) -> Result<Decoded, BadPacket> {
    let head = PacketHead::parse(text)?;
    let event = match head.kind {
        PacketKind::Connect => {
            let connect = connect(head.data)?;
            return Ok(Decoded::Whole(Some(Input::Connect(connect))));
        }
        PacketKind::Disconnect if head.data.is_empty() => {
            return Ok(Decoded::Whole(Some(Input::Leave)));
        }
        PacketKind::Disconnect => return Err(BadPacket("data in a packet that has none")),
        PacketKind::ConnectError => return Err(BadPacket("a packet that only a server sends")),
        PacketKind::Event | PacketKind::BinaryEvent => Some(event(&head)?),
        // No event of ours asks for an acknowledgement.
        PacketKind::Ack | PacketKind::BinaryAck => None,
    };
    Ok(match head.attachments {
        0 => Decoded::Whole(event.map(Input::Event)),
        missing => Decoded::Begun(Unfinished { event, missing }),
    })
}

fn connect(data: &[u8]) -> Result<Connect, BadPacket> {
    if data.is_empty() {
        return Ok(Connect::default());
    }
    let members: HashMap<String, &RawValue> = match is_modest(data) {
        true => serde_json::from_slice(data).map_err(|_| BadPacket("`auth` is no JSON object"))?,
        false => return Err(BadPacket("too deep or too many elements")),
    };
    let text = |name: &str| {
        let value = members.get(name)?;
        serde_json::from_str(value.get()).ok()
    };
    Ok(Connect {
        token: text("token"),
        csrf: text("csrf"),
        pid: text("pid"),
        offset: text("offset"),
    })
}

fn event(head: &PacketHead<'_>) -> Result<ClientEvent, BadPacket> {
    let mut args = list(head.data)?.into_iter();
    let name = match args.next() {
        Some(Value::String(name)) => name,
        Some(Value::Number(name)) => name.to_string(),
        _ => return Err(BadPacket("an event without a name")),
    };
    if RESERVED_EVENTS.contains(&name.as_str()) {
        return Err(BadPacket("an event with a reserved name"));
    }
    let args: Vec<Value> = args.collect();
    if head.kind == PacketKind::BinaryEvent {
        let mut free = vec![true; head.attachments];
        args.iter().try_for_each(|arg| claim(arg, &mut free))?;
    }
    Ok(ClientEvent {
        name,
        args,
        attachments: Vec::with_capacity(head.attachments),
        ack: head.id,
    })
}

fn list(data: &[u8]) -> Result<Vec<Value>, BadPacket> {
    if !is_modest(data) {
        return Err(BadPacket("too deep or too many elements"));
    }
    let list = serde_json::from_slice(data);
    let list = list.or_else(|_| serde_json::from_slice(&paired(data)));
    list.map_err(|_| BadPacket("not a JSON list"))
}

/// Looks whether each placeholder stands for an attachment of its own: one that stood in many places would multiply its bytes.
fn claim(value: &Value, free: &mut [bool]) -> Result<(), BadPacket> {
    match value {
        Value::Object(members) if members.get("_placeholder") == Some(&Value::Bool(true)) => {
            let number = members.get("num").and_then(Value::as_u64);
            let number = number.and_then(|number| usize::try_from(number).ok());
            let is_free = number.and_then(|number| free.get_mut(number));
            match is_free.is_some_and(std::mem::take) {
                true => Ok(()),
                false => Err(BadPacket("a placeholder without an attachment of its own")),
            }
        }
        Value::Object(members) => members.values().try_for_each(|value| claim(value, free)),
        Value::Array(items) => items.iter().try_for_each(|value| claim(value, free)),
        _ => Ok(()),
    }
}

/// A JSON text with a replacement character for each escaped surrogate that stands alone: browsers send them, where a user's
/// text was cut in the middle of a character, and no string of ours holds them.
fn paired(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let length = match (surrogate(rest), rest.get(6..).and_then(surrogate)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(_), _) => {
                out.extend_from_slice(b"\\ufffd");
                at += 6;
                continue;
            }
            (None, _) if rest.starts_with(b"\\") => 2,
            (None, _) => 1,
        };
        out.extend_from_slice(rest.get(..length).unwrap_or(rest));
        at += length;
    }
    out
}

/// The surrogate whose escape a text begins with.
fn surrogate(text: &[u8]) -> Option<u32> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    let digits = std::str::from_utf8(digits).ok()?;
    let number = u32::from_str_radix(digits, 16).ok()?;
    (0xd800..=0xdfff).contains(&number).then_some(number)
}
