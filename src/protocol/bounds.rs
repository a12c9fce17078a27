//! How complicated a client's JSON may be: judged before anything is built of it.

/// Levels of arrays and objects in a client's message.
const DEPTH: usize = 64;

/// Members and elements in a client's message, all levels together.
const ELEMENTS: usize = 10_000;

/// Whether a text stays within depth and width.
pub(super) fn is_modest(text: &[u8]) -> bool {
    let (mut depth, mut elements) = (0usize, 0usize);
    let (mut in_string, mut escaped) = (false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' => elements += 1,
            _ => {}
        }
        if depth > DEPTH || elements > ELEMENTS {
            return false;
        }
    }
    true
}
