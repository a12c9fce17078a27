//! The head of one answer, read whole.

use super::super::framing as field;
use super::super::framing::Ended;
use super::super::framing::split_field;
use super::{RequestViolation, ResponseViolation, Spelling};

/// What the head says about its framing.
#[derive(Debug)]
pub(super) struct ResponseHead<'h> {
    bytes: &'h [u8],
    pub(crate) status: u16,
    reason: &'h [u8],
    is_http10: bool,
    pub(crate) length: Option<u64>,
    pub(crate) is_chunked: bool,
    /// Whether it is written in a way that not every reader takes, though all that do read the same.
    pub(crate) is_careless: bool,
    spelling: Spelling,
}

/// What a head says beside what the engine makes of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// Whether nothing more may come over the connection.
    pub(crate) is_careless: bool,
    /// The words behind the status code, where the engine forgets them: those that are not ASCII.
    pub(crate) reason: Option<Box<[u8]>>,
    /// How its names are spelled.
    pub(crate) spelling: Spelling,
}

/// Where a head ends in `rest`, whose beginning is `begun`: behind its empty line.
pub(super) fn end(begun: &[u8], rest: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let feed = from + rest.get(from..)?.iter().position(|byte| *byte == b'\n')?;
        // Whether the line that ends here is empty, with or without a CR.
        let (now, past) = (rest.get(..feed)?, begun);
        let mut before = now.iter().rev().chain(past.iter().rev());
        let ends = match before.next() {
            Some(b'\r') => before.next() == Some(&b'\n'),
            last => last == Some(&b'\n'),
        };
        from = feed + 1;
        if ends {
            return Some(from);
        }
    }
}

/// Whether the first line is a status line, where it has come to its end.
pub(super) fn begins(begun: &[u8]) -> Result<(), ResponseViolation> {
    match begun.split_inclusive(|byte| *byte == b'\n').next() {
        Some(line) if line.ends_with(b"\n") => status_line(Ended::text_of(line).0).map(|_| ()),
        _ => Ok(()),
    }
}

/// Judges a trailer's line; fields about framing mean nothing there and are refused.
pub(super) fn trailer(line: &[u8]) -> Result<(), RequestViolation> {
    let (name, _) = split_field(line)?;
    let misplaced: [&[u8]; 2] = [b"content-length", b"transfer-encoding"];
    match misplaced.iter().any(|m| name.eq_ignore_ascii_case(m)) {
        true => Err(RequestViolation::Framing),
        false => Ok(()),
    }
}

/// What becomes of a field's line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    Kept,
    /// It says nothing, or what another has said already.
    Dropped,
    /// `chunked`, more than once.
    Chunked,
}

impl<'h> ResponseHead<'h> {
    /// Reads a whole head, its empty line included.
    ///
    /// # Errors
    /// What is no head, and what has two readings. Lines that end in a bare line feed have one where
    /// all of them do.
    pub(super) fn read(bytes: &'h [u8], fields_limit: usize) -> Result<Self, ResponseViolation> {
        let mut lines = lines(bytes);
        let (first, is_bare) = lines.next().ok_or(ResponseViolation::StatusLine)?;
        let (status, reason, is_http10, is_careless) = status_line(first)?;
        let mut head = ResponseHead {
            bytes,
            status,
            reason,
            is_http10,
            length: None,
            is_chunked: false,
            is_careless: is_careless || is_bare,
            spelling: Spelling::default(),
        };
        let (mut fields, mut has_empty_length) = (0, false);
        for (line, bare) in lines {
            if bare != is_bare {
                return Err(RequestViolation::LineEnd.into());
            }
            if line.is_empty() {
                break;
            }
            fields += 1;
            if fields > fields_limit {
                return Err(RequestViolation::TooManyFields.into());
            }
            let (name, value) = split_field(line)?;
            head.spelling.note(name);
            let fate = head.add(name, value)?;
            has_empty_length |= fate == Line::Dropped && value.is_empty();
            head.is_careless |= fate != Line::Kept;
        }
        // An empty length is none; beside another one it is the last for some readers.
        if has_empty_length && head.length.is_some() {
            return Err(RequestViolation::ContentLength.into());
        }
        head.is_careless |= head.is_chunked && is_http10;
        Ok(head)
    }

    /// What it says beside what the engine makes of it.
    pub(super) fn told(&mut self) -> Told {
        let is_forgotten = !self.reason.is_ascii();
        Told {
            is_careless: self.is_careless,
            reason: is_forgotten.then(|| self.reason.into()),
            spelling: std::mem::take(&mut self.spelling),
        }
    }

    /// Writes it as every reader takes it.
    pub(super) fn write(&self, to: &mut Vec<u8>) {
        let version = match self.is_http10 && !self.is_chunked {
            true => "HTTP/1.0",
            false => "HTTP/1.1",
        };
        to.extend_from_slice(format!("{version} {} ", self.status).as_bytes());
        to.extend_from_slice(self.reason);
        to.extend_from_slice(b"\r\n");
        // It was read already: nothing here can fail.
        let mut again = ResponseHead {
            length: None,
            is_chunked: false,
            spelling: Spelling::default(),
            ..*self
        };
        for (line, _) in lines(self.bytes).skip(1) {
            let field = split_field(line);
            let fate = field.and_then(|(name, value)| again.add(name, value));
            match fate.unwrap_or(Line::Kept) {
                Line::Kept => to.extend_from_slice(line),
                Line::Dropped => continue,
                Line::Chunked => to.extend_from_slice(b"Transfer-Encoding: chunked"),
            }
            to.extend_from_slice(b"\r\n");
        }
    }

    fn add(&mut self, name: &[u8], value: &[u8]) -> Result<Line, RequestViolation> {
        if name.eq_ignore_ascii_case(b"content-length") {
            if value.is_empty() {
                return Ok(Line::Dropped);
            }
            let length = field::content_length(value)?;
            return match self.length.replace(length) {
                None => Ok(Line::Kept),
                Some(before) if before == length => Ok(Line::Dropped),
                Some(_) => Err(RequestViolation::ContentLength),
            };
        }
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            let mut codings = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            if !codings.all(|coding| coding.eq_ignore_ascii_case(b"chunked")) {
                return Err(RequestViolation::TransferEncoding);
            }
            let is_second = std::mem::replace(&mut self.is_chunked, true);
            return Ok(match (is_second, value.contains(&b',')) {
                (true, _) => Line::Dropped,
                (false, true) => Line::Chunked,
                (false, false) => Line::Kept,
            });
        }
        Ok(Line::Kept)
    }
}

/// The lines of a head without their ends, and whether they end in a bare line feed.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (&[u8], bool)> {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    lines.map(Ended::text_of)
}

/// Status, reason, whether it is of HTTP/1.0, and whether blanks are too many (RFC 9112, section 4).
fn status_line(line: &[u8]) -> Result<(u16, &[u8], bool, bool), ResponseViolation> {
    let (version, rest) = line
        .split_at_checked(8)
        .ok_or(ResponseViolation::StatusLine)?;
    let is_blank = |byte: &u8| *byte == b' ';
    let blanks = rest.iter().take_while(|byte| is_blank(byte)).count();
    let (_, rest) = rest.split_at(blanks);
    let (code, reason) = rest
        .split_at_checked(3)
        .ok_or(ResponseViolation::StatusLine)?;
    let status = std::str::from_utf8(code).ok().and_then(|c| c.parse().ok());
    let has_shape = matches!(version, b"HTTP/1.1" | b"HTTP/1.0")
        && blanks > 0
        && code.iter().all(u8::is_ascii_digit)
        && matches!(reason, [] | [b' ', ..])
        && reason.iter().all(|byte| field::is_field_byte(*byte));
    let words = reason.iter().position(|byte| !is_blank(byte));
    let (_, words) = reason.split_at(words.unwrap_or(reason.len()));
    let is_careless = blanks > 1 || reason.len() > words.len() + 1;
    match status {
        Some(status @ 100..) if has_shape => {
            Ok((status, words, version == b"HTTP/1.0", is_careless))
        }
        _ => Err(ResponseViolation::StatusLine),
    }
}
