//! Parsers of single values. Pure.

use std::time::Duration;

use hyper::Method;
use hyper::header::{self, HeaderName};

use super::problem::Wrong;

/// Longer than anything that makes sense, shorter than anything that overflows a clock.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// A terabyte: above it there is a slip, and sums might overflow.
const LARGEST: usize = 1 << 40;

/// More than anything that is counted.
pub(crate) const MANY: usize = 1_000_000_000;

/// `"250ms"`, `"5s"`, `"7d"`, at least a millisecond.
pub(crate) fn duration(text: &str) -> Result<Duration, Wrong> {
    match window(text)? {
        short if short < Duration::from_millis(1) => {
            Err(Wrong::new("is too short", "write \"1ms\" or more"))
        }
        fitting => Ok(fitting),
    }
}

/// As [`duration`], or `"0"` for none.
pub(crate) fn duration_or_none(text: &str) -> Result<Option<Duration>, Wrong> {
    match window(text)? {
        Duration::ZERO => Ok(None),
        _ => duration(text).map(Some),
    }
}

/// As [`duration`], or `"0s"`.
pub(crate) fn window(text: &str) -> Result<Duration, Wrong> {
    // humantime reads `M` as months; here it is taken for a slip.
    let parsed = match text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => None,
        false => humantime::parse_duration(text).ok(),
    };
    match parsed {
        None => Err(Wrong::new(
            "is no duration",
            "write a number with its unit in quotes, such as \"250ms\", \"5s\" or \"7d\"",
        )),
        Some(long) if long > LONGEST => {
            Err(Wrong::new("is longer than a year", "write a shorter one"))
        }
        Some(fitting) => Ok(fitting),
    }
}

/// `"64KiB"`, `"1MiB"`, also decimal `"64KB"`; at least a byte.
pub(crate) fn size(text: &str) -> Result<usize, Wrong> {
    const UNITS: [(&str, usize); 7] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("B", 1),
    ];
    let parse = |(unit, factor): &(&str, usize)| {
        let number = text.trim().strip_suffix(unit)?.trim_end();
        let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let number = number.parse::<usize>().ok().filter(|_| digits)?;
        number
            .checked_mul(*factor)
            .filter(|bytes| (1..=LARGEST).contains(bytes))
    };
    UNITS.iter().find_map(parse).ok_or_else(|| {
        Wrong::new(
            "is no size",
            "write a whole number above zero, up to 1024GiB, with its unit in quotes, such as \"64KiB\" or \"1MiB\"",
        )
    })
}

/// `"100B/s"`, `"1MiB/s"`, in bytes per second; `"0"` for none.
pub(crate) fn byte_rate(text: &str) -> Result<u64, Wrong> {
    let number = text.trim();
    let bytes = number.strip_suffix("/s").map(size);
    match bytes {
        _ if matches!(number, "0" | "0B/s") => Ok(0),
        Some(Ok(bytes)) => Ok(bytes as u64),
        _ => Err(Wrong::new(
            "is no rate",
            "write one such as \"100B/s\", or \"0\" for none",
        )),
    }
}

/// A percentage in thousandths, 0 to 100,000.
pub(crate) fn thousandths(percent: f64) -> Result<u32, Wrong> {
    let thousandths = percent * 1000.0;
    if (thousandths - thousandths.round()).abs() > 1e-9 {
        let fix = "write at most three decimals: a bucket is a thousandth of a percent";
        return Err(Wrong::new("has a fourth decimal", fix));
    }
    Ok(thousandths.round() as u32)
}

/// What may stand in labels and addresses: a name of a table.
pub(crate) fn name(text: &str) -> Result<String, Wrong> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match !text.is_empty() && text.chars().all(plain) {
        true => Ok(text.to_owned()),
        false => Err(Wrong::new("is no name", "use letters, digits, `-` and `_`")),
    }
}

/// Any string that says something.
pub(crate) fn something(text: &str) -> Result<String, Wrong> {
    match text.trim().is_empty() {
        false => Ok(text.to_owned()),
        true => Err(Wrong::new("is empty", "write something, or remove it")),
    }
}

/// One of some words.
pub(crate) fn word<T: Clone>(text: &str, words: &[(&str, T)]) -> Result<T, Wrong> {
    let known = || words.iter().map(|(word, _)| *word);
    match words.iter().find(|(word, _)| *word == text) {
        Some((_, value)) => Ok(value.clone()),
        None => Err(Wrong::new(
            "is not known here",
            match closest(text, known()) {
                Some(word) => format!("did you mean \"{word}\"?"),
                None => format!("write one of {}", listed(known())),
            },
        )),
    }
}

/// An RFC 6901 JSON Pointer; the empty one is the whole document.
pub(crate) fn pointer(text: &str) -> Result<String, Wrong> {
    let escaped = |part: &str| part.starts_with('0') || part.starts_with('1');
    match text {
        _ if !text.is_empty() && !text.starts_with('/') => Err(Wrong::new(
            "is no JSON Pointer",
            format!("begin it with a slash: \"/{}\"", text.replace('.', "/")),
        )),
        _ if !text.split('~').skip(1).all(escaped) => Err(Wrong::new(
            "is no JSON Pointer",
            "write `~` as `~0` and a `/` inside a name as `~1`",
        )),
        _ => Ok(text.to_owned()),
    }
}

/// A member's name, or a JSON Pointer to it.
pub(crate) fn member(text: &str) -> Result<String, Wrong> {
    match text.starts_with('/') {
        true => pointer(text),
        false => something(text),
    }
}

/// What a cookie of the backend may be called.
pub(crate) fn cookie_name(text: &str) -> Result<String, Wrong> {
    match is_token(text) {
        true if text.starts_with("crossfade_") => Err(Wrong::new(
            "is a cookie of crossfade itself",
            "name one that the backend sets",
        )),
        true => Ok(text.to_owned()),
        false => Err(Wrong::new(
            "is no cookie's name",
            "write one such as \"session\"",
        )),
    }
}

/// RFC 9110's `token`.
pub(crate) fn is_token(name: &str) -> bool {
    let of_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.bytes().all(of_token)
}

/// An HTTP method, as it stands in a request line.
pub(crate) fn method(text: &str) -> Result<Method, Wrong> {
    let upper = text.to_ascii_uppercase();
    let is_word = text.bytes().all(|byte| byte.is_ascii_alphabetic());
    if upper != text && is_word {
        let fix = format!("methods are case-sensitive: write \"{upper}\"");
        return Err(Wrong::new("is no method", fix));
    }
    match Method::from_bytes(text.as_bytes()) {
        Ok(Method::CONNECT) => Err(Wrong::new("is never accepted here", "remove it")),
        Ok(method) => Ok(method),
        Err(_) => Err(Wrong::new("is no method", "write one such as \"POST\"")),
    }
}

/// A header's name.
pub(crate) fn header_name(text: &str) -> Result<HeaderName, Wrong> {
    HeaderName::from_bytes(text.as_bytes())
        .map_err(|_| Wrong::new("is no header name", "write one such as \"accept-language\""))
}

/// The known word that was probably meant: a few slips away, or longer or shorter at its end.
pub(crate) fn closest<'k>(text: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    // Comparing is quadratic, and nothing that long was a slip.
    if text.len() > 64 {
        return None;
    }
    let folded = text.to_lowercase().replace('-', "_");
    let extends = |word: &str| {
        let shorter = word.len().min(folded.len());
        shorter >= 4 && (folded.starts_with(word) || word.starts_with(&folded))
    };
    known
        .map(|word| {
            (
                strsim::damerau_levenshtein(&folded, &word.replace('-', "_")),
                word,
            )
        })
        .filter(|(slips, word)| *slips <= (word.len() / 3).max(1) || extends(word))
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, word)| word)
}

/// `` `a`, `b`, `c` ``.
pub(crate) fn listed<'k>(words: impl Iterator<Item = &'k str>) -> String {
    let quoted: Vec<_> = words.map(|word| format!("`{word}`")).collect();
    quoted.join(", ")
}

/// A piece of the file as problems show it: on one line, not endless, without a URL's password.
pub(crate) fn quote(text: &str) -> String {
    const MOST: usize = 80;
    let text = match text.split_once("://") {
        Some((scheme, rest)) => match rest.rsplit_once('@') {
            Some((_, host)) => format!("{scheme}://***@{host}"),
            None => text.to_owned(),
        },
        None => text.to_owned(),
    };
    let mut shown = String::new();
    for c in text.chars().take(MOST) {
        match c {
            '"' | '\'' | '\\' => shown.push(c),
            c => shown.extend(c.escape_debug()),
        }
    }
    let more = if text.chars().nth(MOST).is_some() {
        "…"
    } else {
        ""
    };
    format!("`{shown}{more}`")
}

/// Headers that the sidecar or HTTP itself sets: no configuration may name them.
pub(crate) fn is_of_the_sidecar(name: &HeaderName) -> bool {
    let known = [
        header::HOST,
        header::ACCEPT,
        header::ACCEPT_ENCODING,
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::EXPECT,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
    ];
    let named = [
        "keep-alive",
        "proxy-connection",
        "last-event-id",
        "forwarded",
        "x-real-ip",
        "x-original-url",
        "x-rewrite-url",
        "x-request-id",
    ];
    let families = ["sec-websocket-", "x-forwarded-"];
    known.contains(name)
        || named.contains(&name.as_str())
        || families
            .iter()
            .any(|family| name.as_str().starts_with(family))
}

/// Lower case.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_whole_thousandths() {
        for (percent, expected) in [
            (0.0, 0),
            (0.001, 1),
            (12.345, 12_345),
            (33.333, 33_333),
            (64.1, 64_100),
            (99.999, 99_999),
            (100.0, 100_000),
        ] {
            assert_eq!(thousandths(percent), Ok(expected));
        }
        assert!((0..=100_000).all(|whole| thousandths(f64::from(whole) / 1000.0) == Ok(whole)));
        for percent in [0.0001, 12.3456, 99.9999, 1e-7] {
            assert!(thousandths(percent).is_err(), "{percent}");
        }
    }

    #[test]
    fn sizes_and_durations_have_units() {
        let sizes = [
            ("1B", 1),
            ("64KiB", 65_536),
            ("1 MiB", 1 << 20),
            ("2GB", 2_000_000_000),
        ];
        assert!(sizes.iter().all(|(text, bytes)| size(text) == Ok(*bytes)));
        for broken in [
            "",
            "B",
            "1",
            "0B",
            "-1B",
            "1.5MiB",
            "1kb",
            "99999999999999999999B",
            "99999999999GiB",
            "1025GiB",
        ] {
            assert!(size(broken).is_err(), "{broken}");
        }
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(7 * 86_400)));
        assert_eq!(window("0s"), Ok(Duration::ZERO));
        for broken in [
            "",
            "5",
            "0s",
            "1us",
            "5M",
            "400d",
            "s",
            "99999999999999999999s",
        ] {
            assert!(duration(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn a_slip_finds_its_word() {
        let known = || ["listen", "drain_timeout", "kill", "percent"].into_iter();
        for (slip, meant) in [
            ("lisen", Some("listen")),
            ("drain-timeout", Some("drain_timeout")),
            ("Kill", Some("kill")),
            ("percentage", Some("percent")),
            ("token", None),
            ("", None),
        ] {
            assert_eq!(closest(slip, known()), meant, "{slip}");
        }
    }

    #[test]
    fn quoting_keeps_to_one_line_and_hides_passwords() {
        assert_eq!(quote("a\n\u{1b}[1m"), "`a\\n\\u{1b}[1m`");
        assert_eq!(quote("http://u:p@h/x@y"), "`http://***@y`");
        assert_eq!(
            quote(&"é".repeat(90)).chars().filter(|c| *c == 'é').count(),
            80
        );
    }
}
