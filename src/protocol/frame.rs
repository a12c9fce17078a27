//! Finished server frames of RFC 6455: unmasked, unfragmented, ready to be written as they are.

use bytes::Bytes;

/// First byte of a frame: FIN and the opcode (RFC 6455 section 5.2).
const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;

/// The longest head of an unmasked frame: two bytes and a 64-bit length.
const HEAD: usize = 10;

/// Room for a control frame's payload (RFC 6455 section 5.5), and what a close code leaves of it.
const CONTROL: usize = 125;
const REASON: usize = CONTROL - 2;

/// A frame in the making: the payload is written behind room for its head, so that nothing moves.
#[derive(Debug)]
pub struct Draft {
    buffer: Vec<u8>,
}

impl Draft {
    /// An empty payload, with room for this many bytes.
    pub fn with_capacity(payload: usize) -> Self {
        let mut buffer = Vec::with_capacity(HEAD + payload);
        buffer.extend_from_slice(&[0; HEAD]);
        Draft { buffer }
    }

    /// Appends bytes to the payload.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The payload as something to write into.
    pub fn writer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// The text frame; the payload must be UTF-8.
    pub fn finish_text(self) -> Bytes {
        self.finish(TEXT)
    }

    fn finish(mut self, first: u8) -> Bytes {
        let length = self.buffer.len() - HEAD;
        let mut head = [0u8; HEAD];
        let used = write_head(&mut head, first, length);
        let start = HEAD - used;
        self.buffer[start..HEAD].copy_from_slice(&head[..used]);
        Bytes::from(self.buffer).slice(start..)
    }
}

/// A text frame around a payload that must be UTF-8.
pub fn text(payload: &[u8]) -> Bytes {
    whole(TEXT, payload)
}

/// A binary frame.
pub fn binary(payload: &[u8]) -> Bytes {
    whole(BINARY, payload)
}

/// An empty control ping.
pub fn ping() -> Bytes {
    Bytes::from_static(&[PING, 0])
}

/// A close frame; a reason too long for a control frame is cut at a character's border.
pub fn close(code: u16, reason: &str) -> Bytes {
    let reason = &reason[..reason.floor_char_boundary(REASON)];
    let mut payload = Vec::with_capacity(2 + reason.len());
    payload.extend_from_slice(&code.to_be_bytes());
    payload.extend_from_slice(reason.as_bytes());
    whole(CLOSE, &payload)
}

fn whole(first: u8, payload: &[u8]) -> Bytes {
    let mut draft = Draft::with_capacity(payload.len());
    draft.push(payload);
    draft.finish(first)
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

    #[test]
    fn lengths_take_their_shortest_form() {
        assert_eq!(&text(b"hi")[..], b"\x81\x02hi");
        assert_eq!(&text(&[b'a'; 125])[..2], &[0x81, 125]);
        assert_eq!(&text(&[b'a'; 126])[..4], &[0x81, 126, 0, 126]);
        assert_eq!(&text(&vec![b'a'; 65_535])[..4], &[0x81, 126, 0xff, 0xff]);
        let long = text(&vec![b'a'; 65_536]);
        assert_eq!(&long[..10], &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(long.len(), 10 + 65_536);
    }

    #[test]
    fn a_close_frame_stays_a_control_frame() {
        assert_eq!(&close(4113, "slow")[..], b"\x88\x06\x10\x11slow");
        let cut = close(4000, &"é".repeat(100));
        assert_eq!(cut[1], 2 + 122);
        assert!(std::str::from_utf8(&cut[4..]).is_ok());
    }
}
