//! A WebSocket client's bytes, read by tungstenite without a socket: bytes in, messages out.
//!
//! While a client is silent nothing is kept, not even a buffer: the decoder is made for the first
//! byte of a frame and dropped when everything that came has been read. tungstenite would answer
//! pings and closes itself; what it writes is kept for the session, which owns the writer.

use std::io::{self, ErrorKind, Read, Write};

use bytes::Bytes;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error};
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocket, WebSocketConfig};

use crate::transport::Incoming;

/// tungstenite's own buffer while a frame is under way.
const READ_BUFFER: usize = 1024;

/// What a client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageLimits {
    /// Bytes of one message, in one frame or many: 4 GiB is the most. Small, for every connection has it.
    pub message: u32,
    /// Frames of one message; tungstenite itself limits bytes only.
    pub fragments: u32,
}

impl MessageLimits {
    /// Messages of so many bytes, in as many frames as any client has use for: browsers do not fragment what fits.
    pub(crate) fn of(message: usize) -> Self {
        MessageLimits {
            message: u32::try_from(message).unwrap_or(u32::MAX),
            fragments: 128,
        }
    }
}

/// The reading half of one connection.
#[derive(Debug)]
pub struct Reader {
    limits: MessageLimits,
    decoder: Option<Box<Decoder>>,
}

#[derive(Debug)]
struct Decoder {
    socket: WebSocket<Feed>,
    heads: Heads,
    /// Everything fed has been read; a pong may be left inside tungstenite until then.
    drained: bool,
    /// A message has too many fragments; what came before it may still be read.
    too_many_fragments: bool,
    /// Nothing more can be read.
    done: bool,
}

impl Reader {
    /// Nothing read yet.
    pub fn new(limits: MessageLimits) -> Self {
        Reader {
            limits,
            decoder: None,
        }
    }

    /// From now on a message may be so long, also the one under way.
    pub(crate) fn limit_messages(&mut self, bytes: usize) {
        self.limits.message = MessageLimits::of(bytes).message;
        let most = Some(self.limits.message as usize);
        if let Some(decoder) = &mut self.decoder {
            decoder.socket.set_config(|config| {
                config.max_message_size = most;
                config.max_frame_size = most;
            });
        }
    }

    /// Takes bytes from the client; read them with [`Reader::read`] until it returns `None`.
    pub fn feed(&mut self, bytes: &[u8]) {
        let limits = self.limits;
        let decoder = self
            .decoder
            .get_or_insert_with(|| Box::new(Decoder::new(limits)));
        if decoder.too_many_fragments || decoder.done {
            return;
        }
        let (taken, fits) = decoder.heads.watch(bytes, limits.fragments);
        decoder.too_many_fragments = !fits;
        decoder.drained = false;
        let fed = bytes.get(..taken).unwrap_or(bytes);
        decoder.socket.get_mut().input.extend_from_slice(fed);
    }

    /// The next message in what was fed; `None` asks for more bytes.
    pub fn read(&mut self) -> Option<Incoming> {
        let decoder = self.decoder.as_mut()?;
        let incoming = decoder.read();
        decoder.drained = incoming.is_none();
        self.forget_if_idle();
        incoming
    }

    /// Finished frames that answer what was read: pongs, and the echo of a close.
    pub fn take_replies(&mut self) -> Option<Bytes> {
        let decoder = self.decoder.as_mut()?;
        let replies = &mut decoder.socket.get_mut().replies;
        let replies = std::mem::take(replies);
        self.forget_if_idle();
        (!replies.is_empty()).then(|| Bytes::from(replies))
    }

    fn forget_if_idle(&mut self) {
        if self
            .decoder
            .as_ref()
            .is_some_and(|decoder| decoder.is_idle())
        {
            self.decoder = None;
        }
    }
}

impl Decoder {
    fn new(limits: MessageLimits) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(READ_BUFFER)
            .max_message_size(Some(limits.message as usize))
            .max_frame_size(Some(limits.message as usize));
        Decoder {
            socket: WebSocket::from_raw_socket(Feed::default(), Role::Server, Some(config)),
            heads: Heads::default(),
            drained: false,
            too_many_fragments: false,
            done: false,
        }
    }

    fn read(&mut self) -> Option<Incoming> {
        if self.done {
            return None;
        }
        let read = self.socket.read();
        let incoming = match read {
            Ok(Message::Text(text)) => Incoming::Text(text.into()),
            Ok(Message::Binary(bytes)) => Incoming::Binary(bytes),
            Ok(Message::Ping(_)) => Incoming::Ping,
            Ok(Message::Pong(_)) => Incoming::Pong,
            Ok(Message::Close(frame)) => {
                self.done = true;
                // The echo is written by the next call; with a writer that never blocks the only
                // other outcome is that the connection counts as closed.
                drop(self.socket.flush());
                Incoming::Close(frame.map(|frame| frame.code.into()))
            }
            Ok(Message::Frame(_)) => return None,
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                if !self.too_many_fragments {
                    return None;
                }
                self.done = true;
                Incoming::Broken(4009)
            }
            Err(error) => {
                self.done = true;
                Incoming::Broken(close_code(&error))
            }
        };
        Some(incoming)
    }

    /// Whether a decoder made anew for the next byte would know as much.
    fn is_idle(&self) -> bool {
        let feed = self.socket.get_ref();
        self.drained
            && !self.done
            && !self.too_many_fragments
            && self.heads.is_between_messages()
            && feed.is_empty()
            && feed.replies.is_empty()
    }
}

fn close_code(error: &Error) -> u16 {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => 4009,
        Error::Utf8(_) => 1007,
        Error::Protocol(_) => 1002,
        _ => 1011,
    }
}

/// tungstenite's idea of a socket: bytes that were fed, and a bag for what it wants written.
///
/// The bag needs no limit of its own: a reply is never longer than the frame it answers, and the
/// session takes them after every feed.
#[derive(Debug, Default)]
struct Feed {
    input: Vec<u8>,
    at: usize,
    replies: Vec<u8>,
}

impl Feed {
    fn is_empty(&self) -> bool {
        self.at == self.input.len()
    }
}

impl Read for Feed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let waiting = self.input.get(self.at..).unwrap_or_default();
        if waiting.is_empty() {
            self.input.clear();
            self.at = 0;
            return Err(ErrorKind::WouldBlock.into());
        }
        let length = waiting.len().min(buffer.len());
        buffer[..length].copy_from_slice(&waiting[..length]);
        self.at += length;
        Ok(length)
    }
}

impl Write for Feed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.replies.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Follows frame heads through the byte stream, to count the fragments of a message and to know
/// when nothing is under way. Judging frames is tungstenite's work, not its.
#[derive(Debug, Default)]
struct Heads {
    /// The head read so far, and how much of it there is.
    head: [u8; 14],
    filled: usize,
    /// Payload bytes still to pass.
    payload: u64,
    /// Data frames of the message under way; 0 between messages.
    fragments: u32,
}

impl Heads {
    /// Passes over `bytes`. Returns how many may be read before a fragment too many, and whether
    /// that is all of them.
    fn watch(&mut self, bytes: &[u8], allowed: u32) -> (usize, bool) {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            if self.payload > 0 {
                let rest = (bytes.len() - at) as u64;
                let passed = self.payload.min(rest);
                self.payload -= passed;
                at += passed as usize;
                continue;
            }
            self.head[self.filled] = *byte;
            self.filled += 1;
            at += 1;
            if self.filled < self.head_length() {
                continue;
            }
            self.payload = self.payload_length();
            self.filled = 0;
            if !self.count(allowed) {
                return (at, false);
            }
        }
        (at, true)
    }

    fn is_between_messages(&self) -> bool {
        self.filled == 0 && self.payload == 0 && self.fragments == 0
    }

    /// How long the head is, as far as its bytes say (RFC 6455 section 5.2).
    fn head_length(&self) -> usize {
        if self.filled < 2 {
            return 2;
        }
        let mask = if self.head[1] & 0x80 == 0 { 0 } else { 4 };
        let length = match self.head[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + length + mask
    }

    fn payload_length(&self) -> u64 {
        match self.head[1] & 0x7f {
            126 => u16::from_be_bytes([self.head[2], self.head[3]]).into(),
            127 => {
                let mut length = [0; 8];
                length.copy_from_slice(&self.head[2..10]);
                u64::from_be_bytes(length)
            }
            short => short.into(),
        }
    }

    /// Counts a complete head; false where its message has more fragments than allowed.
    fn count(&mut self, allowed: u32) -> bool {
        let (is_final, opcode) = (self.head[0] & 0x80 != 0, self.head[0] & 0x0f);
        if opcode & 0x08 != 0 {
            return true;
        }
        self.fragments = self.fragments.saturating_add(1);
        let fits = self.fragments <= allowed;
        if is_final {
            self.fragments = 0;
        }
        fits
    }
}

#[cfg(test)]
mod tests;
