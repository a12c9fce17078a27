//! A strict, incremental scan of HTTP/1.1 requests as bytes, below the server engine.
//!
//! Two parsers that disagree about where a request ends are how one client's bytes become
//! another's request. So there is one grammar here, without any leniency, and whatever it does not
//! fit never reaches the engine, let alone a backend. RFC 9112 is the source; where it lets a
//! recipient be tolerant, this one is not. [`response`] does the same for what backends send.

mod framing;
pub mod response;

use super::RequestViolation;
use super::header_case::Spelling;
pub(crate) use framing::Rewritten;
use framing::{Ended, Head, Line};

/// Longest request target that the engine can hold, whatever a head may take.
pub(super) const TARGET_LIMIT: usize = u16::MAX as usize - 1;
/// Longest line with a chunk's size and extensions.
const CHUNK_LINE_LIMIT: usize = 256;

/// What a head, or a trailer section, may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes, the request line included.
    pub bytes: usize,
    /// Fields.
    pub fields: usize,
}

/// What a piece of input came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scanned {
    /// How much of the piece was looked at: all of it, unless a request ended before its end, or
    /// the scan paused or failed. What is behind is fed again when its turn has come.
    pub seen: usize,
    /// Everything up to here, and whatever came before this piece, follows the grammar; `None`
    /// where the piece brought nothing to its end. What comes after is to be held back.
    pub clear: Option<usize>,
    /// Whether a head was completed.
    pub head: bool,
    /// The rule that the input broke; it has no future then.
    pub fault: Option<RequestViolation>,
    /// Whether it was broken behind a head that is clear.
    pub(crate) in_body: bool,
}

/// Where in a connection's life the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanPlace {
    /// Between two requests.
    Between,
    /// Inside a head.
    Head,
    /// Inside a body.
    Body,
    /// Behind the head of a WebSocket handshake: what follows is no HTTP if it is granted.
    Paused,
    /// Behind a fault.
    Failed,
}

/// The scanner of one connection.
#[derive(Debug)]
pub struct Scanner {
    limits: HeadLimits,
    at: At,
    line: Line,
    head: Head,
    /// Bytes that the present head or trailer section may still take.
    left: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    RequestLine,
    Fields,
    /// This many bytes of a body with a declared length are missing.
    Sized(u64),
    ChunkSize,
    /// This many bytes of a chunk are missing.
    ChunkData(u64),
    ChunkEnd,
    Trailers,
    Paused,
    Failed,
}

impl Scanner {
    /// A scanner at the beginning of a connection.
    pub fn new(limits: HeadLimits) -> Self {
        Scanner {
            limits,
            at: At::RequestLine,
            line: Line::default(),
            head: Head::default(),
            left: limits.bytes,
        }
    }

    /// Where the next byte stands.
    pub fn place(&self) -> ScanPlace {
        match self.at {
            At::RequestLine if self.line.is_empty() => ScanPlace::Between,
            At::RequestLine | At::Fields => ScanPlace::Head,
            At::Paused => ScanPlace::Paused,
            At::Failed => ScanPlace::Failed,
            _ => ScanPlace::Body,
        }
    }

    /// The handshake was not granted: HTTP goes on.
    pub(crate) fn resume(&mut self) {
        if self.at == At::Paused {
            self.at = At::RequestLine;
        }
    }

    /// How the names of the last head are spelled, where that is not as usual.
    pub(crate) fn spelling(&mut self) -> Option<Spelling> {
        let spelling = std::mem::take(&mut self.head.spelling);
        (!spelling.is_empty()).then_some(spelling)
    }

    /// Where the last [`Scanned::head`] was completed: the line that stands for its request line, if it may not stay.
    pub(crate) fn take_rewritten(&mut self) -> Option<Box<Rewritten>> {
        self.head.rewritten.take()
    }

    /// Looks at the next piece of input, to the end of one request at most.
    pub fn feed(&mut self, piece: &[u8]) -> Scanned {
        let mut scanned = Scanned {
            seen: 0,
            clear: None,
            head: false,
            fault: None,
            in_body: false,
        };
        while let Some(rest) = piece.get(scanned.seen..).filter(|rest| !rest.is_empty()) {
            match self.step(rest) {
                Step::Paused => break,
                Step::Took { bytes, clear, head } => {
                    scanned.seen += bytes;
                    scanned.head |= head;
                    if clear {
                        scanned.clear = Some(scanned.seen);
                    }
                    if self.place() == ScanPlace::Between {
                        break;
                    }
                }
                Step::Broke(fault) => {
                    scanned.in_body = self.place() == ScanPlace::Body;
                    self.at = At::Failed;
                    scanned.fault = Some(fault);
                    break;
                }
            }
        }
        scanned
    }

    fn step(&mut self, rest: &[u8]) -> Step {
        match self.at {
            At::Paused | At::Failed => Step::Paused,
            At::Sized(left) => {
                let (taken, left) = take(rest, left);
                self.at = if left == 0 {
                    At::RequestLine
                } else {
                    At::Sized(left)
                };
                Step::through(taken)
            }
            At::ChunkData(left) => {
                let (taken, left) = take(rest, left);
                self.at = if left == 0 {
                    At::ChunkEnd
                } else {
                    At::ChunkData(left)
                };
                Step::through(taken)
            }
            At::RequestLine | At::Fields | At::ChunkSize | At::ChunkEnd | At::Trailers => {
                self.step_line(rest)
            }
        }
    }

    fn step_line(&mut self, rest: &[u8]) -> Step {
        let (limit, too_long) = match self.at {
            At::ChunkSize => (CHUNK_LINE_LIMIT, RequestViolation::Chunk),
            At::ChunkEnd => (2, RequestViolation::Chunk),
            At::RequestLine => (self.left, RequestViolation::TargetTooLong),
            _ => (self.left, RequestViolation::HeadTooLarge),
        };
        // Kept only where it is not complete yet: a connection between requests holds nothing.
        let mut line = std::mem::take(&mut self.line);
        let Some((taken, ended)) = line.take(rest, limit) else {
            return Step::Broke(too_long);
        };
        let Some(ended) = ended else {
            self.line = line;
            return Step::Took {
                bytes: taken,
                clear: false,
                head: false,
            };
        };
        self.left = self.left.saturating_sub(ended.bytes());
        match self.judge(ended) {
            Err(fault) => Step::Broke(fault),
            Ok((at, clear, head)) => {
                self.at = at;
                if clear {
                    self.left = self.limits.bytes;
                }
                Step::Took {
                    bytes: taken,
                    clear,
                    head,
                }
            }
        }
    }

    /// Judges one line, without its line end: what comes next, whether everything so far is clear,
    /// and whether a head is complete.
    fn judge(&mut self, line: Ended<'_>) -> Result<(At, bool, bool), RequestViolation> {
        let is_chunk = matches!(self.at, At::ChunkSize | At::ChunkEnd);
        let misended = if is_chunk {
            RequestViolation::Chunk
        } else {
            RequestViolation::LineEnd
        };
        let text = line.text().ok_or(misended)?;
        Ok(match (self.at, text) {
            (At::ChunkSize, size) => match framing::chunk_size(size)? {
                0 => {
                    self.head.begin_trailers();
                    (At::Trailers, false, false)
                }
                size => (At::ChunkData(size), true, false),
            },
            (At::ChunkEnd, []) => (At::ChunkSize, true, false),
            (At::ChunkEnd, _) => return Err(RequestViolation::Chunk),
            (At::Trailers, []) => (At::RequestLine, true, false),
            (At::Trailers, field) => {
                self.head.add_trailer(field, self.limits.fields)?;
                (At::Trailers, false, false)
            }
            (At::RequestLine, line) => {
                self.head = Head::begin(line, TARGET_LIMIT)?;
                (At::Fields, false, false)
            }
            (_, []) => (self.behind_head()?, true, true),
            (_, field) => {
                self.head.add_field(field, self.limits.fields)?;
                (At::Fields, false, false)
            }
        })
    }

    fn behind_head(&self) -> Result<At, RequestViolation> {
        Ok(match self.head.framing()? {
            framing::BodyFraming::Chunked => At::ChunkSize,
            framing::BodyFraming::Sized(length @ 1..) => At::Sized(length),
            _ if self.head.asks_for_websocket() => At::Paused,
            _ => At::RequestLine,
        })
    }
}

enum Step {
    Took {
        bytes: usize,
        clear: bool,
        head: bool,
    },
    Paused,
    Broke(RequestViolation),
}

impl Step {
    fn through(bytes: usize) -> Step {
        Step::Took {
            bytes,
            clear: true,
            head: false,
        }
    }
}

/// How much of a piece belongs to what is missing, and how much is missing then.
fn take(rest: &[u8], left: u64) -> (usize, u64) {
    let taken = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
    (taken, left - taken as u64)
}

#[cfg(test)]
mod tests;
