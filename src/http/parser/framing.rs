//! What a request's head says about its framing.

use hyper::Uri;

use super::super::header_case::Spelling;
use super::super::{RequestViolation, path};
use super::TARGET_LIMIT;

/// What has been read of a head so far.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// The line that the engine reads in place of the one that came.
    pub(super) rewritten: Option<Box<Rewritten>>,
    is_http10: bool,
    is_get: bool,
    fields: usize,
    length: Option<u64>,
    is_chunked: bool,
    names_websocket: bool,
    /// How its names are spelled.
    pub(crate) spelling: Spelling,
}

/// A request line whose target had to be escaped.
#[derive(Debug)]
pub(crate) struct Rewritten {
    /// How long the line was that came, with its line end.
    pub(crate) was: usize,
    /// What stands for it, likewise.
    pub(crate) line: Vec<u8>,
}

/// Where the body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyFraming {
    /// After this many bytes.
    Sized(u64),
    /// After the chunk of size 0 and its trailers.
    Chunked,
}

impl Head {
    /// Begins with a request line (RFC 9112, section 3): three words, one space between them.
    pub(super) fn begin(line: &[u8], target_limit: usize) -> Result<Head, RequestViolation> {
        let mut words = line.split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(RequestViolation::RequestLine);
        };
        if !is_token(method) || !matches!(version, b"HTTP/1.1" | b"HTTP/1.0") {
            return Err(RequestViolation::RequestLine);
        }
        if target.len() > target_limit {
            return Err(RequestViolation::TargetTooLong);
        }
        let rewritten = match is_target(target) {
            true => None,
            false => {
                let target = path::escaped(target);
                if target.len() > TARGET_LIMIT {
                    return Err(RequestViolation::TargetTooLong);
                }
                if !is_target(&target) {
                    return Err(RequestViolation::Target);
                }
                const END: &[u8] = b"\r\n";
                let mut written = [method, &target, version].join(&b' ');
                written.extend_from_slice(END);
                Some(Box::new(Rewritten {
                    was: line.len() + END.len(),
                    line: written,
                }))
            }
        };
        Ok(Head {
            rewritten,
            is_http10: version == b"HTTP/1.0",
            is_get: method == b"GET",
            ..Head::default()
        })
    }

    /// Reads one field line (RFC 9112, section 5).
    pub(super) fn add_field(&mut self, line: &[u8], limit: usize) -> Result<(), RequestViolation> {
        let (name, value) = self.split(line, limit)?;
        self.spelling.note(name);
        // Blanks around a value may be tabs, but not every parser strips them.
        let has_tab = line.contains(&b'\t');
        if name.eq_ignore_ascii_case(b"content-length") {
            if self.length.is_some() || has_tab {
                return Err(RequestViolation::ContentLength);
            }
            self.length = Some(content_length(value)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if value != b"chunked" || self.is_chunked || self.is_http10 || has_tab {
                return Err(RequestViolation::TransferEncoding);
            }
            self.is_chunked = true;
        } else if name.eq_ignore_ascii_case(b"host") {
            if has_tab {
                return Err(RequestViolation::Host);
            }
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            let mut protocols = value.split(|byte| *byte == b',');
            self.names_websocket |=
                protocols.any(|name| name.trim_ascii().eq_ignore_ascii_case(b"websocket"));
        }
        Ok(())
    }

    /// The head is complete and a chunked body came to its end: trailer fields are counted anew.
    pub(super) fn begin_trailers(&mut self) {
        self.fields = 0;
    }

    /// Reads one trailer line; fields about framing mean nothing there and are refused.
    pub(super) fn add_trailer(
        &mut self,
        line: &[u8],
        limit: usize,
    ) -> Result<(), RequestViolation> {
        let (name, _) = self.split(line, limit)?;
        let misplaced: [&[u8]; 3] = [b"content-length", b"transfer-encoding", b"host"];
        match misplaced
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
        {
            true => Err(RequestViolation::Framing),
            false => Ok(()),
        }
    }

    /// Where the body ends (RFC 9112, section 6.3).
    pub(super) fn framing(&self) -> Result<BodyFraming, RequestViolation> {
        match (self.length, self.is_chunked) {
            (Some(_), true) => Err(RequestViolation::Framing),
            (None, true) => Ok(BodyFraming::Chunked),
            (length, false) => Ok(BodyFraming::Sized(length.unwrap_or(0))),
        }
    }

    /// Whether what follows may be no HTTP any more.
    pub(super) fn asks_for_websocket(&self) -> bool {
        self.names_websocket && self.is_get && !self.is_http10
    }

    fn split<'l>(
        &mut self,
        line: &'l [u8],
        limit: usize,
    ) -> Result<(&'l [u8], &'l [u8]), RequestViolation> {
        self.fields += 1;
        if self.fields > limit {
            return Err(RequestViolation::TooManyFields);
        }
        split_field(line)
    }
}

/// Name and value of a field line (RFC 9112, section 5).
pub(super) fn split_field(line: &[u8]) -> Result<(&[u8], &[u8]), RequestViolation> {
    if line
        .first()
        .is_some_and(|byte| matches!(byte, b' ' | b'\t'))
    {
        return Err(RequestViolation::Fold);
    }
    let colon = line.iter().position(|byte| *byte == b':');
    let (name, rest) = line.split_at(colon.ok_or(RequestViolation::FieldName)?);
    if !is_token(name) {
        return Err(RequestViolation::FieldName);
    }
    let value = rest.strip_prefix(b":").unwrap_or(rest);
    if !value.iter().all(|byte| is_field_byte(*byte)) {
        return Err(RequestViolation::ControlByte);
    }
    Ok((name, trim_blanks(value)))
}

/// The one number that `Content-Length` may hold.
pub(super) fn content_length(value: &[u8]) -> Result<u64, RequestViolation> {
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok());
    number
        .filter(|_| is_number)
        .ok_or(RequestViolation::ContentLength)
}

/// The size of a chunk: hexadecimal digits, then at most an extension, which is ignored.
pub(super) fn chunk_size(line: &[u8]) -> Result<u64, RequestViolation> {
    let semicolon = line.iter().position(|byte| *byte == b';');
    let (digits, extension) = line.split_at(semicolon.unwrap_or(line.len()));
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    if !is_number || !extension.iter().all(|byte| is_field_byte(*byte)) {
        return Err(RequestViolation::Chunk);
    }
    // More than any body has; and what a parser with a narrower number would wrap.
    const LONGEST: usize = 15;
    let digits = std::str::from_utf8(digits).map_err(|_| RequestViolation::Chunk)?;
    match u64::from_str_radix(digits, 16) {
        Ok(size) if digits.len() <= LONGEST => Ok(size),
        _ => Err(RequestViolation::Chunk),
    }
}

/// A target that the engine will take: a path with a query, or a URL.
fn is_target(target: &[u8]) -> bool {
    if target.contains(&b'#') || std::str::from_utf8(target).is_err() {
        return false;
    }
    match target {
        [b'/', rest @ ..] => {
            // As `http::Uri` has it: the query may hold a few more characters than the path.
            let query = rest.iter().position(|byte| *byte == b'?');
            let (path, query) = rest.split_at(query.unwrap_or(rest.len()));
            let visible = |byte: &u8| *byte > b' ' && *byte != 0x7f;
            path.iter()
                .all(|byte| visible(byte) && !b"<>`".contains(byte))
                && query
                    .iter()
                    .all(|byte| visible(byte) && !b"\"<>".contains(byte))
        }
        other => Uri::try_from(other).is_ok(),
    }
}

/// A token (RFC 9110, section 5.6.2).
fn is_token(text: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(allowed)
}

/// Visible characters, spaces, tabs, and bytes above ASCII.
pub(super) fn is_field_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

fn trim_blanks(value: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !is_blank(byte));
    let end = value.iter().rposition(|byte| !is_blank(byte));
    match (start, end) {
        (Some(start), Some(end)) => value.get(start..=end).unwrap_or_default(),
        _ => &[],
    }
}

/// The beginning of a line whose end has not come yet.
#[derive(Debug, Default)]
pub(super) struct Line(Vec<u8>);

/// A whole line with its line feed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended<'a>(&'a [u8]);

impl Line {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes bytes up to the next line feed; says how many, and the line where it ended.
    /// `None` where the line is longer than `limit`.
    pub(super) fn take<'a>(
        &'a mut self,
        rest: &'a [u8],
        limit: usize,
    ) -> Option<(usize, Option<Ended<'a>>)> {
        let end = rest.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(rest.len(), |at| at + 1);
        if self.0.len() + taken > limit {
            return None;
        }
        let (part, _) = rest.split_at(taken);
        if end.is_some() && self.0.is_empty() {
            return Some((taken, Some(Ended(part))));
        }
        self.0.extend_from_slice(part);
        Some((taken, end.map(|_| Ended(&self.0))))
    }
}

impl<'a> Ended<'a> {
    /// How long it is, line end included.
    pub(super) fn bytes(&self) -> usize {
        self.0.len()
    }

    /// The line without its CR LF; `None` where it ends in a bare line feed.
    pub(super) fn text(&self) -> Option<&'a [u8]> {
        self.0.strip_suffix(b"\r\n")
    }

    /// A whole line without its end, and whether that is a bare line feed.
    pub(super) fn text_of(line: &'a [u8]) -> (&'a [u8], bool) {
        match line.strip_suffix(b"\r\n") {
            Some(text) => (text, false),
            None => (line.strip_suffix(b"\n").unwrap_or(line), true),
        }
    }
}
