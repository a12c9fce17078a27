//! Decodes `text/event-stream` as the HTML standard says ("Interpreting an event stream"). Pure.
//!
//! Bytes come in chunks cut anywhere; a message comes out as soon as its blank line ended. Lines
//! are found in the bytes and decoded late: line ends and colons are ASCII, and decoding UTF-8
//! with replacement never swallows ASCII, so the result is the standard's.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

/// What one event may hold: its data, or any one line, in bytes.
pub(crate) const MAX_EVENT: usize = 1024 * 1024;

/// A field's name, colon and space do not count against its value.
const MAX_LINE: usize = MAX_EVENT + 16;
/// Buffers that grew beyond this for one event are given back after it.
const KEPT_CAPACITY: usize = 64 * 1024;
const BOM: &[u8] = b"\xEF\xBB\xBF";
const RETRY_LEAST: u64 = 100;
const RETRY_MOST: u64 = 60_000;

/// One dispatched event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SseEvent {
    /// Its `event` field; `None` means `message`.
    pub(crate) name: Option<Arc<str>>,
    /// The last event id, as `EventSource.lastEventId` shows it; `None` when it is empty.
    pub id: Option<Arc<str>>,
    /// Whether the event itself had an `id` field, rather than inheriting an earlier one's.
    pub(crate) has_own_id: bool,
    /// Its `data` lines joined by LF; valid UTF-8.
    pub data: Bytes,
}

/// An event, or a line without end, passed the limit. The decoder is of no more use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// The oversized event's own id, where it came before the limit was passed: resuming after
    /// it does not meet it again.
    pub(crate) id: Option<Arc<str>>,
}

/// The state between two chunks of one stream.
#[derive(Debug)]
pub struct Decoder {
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    /// A byte order mark is only one on the first line.
    is_first_line: bool,
    /// The last line ended with CR: a LF right after it belongs to it.
    after_cr: bool,
    data: Vec<u8>,
    name: Vec<u8>,
    /// The name dispatched last, shared by the next event that bears it too.
    last_name: Option<Arc<str>>,
    /// The standard's "last event ID buffer".
    id: Option<Arc<str>>,
    has_own_id: bool,
    /// The standard's "last event ID string": what a reconnect may send.
    last_event_id: Option<Arc<str>>,
    /// The stream has set that itself.
    has_set_id: bool,
    retry: Option<Duration>,
}

impl Decoder {
    /// A decoder at the beginning of a stream that was asked for with this `Last-Event-ID`.
    ///
    /// The id stays until the stream sets another one, as browsers have it.
    pub fn new(last_event_id: Option<Arc<str>>) -> Self {
        Decoder {
            line: Vec::new(),
            is_first_line: true,
            after_cr: false,
            data: Vec::new(),
            name: Vec::new(),
            last_name: None,
            id: last_event_id.clone(),
            has_own_id: false,
            last_event_id,
            has_set_id: false,
            retry: None,
        }
    }

    /// Takes the stream's next bytes; appends the messages that they complete to `out`.
    ///
    /// An event that the stream's end leaves incomplete is dropped with the decoder.
    ///
    /// # Errors
    /// [`TooLarge`]; the messages before it are in `out`.
    pub fn feed(&mut self, chunk: &[u8], out: &mut Vec<SseEvent>) -> Result<(), TooLarge> {
        let mut rest = chunk;
        if self.after_cr && !rest.is_empty() {
            self.after_cr = false;
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        while let Some(end) = memchr::memchr2(b'\r', b'\n', rest) {
            let (line, tail) = rest.split_at(end);
            self.after_cr = tail == b"\r";
            rest = tail
                .strip_prefix(b"\r\n")
                .unwrap_or(tail.get(1..).unwrap_or_default());
            self.end_line(line, out)?;
        }
        self.line.extend_from_slice(rest);
        self.check(self.line.len() <= MAX_LINE)
    }

    /// The last event id, once the stream has set one itself; `Some(None)` where it has set an empty one.
    pub(crate) fn own_id(&self) -> Option<Option<&Arc<str>>> {
        self.has_set_id.then_some(self.last_event_id.as_ref())
    }

    /// The reconnection time that the stream asked for last, 0.1 s to 60 s.
    pub(crate) fn retry(&self) -> Option<Duration> {
        self.retry
    }

    fn end_line(&mut self, end: &[u8], out: &mut Vec<SseEvent>) -> Result<(), TooLarge> {
        if self.line.is_empty() {
            return self.take_line(end, out);
        }
        let mut line = std::mem::take(&mut self.line);
        line.extend_from_slice(end);
        let result = self.take_line(&line, out);
        line.clear();
        line.shrink_to(KEPT_CAPACITY);
        self.line = line;
        result
    }

    fn take_line(&mut self, line: &[u8], out: &mut Vec<SseEvent>) -> Result<(), TooLarge> {
        self.check(line.len() <= MAX_LINE)?;
        let line = match std::mem::take(&mut self.is_first_line) {
            true => line.strip_prefix(BOM).unwrap_or(line),
            false => line,
        };
        if line.is_empty() {
            out.extend(self.dispatch());
            return Ok(());
        }
        let (field, value) = match memchr::memchr(b':', line) {
            Some(0) => return Ok(()), // a comment
            Some(colon) => {
                let (field, value) = (&line[..colon], &line[colon + 1..]);
                (field, value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, &b""[..]),
        };
        match field {
            b"data" => {
                self.data.extend_from_slice(value);
                self.data.push(b'\n');
                return self.check(self.data.len() <= MAX_EVENT + 1);
            }
            b"event" => {
                self.name.clear();
                self.name.extend_from_slice(value);
            }
            b"id" if memchr::memchr(0, value).is_none() => {
                self.id = (!value.is_empty()).then(|| String::from_utf8_lossy(value).into());
                self.has_own_id = true;
            }
            b"retry" => self.retry = reconnection_time(value).or(self.retry),
            _ => {}
        }
        Ok(())
    }

    /// Ends the event at hand. The id counts even where there is no data to deliver.
    fn dispatch(&mut self) -> Option<SseEvent> {
        let has_own_id = std::mem::take(&mut self.has_own_id);
        if has_own_id {
            self.last_event_id.clone_from(&self.id);
            self.has_set_id = true;
        }
        if self.data.is_empty() {
            self.name.clear();
            return None;
        }
        self.data.pop();
        let message = SseEvent {
            name: self.shared_name(),
            id: self.last_event_id.clone(),
            has_own_id,
            data: match String::from_utf8_lossy(&self.data) {
                std::borrow::Cow::Borrowed(text) => Bytes::copy_from_slice(text.as_bytes()),
                std::borrow::Cow::Owned(text) => Bytes::from(text),
            },
        };
        self.data.clear();
        self.data.shrink_to(KEPT_CAPACITY);
        self.name.clear();
        self.name.shrink_to(KEPT_CAPACITY);
        Some(message)
    }

    fn shared_name(&mut self) -> Option<Arc<str>> {
        if self.name.is_empty() {
            return None;
        }
        let is_last = |last: &Arc<str>| last.as_bytes() == self.name;
        if !self.last_name.as_ref().is_some_and(is_last) {
            self.last_name = Some(String::from_utf8_lossy(&self.name).into());
        }
        self.last_name.clone()
    }

    fn check(&self, is_within: bool) -> Result<(), TooLarge> {
        match is_within {
            true => Ok(()),
            false => Err(TooLarge {
                id: self.id.clone().filter(|_| self.has_own_id),
            }),
        }
    }
}

fn reconnection_time(value: &[u8]) -> Option<Duration> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // More digits than a number holds is more than the most.
    let text = std::str::from_utf8(value).ok()?;
    let millis = text.parse::<u64>().unwrap_or(u64::MAX);
    Some(Duration::from_millis(millis.clamp(RETRY_LEAST, RETRY_MOST)))
}

#[cfg(test)]
mod tests;
