//! The head of a packet: everything in front of its JSON. A connection carries many namespaces, and the head says whose it is.

use crate::packet::{Payload, PayloadDraft};
use crate::protocol::BadPacket;

/// The namespace of packets that name none.
pub(crate) const ROOT: &str = "/";

/// So many attachments has one packet of a client.
const MOST_ATTACHMENTS: usize = 10;

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketKind {
    /// A client joins a namespace, or has joined it.
    Connect,
    /// Either side leaves a namespace.
    Disconnect,
    /// An event.
    Event,
    /// The answer to an event.
    Ack,
    /// A client may not join a namespace.
    ConnectError,
    /// An event with attachments.
    BinaryEvent,
    /// An answer with attachments.
    BinaryAck,
}

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketHead<'a> {
    /// What it is.
    pub kind: PacketKind,
    /// So many messages that are bytes belong to it, and follow it.
    pub attachments: usize,
    /// Whose it is, without the query that some clients send with it.
    pub namespace: &'a str,
    /// What an event's answer is told by.
    pub id: Option<u64>,
    /// JSON, or nothing; not looked at.
    pub data: &'a [u8],
}

impl PacketKind {
    fn of(digit: u8) -> Option<PacketKind> {
        Some(match digit {
            b'0' => PacketKind::Connect,
            b'1' => PacketKind::Disconnect,
            b'2' => PacketKind::Event,
            b'3' => PacketKind::Ack,
            b'4' => PacketKind::ConnectError,
            b'5' => PacketKind::BinaryEvent,
            b'6' => PacketKind::BinaryAck,
            _ => return None,
        })
    }

    fn digit(self) -> u8 {
        match self {
            PacketKind::Connect => b'0',
            PacketKind::Disconnect => b'1',
            PacketKind::Event => b'2',
            PacketKind::Ack => b'3',
            PacketKind::ConnectError => b'4',
            PacketKind::BinaryEvent => b'5',
            PacketKind::BinaryAck => b'6',
        }
    }

    /// Whether the number of attachments stands behind the digit.
    fn is_binary(self) -> bool {
        matches!(self, PacketKind::BinaryEvent | PacketKind::BinaryAck)
    }
}

impl<'a> PacketHead<'a> {
    /// The head of a packet without attachments, id and data.
    pub(crate) fn new(kind: PacketKind, namespace: &'a str) -> Self {
        PacketHead {
            kind,
            attachments: 0,
            namespace,
            id: None,
            data: b"",
        }
    }

    /// Reads a packet: a message that is text, without Engine.IO's digit.
    ///
    /// # Errors
    /// It is none, or has too many attachments.
    pub fn parse(packet: &'a [u8]) -> Result<Self, BadPacket> {
        let (digit, mut rest) = packet.split_first().ok_or(BadPacket("an empty packet"))?;
        let kind = PacketKind::of(*digit).ok_or(BadPacket("an unknown type of packet"))?;
        let mut attachments = 0;
        if kind.is_binary() {
            let (number, behind) = split_number(rest)?;
            let most = MOST_ATTACHMENTS as u64;
            let number = number.filter(|number| *number <= most);
            attachments = number.ok_or(BadPacket("too many attachments, or no number"))? as usize;
            rest = behind
                .strip_prefix(b"-")
                .ok_or(BadPacket("no mark behind the number of attachments"))?;
        }
        let (namespace, rest) = split_namespace(rest)?;
        let (id, data) = split_number(rest)?;
        Ok(PacketHead {
            kind,
            attachments,
            namespace,
            id,
            data,
        })
    }

    /// Adds the packet, Engine.IO's digit included.
    pub(crate) fn write(&self, draft: &mut PayloadDraft) {
        draft.push(&[b'4', self.kind.digit()]);
        if self.kind.is_binary() {
            write_number(draft, self.attachments as u64);
            draft.push(b"-");
        }
        if self.namespace != ROOT {
            draft.push(self.namespace.as_bytes());
            draft.push(b",");
        }
        if let Some(id) = self.id {
            write_number(draft, id);
        }
        draft.push(self.data);
    }

    fn payload(&self) -> Payload {
        let room = 24 + self.namespace.len() + self.data.len();
        let mut draft = PayloadDraft::with_capacity(room);
        self.write(&mut draft);
        draft.finish()
    }
}

/// Tells a client that it has left a namespace.
pub(crate) fn disconnect(namespace: &str) -> Payload {
    PacketHead::new(PacketKind::Disconnect, namespace).payload()
}

/// Tells a client in one sentence that it may not join a namespace.
pub(crate) fn connect_error(namespace: &str, message: &str) -> Payload {
    let told = serde_json::json!({ "message": message }).to_string();
    PacketHead {
        data: told.as_bytes(),
        ..PacketHead::new(PacketKind::ConnectError, namespace)
    }
    .payload()
}

fn write_number(draft: &mut PayloadDraft, number: u64) {
    draft.push(number.to_string().as_bytes());
}

/// The number that a text begins with, and what is behind it.
fn split_number(text: &[u8]) -> Result<(Option<u64>, &[u8]), BadPacket> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit());
    let (digits, rest) = text.split_at(end.unwrap_or(text.len()));
    if digits.is_empty() {
        return Ok((None, rest));
    }
    let number = std::str::from_utf8(digits).ok().map(str::parse);
    match number {
        Some(Ok(number)) => Ok((Some(number), rest)),
        _ => Err(BadPacket("a number that is too large")),
    }
}

/// The namespace that a text begins with, and what is behind its comma.
fn split_namespace(text: &[u8]) -> Result<(&str, &[u8]), BadPacket> {
    if !text.starts_with(b"/") {
        return Ok((ROOT, text));
    }
    let end = text.iter().position(|byte| *byte == b',');
    let (name, rest) = text.split_at(end.unwrap_or(text.len()));
    // What is sent back to the client must not end a packet of its answer.
    let name = std::str::from_utf8(name).ok();
    let name = name.filter(|name| !name.contains(char::is_control));
    let name = name.ok_or(BadPacket("a namespace that is no text"))?;
    let name = name.split_once('?').map_or(name, |(name, _)| name);
    Ok((name, rest.get(1..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head(
        kind: PacketKind,
        attachments: usize,
        namespace: &'static str,
        id: Option<u64>,
        data: &'static str,
    ) -> PacketHead<'static> {
        PacketHead {
            kind,
            attachments,
            namespace,
            id,
            data: data.as_bytes(),
        }
    }

    fn text_of(payload: Payload) -> String {
        let packet = crate::packet::Packet::from(payload);
        String::from_utf8(packet.into_bytes().to_vec()).unwrap()
    }

    #[test]
    fn head_of_each_kind_reads_as_the_protocol_shows_it() {
        use PacketKind::*;
        for (text, expected) in [
            ("0", head(Connect, 0, "/", None, "")),
            (
                r#"0{"token":"1"}"#,
                head(Connect, 0, "/", None, r#"{"token":"1"}"#),
            ),
            (
                r#"0/admin,{"a":1}"#,
                head(Connect, 0, "/admin", None, r#"{"a":1}"#),
            ),
            ("1", head(Disconnect, 0, "/", None, "")),
            ("1/admin,", head(Disconnect, 0, "/admin", None, "")),
            (r#"2["a"]"#, head(Event, 0, "/", None, r#"["a"]"#)),
            (r#"212["a"]"#, head(Event, 0, "/", Some(12), r#"["a"]"#)),
            (
                r#"2/admin,456["a"]"#,
                head(Event, 0, "/admin", Some(456), r#"["a"]"#),
            ),
            ("3/admin,456[]", head(Ack, 0, "/admin", Some(456), "[]")),
            (
                r#"4{"message":"x"}"#,
                head(ConnectError, 0, "/", None, r#"{"message":"x"}"#),
            ),
            (
                r#"51-["b",{}]"#,
                head(BinaryEvent, 1, "/", None, r#"["b",{}]"#),
            ),
            (
                r#"510-/admin,7["b"]"#,
                head(BinaryEvent, 10, "/admin", Some(7), r#"["b"]"#),
            ),
            (
                "61-/admin,456[{}]",
                head(BinaryAck, 1, "/admin", Some(456), "[{}]"),
            ),
        ] {
            assert_eq!(PacketHead::parse(text.as_bytes()), Ok(expected), "{text}");
            assert_eq!(text_of(expected.payload()), format!("4{text}"));
        }
    }

    #[test]
    fn namespace_with_a_query_or_without_a_comma_is_read() {
        for (text, namespace, data) in [
            ("0/admin", "/admin", ""),
            ("0/admin?x=1", "/admin", ""),
            ("0/admin?token=a&b=c,{}", "/admin", "{}"),
            ("0/,{}", "/", "{}"),
            ("0/?x,{}", "/", "{}"),
            ("2/a/b-c,[1]", "/a/b-c", "[1]"),
        ] {
            let head = PacketHead::parse(text.as_bytes()).unwrap();
            assert_eq!((head.namespace, head.data), (namespace, data.as_bytes()));
        }
    }

    #[test]
    fn packet_that_is_none_is_refused() {
        for text in [
            &b""[..],
            b"7",
            b"x",
            b"5[]",
            b"5-[]",
            b"51[]",
            b"511-[]",
            b"599999999999999999999-[]",
            b"299999999999999999999[]",
            b"2/a\x1eb,[]",
            b"2/\xff,[]",
        ] {
            assert!(PacketHead::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn words_of_the_server_read_as_the_protocol_shows_them() {
        assert_eq!(text_of(disconnect("/")), "41");
        assert_eq!(text_of(disconnect("/admin")), "41/admin,");
        assert_eq!(
            text_of(connect_error("/x", "Invalid namespace")),
            r#"44/x,{"message":"Invalid namespace"}"#
        );
        assert_eq!(text_of(connect_error("/", "\"")), r#"44{"message":"\""}"#);
    }

    fn kind() -> impl Strategy<Value = PacketKind> {
        (b'0'..=b'6').prop_map(|digit| PacketKind::of(digit).unwrap())
    }

    proptest! {
        #[test]
        fn head_written_and_read_again_is_the_same(
            kind in kind(),
            attachments in 0..=MOST_ATTACHMENTS,
            namespace in "/([^,?\\pC]*)",
            id: Option<u64>,
            data in "([\\[{].*)?",
        ) {
            let attachments = if kind.is_binary() { attachments } else { 0 };
            let data = data.as_bytes();
            let head = PacketHead { kind, attachments, namespace: &namespace, id, data };
            let text = text_of(head.payload());
            prop_assert_eq!(PacketHead::parse(&text.as_bytes()[1..]), Ok(head));
        }

        #[test]
        fn head_of_hostile_bytes_is_read_or_refused(kind in b'0'..=b'7', rest: Vec<u8>) {
            let packet = [&[kind][..], &rest].concat();
            if let Ok(head) = PacketHead::parse(&packet) {
                prop_assert!(head.attachments <= MOST_ATTACHMENTS);
                prop_assert!(head.namespace.starts_with('/'));
            }
        }
    }
}
