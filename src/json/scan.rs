//! Where values end in a text that is known to be JSON. On any other text each step goes on by at least one byte.

use memchr::memchr2;

/// The place behind the value that begins at `begin`.
pub(crate) fn end_of_value(text: &[u8], begin: usize) -> usize {
    match text.get(begin) {
        Some(b'"') => end_of_text(text, begin),
        Some(b'[' | b'{') => end_of_container(text, begin),
        _ => end_of_word(text, begin),
    }
}

/// Behind white space and the marks between values.
pub(crate) fn skip_marks(text: &[u8], begin: usize) -> usize {
    let rest = text.get(begin..).unwrap_or_default();
    let is_mark = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':');
    let marks = rest.iter().position(|byte| !is_mark(byte));
    begin + marks.unwrap_or(rest.len())
}

/// Whether no more than this many arrays and objects stand in each other.
pub(crate) fn is_within(text: &[u8], depth: usize) -> bool {
    let (mut open, mut at) = (0, 0);
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => {
                at = end_of_text(text, at);
                continue;
            }
            b'[' | b'{' if open == depth => return false,
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    true
}

/// The plain values in a text and the names of members, however deep they stand.
pub(crate) fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            at = skip_marks(text, at);
            let begin = at;
            match text.get(at)? {
                b'[' | b']' | b'{' | b'}' => at += 1,
                _ => {
                    at = end_of_value(text, at);
                    return text.get(begin..at);
                }
            }
        }
    })
}

/// The place behind the array or object that begins at `begin`. It calls nothing but [`end_of_text`]: depth costs no stack.
fn end_of_container(text: &[u8], begin: usize) -> usize {
    let (mut open, mut at) = (0usize, begin);
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => {
                at = end_of_text(text, at);
                continue;
            }
            b'[' | b'{' => open += 1,
            b']' | b'}' => open -= 1,
            _ => {}
        }
        at += 1;
        if open == 0 {
            return at;
        }
    }
    text.len()
}

/// The place behind the text that begins at a quotation mark.
fn end_of_text(text: &[u8], begin: usize) -> usize {
    let mut at = begin + 1;
    while let Some(rest) = text.get(at..) {
        match memchr2(b'"', b'\\', rest) {
            Some(found) if rest.get(found) == Some(&b'"') => return at + found + 1,
            Some(found) => at += found + 2,
            None => break,
        }
    }
    text.len()
}

/// The place behind a number or a word.
fn end_of_word(text: &[u8], begin: usize) -> usize {
    let rest = text.get(begin..).unwrap_or_default();
    let is_end = |byte: &u8| {
        matches!(
            byte,
            b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r' | b':'
        )
    };
    begin + rest.iter().position(is_end).unwrap_or(rest.len()).max(1)
}
