//! One packet of Engine.IO: a digit that says its type, and what comes with it.

use base64::Engine;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{
    GeneralPurpose, GeneralPurposeConfig, PAD, STANDARD as BASE64,
};
use bytes::Bytes;

use crate::packet::{Packet, Payload, PayloadDraft};
use crate::protocol::BadPacket;

/// What a probe and its answer carry.
const PROBE: &[u8] = b"probe";

/// Some clients leave the padding out.
const LENIENT: GeneralPurpose = GeneralPurpose::new(&ALPHABET, DECODING);
const DECODING: GeneralPurposeConfig = PAD.with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnginePacket {
    /// The server's first packet, with the handshake's JSON.
    Open(Bytes),
    /// The end of the connection.
    Close,
    /// The server's question for a sign of life; of a client, a probe.
    Ping {
        /// It asks whether this WebSocket works, before a client leaves polling for it.
        is_probe: bool,
    },
    /// The answer to a ping.
    Pong {
        /// It answers a probe.
        is_probe: bool,
    },
    /// A message that is text.
    Text(Bytes),
    /// A message that is bytes; over a WebSocket it is a binary frame without a digit.
    Binary(Bytes),
    /// The client has left polling for this WebSocket.
    Upgrade,
    /// Nothing: it ends a poll that waits.
    Noop,
}

impl EnginePacket {
    /// Reads a packet that is text: a text frame, or one packet of an HTTP body. The bytes must be UTF-8.
    ///
    /// # Errors
    /// It is none.
    pub fn decode(text: Bytes) -> Result<EnginePacket, BadPacket> {
        let kind = *text.first().ok_or(BadPacket("an empty packet"))?;
        let rest = text.slice(1..);
        Ok(match kind {
            b'0' => EnginePacket::Open(rest),
            b'1' => EnginePacket::Close,
            b'2' => EnginePacket::Ping {
                is_probe: rest == PROBE,
            },
            b'3' => EnginePacket::Pong {
                is_probe: rest == PROBE,
            },
            b'4' => EnginePacket::Text(rest),
            b'5' => EnginePacket::Upgrade,
            b'6' => EnginePacket::Noop,
            b'b' => EnginePacket::Binary(decode_binary(&rest)?),
            _ => return Err(BadPacket("an unknown type of packet")),
        })
    }

    /// The frame that carries it over a WebSocket.
    pub(crate) fn frame(&self) -> Packet {
        if let EnginePacket::Binary(bytes) = self {
            return Payload::binary(bytes).into();
        }
        let mut draft = PayloadDraft::with_capacity(16);
        self.write(draft.writer());
        draft.finish().into()
    }

    /// Adds the packet as it stands in an HTTP body.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            EnginePacket::Open(handshake) => write(out, b"0", handshake),
            EnginePacket::Close => write(out, b"1", b""),
            EnginePacket::Ping { is_probe: false } => write(out, b"2", b""),
            EnginePacket::Ping { is_probe: true } => write(out, b"2", PROBE),
            EnginePacket::Pong { is_probe: false } => write(out, b"3", b""),
            EnginePacket::Pong { is_probe: true } => write(out, b"3", PROBE),
            EnginePacket::Text(text) => write(out, b"4", text),
            EnginePacket::Binary(bytes) => write_binary(out, bytes),
            EnginePacket::Upgrade => write(out, b"5", b""),
            EnginePacket::Noop => write(out, b"6", b""),
        }
    }
}

fn write(out: &mut Vec<u8>, kind: &[u8], rest: &[u8]) {
    out.extend_from_slice(kind);
    out.extend_from_slice(rest);
}

/// Adds a message that is bytes as it stands in an HTTP body.
pub(super) fn write_binary(out: &mut Vec<u8>, bytes: &[u8]) {
    write(out, b"b", BASE64.encode(bytes).as_bytes());
}

fn decode_binary(text: &[u8]) -> Result<Bytes, BadPacket> {
    let decoded = LENIENT.decode(text);
    decoded
        .map(Bytes::from)
        .map_err(|_| BadPacket("binary data that is no base64"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet_of(text: &'static str) -> Result<EnginePacket, BadPacket> {
        EnginePacket::decode(Bytes::from_static(text.as_bytes()))
    }

    fn text_of(packet: &EnginePacket) -> String {
        let mut out = Vec::new();
        packet.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn packet_of_each_type_reads_as_the_protocol_shows_it() {
        for (text, packet) in [
            ("0{}", EnginePacket::Open(Bytes::from_static(b"{}"))),
            ("1", EnginePacket::Close),
            ("2", EnginePacket::Ping { is_probe: false }),
            ("2probe", EnginePacket::Ping { is_probe: true }),
            ("3", EnginePacket::Pong { is_probe: false }),
            ("3probe", EnginePacket::Pong { is_probe: true }),
            ("4", EnginePacket::Text(Bytes::new())),
            ("4héllo", EnginePacket::Text(Bytes::from("héllo"))),
            ("5", EnginePacket::Upgrade),
            ("6", EnginePacket::Noop),
            (
                "bAQIDBA==",
                EnginePacket::Binary(Bytes::from_static(&[1, 2, 3, 4])),
            ),
        ] {
            assert_eq!(packet_of(text).as_ref(), Ok(&packet), "{text}");
            assert_eq!(text_of(&packet), text);
        }
    }

    #[test]
    fn packet_that_is_none_is_refused() {
        for text in ["", "7", "a", " 4x", "B", "bA", "b%%", "é"] {
            assert!(packet_of(text).is_err(), "{text}");
        }
    }

    #[test]
    fn binary_without_padding_is_read() {
        let bytes = EnginePacket::Binary(Bytes::from_static(&[1, 2, 3, 4]));
        assert_eq!(packet_of("bAQIDBA"), Ok(bytes));
        assert_eq!(packet_of("b"), Ok(EnginePacket::Binary(Bytes::new())));
    }

    #[test]
    fn frame_of_a_binary_message_has_no_digit() {
        let framed = |packet: EnginePacket| packet.frame().frame().0;
        let bytes = Bytes::from_static(&[0xff, 0]);
        assert_eq!(
            framed(EnginePacket::Binary(bytes))[..],
            [0x82, 2, 0xff, 0][..]
        );
        let answer = EnginePacket::Pong { is_probe: true };
        assert_eq!(framed(answer), &b"\x81\x063probe"[..]);
    }

    proptest! {
        #[test]
        fn message_written_and_read_again_is_the_same(text: String, bytes: Vec<u8>) {
            for packet in [EnginePacket::Text(text.into()), EnginePacket::Binary(bytes.into())] {
                prop_assert_eq!(EnginePacket::decode(text_of(&packet).into()), Ok(packet));
            }
        }

        #[test]
        fn packet_of_hostile_bytes_is_read_or_refused(bytes: Vec<u8>) {
            drop(EnginePacket::decode(bytes.into()));
        }
    }
}
