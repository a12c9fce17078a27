//! Control frames of RFC 6455, section 5.5: unmasked, ready to be written as they are.

use bytes::Bytes;

/// First byte of a frame: FIN and the opcode (RFC 6455, section 5.2).
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;

/// Room for a control frame's payload, and what a close code leaves of it.
const CONTROL: usize = 125;
const REASON: usize = CONTROL - 2;

/// An empty ping.
pub(crate) fn ping() -> Bytes {
    Bytes::from_static(&[PING, 0])
}

/// A close frame; a reason too long for a control frame is cut at a character's border.
pub(crate) fn close(code: u16, reason: &str) -> Bytes {
    let reason = &reason[..reason.floor_char_boundary(REASON)];
    // At most `CONTROL`.
    let length = (2 + reason.len()) as u8;
    let [high, low] = code.to_be_bytes();
    [&[CLOSE, length, high, low], reason.as_bytes()]
        .concat()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_frame_stays_a_control_frame() {
        assert_eq!(&close(4113, "slow")[..], b"\x88\x06\x10\x11slow");
        let cut = close(4000, &"é".repeat(100));
        assert_eq!(cut[1], 2 + 122);
        assert!(std::str::from_utf8(&cut[4..]).is_ok());
    }
}
