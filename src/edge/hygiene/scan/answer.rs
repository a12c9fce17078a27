//! A strict, incremental scan of a backend's answers as bytes, below the client engine.
//!
//! The engine forgives what lets two readers see two answers: both framings at once, of which it
//! takes one; a coding that it does not undo; lengths in several spellings; lines that end in a
//! bare line feed, which is how a value that an application copied into a field becomes a field of
//! its own. Here each of them is a [`Flaw`], and the answer is none.

use super::head::{self, split_field};
use super::line::{Ended, Line};
use super::{Fault, take};

/// What the head of one answer, or its trailers, may take.
const HEAD_LIMIT: usize = 64 * 1024;
/// As many as the client engine takes.
const FIELDS_LIMIT: usize = 100;
/// How many interim answers (1xx) may come before the final one.
const INTERIM_LIMIT: usize = 16;
/// Longest line with a chunk's size and extensions.
const CHUNK_LINE_LIMIT: usize = 256;

/// What was asked: it decides what an answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// `HEAD`: the answer has no body, whatever it says.
    Head,
    /// For another protocol: `101` ends HTTP.
    Upgrade,
    /// Anything else.
    Other,
}

/// Why bytes are no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Not `HTTP/1.x SP three digits`, alone or with a reason.
    StatusLine,
    /// A rule that holds for heads and bodies in both directions.
    Shape(Fault),
    /// Interim answers without an end.
    Interim,
    /// Another protocol, which nobody asked for.
    Switch,
}

impl Flaw {
    /// What to write in the log.
    pub fn detail(self) -> &'static str {
        match self {
            Flaw::StatusLine => "its status line is none",
            Flaw::Shape(Fault::LineEnd) => "a line of its head does not end in CR LF",
            Flaw::Shape(Fault::ControlByte) => "a control byte stands in its head",
            Flaw::Shape(Fault::FieldName) => "a field of its head has no proper name",
            Flaw::Shape(Fault::Fold) => "a field of its head continues on a second line",
            Flaw::Shape(Fault::ContentLength) => "its Content-Length is not one number",
            Flaw::Shape(Fault::TransferEncoding) => "its Transfer-Encoding is not exactly chunked",
            Flaw::Shape(Fault::Framing) => "it says twice where its body ends",
            Flaw::Shape(Fault::Chunk) => "its chunked body does not follow the grammar",
            Flaw::Shape(Fault::TooManyFields) => "its head has too many fields",
            Flaw::Shape(_) => "its head is too large",
            Flaw::Interim => "it sends interim answers without an end",
            Flaw::Switch => "it switched protocols unasked",
        }
    }
}

impl From<Fault> for Flaw {
    fn from(fault: Fault) -> Self {
        Flaw::Shape(fault)
    }
}

/// The scanner of one connection.
#[derive(Debug)]
pub struct Answers {
    at: At,
    asked: Asked,
    line: Line,
    head: Head,
    /// Bytes that the present head or trailer section may still take.
    left: usize,
    interim: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Nothing is expected: what comes is for the engine to be surprised at.
    Over,
    StatusLine,
    Fields,
    /// This many bytes of a body with a declared length are missing.
    Sized(u64),
    ChunkSize,
    /// This many bytes of a chunk are missing.
    ChunkData(u64),
    ChunkEnd,
    Trailers,
    /// Whatever comes, up to the connection's end.
    Open,
    Failed(Flaw),
}

#[derive(Debug, Default)]
struct Head {
    status: u16,
    is_http10: bool,
    fields: usize,
    length: Option<u64>,
    is_chunked: bool,
}

impl Answers {
    /// A scanner at the beginning of a connection.
    pub fn new() -> Self {
        Answers {
            at: At::Over,
            asked: Asked::Other,
            line: Line::default(),
            head: Head::default(),
            left: HEAD_LIMIT,
            interim: 0,
        }
    }

    /// A request goes out: its answer comes next.
    pub fn expect(&mut self, asked: Asked) {
        if self.at == At::Over {
            self.at = At::StatusLine;
            self.asked = asked;
            self.left = HEAD_LIMIT;
            self.interim = 0;
        }
    }

    /// Looks at the next piece of input.
    ///
    /// # Errors
    /// The first flaw; it stays.
    pub fn feed(&mut self, piece: &[u8]) -> Result<(), Flaw> {
        let mut rest = piece;
        while !rest.is_empty() {
            let taken = self.step(rest).inspect_err(|flaw| {
                self.at = At::Failed(*flaw);
            })?;
            rest = rest.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    fn step(&mut self, rest: &[u8]) -> Result<usize, Flaw> {
        match self.at {
            At::Over | At::Open => Ok(rest.len()),
            At::Failed(flaw) => Err(flaw),
            At::Sized(left) => {
                let (taken, left) = take(rest, left);
                self.at = match left {
                    0 => At::Over,
                    left => At::Sized(left),
                };
                Ok(taken)
            }
            At::ChunkData(left) => {
                let (taken, left) = take(rest, left);
                self.at = match left {
                    0 => At::ChunkEnd,
                    left => At::ChunkData(left),
                };
                Ok(taken)
            }
            _ => self.step_line(rest),
        }
    }

    fn step_line(&mut self, rest: &[u8]) -> Result<usize, Flaw> {
        let (limit, too_long) = match self.at {
            At::ChunkSize => (CHUNK_LINE_LIMIT, Fault::Chunk),
            At::ChunkEnd => (2, Fault::Chunk),
            _ => (self.left, Fault::HeadTooLarge),
        };
        let mut line = std::mem::take(&mut self.line);
        let (taken, ended) = line.take(rest, limit).ok_or(too_long)?;
        match ended {
            Some(ended) => {
                self.left = self.left.saturating_sub(ended.bytes());
                self.at = self.judge(ended)?;
            }
            None => self.line = line,
        }
        Ok(taken)
    }

    /// Judges one line: what comes next.
    fn judge(&mut self, line: Ended<'_>) -> Result<At, Flaw> {
        let misended = match self.at {
            At::StatusLine => Flaw::StatusLine,
            At::ChunkSize | At::ChunkEnd => Fault::Chunk.into(),
            _ => Fault::LineEnd.into(),
        };
        let text = line.text().ok_or(misended)?;
        Ok(match (self.at, text) {
            (At::StatusLine, line) => {
                self.head = Head::begin(line)?;
                At::Fields
            }
            (At::Fields, []) => self.behind_head()?,
            (At::Fields, field) => {
                self.head.add_field(field)?;
                At::Fields
            }
            // Some old servers fill the line up with blanks: that says nothing about the size.
            (At::ChunkSize, size) => match head::chunk_size(size.trim_ascii_end())? {
                0 => {
                    self.head.fields = 0;
                    self.left = HEAD_LIMIT;
                    At::Trailers
                }
                size => At::ChunkData(size),
            },
            (At::ChunkEnd, []) => At::ChunkSize,
            (At::ChunkEnd, _) => return Err(Fault::Chunk.into()),
            (_, []) => At::Over,
            (_, field) => {
                self.head.add_trailer(field)?;
                At::Trailers
            }
        })
    }

    /// Where the body ends (RFC 9112, section 6.3).
    fn behind_head(&mut self) -> Result<At, Flaw> {
        let head = &self.head;
        if head.length.is_some() && head.is_chunked {
            return Err(Fault::Framing.into());
        }
        Ok(match (head.status, self.asked) {
            (101, Asked::Upgrade) => At::Open,
            (101, _) => return Err(Flaw::Switch),
            (100..=199, _) => {
                self.interim += 1;
                if self.interim > INTERIM_LIMIT {
                    return Err(Flaw::Interim);
                }
                self.left = HEAD_LIMIT;
                At::StatusLine
            }
            (204 | 304, _) | (_, Asked::Head) => At::Over,
            _ if head.is_chunked => At::ChunkSize,
            _ => match head.length {
                Some(0) => At::Over,
                Some(length) => At::Sized(length),
                None => At::Open,
            },
        })
    }
}

impl Default for Answers {
    fn default() -> Self {
        Answers::new()
    }
}

impl Head {
    /// Begins with a status line (RFC 9112, section 4).
    fn begin(line: &[u8]) -> Result<Head, Flaw> {
        let (version, rest) = line.split_at_checked(9).ok_or(Flaw::StatusLine)?;
        let (code, reason) = rest.split_at_checked(3).ok_or(Flaw::StatusLine)?;
        let status = std::str::from_utf8(code).ok().and_then(|c| c.parse().ok());
        let has_shape = matches!(version, b"HTTP/1.1 " | b"HTTP/1.0 ")
            && code.iter().all(u8::is_ascii_digit)
            && matches!(reason, [] | [b' ', ..])
            && reason.iter().all(|byte| head::is_field_byte(*byte));
        match status {
            Some(status @ 100..) if has_shape => Ok(Head {
                status,
                is_http10: version == b"HTTP/1.0 ",
                ..Head::default()
            }),
            _ => Err(Flaw::StatusLine),
        }
    }

    fn add_field(&mut self, line: &[u8]) -> Result<(), Fault> {
        let (name, value) = self.split(line)?;
        if name.eq_ignore_ascii_case(b"content-length") {
            if self.length.is_some() {
                return Err(Fault::ContentLength);
            }
            self.length = Some(head::content_length(value)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            let is_known = value.eq_ignore_ascii_case(b"chunked");
            if !is_known || self.is_chunked || self.is_http10 {
                return Err(Fault::TransferEncoding);
            }
            self.is_chunked = true;
        }
        Ok(())
    }

    fn add_trailer(&mut self, line: &[u8]) -> Result<(), Fault> {
        let (name, _) = self.split(line)?;
        let misplaced: [&[u8]; 2] = [b"content-length", b"transfer-encoding"];
        match misplaced.iter().any(|m| name.eq_ignore_ascii_case(m)) {
            true => Err(Fault::Framing),
            false => Ok(()),
        }
    }

    fn split<'l>(&mut self, line: &'l [u8]) -> Result<(&'l [u8], &'l [u8]), Fault> {
        self.fields += 1;
        if self.fields > FIELDS_LIMIT {
            return Err(Fault::TooManyFields);
        }
        split_field(line)
    }
}

#[cfg(test)]
mod tests;
