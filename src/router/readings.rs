//! What a backend may make of a path: each step that some framework takes, in any order and any number of times. Pure.

use crate::http::path::{canonical, hex, is_plain, is_unreserved, push_escaped};

/// What one path may come to. Only a path that is made for it has as many readings: it is refused.
const MOST: usize = 128;
const MOST_BYTES: usize = 256 * 1024;

/// What is left where a step applies.
type Step = fn(&[u8]) -> Option<Vec<u8>>;

const STEPS: [Step; 11] = [
    decoded,
    separated,
    shortened,
    slashed,
    without_parameters,
    without_last_parameters,
    cut,
    behind_host,
    merged,
    resolved,
    without_end,
];

/// All readings of a canonical path.
pub(super) struct Readings {
    texts: Vec<Vec<u8>>,
    /// Whether one of them is there for UTF-8 in longer form than needed.
    pub(super) has_overlong: bool,
}

impl Readings {
    /// `None` where there are too many.
    pub(super) fn of(path: &str) -> Option<Self> {
        let mut readings = Readings {
            texts: vec![path.as_bytes().to_vec()],
            has_overlong: false,
        };
        let (mut at, mut bytes) = (0, path.len());
        while let Some(text) = readings.texts.get(at) {
            let next: Vec<Vec<u8>> = STEPS.iter().filter_map(|step| step(text)).collect();
            readings.has_overlong |= shortened(text).is_some();
            for text in next {
                if readings.texts.contains(&text) {
                    continue;
                }
                bytes += text.len();
                if readings.texts.len() == MOST || bytes > MOST_BYTES {
                    return None;
                }
                readings.texts.push(text);
            }
            at += 1;
        }
        Some(readings)
    }

    /// Each in the form of a canonical path.
    pub(super) fn keys(&self) -> impl Iterator<Item = String> {
        self.texts.iter().map(|text| key(text))
    }
}

/// The first other reading of a path that is refused as it is written; `None` where it has none that would not be.
pub(super) fn other(path: &str) -> Option<String> {
    let readings = Readings::of(path)?;
    let mut others = readings.keys().skip(1);
    others.find(|key| canonical(key).is_ok())
}

fn key(text: &[u8]) -> String {
    let mut key = String::with_capacity(text.len() + 8);
    let mut rest = text;
    while let [byte, behind @ ..] = rest {
        rest = behind;
        match (byte, escape(behind)) {
            (b'%', Some((value, behind))) => {
                match is_unreserved(value) {
                    true => key.push(value.into()),
                    false => push_escaped(&mut key, value),
                }
                rest = behind;
            }
            (byte, _) if is_plain(*byte) => key.push((*byte).into()),
            (byte, _) => push_escaped(&mut key, *byte),
        }
    }
    key
}

/// The byte whose two digits these are, and what follows.
fn escape(behind_percent: &[u8]) -> Option<(u8, &[u8])> {
    let [high, low, rest @ ..] = behind_percent else {
        return None;
    };
    Some((hex(*high)? << 4 | hex(*low)?, rest))
}

/// The character of `%uXXXX`, as some servers of Windows have it.
fn wide(behind_percent: &[u8]) -> Option<(char, &[u8])> {
    let [b'u' | b'U', a, b, c, d, rest @ ..] = behind_percent else {
        return None;
    };
    let digits = [a, b, c, d].map(|digit| hex(*digit).map(u32::from));
    let value = digits
        .into_iter()
        .try_fold(0, |value, digit| Some(value << 4 | digit?))?;
    Some((char::from_u32(value)?, rest))
}

/// Every escape decoded once.
fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    escapes(text, |_| true)
}

/// Only what separates, decoded once.
fn separated(text: &[u8]) -> Option<Vec<u8>> {
    escapes(text, |byte| b"/\\;".contains(&byte))
}

fn escapes(text: &[u8], chosen: impl Fn(u8) -> bool) -> Option<Vec<u8>> {
    text.contains(&b'%').then_some(())?;
    let mut left = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, behind @ ..] = rest {
        rest = behind;
        if *byte == b'%' {
            if let Some((value, behind)) = escape(behind).filter(|(value, _)| chosen(*value)) {
                left.push(value);
                rest = behind;
                continue;
            }
            let wide = wide(behind).filter(|(value, _)| value.is_ascii() && chosen(*value as u8));
            if let Some((value, behind)) = wide {
                left.push(value as u8);
                rest = behind;
                continue;
            }
        }
        left.push(*byte);
    }
    (left.len() != text.len()).then_some(left)
}

/// ASCII in longer UTF-8 than it needs, as itself.
fn shortened(text: &[u8]) -> Option<Vec<u8>> {
    text.iter().any(|byte| *byte >= 0xc0).then_some(())?;
    let mut left = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, behind @ ..] = rest {
        match overlong(rest) {
            Some((value, behind)) => {
                left.push(value);
                rest = behind;
            }
            None => {
                left.push(*byte);
                rest = behind;
            }
        }
    }
    (left.len() != text.len()).then_some(left)
}

/// The ASCII that begins here in two to six bytes, and what follows.
fn overlong(text: &[u8]) -> Option<(u8, &[u8])> {
    let (first, rest) = text.split_first()?;
    let (more, value) = match first {
        0xc0 | 0xc1 => (1, first & 1),
        0xe0 => (2, 0),
        0xf0 => (3, 0),
        0xf8 => (4, 0),
        0xfc => (5, 0),
        _ => return None,
    };
    let (continued, rest) = rest.split_at_checked(more)?;
    let is_continued = continued.iter().all(|byte| (0x80..0xc0).contains(byte));
    let value = continued.iter().fold(u64::from(value), |value, byte| {
        value << 6 | u64::from(byte & 0x3f)
    });
    let value = u8::try_from(value).ok().filter(|value| value.is_ascii())?;
    is_continued.then_some((value, rest))
}

fn slashed(text: &[u8]) -> Option<Vec<u8>> {
    text.contains(&b'\\').then(|| {
        let slashed = text
            .iter()
            .map(|byte| if *byte == b'\\' { b'/' } else { *byte });
        slashed.collect()
    })
}

fn segments(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'/')
}

fn bare(segment: &[u8]) -> &[u8] {
    segment
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default()
}

fn without_parameters(text: &[u8]) -> Option<Vec<u8>> {
    text.contains(&b';')
        .then(|| segments(text).map(bare).collect::<Vec<_>>().join(&b'/'))
}

fn without_last_parameters(text: &[u8]) -> Option<Vec<u8>> {
    let last = text.iter().rposition(|byte| *byte == b'/')?;
    let (_, segment) = text.split_at(last);
    let end = segment.iter().position(|byte| *byte == b';')?;
    text.get(..last + end).map(<[u8]>::to_vec)
}

/// What was an escaped query or fragment is one now.
fn cut(text: &[u8]) -> Option<Vec<u8>> {
    let end = text.iter().position(|byte| matches!(byte, b'?' | b'#'))?;
    text.get(..end).map(<[u8]>::to_vec)
}

/// What is left where the target is resolved as a reference, as `new URL(target, base)` does: the first segment behind two
/// slashes is a host then.
fn behind_host(text: &[u8]) -> Option<Vec<u8>> {
    let host = text.strip_prefix(b"//")?;
    let begin = host.iter().position(|byte| *byte != b'/')?;
    let (_, host) = host.split_at(begin);
    let end = host.iter().position(|byte| *byte == b'/')?;
    host.get(end..).map(<[u8]>::to_vec)
}

fn merged(text: &[u8]) -> Option<Vec<u8>> {
    text.windows(2).any(|pair| pair == b"//").then(|| {
        let mut merged = text.to_vec();
        merged.dedup_by(|b, a| *a == b'/' && *b == b'/');
        merged
    })
}

/// Dot segments taken out (RFC 3986, section 5.2.4).
fn resolved(text: &[u8]) -> Option<Vec<u8>> {
    let is_dots = |segment: &[u8]| matches!(segment, b"." | b"..");
    segments(text).any(is_dots).then_some(())?;
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut ends_in_dots = false;
    for segment in segments(text).skip(1) {
        ends_in_dots = is_dots(segment);
        match segment {
            b"." => {}
            b".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    if ends_in_dots {
        kept.push(b"");
    }
    let joined = kept.join(&b'/');
    Some([b"/", joined.as_slice()].concat())
}

/// Without the slash at the end.
fn without_end(text: &[u8]) -> Option<Vec<u8>> {
    let bare = text.strip_suffix(b"/").filter(|bare| !bare.is_empty());
    bare.map(<[u8]>::to_vec)
}
