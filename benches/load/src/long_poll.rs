//! Socket.IO 5 over the long-polling of Engine.IO 4: the requests of one session, all on one connection that is kept.

use std::net::SocketAddr;

use memchr::memmem;

/// The answer to a POST.
pub const POSTED: &[u8] = b"ok";

/// Between two packets of an answer.
const SEPARATOR: u8 = 0x1e;
const SID: &[u8] = b"\"sid\":\"";

/// What a session asks for. Its requests differ in method and body only.
pub struct LongPoll {
    /// A request's line behind its method, and the `Host` field.
    head: Box<str>,
}

impl LongPoll {
    /// The session that the handshake's answer opens; None where the answer is another.
    pub fn open(address: SocketAddr, path: &str, answer: &[u8]) -> Option<LongPoll> {
        let sid = answer.get(memmem::find(answer, SID)? + SID.len()..)?;
        let sid = std::str::from_utf8(sid.split(|byte| *byte == b'"').next()?).ok()?;
        Some(LongPoll {
            head: format!("{path}&sid={sid} HTTP/1.1\r\nHost: {address}\r\n").into(),
        })
    }

    pub fn poll(&self) -> Vec<u8> {
        format!("GET {}\r\n", self.head).into()
    }

    /// Brings the server one packet.
    pub fn post(&self, packet: &str) -> Vec<u8> {
        let (head, length) = (&self.head, packet.len());
        format!("POST {head}Content-Type: text/plain;charset=UTF-8\r\nContent-Length: {length}\r\n\r\n{packet}")
            .into()
    }
}

/// The packets that the answer to a poll brings.
pub fn packets(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    body.split(|byte| *byte == SEPARATOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_asks_by_its_id() {
        let address = SocketAddr::from(([127, 0, 0, 1], 80));
        let opened = br#"0{"sid":"abc","upgrades":[]}"#;
        let session = LongPoll::open(address, "/socket.io/?EIO=4", opened).unwrap();
        let poll = session.poll();
        assert!(
            poll.starts_with(b"GET /socket.io/?EIO=4&sid=abc HTTP/1.1\r\nHost: 127.0.0.1:80\r\n")
        );
        assert!(session.post("40").ends_with(b"Content-Length: 2\r\n\r\n40"));
        assert!(LongPoll::open(address, "/", b"{}").is_none());
        assert_eq!(packets(b"40{}\x1e2").count(), 2);
    }
}
