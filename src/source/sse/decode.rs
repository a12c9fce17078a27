//! Decodes `text/event-stream` as the HTML standard says ("Interpreting an event stream"). Pure.
//!
//! Bytes come in chunks cut anywhere; a message comes out as soon as its blank line ended. Lines
//! are found in the bytes and decoded late: line ends and colons are ASCII, and decoding UTF-8
//! with replacement never swallows ASCII, so the result is the standard's.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

/// What one event may hold: its data, or any one line, in bytes.
pub const MAX_EVENT: usize = 1024 * 1024;

/// A field's name, colon and space do not count against its value.
const MAX_LINE: usize = MAX_EVENT + 16;
/// Buffers that grew beyond this for one event are given back after it.
const KEPT_CAPACITY: usize = 64 * 1024;
const BOM: &[u8] = b"\xEF\xBB\xBF";
const RETRY_LEAST: u64 = 100;
const RETRY_MOST: u64 = 60_000;

/// One dispatched event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its `event` field; `None` means `message`.
    pub name: Option<Arc<str>>,
    /// The last event id, as `EventSource.lastEventId` shows it; `None` when it is empty.
    pub id: Option<Arc<str>>,
    /// Whether the event itself had an `id` field, rather than inheriting an earlier one's.
    pub has_own_id: bool,
    /// Its `data` lines joined by LF; valid UTF-8.
    pub data: Bytes,
}

/// An event, or a line without end, passed the limit. The decoder is of no more use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// The oversized event's own id, where it came before the limit was passed: resuming after
    /// it does not meet it again.
    pub id: Option<Arc<str>>,
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
    pub fn feed(&mut self, chunk: &[u8], out: &mut Vec<Message>) -> Result<(), TooLarge> {
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
    pub fn own_id(&self) -> Option<Option<&Arc<str>>> {
        self.has_set_id.then_some(self.last_event_id.as_ref())
    }

    /// The reconnection time that the stream asked for last, 0.1 s to 60 s.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    fn end_line(&mut self, end: &[u8], out: &mut Vec<Message>) -> Result<(), TooLarge> {
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

    fn take_line(&mut self, line: &[u8], out: &mut Vec<Message>) -> Result<(), TooLarge> {
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
    fn dispatch(&mut self) -> Option<Message> {
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
        let message = Message {
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(chunks: &[&[u8]]) -> (Vec<Message>, Result<(), TooLarge>, Decoder) {
        let mut decoder = Decoder::new(None);
        let mut out = Vec::new();
        let mut result = Ok(());
        for chunk in chunks {
            result = decoder.feed(chunk, &mut out);
            if result.is_err() {
                break;
            }
        }
        (out, result, decoder)
    }

    /// `name|id|data` of each message.
    fn told(stream: &[u8]) -> Vec<String> {
        let (messages, result, _) = decode(&[stream]);
        assert_eq!(result, Ok(()));
        messages.iter().map(tell).collect()
    }

    fn tell(message: &Message) -> String {
        let (name, id) = (
            message.name.as_deref().unwrap_or("message"),
            message.id.as_deref().unwrap_or(""),
        );
        format!("{name}|{id}|{}", String::from_utf8_lossy(&message.data))
    }

    #[test]
    fn fields_are_read_as_the_standard_says() {
        let table: &[(&[u8], &[&str])] = &[
            // The standard's own examples.
            (
                b"data: YHOO\ndata: +2\ndata: 10\n\n",
                &["message||YHOO\n+2\n10"],
            ),
            (
                b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
                &["message|1|first event", "message||second event", "message|| third event"],
            ),
            (b"data\n\ndata\ndata\n\ndata:", &["message||", "message||\n"]),
            (b"data:test\n\ndata: test\n\n", &["message||test", "message||test"]),
            (
                b"event: add\ndata: 73857293\n\nevent: remove\ndata: 2153\n\ndata: 11\n\n",
                &["add||73857293", "remove||2153", "message||11"],
            ),
            // Names.
            (b"event: a\nevent: b\ndata: 1\n\n", &["b||1"]),
            (b"event: a\n\ndata: 1\n\n", &["message||1"]),
            (b"event: a\nevent:\ndata: 1\n\n", &["message||1"]),
            (b"Data: 1\n\n data: 1\n\ndata : 1\n\nother: 1\n\nother\n\n", &[]),
            (b"data:1:2\n\n", &["message||1:2"]),
            (b"data:\t1\n\n", &["message||\t1"]),
            (b"data: a\0b\n\n", &["message||a\0b"]),
            // Comments, and what they do not end.
            (b":\ndata: 1\n: x\ndata: 2\n:\n\n", &["message||1\n2"]),
            // Ids: kept, set without data, reset, ignored with NUL.
            (b"id: 1\ndata: a\n\ndata: b\n\n", &["message|1|a", "message|1|b"]),
            (b"id: 1\n\ndata: b\n\n", &["message|1|b"]),
            (b"id: 1\ndata: a\n\nid:\ndata: b\n\n", &["message|1|a", "message||b"]),
            (b"id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n", &["message|1|a", "message|1|b"]),
            (b"id: 1\nid: 2\ndata: a\n\n", &["message|2|a"]),
            // Line ends.
            (b"data: 1\r\rdata: 2\r\n\r\ndata: 3\n\n", &["message||1", "message||2", "message||3"]),
            (b"data: 1\r\n\ndata: 2\n\r\n", &["message||1", "message||2"]),
            (b"data: 1\n\rdata: 2\n\r", &["message||1", "message||2"]),
            // One byte order mark, and no other.
            (b"\xEF\xBB\xBFdata: 1\n\n", &["message||1"]),
            (b"\xEF\xBB\xBF\xEF\xBB\xBFdata: 1\n\ndata: 2\n\n", &["message||2"]),
            (b"data: 1\n\n\xEF\xBB\xBFdata: 2\n\n", &["message||1"]),
            (b"\xEF\xBBdata: 1\n\ndata: 2\n\n", &["message||2"]),
            // UTF-8 is decoded with replacement.
            (b"data: \xC3\xA9\n\n", &["message||\u{e9}"]),
            (b"data: a\xFFb\xE2\x82\n\n", &["message||a\u{fffd}b\u{fffd}"]),
            (b"event: \xFF\nid: \xFE\ndata: 1\n\n", &["\u{fffd}|\u{fffd}|1"]),
            // What the stream's end cuts off is dropped.
            (b"data: 1\n\ndata: 2\n", &["message||1"]),
            (b"data: 1\n\ndata: 2", &["message||1"]),
        ];
        for (stream, expected) in table {
            assert_eq!(
                told(stream),
                *expected,
                "{:?}",
                String::from_utf8_lossy(stream)
            );
        }
    }

    #[test]
    fn a_reconnect_sends_the_id_of_the_last_complete_event() {
        let id = |stream: &[u8]| {
            let (_, _, decoder) = decode(&[stream]);
            decoder.own_id().flatten().map(|id| id.to_string())
        };
        assert_eq!(
            id(b"id: 1\ndata: a\n\nid: 2\ndata: b\n").as_deref(),
            Some("1")
        );
        assert_eq!(id(b"id: 1\n\n").as_deref(), Some("1"));
        assert_eq!(id(b"id: 1\n\nid\n\n"), None);
        let mut resumed = Decoder::new(Some("7".into()));
        let mut out = Vec::new();
        resumed.feed(b"data: a\n\n", &mut out).unwrap();
        assert_eq!(out.iter().map(tell).collect::<Vec<_>>(), ["message|7|a"]);
        assert!(!out[0].has_own_id);
    }

    #[test]
    fn only_digits_set_the_reconnection_time() {
        let table: &[(&[u8], Option<u64>)] = &[
            (b"retry: 3000\n", Some(3000)),
            (b"retry:3000\n", Some(3000)),
            (b"retry: 0\n", Some(100)),
            (b"retry: 99999999999999999999999\n", Some(60_000)),
            (b"retry: 2000\nretry: 1x\n", Some(2000)),
            (b"retry: -1\n", None),
            (b"retry: +1\n", None),
            (b"retry: 1.5\n", None),
            (b"retry:  1\n", None),
            (b"retry: 1000 \n", None),
            (b"retry:\n", None),
            (b"retry\n", None),
            (b"retry: 1000", None),
        ];
        for (stream, millis) in table {
            let (_, _, decoder) = decode(&[stream]);
            assert_eq!(
                decoder.retry(),
                millis.map(Duration::from_millis),
                "{:?}",
                String::from_utf8_lossy(stream)
            );
        }
    }

    #[test]
    fn an_event_above_the_limit_ends_the_stream() {
        let mut fits = b"data: ".to_vec();
        fits.resize(6 + MAX_EVENT, b'x');
        fits.extend(b"\n\n");
        let (messages, result, _) = decode(&[&fits]);
        assert_eq!(
            (messages.len(), messages[0].data.len(), result),
            (1, MAX_EVENT, Ok(()))
        );

        let mut one_more = b"data: before\n\nid: 9\ndata: ".to_vec();
        one_more.resize(one_more.len() + MAX_EVENT + 1, b'x');
        one_more.extend(b"\n\n");
        let (messages, result, decoder) = decode(&[&one_more]);
        assert_eq!(messages.len(), 1);
        assert_eq!(
            result,
            Err(TooLarge {
                id: Some("9".into())
            })
        );
        assert_eq!(decoder.own_id(), None);

        let many_lines = b"data: 0123456789\n".repeat(MAX_EVENT / 10);
        assert_eq!(decode(&[&many_lines]).1, Err(TooLarge { id: None }));
    }

    #[test]
    fn a_line_without_end_ends_the_stream() {
        for begin in [&b"data: "[..], b": ", b"x", b"id: "] {
            let mut decoder = Decoder::new(None);
            let mut out = Vec::new();
            decoder.feed(begin, &mut out).unwrap();
            let block = [b'x'; 8192];
            let taken = (0..1000)
                .take_while(|_| decoder.feed(&block, &mut out).is_ok())
                .count();
            assert!(taken <= MAX_EVENT / block.len() + 1, "{taken}");
            assert!(out.is_empty());
        }
    }

    /// What the corpora below are made of: every kind of line, with every kind of end.
    const CORPUS: &[u8] = b"\xEF\xBB\xBF: hello\r\nid: 1\r\nevent: up\r\ndata: {\"a\":1}\r\n\r\n\
        data: caf\xC3\xA9 \xF0\x9F\x98\x80\rdata\r\rretry: 2500\nid: 2\0\ndata: \xE2\x82 \xFF\n\n\
        id\ndata:\n\r\n\r\n:c\rdata: x\n\nevent\nid: z\n\ndata: cut off";

    fn whole_and(chunks: &[&[u8]], whole: &[u8]) {
        let (expected, _, at_once) = decode(&[whole]);
        let (messages, _, decoder) = decode(chunks);
        assert_eq!(messages, expected);
        assert_eq!(decoder.own_id(), at_once.own_id());
        assert_eq!(decoder.retry(), at_once.retry());
    }

    #[test]
    fn every_split_of_the_corpus_decodes_alike() {
        assert!(told(CORPUS).len() > 4);
        for first in 0..=CORPUS.len() {
            for second in first..=CORPUS.len() {
                whole_and(
                    &[&CORPUS[..first], &CORPUS[first..second], &CORPUS[second..]],
                    CORPUS,
                );
            }
        }
        let single: Vec<&[u8]> = CORPUS.chunks(1).collect();
        whole_and(&single, CORPUS);
    }

    const PARTS: &[&[u8]] = &[
        b"\r",
        b"\n",
        b"\r\n",
        b"\n\n",
        b"data",
        b"id",
        b"event",
        b"retry",
        b": ",
        b":",
        b"12",
        b"\0",
        BOM,
        b"\xC3\xA9",
        b"\xE2\x82",
        b"\xFF",
        b" ",
    ];

    proptest! {
        #[test]
        fn any_stream_decodes_alike_however_it_is_cut(
            parts in proptest::collection::vec(
                proptest::sample::select(PARTS),
                0..60,
            ),
            size in 1usize..9,
        ) {
            let stream = parts.concat();
            let chunks: Vec<&[u8]> = stream.chunks(size).collect();
            whole_and(&chunks, &stream);
        }
    }
}
