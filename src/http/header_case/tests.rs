use std::io::IoSlice;
use std::task::Poll;

use super::*;

fn noted(names: &[&str]) -> Spelling {
    let mut spelling = Spelling::default();
    for name in names {
        spelling.note(name.as_bytes());
    }
    spelling
}

fn headers(names: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in names {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, "1".parse().unwrap());
    }
    headers
}

/// What goes out where the engine writes `head`, and so much is taken at a time.
fn sent(head: &str, spelling: &Spelling, at_once: usize) -> String {
    let (mut outgoing, mut out, mut from) = (Outgoing::default(), Vec::new(), 0);
    let bytes = head.as_bytes();
    let mut is_begun = false;
    while from < bytes.len() {
        let rest = &bytes[from..];
        let (first, second) = rest.split_at(rest.len().min(head.len() / 2));
        // The head is always in one piece, as the engine has it.
        let pieces = match is_begun {
            true => vec![IoSlice::new(first), IoSlice::new(second)],
            false => vec![IoSlice::new(rest)],
        };
        if !std::mem::replace(&mut is_begun, true) {
            outgoing.begin(&pieces, spelling);
        }
        let written = outgoing.poll_write(&pieces, |pieces| {
            let all: Vec<u8> = pieces
                .iter()
                .flat_map(|piece| piece.iter().copied())
                .collect();
            let taken = all.len().min(at_once);
            out.extend_from_slice(&all[..taken]);
            Poll::Ready(Ok(taken))
        });
        let Poll::Ready(Ok(written)) = written else {
            panic!("{written:?}");
        };
        from += written;
    }
    assert!(outgoing.is_idle());
    String::from_utf8(out).unwrap()
}

#[test]
fn nothing_is_noted_of_usual_names() {
    let usual = [
        "Accept",
        "ETag",
        "Sec-WebSocket-Key",
        "X-Request-Id",
        "X-A1-B",
    ];
    assert!(noted(&usual).is_empty());
    // A peer's case does not apply to what is rebuilt here.
    let own = [
        "HOST",
        "content-length",
        "CONNECTION",
        "x-forwarded-for",
        "FORWARDED",
        "X_REAL_IP",
        "cdn-loop",
        "te",
    ];
    assert!(noted(&own).is_empty());
    let unusual = [
        "accept",
        "Etag",
        "SOAPACTION",
        "X-REQUEST-IDS",
        "X-CSRFToken",
    ];
    let spelling = noted(&unusual);
    for name in unusual {
        assert_eq!(
            spelling.of(name.to_lowercase().as_bytes()),
            Some(name.as_bytes())
        );
    }
}

#[test]
fn a_name_that_is_written_here_forgets_how_it_came() {
    let mut spelling = noted(&["COOKIE", "accept", "x-user", "VARY"]);
    spelling.forget_name(&hyper::header::COOKIE);
    spelling.forget(|name| name.eq_ignore_ascii_case(b"vary"));
    spelling.set(b"X-USER");
    assert_eq!(spelling.of(b"cookie"), None);
    assert_eq!(spelling.of(b"vary"), None);
    assert_eq!(spelling.of(b"x-user"), Some(&b"X-USER"[..]));
    assert_eq!(spelling.of(b"Accept"), Some(&b"accept"[..]));
}

#[test]
fn notes_of_one_head_have_a_bound() {
    let mut spelling = Spelling::default();
    for number in 0..10_000 {
        spelling.note(format!("x-{number}").as_bytes());
    }
    assert!(spelling.names.len() < NOTES * 8);
    let long = "x".repeat(256);
    assert_eq!(noted(&[&long]).of(long.as_bytes()), None);
}

#[test]
fn a_head_goes_out_in_its_own_letters_however_it_is_cut() {
    let came = noted(&["USER-AGENT", "accept", "etag"]);
    let mut going = Spelling::default();
    let names = [
        "host",
        "user-agent",
        "accept",
        "last-event-id",
        "etag",
        "x-one",
    ];
    going.fill(&headers(&names), Some(&came));
    let written = "GET /Host: HTTP/1.1\r\nHost: a\r\nUser-Agent: User-Agent\r\nAccept: Accept: b\r\n\
                   Last-Event-Id: 7\r\nEtag: 1\r\nX-One: 1\r\n\r\nAccept: body\r\n\r\n";
    let expected = "GET /Host: HTTP/1.1\r\nHost: a\r\nUSER-AGENT: User-Agent\r\naccept: Accept: b\r\n\
                    Last-Event-ID: 7\r\netag: 1\r\nX-One: 1\r\n\r\nAccept: body\r\n\r\n";
    for at_once in 1..written.len() + 1 {
        assert_eq!(
            sent(written, &going, at_once),
            expected,
            "{at_once} at once"
        );
    }
    let continued = format!(
        "HTTP/1.1 100 Continue\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nEtag: 1\r\n\r\n"
    );
    assert!(sent(&continued, &going, 100).ends_with("etag: 1\r\n\r\n"));
}

#[test]
fn what_begins_with_no_head_goes_as_it_is() {
    let mut going = Spelling::default();
    going.fill(&headers(&["etag"]), None);
    for bytes in [
        "Etag: 1\r\n\r\n",
        "5\r\nEtag: \r\n\r\n",
        "HTTP/1.1 200 OK\r\nEtag: 1\r\n",
        "GET / HTTP/1.1x\r\nEtag: 1\r\n\r\n",
    ] {
        let mut outgoing = Outgoing::default();
        outgoing.begin(&[IoSlice::new(bytes.as_bytes())], &going);
        assert!(outgoing.is_idle(), "{bytes:?}");
    }
}

#[test]
fn a_name_of_ours_is_spelled_as_usual() {
    for (name, expected) in [
        ("x-request-id", "X-Request-Id"),
        ("etag", "ETag"),
        ("www-authenticate", "WWW-Authenticate"),
        ("allow", "Allow"),
    ] {
        assert_eq!(spelled(&HeaderName::from_static(name)), expected);
    }
}
