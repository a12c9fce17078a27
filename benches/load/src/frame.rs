//! What a load client needs of RFC 6455: the handshake's request, and the frames of a server (never masked).

/// One frame of a server. Continuations count as `Other`: no server measured here sends any.
#[derive(Debug, PartialEq)]
pub enum Frame<'a> {
    Text(&'a [u8]),
    Ping(&'a [u8]),
    Close(u16),
    Other,
}

/// The first frame in `bytes` and its length with head; None where bytes are missing.
pub fn next(bytes: &[u8]) -> Option<(Frame<'_>, usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (start, length): (usize, usize) = match second & 0x7f {
        126 => (
            4,
            usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)),
        ),
        127 => (
            10,
            usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?,
        ),
        short => (2, usize::from(short)),
    };
    let end = start.checked_add(length)?;
    let payload = bytes.get(start..end)?;
    let frame = match first & 0x0f {
        1 => Frame::Text(payload),
        8 => Frame::Close(
            payload
                .get(..2)
                .and_then(|code| code.try_into().ok())
                .map_or(1005, u16::from_be_bytes),
        ),
        9 => Frame::Ping(payload),
        _ => Frame::Other,
    };
    Some((frame, end))
}

/// A client's frame. Its mask is zero, which leaves the payload as it is.
pub fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    extend_with_length(&mut frame, payload.len(), 0x80);
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// A server's text frame.
pub fn text(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81];
    extend_with_length(&mut frame, payload.len(), 0);
    frame.extend(payload);
    frame
}

fn extend_with_length(frame: &mut Vec<u8>, length: usize, mask: u8) {
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ ..126), _) => frame.push(mask | short),
        (_, Ok(medium)) => {
            frame.push(mask | 126);
            frame.extend(medium.to_be_bytes());
        }
        _ => {
            frame.push(mask | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
}

/// The opening handshake's request.
pub fn handshake(host: &str, path: &str, subprotocol: Option<&str>) -> String {
    let offer = subprotocol.map_or(String::new(), |name| {
        format!("Sec-WebSocket-Protocol: {name}\r\n")
    });
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}\r\n"
    )
}

/// The answer to [`handshake`]; every load client sends the same key, so the accept value is a constant (RFC 6455 section 1.3).
pub const ACCEPT: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                          Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_each_length_form_come_back() {
        for size in [0, 125, 126, 65_535, 65_536] {
            let payload = vec![b'x'; size];
            let mut bytes = text(&payload);
            let whole = bytes.len();
            assert_eq!(next(&bytes[..whole - 1]), None);
            bytes.push(0x89);
            assert_eq!(next(&bytes), Some((Frame::Text(&payload), whole)));
        }
        assert_eq!(next(&[0x88, 2, 0x10, 0x11]), Some((Frame::Close(4113), 4)));
    }
}
