use super::*;

#[test]
fn framing_is_said_once_and_plainly() {
    for (fields, expected) in [
        (
            "Content-Length: 3\r\nTransfer-Encoding: chunked",
            RequestViolation::Framing,
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 3",
            RequestViolation::Framing,
        ),
        (
            "Content-Length: 3\r\nContent-Length: 3",
            RequestViolation::ContentLength,
        ),
        (
            "Content-Length: 3\r\nContent-Length: 4",
            RequestViolation::ContentLength,
        ),
        ("Content-Length: 3, 3", RequestViolation::ContentLength),
        ("Content-Length: +3", RequestViolation::ContentLength),
        ("Content-Length: -3", RequestViolation::ContentLength),
        ("Content-Length: 0x3", RequestViolation::ContentLength),
        ("Content-Length: 3 3", RequestViolation::ContentLength),
        ("Content-Length: ", RequestViolation::ContentLength),
        (
            "Content-Length: 99999999999999999999",
            RequestViolation::ContentLength,
        ),
        ("Content-Length:\t3", RequestViolation::ContentLength),
        (
            "Transfer-Encoding: chunked\t",
            RequestViolation::TransferEncoding,
        ),
        ("Host:\ta", RequestViolation::Host),
        (
            "Transfer-Encoding: identity",
            RequestViolation::TransferEncoding,
        ),
        (
            "Transfer-Encoding: gzip, chunked",
            RequestViolation::TransferEncoding,
        ),
        (
            "Transfer-Encoding: chunked, chunked",
            RequestViolation::TransferEncoding,
        ),
        (
            "Transfer-Encoding: chunked, identity",
            RequestViolation::TransferEncoding,
        ),
        (
            "Transfer-Encoding: \"chunked\"",
            RequestViolation::TransferEncoding,
        ),
        (
            "Transfer-Encoding: xchunked",
            RequestViolation::TransferEncoding,
        ),
        (
            "Transfer-Encoding: chunked;q=1",
            RequestViolation::TransferEncoding,
        ),
        ("Transfer-Encoding: ", RequestViolation::TransferEncoding),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            RequestViolation::TransferEncoding,
        ),
        (
            "Transfer-Encoding: chunked\r\ntransfer-encoding: identity",
            RequestViolation::TransferEncoding,
        ),
    ] {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\nabc");
        let (heads, clear, found) = scan(request.as_bytes());
        assert_eq!((heads, clear, found), (0, 0, Some(expected)), "{fields:?}");
    }
    let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(fault(old), Some(RequestViolation::TransferEncoding));
}

#[test]
fn chunks_follow_the_grammar() {
    for chunks in [
        "\r\n",
        "g\r\n",
        "0x3\r\nabc\r\n",
        "+3\r\nabc\r\n",
        "3 \r\nabc\r\n",
        " 3\r\nabc\r\n",
        "3\nabc\r\n",
        "3\rabc\r\n",
        "3\r\nabcd\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "3\r\nabcX\r\n",
        "3\r\nabc0\r\n\r\n",
        "3;\0\r\nabc\r\n",
        "3;a\rb\r\nabc\r\n",
        "ffffffffffffffff\r\nabc",
        "10000000000000003\r\nabc",
        "-1\r\nabc",
    ] {
        let request = format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        let (heads, _, found) = scan(request.as_bytes());
        assert_eq!(
            (heads, found),
            (1, Some(RequestViolation::Chunk)),
            "{chunks:?}"
        );
    }
    let long = format!(
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;{}",
        "a".repeat(300)
    );
    assert_eq!(fed(&[long.as_bytes()]).2, Some(RequestViolation::Chunk));
}

#[test]
fn trailers_are_fields_and_say_nothing_about_framing() {
    for (trailer, expected) in [
        ("Content-Length: 3", RequestViolation::Framing),
        ("Transfer-Encoding: chunked", RequestViolation::Framing),
        ("Host: b", RequestViolation::Framing),
        ("X : 1", RequestViolation::FieldName),
        (" X: 1", RequestViolation::Fold),
        ("X: \0", RequestViolation::ControlByte),
    ] {
        let request =
            format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{trailer}\r\n\r\n");
        assert_eq!(fault(&request), Some(expected), "{trailer:?}");
    }
}
