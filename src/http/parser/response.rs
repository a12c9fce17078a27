//! A strict, incremental scan of a backend's answers as bytes, below the client engine.
//!
//! The engine forgives what lets two readers see two answers: both framings at once, of which it
//! takes one; a coding that it does not undo; lengths in several spellings; single lines that end in a
//! bare line feed, which is how a value that an application copied into a field becomes a field of
//! its own. Here each of them is a [`ResponseViolation`], and the answer is none.
//!
//! What is written carelessly and has one reading all the same is passed: its head is written
//! anew before the engine sees it, and nothing else comes over that connection.

mod head;

use super::super::header_case::Spelling;
use super::framing::{Ended, Line};
use super::{RequestViolation, framing as field, take};
use head::ResponseHead;
pub(crate) use head::Told;

/// What the head of one answer, or its trailers, may take.
const HEAD_LIMIT: usize = 64 * 1024;
/// How many interim answers (1xx) may come before the final one.
const INTERIM_LIMIT: usize = 100;
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
pub enum ResponseViolation {
    /// Not `HTTP/1.x SP three digits`, alone or with a reason.
    StatusLine,
    /// A rule that holds for heads and bodies in both directions.
    Shape(RequestViolation),
    /// Interim answers without an end.
    Interim,
    /// Another protocol, which no request asked for.
    Switch,
}

impl ResponseViolation {
    /// What to write in the log.
    pub(crate) fn detail(self) -> &'static str {
        match self {
            ResponseViolation::StatusLine => "its status line is none",
            ResponseViolation::Shape(RequestViolation::LineEnd) => {
                "a line of its head does not end in CR LF"
            }
            ResponseViolation::Shape(RequestViolation::ControlByte) => {
                "a control byte stands in its head"
            }
            ResponseViolation::Shape(RequestViolation::FieldName) => {
                "a field of its head has no proper name"
            }
            ResponseViolation::Shape(RequestViolation::Fold) => {
                "a field of its head continues on a second line"
            }
            ResponseViolation::Shape(RequestViolation::ContentLength) => {
                "its Content-Length is not one number"
            }
            ResponseViolation::Shape(RequestViolation::TransferEncoding) => {
                "its Transfer-Encoding is not exactly chunked"
            }
            ResponseViolation::Shape(RequestViolation::Framing) => {
                "it says twice where its body ends"
            }
            ResponseViolation::Shape(RequestViolation::Chunk) => {
                "its chunked body does not follow the grammar"
            }
            ResponseViolation::Shape(RequestViolation::TooManyFields) => {
                "its head has too many fields"
            }
            ResponseViolation::Shape(_) => "its head is too large",
            ResponseViolation::Interim => "it sends interim answers without an end",
            ResponseViolation::Switch => "it switched protocols unasked",
        }
    }
}

impl From<RequestViolation> for ResponseViolation {
    fn from(fault: RequestViolation) -> Self {
        ResponseViolation::Shape(fault)
    }
}

/// The scanner of one connection.
#[derive(Debug)]
pub struct Answers {
    at: At,
    asked: Asked,
    /// How many fields a head, or the trailers, may have.
    fields_limit: usize,
    /// The beginning of a line whose end has not come yet, behind the head.
    line: Line,
    /// The beginning of a head whose end has not come yet: the engine gets heads whole.
    begun: Vec<u8>,
    /// What goes to the engine in place of what was looked at last.
    anew: Vec<u8>,
    /// What the last head says beside what the engine makes of it.
    told: Told,
    /// Whether any head was written carelessly, an interim one included.
    is_spent: bool,
    /// Bytes and fields that the present trailer section may still take.
    left: usize,
    fields: usize,
    interim: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Nothing is expected: what comes is for the engine to be surprised at.
    Over,
    Head,
    /// This many bytes of a body with a declared length are missing.
    Sized(u64),
    ChunkSize,
    /// This many bytes of a chunk are missing.
    ChunkData(u64),
    ChunkEnd,
    Trailers,
    /// Whatever comes, up to the connection's end.
    Open,
    Failed(ResponseViolation),
}

impl Answers {
    /// A scanner at the beginning of a connection, for heads of at most so many fields.
    pub fn new(fields_limit: usize) -> Self {
        Answers {
            at: At::Over,
            asked: Asked::Other,
            fields_limit,
            line: Line::default(),
            begun: Vec::new(),
            anew: Vec::new(),
            told: Told::default(),
            is_spent: false,
            left: HEAD_LIMIT,
            fields: 0,
            interim: 0,
        }
    }

    /// A request goes out: its answer comes next.
    pub fn expect(&mut self, asked: Asked) {
        if self.at == At::Over {
            self.at = At::Head;
            self.asked = asked;
            self.interim = 0;
        }
    }

    /// Whether the answer under way has no other end than the connection's.
    pub(crate) fn ends_with_connection(&self) -> bool {
        self.at == At::Open
    }

    /// Looks at the next piece of input; how much of its beginning goes to the engine as it is. What
    /// else goes there waits in [`Answers::anew`].
    ///
    /// # Errors
    /// The first flaw; it stays.
    pub fn feed(&mut self, piece: &[u8]) -> Result<usize, ResponseViolation> {
        let (mut seen, mut as_it_is) = (0, None);
        while let Some(rest) = piece.get(seen..).filter(|rest| !rest.is_empty()) {
            let stepped = match self.at {
                At::Head => self.step_head(rest),
                _ => self.step(rest).map(|taken| (taken, true)),
            };
            let (taken, is_kept) = stepped.inspect_err(|flaw| {
                self.at = At::Failed(*flaw);
            })?;
            if !is_kept {
                as_it_is.get_or_insert(seen);
            } else if as_it_is.is_some() {
                let taken = rest.get(..taken).unwrap_or_default();
                self.anew.extend_from_slice(taken);
            }
            seen += taken;
        }
        Ok(as_it_is.unwrap_or(piece.len()))
    }

    /// What goes to the engine behind what went there as it is.
    pub fn anew(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.anew)
    }

    /// What the last head says beside what the engine makes of it, where that is anything.
    pub(crate) fn told(&mut self) -> Option<Told> {
        let told = std::mem::take(&mut self.told);
        (told != Told::default()).then_some(told)
    }

    /// How much was looked at, and whether it goes to the engine as it is.
    fn step_head(&mut self, rest: &[u8]) -> Result<(usize, bool), ResponseViolation> {
        let (is_fresh, before) = (self.begun.is_empty(), self.begun.len());
        let Some(end) = head::end(&self.begun, rest) else {
            self.begun.extend_from_slice(rest);
            if self.begun.len() > HEAD_LIMIT {
                return Err(RequestViolation::HeadTooLarge.into());
            }
            head::begins(&self.begun)?;
            return Ok((rest.len(), false));
        };
        if before + end > HEAD_LIMIT {
            return Err(RequestViolation::HeadTooLarge.into());
        }
        let mut begun = std::mem::take(&mut self.begun);
        let whole = match rest.get(..end).unwrap_or_default() {
            whole if is_fresh => whole,
            last => {
                begun.extend_from_slice(last);
                &begun
            }
        };
        let mut head = ResponseHead::read(whole, self.fields_limit)?;
        self.at = self.behind(&head)?;
        self.is_spent |= head.is_careless;
        self.told = Told {
            is_careless: self.is_spent,
            ..head.told()
        };
        if head.is_careless {
            head.write(&mut self.anew);
        } else if !is_fresh {
            self.anew.extend_from_slice(whole);
        }
        Ok((end, is_fresh && !head.is_careless))
    }

    fn step(&mut self, rest: &[u8]) -> Result<usize, ResponseViolation> {
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

    fn step_line(&mut self, rest: &[u8]) -> Result<usize, ResponseViolation> {
        let (limit, too_long) = match self.at {
            At::ChunkSize => (CHUNK_LINE_LIMIT, RequestViolation::Chunk),
            At::ChunkEnd => (2, RequestViolation::Chunk),
            _ => (self.left, RequestViolation::HeadTooLarge),
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

    /// Judges one line of a chunked body: what comes next.
    fn judge(&mut self, line: Ended<'_>) -> Result<At, ResponseViolation> {
        let misended = match self.at {
            At::ChunkSize | At::ChunkEnd => RequestViolation::Chunk,
            _ => RequestViolation::LineEnd,
        };
        let text = line.text().ok_or(misended)?;
        Ok(match (self.at, text) {
            // Some old servers fill the line up with blanks: that says nothing about the size.
            (At::ChunkSize, size) => match field::chunk_size(size.trim_ascii_end())? {
                0 => {
                    self.fields = 0;
                    self.left = HEAD_LIMIT;
                    At::Trailers
                }
                size => At::ChunkData(size),
            },
            (At::ChunkEnd, []) => At::ChunkSize,
            (At::ChunkEnd, _) => return Err(RequestViolation::Chunk.into()),
            (_, []) => At::Over,
            (_, line) => {
                self.fields += 1;
                if self.fields > self.fields_limit {
                    return Err(RequestViolation::TooManyFields.into());
                }
                head::trailer(line)?;
                At::Trailers
            }
        })
    }

    /// Where the body ends (RFC 9112, section 6.3).
    fn behind(&mut self, head: &ResponseHead<'_>) -> Result<At, ResponseViolation> {
        if head.length.is_some() && head.is_chunked {
            return Err(RequestViolation::Framing.into());
        }
        Ok(match (head.status, self.asked) {
            (101, Asked::Upgrade) => At::Open,
            (101, _) => return Err(ResponseViolation::Switch),
            (100..=199, _) => {
                self.interim += 1;
                if self.interim > INTERIM_LIMIT {
                    return Err(ResponseViolation::Interim);
                }
                At::Head
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

#[cfg(test)]
mod tests;
