//! Pure. The event that a packet bears, found without reading the packet.

/// The name of a packet's event as it is spelt there; `None` where it bears none. The packet begins with the digit of its kind, and may
/// stand in two pieces.
pub(super) fn event_name<'a>(packet: &'a [u8], rest: &'a [u8]) -> Option<&'a [u8]> {
    if !matches!(packet.first(), Some(b'2' | b'5')) {
        return None;
    }
    in_quotes(packet).or_else(|| in_quotes(rest))
}

/// The text that a list begins with.
fn in_quotes(text: &[u8]) -> Option<&[u8]> {
    let start = text.windows(2).position(|pair| pair == br#"[""#)? + 2;
    let name = text.get(start..)?;
    let end = name.iter().position(|byte| *byte == b'"')?;
    name.get(..end)
}

#[cfg(test)]
mod tests {
    use super::event_name;

    #[test]
    fn event_is_named_whatever_stands_around_it() {
        for (packet, rest, name) in [
            (r#"2["join",{"a":["b"]}]"#, "", Some("join")),
            (r#"2/admin,17["join"]"#, "", Some("join")),
            (r#"51-/admin,["file",{}]"#, "", Some("file")),
            ("2/pipeline/7,", r#"["done",1]"#, Some("done")),
            (r#"3/admin,17["join"]"#, "", None),
            (r#"0/admin,{"a":["b"]}"#, "", None),
            ("2[1]", "", None),
            (r#"2["cut"#, "", None),
            ("", "", None),
        ] {
            let found = event_name(packet.as_bytes(), rest.as_bytes());
            assert_eq!(found, name.map(str::as_bytes), "{packet}{rest}");
        }
    }
}
