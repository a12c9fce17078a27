use super::*;

const FIELDS: usize = 100;

/// What an answer comes to, and what the engine gets of it: the same however it is cut.
fn read(asked: Asked, input: &[u8]) -> Result<(At, String, bool), ResponseViolation> {
    let fed = |pieces: &[&[u8]]| {
        let mut answers = Answers::new(FIELDS);
        let (mut given, mut is_careless) = (Vec::new(), false);
        answers.expect(asked);
        for piece in pieces {
            let as_it_is = answers.feed(piece)?;
            given.extend_from_slice(&piece[..as_it_is]);
            given.extend(answers.anew());
            is_careless |= answers.told().is_some_and(|told| told.is_careless);
        }
        let given = String::from_utf8_lossy(&given).into_owned();
        Ok((answers.at, given, is_careless))
    };
    let whole = fed(&[input]);
    for cut in 1..input.len().min(400) {
        let (before, after) = input.split_at(cut);
        assert_eq!(fed(&[before, after]), whole, "cut at {cut}");
    }
    whole
}

/// What an answer comes to that goes to the engine as it is.
fn scan(asked: Asked, input: &[u8]) -> Result<At, ResponseViolation> {
    let (at, given, is_careless) = read(asked, input)?;
    assert_eq!(given, String::from_utf8_lossy(input));
    assert!(!is_careless, "{given:?}");
    Ok(at)
}

fn get(answer: &str) -> Result<At, ResponseViolation> {
    scan(Asked::Other, answer.as_bytes())
}

#[test]
fn proper_answers_pass() {
    for (answer, at) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", At::Over),
        ("HTTP/1.1 200\r\nContent-Length:0\r\n\r\n", At::Over),
        ("HTTP/1.1 200 \r\n\r\nanything", At::Open),
        ("HTTP/1.0 200 Fine\r\n\r\nanything", At::Open),
        ("HTTP/1.1 404 Pas trouv\u{e9}\r\nx: \r\n\r\n", At::Open),
        ("HTTP/1.1 204 No\r\n\r\n", At::Over),
        ("HTTP/1.1 304 No\r\ncontent-length: 5\r\n\r\n", At::Over),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2  \r\nok\r\n0\r\nx-sum: 1\r\n\r\n",
            At::Over,
        ),
        (
            "HTTP/1.1 103 Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok",
            At::Sized(1),
        ),
        // What comes behind an answer is the engine's to be surprised at.
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP",
            At::Over,
        ),
        ("HTTP/1.1 204 No\r\n\r\nbody", At::Over),
    ] {
        assert_eq!(get(answer), Ok(at), "{answer:?}");
    }
}

#[test]
fn what_was_asked_decides_what_follows_the_head() {
    let long = b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n";
    assert_eq!(scan(Asked::Head, long), Ok(At::Over));
    assert_eq!(scan(Asked::Other, long), Ok(At::Sized(99)));
    let switch = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n\x81\0\r\n";
    assert_eq!(scan(Asked::Upgrade, switch), Ok(At::Open));
    assert_eq!(scan(Asked::Other, switch), Err(ResponseViolation::Switch));
    assert_eq!(scan(Asked::Head, switch), Err(ResponseViolation::Switch));
}

#[test]
fn answers_come_one_after_the_other() {
    let mut answers = Answers::new(FIELDS);
    for _ in 0..3 {
        answers.expect(Asked::Other);
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        assert_eq!(answers.feed(answer), Ok(answer.len()));
    }
    answers.expect(Asked::Other);
    assert_eq!(answers.feed(b"x\r\n"), Err(ResponseViolation::StatusLine));
    assert_eq!(
        answers.feed(b"HTTP/1.1"),
        Err(ResponseViolation::StatusLine),
        "it stays"
    );
}

#[test]
fn a_status_line_has_one_shape() {
    for line in [
        "HTTP/1.1",
        "HTTP/1.1 20",
        "HTTP/1.1 2000",
        "HTTP/1.1 20x",
        "HTTP/1.1 +20",
        "HTTP/1.1 099",
        "HTTP/1.1\t200",
        "HTTP/1.1200",
        "HTTP/1.1 200OK",
        "HTTP/1.2 200 OK",
        "HTTP/2 200 OK",
        "http/1.1 200 OK",
        " HTTP/1.1 200 OK",
        "",
        "HTTP/1.1 200 O\0K",
        "HTTP/1.1 200 O\rK",
        "<html>",
        "HTTP/1.1 200 OK\r",
    ] {
        let answer = format!("{line}\r\nx: y\r\n\r\n");
        assert_eq!(get(&answer), Err(ResponseViolation::StatusLine), "{line:?}");
    }
}

#[test]
fn what_the_engine_would_forgive_is_a_flaw() {
    for (fields, fault) in [
        (
            "content-length: 2\r\ncontent-length: 3",
            RequestViolation::ContentLength,
        ),
        ("content-length: 2, 2", RequestViolation::ContentLength),
        ("content-length: +2", RequestViolation::ContentLength),
        ("content-length: 2.0", RequestViolation::ContentLength),
        (
            "content-length:\r\ncontent-length: 2",
            RequestViolation::ContentLength,
        ),
        (
            "content-length: 2\r\ncontent-length:",
            RequestViolation::ContentLength,
        ),
        (
            "transfer-encoding: chunked\r\ntransfer-encoding: gzip",
            RequestViolation::TransferEncoding,
        ),
        (
            "transfer-encoding: chunked,",
            RequestViolation::TransferEncoding,
        ),
        (
            "content-length: 99999999999999999999",
            RequestViolation::ContentLength,
        ),
        (
            "content-length: 2\r\ntransfer-encoding: chunked",
            RequestViolation::Framing,
        ),
        (
            "transfer-encoding: chunked\r\ncontent-length: 2",
            RequestViolation::Framing,
        ),
        (
            "transfer-encoding: gzip",
            RequestViolation::TransferEncoding,
        ),
        (
            "transfer-encoding: gzip, chunked",
            RequestViolation::TransferEncoding,
        ),
        (
            "transfer-encoding: identity",
            RequestViolation::TransferEncoding,
        ),
        (
            "transfer-encoding: xchunked",
            RequestViolation::TransferEncoding,
        ),
        ("transfer-encoding:", RequestViolation::TransferEncoding),
        ("x: a\r\n b", RequestViolation::Fold),
        ("\tx: a", RequestViolation::Fold),
        ("x : a", RequestViolation::FieldName),
        ("x y: a", RequestViolation::FieldName),
        ("x", RequestViolation::FieldName),
        (": a", RequestViolation::FieldName),
        ("x\0: a", RequestViolation::FieldName),
        ("x: a\0b", RequestViolation::ControlByte),
        ("x: a\rset-cookie: b", RequestViolation::ControlByte),
        ("x: a\u{7f}", RequestViolation::ControlByte),
        ("x: a\nset-cookie: b", RequestViolation::LineEnd),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\nok");
        assert_eq!(
            get(&answer),
            Err(ResponseViolation::Shape(fault)),
            "{fields:?}"
        );
    }
    for head in [
        "HTTP/1.1 200 OK\nx: y\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: y\n\r\n",
        "HTTP/1.1 200 OK\r\nx: y\r\n\n",
        "HTTP/1.1 200 OK\nx: y\n\r\n",
        "HTTP/1.1 200 OK\n\r\n",
    ] {
        assert_eq!(
            get(head),
            Err(ResponseViolation::Shape(RequestViolation::LineEnd)),
            "{head:?}"
        );
    }
}

#[test]
fn a_careless_head_with_one_reading_is_written_anew() {
    for (head, anew, at) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: y\r\ncontent-length: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: y\r\n\r\n",
            At::Sized(1),
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: \r\nX: y\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX: y\r\n\r\n",
            At::Open,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\ntransfer-encoding: Chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            At::ChunkSize,
        ),
        (
            "HTTP/1.1 200 OK\r\nTE: x\r\ntransfer-encoding: chunked , chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTE: x\r\nTransfer-Encoding: chunked\r\n\r\n",
            At::ChunkSize,
        ),
        (
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            At::ChunkSize,
        ),
        (
            "HTTP/1.0 200 OK\nContent-Length: 2\nX: y\n\n",
            "HTTP/1.0 200 OK\r\nContent-Length: 2\r\nX: y\r\n\r\n",
            At::Sized(1),
        ),
        (
            "HTTP/1.1   200   All is well\r\n\r\n",
            "HTTP/1.1 200 All is well\r\n\r\n",
            At::Open,
        ),
        (
            "HTTP/1.1 103 Hints\nlink: </a>\n\nHTTP/1.1 200 OK\nContent-Length: 2\n\n",
            "HTTP/1.1 103 Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
            At::Sized(1),
        ),
    ] {
        let body = if at == At::ChunkSize { "" } else { "o" };
        let got = read(Asked::Other, format!("{head}{body}").as_bytes());
        assert_eq!(got, Ok((at, format!("{anew}{body}"), true)), "{head:?}");
    }
}

#[test]
fn words_that_the_engine_forgets_are_told() {
    let mut answers = Answers::new(FIELDS);
    answers.expect(Asked::Other);
    let head = "HTTP/1.1 404 Pas trouv\u{e9}\r\n\r\n".as_bytes();
    assert_eq!(answers.feed(head), Ok(head.len()));
    let told = answers.told().unwrap();
    assert_eq!(told.reason.as_deref(), Some("Pas trouv\u{e9}".as_bytes()));
    assert!(!told.is_careless);
    assert_eq!(answers.told(), None);
}

#[test]
fn chunks_follow_the_grammar() {
    for chunks in [
        "x\r\n",
        "\r\n",
        "-1\r\n",
        "0x2\r\nok\r\n",
        " 2\r\nok\r\n",
        "2\nok\r\n",
        "2\r\nok\n0\r\n\r\n",
        "2\r\nokay\r\n",
        "2;\0\r\nok\r\n",
        "ffffffffffffffff\r\n",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}");
        assert_eq!(
            get(&answer),
            Err(ResponseViolation::Shape(RequestViolation::Chunk)),
            "{chunks:?}"
        );
    }
    for (trailer, fault) in [
        ("content-length: 2", RequestViolation::Framing),
        ("x : 2", RequestViolation::FieldName),
        ("x: \0", RequestViolation::ControlByte),
        ("x: 1\ny: 2", RequestViolation::LineEnd),
    ] {
        let answer =
            format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n{trailer}\r\n\r\n");
        assert_eq!(
            get(&answer),
            Err(ResponseViolation::Shape(fault)),
            "{trailer:?}"
        );
    }
}

#[test]
fn nothing_is_without_an_end() {
    let hints = "HTTP/1.1 103 Hints\r\n\r\n";
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(get(&(hints.repeat(INTERIM_LIMIT) + ok)), Ok(At::Over));
    let flood = hints.repeat(INTERIM_LIMIT + 1);
    assert_eq!(get(&flood), Err(ResponseViolation::Interim));
    let fields = "x: 1\r\n".repeat(FIELDS);
    assert!(get(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).is_ok());
    let many = get(&format!("HTTP/1.1 200 OK\r\n{fields}x: 1\r\n\r\n"));
    assert_eq!(
        many,
        Err(ResponseViolation::Shape(RequestViolation::TooManyFields))
    );
    let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "a".repeat(HEAD_LIMIT));
    assert_eq!(
        get(&endless),
        Err(ResponseViolation::Shape(RequestViolation::HeadTooLarge))
    );
    let endless = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "a".repeat(HEAD_LIMIT));
    assert_eq!(
        get(&endless),
        Err(ResponseViolation::Shape(RequestViolation::HeadTooLarge))
    );
    let endless = format!("HTTP/1.1 {}", "a".repeat(HEAD_LIMIT));
    assert_eq!(
        get(&endless),
        Err(ResponseViolation::Shape(RequestViolation::HeadTooLarge))
    );
}
