//! The little of HTTP/1.1 that backend and clients speak: heads without bodies in requests, `Content-Length` in answers.

use memchr::memmem;

/// The length of the head at the start of `bytes`, its empty line included; None where it is not whole yet.
pub fn head_length(bytes: &[u8]) -> Option<usize> {
    memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4)
}

/// The path of a request line, without its query.
pub fn path(head: &[u8]) -> &str {
    let line = head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    let target = std::str::from_utf8(line).unwrap_or_default();
    target.split('?').next().unwrap_or_default()
}

/// The status of an answer's head.
pub fn status(head: &[u8]) -> Option<u16> {
    std::str::from_utf8(head.get(9..12)?).ok()?.parse().ok()
}

/// The length of the body that follows an answer's head; 0 where no `Content-Length` says it.
pub fn body_length(head: &[u8]) -> usize {
    const NAME: &[u8] = b"content-length:";
    head.split(|byte| *byte == b'\n')
        .find_map(|line| {
            let (name, value) = line.split_at_checked(NAME.len())?;
            let value = std::str::from_utf8(value).ok()?;
            name.eq_ignore_ascii_case(NAME)
                .then(|| value.trim().parse().ok())?
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_taken_apart() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nbody";
        assert_eq!(head_length(head), Some(head.len() - 4));
        assert_eq!((status(head), body_length(head)), (Some(200), 12));
        assert_eq!(path(b"GET /list?a=b HTTP/1.1\r\n\r\n"), "/list");
    }
}
