use super::*;
use proptest::prelude::*;

fn decode(chunks: &[&[u8]]) -> (Vec<SseEvent>, Result<(), TooLarge>, Decoder) {
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

fn tell(message: &SseEvent) -> String {
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
