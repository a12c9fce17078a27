//! One message to a client, encoded once for all clients that get the same bytes. Its buffer has room in front, and the head of the
//! WebSocket frame that carries it (RFC 6455, section 5.2: unmasked, unfragmented) is written there at once: a WebSocket sends
//! the buffer as it is, any other transport sends the payload alone.

use bytes::Bytes;

/// The longest head of an unmasked frame: two bytes and a 64-bit length.
const HEAD: usize = 10;

/// FIN and the opcode of a message.
const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;

/// What a client receives as one message: a head of its own, where it has one, and a body that is shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    head: Option<Payload>,
    body: Payload,
}

/// The bytes of a message behind room for the head of a frame. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    buffer: Bytes,
    /// Where the payload begins; the frame's head is in front of it.
    start: u8,
}

/// A payload in the making: it is written behind room for a frame's head, so that nothing moves.
#[derive(Debug)]
pub(crate) struct PayloadDraft {
    buffer: Vec<u8>,
}

impl Packet {
    /// A text that some clients see behind other heads.
    pub(crate) fn with_head(head: PayloadDraft, body: Payload) -> Self {
        Packet {
            head: Some(head.finish_as(TEXT, body.len())),
            body,
        }
    }

    /// The frame that carries the message, in one piece or two, and where in the first of them the message begins.
    pub(crate) fn frame(self) -> (Bytes, Option<Bytes>, u8) {
        match self.head {
            Some(head) => (head.buffer, Some(self.body.into_bytes()), head.start),
            None => (self.body.buffer, None, self.body.start),
        }
    }

    /// Whether it becomes a binary message.
    pub(crate) fn is_binary(&self) -> bool {
        let first = self.head.as_ref().unwrap_or(&self.body);
        is_binary(&first.buffer)
    }

    /// The message alone.
    pub(crate) fn into_bytes(self) -> Bytes {
        match self.head {
            Some(head) => [&head.into_bytes()[..], &self.body.into_bytes()]
                .concat()
                .into(),
            None => self.body.into_bytes(),
        }
    }
}

impl From<Payload> for Packet {
    fn from(body: Payload) -> Self {
        Packet { head: None, body }
    }
}

impl Payload {
    /// A copy of a text; the bytes must be UTF-8.
    pub fn copy_of(text: &[u8]) -> Self {
        let mut draft = PayloadDraft::with_capacity(text.len());
        draft.push(text);
        draft.finish()
    }

    /// A copy of what becomes a binary message.
    pub fn binary(bytes: &[u8]) -> Self {
        let mut draft = PayloadDraft::with_capacity(bytes.len());
        draft.push(bytes);
        draft.finish_as(BINARY, 0)
    }

    fn len(&self) -> usize {
        self.buffer.len() - usize::from(self.start)
    }

    /// Bytes of memory that it takes.
    pub(crate) fn size(&self) -> usize {
        HEAD + self.len()
    }

    fn into_bytes(mut self) -> Bytes {
        self.buffer.split_off(usize::from(self.start))
    }
}

impl PayloadDraft {
    /// An empty payload, with room for this many bytes.
    pub(crate) fn with_capacity(payload: usize) -> Self {
        let mut buffer = Vec::with_capacity(HEAD + payload);
        buffer.extend_from_slice(&[0; HEAD]);
        PayloadDraft { buffer }
    }

    /// Appends bytes to the payload.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The payload as something to write into.
    pub(crate) fn writer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// A whole text message; the payload must be UTF-8.
    pub(crate) fn finish(self) -> Payload {
        self.finish_as(TEXT, 0)
    }

    /// The beginning of a message of which so many bytes follow.
    fn finish_as(mut self, first: u8, rest: usize) -> Payload {
        let length = self.buffer.len() - HEAD + rest;
        let mut head = [0u8; HEAD];
        let used = write_head(&mut head, first, length);
        let start = HEAD - used;
        self.buffer[start..HEAD].copy_from_slice(&head[..used]);
        Payload {
            buffer: Bytes::from(self.buffer).slice(start..),
            // At most `HEAD`.
            start: used as u8,
        }
    }
}

/// Whether a frame that was made here carries a binary message.
pub(crate) fn is_binary(frame: &[u8]) -> bool {
    frame.first() == Some(&BINARY)
}

/// Writes first byte and length in their shortest form; returns how many bytes that took.
fn write_head(head: &mut [u8; HEAD], first: u8, length: usize) -> usize {
    head[0] = first;
    match length {
        0..=125 => {
            head[1] = length as u8;
            2
        }
        126..=0xffff => {
            head[1] = 126;
            head[2..4].copy_from_slice(&(length as u16).to_be_bytes());
            4
        }
        _ => {
            head[1] = 127;
            head[2..10].copy_from_slice(&(length as u64).to_be_bytes());
            10
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(packet: Packet) -> Vec<u8> {
        let (first, rest, _) = packet.frame();
        [first, rest.unwrap_or_default()].concat()
    }

    fn text(payload: &[u8]) -> Vec<u8> {
        framed(Payload::copy_of(payload).into())
    }

    #[test]
    fn lengths_take_their_shortest_form() {
        assert_eq!(text(b"hi"), b"\x81\x02hi");
        assert_eq!(text(&[b'a'; 125])[..2], [0x81, 125]);
        assert_eq!(text(&[b'a'; 126])[..4], [0x81, 126, 0, 126]);
        assert_eq!(text(&vec![b'a'; 65_535])[..4], [0x81, 126, 0xff, 0xff]);
        let long = text(&vec![b'a'; 65_536]);
        assert_eq!(long[..10], [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(long.len(), 10 + 65_536);
    }

    #[test]
    fn a_head_and_a_shared_body_are_one_message() {
        for length in [0, 1, 120, 125, 126, 65_530, 65_536] {
            let body = Payload::copy_of(&vec![b'b'; length]);
            let mut head = PayloadDraft::with_capacity(4);
            head.push(b"head");
            let packet = Packet::with_head(head, body.clone());
            let whole = [b"head", &vec![b'b'; length][..]].concat();
            assert_eq!(packet.clone().into_bytes(), whole);
            assert_eq!(framed(packet), text(&whole));
            assert_eq!(Packet::from(body).into_bytes(), &whole[4..]);
        }
    }
}
