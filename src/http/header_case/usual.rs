//! The spelling of names that came without one.

/// Names that their specifications do not write in Title-Case, by length: the names of RFCs, of the WHATWG and of the W3C, and one that nginx made known.
const fn unusual(length: usize) -> &'static [&'static str] {
    match length {
        2 => &["TE", "IM"],
        3 => &["DNT", "DAV", "P3P", "RTT"],
        4 => &["ETag", "A-IM", "ALPN", "DPoP", "DASL"],
        7 => &["Sec-GPC", "baggage"],
        8 => &["CDN-Loop"],
        9 => &["X-Real-IP", "Expect-CT", "Sec-CH-UA", "SourceMap"],
        10 => &["SOAPAction", "DPoP-Nonce", "PICS-Label", "tracestate"],
        11 => &["Content-MD5", "traceparent"],
        12 => &["MIME-Version"],
        13 => &["Last-Event-ID"],
        14 => &["HTTP2-Settings", "Sec-CH-UA-Arch"],
        15 => &["Sec-CH-UA-Model", "X-UA-Compatible", "Sec-CH-UA-WoW64"],
        16 => &["WWW-Authenticate", "Sec-CH-UA-Mobile", "X-XSS-Protection"],
        17 => &[
            "CDN-Cache-Control",
            "Sec-CH-UA-Bitness",
            "Sec-WebSocket-Key",
        ],
        18 => &["Sec-CH-UA-Platform"],
        20 => &["Sec-WebSocket-Accept"],
        21 => &["Sec-WebSocket-Version"],
        22 => &["Sec-WebSocket-Protocol", "X-DNS-Prefetch-Control"],
        24 => &["Sec-WebSocket-Extensions"],
        26 => &["Sec-CH-UA-Platform-Version"],
        27 => &["Sec-CH-UA-Full-Version-List"],
        _ => &[],
    }
}

/// How a name is spelled that is not in Title-Case where it came without a spelling.
pub(crate) fn usual(name: &[u8]) -> Option<&'static str> {
    let mut unusual = unusual(name.len()).iter();
    unusual
        .find(|known| known.as_bytes().eq_ignore_ascii_case(name))
        .copied()
}

/// Whether a name is spelled as it would be had it come without a spelling.
pub(super) fn is_usual(name: &[u8]) -> bool {
    match usual(name) {
        Some(usual) => usual.as_bytes() == name,
        None => is_title_case(name),
    }
}

/// As the engines write it: a large letter at the beginning and behind each `-`.
fn is_title_case(name: &[u8]) -> bool {
    let mut is_first = true;
    name.iter().all(|byte| {
        let is_wrong = match is_first {
            true => byte.is_ascii_lowercase(),
            false => byte.is_ascii_uppercase(),
        };
        is_first = *byte == b'-';
        !is_wrong
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unusual_name_is_found_by_its_length() {
        for length in 0..64 {
            for name in unusual(length) {
                assert_eq!(name.len(), length, "{name}");
                assert!(!is_title_case(name.as_bytes()), "{name}");
            }
        }
    }
}
