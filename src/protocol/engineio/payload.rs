//! The body of a POST and the answer to a poll: packets with a mark between them.

use bytes::Bytes;
use memchr::memchr;

use super::packet::{EnginePacket, write_binary};
use crate::protocol::BadPacket;

/// Between two packets (a record separator, which no JSON text holds).
const SEPARATOR: u8 = 0x1e;

/// So many packets answer a poll: python-engineio refuses more.
const MOST_PACKETS: usize = 16;

/// Why the body of a POST is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPost {
    /// It has more bytes than allowed.
    TooLarge,
    /// It is empty, or no UTF-8.
    NotText,
}

/// The packets of a POST, one after the other. Their number is bounded by the body's bytes alone: unchanged clients send all
/// that waits at once. A packet is a part of the body and is read when its turn comes, so many small ones take no memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostedPackets {
    rest: Option<Bytes>,
}

impl PostedPackets {
    /// The packets of a body that has at most so many bytes.
    ///
    /// # Errors
    /// It has more, or is no text.
    pub fn of(body: Bytes, most_bytes: usize) -> Result<Self, BadPost> {
        if body.len() > most_bytes {
            return Err(BadPost::TooLarge);
        }
        if body.is_empty() || std::str::from_utf8(&body).is_err() {
            return Err(BadPost::NotText);
        }
        Ok(PostedPackets { rest: Some(body) })
    }
}

/// Nothing follows a packet that is none.
impl Iterator for PostedPackets {
    type Item = Result<EnginePacket, BadPacket>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut rest = self.rest.take()?;
        let packet = match memchr(SEPARATOR, &rest) {
            Some(at) => {
                let packet = rest.split_to(at);
                self.rest = Some(rest.slice(1..));
                packet
            }
            None => rest,
        };
        let packet = EnginePacket::decode(packet);
        if packet.is_err() {
            self.rest = None;
        }
        Some(packet)
    }
}

/// An answer to a poll in the making.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PollAnswer {
    text: Vec<u8>,
    packets: usize,
}

impl PollAnswer {
    /// Adds a message that is text, its digit included; false where the answer has its full number of packets. The text must hold
    /// no separator.
    pub fn push_text(&mut self, packet: &[u8]) -> bool {
        self.push(|out| out.extend_from_slice(packet))
    }

    /// Adds a message that is bytes, as base64; false where the answer has its full number of packets.
    pub fn push_binary(&mut self, message: &[u8]) -> bool {
        self.push(|out| write_binary(out, message))
    }

    /// Adds a packet; false where the answer has its full number of packets.
    pub fn push_packet(&mut self, packet: &EnginePacket) -> bool {
        self.push(|out| packet.write(out))
    }

    /// Whether no more packets may be added.
    pub fn is_full(&self) -> bool {
        self.packets >= MOST_PACKETS
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.packets == 0
    }

    /// Bytes so far.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// The answer's body.
    pub fn finish(self) -> Bytes {
        self.text.into()
    }

    fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        if self.is_full() {
            return false;
        }
        if self.packets > 0 {
            self.text.push(SEPARATOR);
        }
        self.packets += 1;
        write(&mut self.text);
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(body: &[u8]) -> Vec<Result<EnginePacket, BadPacket>> {
        let body = Bytes::copy_from_slice(body);
        PostedPackets::of(body, usize::MAX).unwrap().collect()
    }

    #[test]
    fn body_of_several_packets_is_taken_apart_in_order() {
        let text = |text: &'static str| Ok(EnginePacket::Text(Bytes::from_static(text.as_bytes())));
        let bytes = Ok(EnginePacket::Binary(Bytes::from_static(&[1, 2, 3, 4])));
        assert_eq!(
            read("4héllo\x1e4€\x1ebAQIDBA==".as_bytes()),
            [text("héllo"), text("€"), bytes]
        );
        assert_eq!(read(b"4"), [text("")]);
    }

    #[test]
    fn body_of_many_packets_is_bounded_by_its_bytes_alone() {
        let body = ["3"; 100_000].join("\x1e");
        assert_eq!(read(body.as_bytes()).len(), 100_000);
        let of = |most| PostedPackets::of(Bytes::from(body.clone()), most);
        assert!(of(body.len()).is_ok());
        assert_eq!(of(body.len() - 1), Err(BadPost::TooLarge));
    }

    #[test]
    fn body_that_is_no_text_is_not_taken() {
        for body in [&b""[..], b"4\xff", b"\x1e\x80"] {
            let body = Bytes::copy_from_slice(body);
            assert_eq!(PostedPackets::of(body, 100), Err(BadPost::NotText));
        }
    }

    #[test]
    fn body_behind_a_bad_packet_is_not_read() {
        for body in [&b"4a\x1e"[..], b"4a\x1e\x1e4b", b"4a\x1ex\x1e4b"] {
            let found = read(body);
            assert_eq!(found.len(), 2, "{found:?}");
            assert!(matches!(found[..], [Ok(_), Err(_)]), "{found:?}");
        }
    }

    #[test]
    fn answer_that_is_full_takes_no_more() {
        let mut answer = PollAnswer::default();
        assert!(answer.is_empty());
        assert!(answer.push_text(b"2"));
        assert!(answer.push_binary(&[1, 2, 3, 4]));
        for _ in 2..MOST_PACKETS {
            assert!(!answer.is_full());
            assert!(answer.push_packet(&EnginePacket::Noop));
        }
        assert!(answer.is_full());
        assert!(!answer.push_text(b"4late"));
        assert!(!answer.push_binary(b"late"));
        assert_eq!(answer.bytes(), "2\x1ebAQIDBA==".len() + 14 * 2);
        let body = answer.finish();
        assert!(body.starts_with(b"2\x1ebAQIDBA==\x1e6\x1e6"));
        assert_eq!(read(&body).len(), MOST_PACKETS);
    }

    fn packet() -> impl Strategy<Value = EnginePacket> {
        prop_oneof![
            "[^\x1e]*".prop_map(|text| EnginePacket::Text(text.into())),
            any::<Vec<u8>>().prop_map(|bytes| EnginePacket::Binary(bytes.into())),
            any::<bool>().prop_map(|is_probe| EnginePacket::Ping { is_probe }),
            any::<bool>().prop_map(|is_probe| EnginePacket::Pong { is_probe }),
            Just(EnginePacket::Close),
            Just(EnginePacket::Upgrade),
            Just(EnginePacket::Noop),
        ]
    }

    proptest! {
        #[test]
        fn packets_written_and_read_again_are_the_same(
            packets in prop::collection::vec(packet(), 1..=MOST_PACKETS),
        ) {
            let mut answer = PollAnswer::default();
            for packet in &packets {
                prop_assert!(answer.push_packet(packet));
            }
            let found: Result<Vec<_>, _> = read(&answer.finish()).into_iter().collect();
            prop_assert_eq!(found, Ok(packets));
        }

        #[test]
        fn body_of_hostile_bytes_is_read_or_refused(
            body in prop::collection::vec(prop_oneof![any::<u8>(), b'0'..=b'7', Just(SEPARATOR), Just(b'b')], 0..200),
        ) {
            let length = body.len();
            if let Ok(packets) = PostedPackets::of(body.into(), usize::MAX) {
                let packets: Vec<_> = packets.collect();
                prop_assert!(packets.len() <= length + 1);
                let bad = packets.iter().position(Result::is_err);
                prop_assert!(bad.is_none_or(|at| at + 1 == packets.len()));
            }
        }
    }
}
