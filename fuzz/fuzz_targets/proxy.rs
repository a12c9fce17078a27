//! The PROXY protocol's header: where it ends and the peer that it names do not depend on the pieces that it comes in.

#![no_main]

use crossfade::http::proxy_protocol::{self, HeaderStart, LONGEST};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let whole = proxy_protocol::begin(bytes);
    if let Ok(HeaderStart::Header(length, _)) = whole {
        assert!((8..=LONGEST).contains(&length) && length <= bytes.len());
        // What follows is not looked at, and nothing less is a header.
        let header = &bytes[..length];
        assert_eq!(proxy_protocol::begin(header), whole);
        let shorter = proxy_protocol::begin(&header[..length - 1]);
        assert!(matches!(shorter, Ok(HeaderStart::Partial { .. })));
    }
    if let Ok(HeaderStart::Partial { is_header }) = whole {
        assert!(bytes.len() < LONGEST);
        // A parser that waits for more has not seen a whole line.
        assert!(!is_header || bytes.len() >= 6);
    }
    // What is decided stays decided.
    let mut decided = None;
    for cut in 0..bytes.len().min(64) {
        match (decided, proxy_protocol::begin(&bytes[..cut])) {
            (None, Ok(HeaderStart::Partial { .. })) => {}
            (None, found) => decided = Some(found),
            (Some(before), found) => assert_eq!(before, found),
        }
    }
    if let Some(decided) = decided {
        assert_eq!(decided, whole);
    }
});
