//! A client that says exactly the frames that it is told to.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::within;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RESET: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// `ENHANCE_YOUR_CALM`.
pub const CALM: u32 = 11;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A header block without compression: every field a literal that is never indexed.
pub fn block<V: AsRef<[u8]>>(fields: &[(&str, V)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0x10);
        for text in [name.as_bytes(), value.as_ref()] {
            length(&mut bytes, text.len());
            bytes.extend(text);
        }
    }
    bytes
}

/// An integer with a prefix of seven bits (RFC 7541, section 5.1).
fn length(bytes: &mut Vec<u8>, mut value: usize) {
    if value < 127 {
        bytes.push(value as u8);
        return;
    }
    bytes.push(127);
    value -= 127;
    while value >= 128 {
        bytes.push((value % 128 + 128) as u8);
        value /= 128;
    }
    bytes.push(value as u8);
}

/// The head of a plain request.
pub fn get(path: &str) -> Vec<u8> {
    asks("GET", path, &[])
}

pub fn asks(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut fields = vec![
        (":method", method),
        (":scheme", "http"),
        (":authority", "a.example"),
        (":path", path),
    ];
    fields.extend(more);
    block(&fields)
}

/// One connection, its preface and settings sent.
pub struct Raw {
    pub stream: TcpStream,
    read: Vec<u8>,
}

impl Raw {
    pub async fn connect(address: SocketAddr) -> Raw {
        Raw::with(address, &[]).await
    }

    /// With settings of its own, as they are written.
    pub async fn with(address: SocketAddr, settings: &[u8]) -> Raw {
        let stream = TcpStream::connect(address).await.expect("a listener");
        stream.set_nodelay(true).unwrap();
        let mut raw = Raw {
            stream,
            read: Vec::new(),
        };
        let hello = [PREFACE.to_vec(), frame(SETTINGS, 0, 0, settings)].concat();
        assert!(raw.send(&hello).await);
        raw
    }

    /// The other end of such a connection, its preface read.
    pub async fn accept(mut stream: TcpStream) -> Raw {
        let mut preface = [0; PREFACE.len()];
        within("a preface", stream.read_exact(&mut preface))
            .await
            .unwrap();
        assert_eq!(preface, PREFACE);
        Raw {
            stream,
            read: Vec::new(),
        }
    }

    /// False where the other side wants no more.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        within("room", self.stream.write_all(bytes)).await.is_ok()
    }

    /// The next frame, or the end.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.take() {
                return Some(frame);
            }
            let read = self.stream.read_buf(&mut self.read);
            match within("a frame", read).await {
                Ok(count) if count > 0 => {}
                _ => return None,
            }
        }
    }

    /// The next frame of this kind, others left out.
    pub async fn next_of(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    /// Reads to the end: the code of the `GOAWAY` on the way there.
    pub async fn end(&mut self) -> Option<u32> {
        let mut code = None;
        while let Some(frame) = self.next().await {
            if frame.kind == GOAWAY {
                code = Some(u32::from_be_bytes(frame.payload[4..8].try_into().unwrap()));
            }
        }
        code
    }

    fn take(&mut self) -> Option<Frame> {
        let head: [u8; 9] = self.read.get(..9)?.try_into().ok()?;
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = head;
        let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
        let payload = self.read.get(9..9 + length)?.to_vec();
        self.read.drain(..9 + length);
        Some(Frame {
            kind,
            flags,
            stream: u32::from_be_bytes([s0, s1, s2, s3]),
            payload,
        })
    }
}
