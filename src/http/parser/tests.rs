mod framing;

use super::*;

const LIMITS: HeadLimits = HeadLimits {
    bytes: 1024,
    fields: 8,
};

/// How many heads, how many clear bytes, which fault; the same however the input is cut.
fn scan(input: &[u8]) -> (usize, usize, Option<RequestViolation>) {
    let whole = fed(&[input]);
    for cut in 1..input.len() {
        let (before, after) = input.split_at(cut);
        assert_eq!(fed(&[before, after]), whole, "cut at {cut}");
    }
    let single: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(fed(&single), whole, "byte by byte");
    whole
}

fn fed(pieces: &[&[u8]]) -> (usize, usize, Option<RequestViolation>) {
    let mut scanner = Scanner::new(LIMITS);
    let (mut heads, mut clear, mut before) = (0, 0, 0);
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            let scanned = scanner.feed(rest);
            heads += usize::from(scanned.head);
            clear = scanned.clear.map_or(clear, |at| before + at);
            before += scanned.seen;
            rest = &rest[scanned.seen..];
            if let Some(fault) = scanned.fault {
                assert_eq!(scanner.place(), ScanPlace::Failed);
                assert!(scanned.in_body || fault != RequestViolation::Chunk);
                return (heads, clear, scanned.fault);
            }
            if !rest.is_empty() {
                assert_eq!(scanner.place(), ScanPlace::Between);
            }
        }
    }
    (heads, clear, None)
}

fn fault(request: &str) -> Option<RequestViolation> {
    scan(request.as_bytes()).2
}

#[test]
fn proper_requests_pass_whole() {
    for (request, heads) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1),
        ("GET /a?b=c HTTP/1.0\r\n\r\n", 1),
        ("GET http://a/ HTTP/1.1\r\nHost:a\r\n\r\n", 1),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 1),
        ("PUT / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 1),
        (
            "PUT / HTTP/1.1\r\ncontent-length:  003 \r\n\r\nabcGET / HTTP/1.1\r\n\r\n",
            2,
        ),
        (
            "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            1,
        ),
        (
            "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n00A;x=\"y\"\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            2,
        ),
        ("GET / HTTP/1.1\r\nX: \r\nY: \u{e4}\t\u{2713}\r\n\r\n", 1),
        (
            "GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            2,
        ),
    ] {
        let whole = (heads, request.len(), None);
        assert_eq!(scan(request.as_bytes()), whole, "{request:?}");
    }
}

#[test]
fn a_request_line_has_three_words() {
    for line in [
        "GET /",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET / a HTTP/1.1",
        "GET / http/1.1",
        "GET / HTTP/1.2",
        "GET / HTTP/0.9",
        "PRI * HTTP/2.0",
        "G(T / HTTP/1.1",
        "GET / HTTP/1.1\r",
        "",
    ] {
        let request = format!("{line}\r\nHost: a\r\n\r\n");
        assert_eq!(
            fault(&request),
            Some(RequestViolation::RequestLine),
            "{line:?}"
        );
    }
}

#[test]
fn a_target_is_what_the_engine_takes() {
    for target in ["/a#b", "/a\u{7f}", "/a\u{1}", "?", "http://"] {
        let request = format!("GET {target} HTTP/1.1\r\n\r\n");
        assert_eq!(
            fault(&request),
            Some(RequestViolation::Target),
            "{target:?}"
        );
    }
    assert_eq!(fault("GET //[::1]:x@ HTTP/1.1\r\n\r\n"), None);
    let of_length = |length: usize, bytes: usize| {
        let line = format!("GET /{} HTTP/1.1\r\n", "a".repeat(length - 1));
        Scanner::new(HeadLimits { bytes, fields: 8 })
            .feed(line.as_bytes())
            .fault
    };
    assert_eq!(of_length(31 << 10, 32 << 10), None);
    assert_eq!(
        of_length(32 << 10, 32 << 10),
        Some(RequestViolation::TargetTooLong)
    );
    assert_eq!(of_length(TARGET_LIMIT, 1 << 20), None);
    assert_eq!(
        of_length(TARGET_LIMIT + 1, 1 << 20),
        Some(RequestViolation::TargetTooLong)
    );
}

#[test]
fn a_target_that_no_url_is_gets_escaped() {
    for (target, expected) in [
        (&b"/s?q={\"a\":1}"[..], Some("/s?q={%22a%22:1}")),
        (b"/a<b>`c", Some("/a%3Cb%3E%60c")),
        (b"/\xe4\xf6", Some("/%E4%F6")),
        (b"/\xc0\xaf..", Some("/%C0%AF..")),
        (b"/?q=\xb0\xa1", Some("/?q=%B0%A1")),
        (b"http://a/?\"", Some("http://a/?%22")),
        (b"/a?b=%2e|c", None),
        ("/\u{e4}".as_bytes(), None),
    ] {
        let head = [b"GET ", target, b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
        assert_eq!(scan(&head), (1, head.len(), None));
        let mut scanner = Scanner::new(LIMITS);
        assert!(scanner.feed(&head).head);
        let rewritten = scanner.take_rewritten().map(|rewritten| {
            assert_eq!(rewritten.was, target.len() + b"GET  HTTP/1.1\r\n".len());
            String::from_utf8(rewritten.line).unwrap()
        });
        let expected = expected.map(|target| format!("GET {target} HTTP/1.1\r\n"));
        assert_eq!(rewritten, expected);
        assert!(scanner.take_rewritten().is_none());
    }
}

#[test]
fn lines_end_in_cr_lf() {
    for request in [
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
    ] {
        assert_eq!(
            fault(request),
            Some(RequestViolation::LineEnd),
            "{request:?}"
        );
    }
}

#[test]
fn fields_are_a_name_a_colon_and_no_control_bytes() {
    for (field, expected) in [
        ("Host : a", RequestViolation::FieldName),
        ("Host\t: a", RequestViolation::FieldName),
        (": a", RequestViolation::FieldName),
        ("Host", RequestViolation::FieldName),
        ("Ho st: a", RequestViolation::FieldName),
        ("H\u{e4}st: a", RequestViolation::FieldName),
        ("Host(: a", RequestViolation::FieldName),
        (" Host: a", RequestViolation::Fold),
        ("\tHost: a", RequestViolation::Fold),
        ("X: a\r\n b", RequestViolation::Fold),
        ("X: a\rb", RequestViolation::ControlByte),
        ("X: a\r", RequestViolation::ControlByte),
        ("X: a\0b", RequestViolation::ControlByte),
        ("X: a\u{7f}", RequestViolation::ControlByte),
        ("X: a\u{b}", RequestViolation::ControlByte),
        ("X: \u{1b}[31m", RequestViolation::ControlByte),
    ] {
        let request = format!("GET / HTTP/1.1\r\n{field}\r\n\r\n");
        assert_eq!(fault(&request), Some(expected), "{field:?}");
    }
}

#[test]
fn a_head_has_limits() {
    let fields = "X: 1\r\n".repeat(LIMITS.fields);
    assert_eq!(fault(&format!("GET / HTTP/1.1\r\n{fields}\r\n")), None);
    let fields = "X: 1\r\n".repeat(LIMITS.fields + 1);
    let many = format!("GET / HTTP/1.1\r\n{fields}\r\n");
    assert_eq!(fault(&many), Some(RequestViolation::TooManyFields));
    let endless = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(LIMITS.bytes));
    assert_eq!(
        fed(&[endless.as_bytes()]).2,
        Some(RequestViolation::HeadTooLarge)
    );
    // Each request has the whole limit to itself.
    let request = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(900));
    assert_eq!(fed(&[request.repeat(5).as_bytes()]).0, 5);
}

#[test]
fn what_is_clear_ends_before_the_request_that_is_not() {
    let good = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let both = format!("{good}GET / HTTP/1.1\r\nHost : a\r\n\r\n");
    assert_eq!(
        scan(both.as_bytes()),
        (1, good.len(), Some(RequestViolation::FieldName))
    );
    let partial = format!("{good}GET / HT");
    assert_eq!(scan(partial.as_bytes()), (1, good.len(), None));
}

#[test]
fn the_scan_pauses_behind_a_handshake() {
    let handshake = b"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c, WebSocket\r\n\r\n";
    let mut input = handshake.to_vec();
    input.extend_from_slice(b"\x81\x85....GET");
    let mut scanner = Scanner::new(LIMITS);
    let scanned = scanner.feed(&input);
    assert_eq!(
        (scanned.seen, scanned.clear),
        (handshake.len(), Some(handshake.len()))
    );
    assert_eq!(scanner.place(), ScanPlace::Paused);
    assert_eq!(scanner.feed(b"x").seen, 0);
    scanner.resume();
    assert!(scanner.feed(b"GET / HTTP/1.1\r\n\r\n").head);
}

#[test]
fn one_request_is_looked_at_at_a_time() {
    let request = b"PUT / HTTP/1.1\r\nContent-Length: 2\r\n\r\nab";
    let mut scanner = Scanner::new(LIMITS);
    let both = [&request[..], b"GET / HT"].concat();
    let first = scanner.feed(&both);
    let end = request.len();
    assert_eq!(
        (first.seen, first.clear, first.head),
        (end, Some(end), true)
    );
    assert_eq!(scanner.place(), ScanPlace::Between);
    let second = scanner.feed(&both[end..]);
    assert_eq!((second.seen, second.clear, second.head), (8, None, false));
    assert_eq!(scanner.place(), ScanPlace::Head);
}

#[test]
fn the_place_is_known() {
    let mut scanner = Scanner::new(LIMITS);
    assert_eq!(scanner.place(), ScanPlace::Between);
    scanner.feed(b"P");
    assert_eq!(scanner.place(), ScanPlace::Head);
    scanner.feed(b"UT / HTTP/1.1\r\nContent-Length: 3\r\n\r\n");
    assert_eq!(scanner.place(), ScanPlace::Body);
    scanner.feed(b"abc");
    assert_eq!(scanner.place(), ScanPlace::Between);
}

proptest::proptest! {
    #[test]
    fn any_bytes_give_the_same_however_they_are_cut(
        input in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64),
        cut in 0..64usize,
    ) {
        let (before, after) = input.split_at(cut.min(input.len()));
        proptest::prop_assert_eq!(fed(&[before, after]), fed(&[&input]));
    }

    #[test]
    fn a_target_that_passes_is_a_uri(target in "/[ -~\u{80}-\u{ff}]{0,16}") {
        let request = format!("GET {target} HTTP/1.1\r\n\r\n");
        let mut scanner = Scanner::new(LIMITS);
        if scanner.feed(request.as_bytes()).fault.is_none() {
            let line = scanner.take_rewritten().map(|rewritten| rewritten.line);
            let line = line.unwrap_or(request.into_bytes());
            let target = line.split(|byte| *byte == b' ').nth(1).unwrap();
            proptest::prop_assert!(hyper::Uri::try_from(target).is_ok());
        }
    }
}
