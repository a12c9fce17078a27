//! The canonical path: the one that is routed, judged, keyed and forwarded.

use std::borrow::Cow;

use super::Fault;

/// A path in canonical form: unreserved characters plain, all other escapes in upper case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canonical<'a> {
    /// The path, without query.
    pub path: Cow<'a, str>,
    /// Whether it holds `;` or an encoded slash, backslash, semicolon or percent sign: frameworks
    /// disagree about what those separate, and about how often they decode, so a route with
    /// authentication does not take them.
    pub is_ambiguous: bool,
}

/// Brings a path into canonical form (RFC 3986, section 6.2.2, without merging slashes).
///
/// # Errors
/// [`Fault::Path`] where the canonical path has other segments than the one sent: dot segments,
/// plain, encoded or before a `;` or an encoded separator; also for broken escapes, NUL,
/// backslashes, which some read as slashes, and UTF-8 in longer form than needed, which some read
/// as the dots and slashes that it stands for.
pub fn canonical(raw: &str) -> Result<Canonical<'_>, Fault> {
    if !raw.starts_with('/') {
        return Err(Fault::Target);
    }
    let path = match raw.bytes().all(is_plain) {
        true => Cow::Borrowed(raw),
        false => Cow::Owned(rewrite(raw.as_bytes())?),
    };
    const SEPARATORS: [&str; 4] = ["%2F", "%5C", "%3B", ";"];
    // Most paths hold neither, and this is asked of all.
    let is_simple = !path.bytes().any(|byte| matches!(byte, b'%' | b';'));
    let is_separated = !is_simple && SEPARATORS.iter().any(|separator| path.contains(separator));
    let has_dots = match is_separated {
        false => path.split('/').any(is_dots),
        true => SEPARATORS
            .iter()
            .fold(path.to_string(), |path, separator| {
                path.replace(separator, "/")
            })
            .split('/')
            .any(is_dots),
    };
    if has_dots {
        return Err(Fault::Path);
    }
    let is_ambiguous = is_separated || (!is_simple && path.contains("%25"));
    Ok(Canonical { path, is_ambiguous })
}

fn rewrite(raw: &[u8]) -> Result<String, Fault> {
    let mut path = String::with_capacity(raw.len() + 8);
    let mut bytes = raw.iter();
    let mut before = 0;
    while let Some(&byte) = bytes.next() {
        let (byte, is_escape) = match byte {
            b'%' => {
                let high = bytes.next().and_then(|digit| hex(*digit));
                let low = bytes.next().and_then(|digit| hex(*digit));
                match (high, low) {
                    (Some(high), Some(low)) => (high << 4 | low, true),
                    _ => return Err(Fault::Path),
                }
            }
            b'\\' => return Err(Fault::Path),
            byte => (byte, false),
        };
        if is_overlong(before, byte) {
            return Err(Fault::Path);
        }
        before = byte;
        match byte {
            0 => return Err(Fault::Path),
            byte if is_unreserved(byte) || (!is_escape && is_plain(byte)) => {
                path.push(byte.into());
            }
            byte => {
                const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
                path.push('%');
                path.push(DIGITS[usize::from(byte >> 4)].into());
                path.push(DIGITS[usize::from(byte & 15)].into());
            }
        }
    }
    Ok(path)
}

/// Whether these two bytes begin a character in more bytes than UTF-8 gives it.
fn is_overlong(first: u8, second: u8) -> bool {
    matches!(
        (first, second),
        (0xc0 | 0xc1, 0x80..=0xbf) | (0xe0, 0x80..=0x9f) | (0xf0, 0x80..=0x8f)
    )
}

fn is_dots(segment: &str) -> bool {
    matches!(segment, "." | "..")
}

/// Characters that stand for themselves in a path.
fn is_plain(byte: u8) -> bool {
    is_unreserved(byte) || b"!$&'()*+,;=:@/".contains(&byte)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(raw: &str) -> Result<String, Fault> {
        canonical(raw).map(|canonical| canonical.path.into_owned())
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
            "/%c0%ae%c0%ae/a",
            "/a%c0%afb",
            "/a%C1%9Cb",
            "/%e0%80%ae",
            "/%f0%80%80%ae",
        ] {
            assert_eq!(path(raw), Err(Fault::Path), "{raw}");
        }
        assert_eq!(path("*"), Err(Fault::Target));
        assert_eq!(path(""), Err(Fault::Target));
        assert_eq!(path("a/b"), Err(Fault::Target));
    }

    #[test]
    fn what_frameworks_disagree_about_is_told() {
        for raw in ["/a%2fb", "/a%5Cb", "/a;b", "/a%3bb", "/a%252e%252e/b"] {
            assert!(canonical(raw).unwrap().is_ambiguous, "{raw}");
        }
        assert!(!canonical("/a%20b").unwrap().is_ambiguous);
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
}
