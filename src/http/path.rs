//! The canonical path: the one that is routed, judged, keyed and forwarded; and what of a target has to be escaped.

use std::borrow::Cow;

use super::RequestViolation;

/// Brings a path into canonical form (RFC 3986, section 6.2.2, without merging slashes): unreserved characters plain, all
/// other escapes in upper case.
///
/// # Errors
/// [`RequestViolation::Path`] where the canonical path has other segments than the one sent: dot segments,
/// plain, encoded or beside a `;` or an encoded separator; also for broken escapes, NUL and
/// backslashes, which some read as slashes.
pub fn canonical(raw: &str) -> Result<Cow<'_, str>, RequestViolation> {
    if !raw.starts_with('/') {
        return Err(RequestViolation::Target);
    }
    let path = match raw.bytes().all(is_plain) {
        true => Cow::Borrowed(raw),
        false => Cow::Owned(rewrite(raw.as_bytes())?),
    };
    // In longer UTF-8 than needed as well: some decoders take that for the character itself.
    const SEPARATORS: [&str; 13] = [
        "%2F",
        "%5C",
        "%3B",
        ";",
        "%C0%AF",
        "%C1%9C",
        "%C0%BB",
        "%E0%80%AF",
        "%E0%81%9C",
        "%E0%80%BB",
        "%F0%80%80%AF",
        "%F0%80%81%9C",
        "%F0%80%80%BB",
    ];
    // Most paths hold neither, and this is asked of all.
    let is_simple = !path.bytes().any(|byte| matches!(byte, b'%' | b';'));
    let has_dots = match is_simple || !SEPARATORS.iter().any(|separator| path.contains(separator)) {
        true => path.split('/').any(is_dots),
        false => SEPARATORS
            .iter()
            .fold(path.to_string(), |path, separator| {
                path.replace(separator, "/")
            })
            .split('/')
            .any(is_dots),
    };
    match has_dots {
        true => Err(RequestViolation::Path),
        false => Ok(path),
    }
}

/// A query as it goes upstream: what no URL may hold (RFC 3986, section 2) is escaped, all else stays as it was sent.
pub(crate) fn query(raw: &str) -> Cow<'_, str> {
    let is_foreign = |byte: u8| !byte.is_ascii() || b"\"<>\\^`{|}".contains(&byte);
    if !raw.bytes().any(is_foreign) {
        return Cow::Borrowed(raw);
    }
    let mut query = String::with_capacity(raw.len() + 16);
    for byte in raw.bytes() {
        match is_foreign(byte) {
            true => push_escaped(&mut query, byte),
            false => query.push(byte.into()),
        }
    }
    Cow::Owned(query)
}

/// What the server engine does not take in a target, escaped: quotes, angle brackets and bytes of whatever encoding. Control
/// bytes, blanks and `#` stay.
pub(crate) fn escaped(target: &[u8]) -> Vec<u8> {
    let mut escaped = String::with_capacity(target.len() + 16);
    for byte in target {
        match byte {
            b'"' | b'<' | b'>' | b'`' | 0x80.. => push_escaped(&mut escaped, *byte),
            byte => escaped.push((*byte).into()),
        }
    }
    escaped.into_bytes()
}

fn rewrite(raw: &[u8]) -> Result<String, RequestViolation> {
    let mut path = String::with_capacity(raw.len() + 8);
    let mut bytes = raw.iter();
    while let Some(&byte) = bytes.next() {
        let (byte, is_escape) = match byte {
            b'%' => {
                let high = bytes.next().and_then(|digit| hex(*digit));
                let low = bytes.next().and_then(|digit| hex(*digit));
                match (high, low) {
                    (Some(high), Some(low)) => (high << 4 | low, true),
                    _ => return Err(RequestViolation::Path),
                }
            }
            b'\\' => return Err(RequestViolation::Path),
            byte => (byte, false),
        };
        match byte {
            0 => return Err(RequestViolation::Path),
            byte if is_unreserved(byte) || (!is_escape && is_plain(byte)) => {
                path.push(byte.into());
            }
            byte => push_escaped(&mut path, byte),
        }
    }
    Ok(path)
}

pub(crate) fn push_escaped(text: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    text.push('%');
    text.push(DIGITS[usize::from(byte >> 4)].into());
    text.push(DIGITS[usize::from(byte & 15)].into());
}

fn is_dots(segment: &str) -> bool {
    matches!(segment, "." | "..")
}

/// Characters that stand for themselves in a path.
pub(crate) fn is_plain(byte: u8) -> bool {
    is_unreserved(byte) || b"!$&'()*+,;=:@/".contains(&byte)
}

pub(crate) fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

pub(crate) fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}

/// The path with the values of its parameters hidden: `;jsessionid=...` is a credential, and so is what a backend may read as
/// one, or as a query, once it has decoded `%3B` or `%3F`.
pub(crate) fn without_parameters(path: &str) -> Cow<'_, str> {
    if !path.split('/').any(|segment| parameters(segment).is_some()) {
        return Cow::Borrowed(path);
    }
    let segments = path.split('/').map(|segment| match parameters(segment) {
        Some(at) => Cow::Owned(format!("{};***", &segment[..at])),
        None => Cow::Borrowed(segment),
    });
    Cow::Owned(segments.collect::<Vec<_>>().join("/"))
}

/// Where the parameters of a segment begin.
fn parameters(segment: &str) -> Option<usize> {
    let begins = |at: &usize| {
        let rest = &segment.as_bytes()[*at..];
        let escape = rest.get(..3).unwrap_or_default();
        rest[0] == b';'
            || escape.eq_ignore_ascii_case(b"%3b")
            || escape.eq_ignore_ascii_case(b"%3f")
    };
    (0..segment.len()).find(begins)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(raw: &str) -> Result<String, RequestViolation> {
        canonical(raw).map(Cow::into_owned)
    }

    #[test]
    fn a_path_that_says_the_same_otherwise_is_rewritten() {
        for (raw, expected) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("//a//", "//a//"),
            ("/%61dmin", "/admin"),
            ("/%7euser/%2d", "/~user/-"),
            ("/%c3%a4", "/%C3%A4"),
            ("/ä", "/%C3%A4"),
            ("/a%2fb", "/a%2Fb"),
            ("/a;x=1", "/a;x=1"),
            ("/{id}", "/%7Bid%7D"),
            ("/a%20b+c", "/a%20b+c"),
            ("/%e4/%c0%e0/%e2%82%ac", "/%E4/%C0%E0/%E2%82%AC"),
            ("/%c3%a9/\u{20ac}", "/%C3%A9/%E2%82%AC"),
            ("/%25%32%65", "/%252e"),
            ("/%c0%bd.txt", "/%C0%BD.txt"),
            ("/%c0%ae%c0%ae/a", "/%C0%AE%C0%AE/a"),
            ("/...", "/..."),
            ("/.well-known/x", "/.well-known/x"),
        ] {
            assert_eq!(path(raw).as_deref(), Ok(expected), "{raw}");
        }
    }

    #[test]
    fn a_path_with_a_second_reading_is_refused() {
        for raw in [
            "/.",
            "/..",
            "/a/../b",
            "/a/./b",
            "/a/%2e%2e/b",
            "/a/%2E./b",
            "/a/.%2e",
            "/a/..;/b",
            "/a/..;x=1/b",
            "/a/..%2fb",
            "/a%2f..%2fb",
            "/a%5c..%5cb",
            "/a/..%3bx/b",
            "/a\\b",
            "/..\\a",
            "/a%00",
            "/%00/a",
            "/a%",
            "/a%2",
            "/a%zz",
            "/%u0041",
            "/a/..%c0%afb",
            "/a%C1%9C.%C1%9Cb",
            "/a/..%e0%80%af/b",
        ] {
            assert_eq!(path(raw), Err(RequestViolation::Path), "{raw}");
        }
        assert_eq!(path("*"), Err(RequestViolation::Target));
        assert_eq!(path(""), Err(RequestViolation::Target));
        assert_eq!(path("a/b"), Err(RequestViolation::Target));
    }

    #[test]
    fn a_query_keeps_what_a_url_may_hold() {
        for (raw, expected) in [
            (
                "a=b&c[]=%2e&d=100%&e=%u0041'",
                "a=b&c[]=%2e&d=100%&e=%u0041'",
            ),
            (r#"q={"a":1}"#, "q=%7B%22a%22:1%7D"),
            (r"a\b^c`d|e<f>", "a%5Cb%5Ec%60d%7Ce%3Cf%3E"),
            ("q=\u{e4}", "q=%C3%A4"),
            ("", ""),
        ] {
            assert_eq!(query(raw), expected, "{raw}");
        }
    }

    proptest::proptest! {
        #[test]
        fn canonical_is_a_fixed_point(raw in "/[ -~ä/.%2eEfF;\\\\]{0,24}") {
            if let Ok(once) = path(&raw) {
                proptest::prop_assert_eq!(path(&once).unwrap(), once.clone());
                proptest::prop_assert!(once.bytes().all(|byte| (0x21..0x7f).contains(&byte)));
            }
        }
    }

    #[test]
    fn parameters_are_hidden_however_they_are_written() {
        for (path, shown) in [
            ("/a/b", "/a/b"),
            ("/a;id=secret/b", "/a;***/b"),
            ("/a%3Bid=secret", "/a;***"),
            ("/a%3bid=secret/c;x", "/a;***/c;***"),
            ("/a%3Ftoken=secret", "/a;***"),
            ("/%3", "/%3"),
        ] {
            assert_eq!(without_parameters(path), shown, "{path}");
        }
    }
}
