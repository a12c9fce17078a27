//! A client's message in `crossfade.v1.json`: understood, or a violation with one of the codes that it may have.

#![no_main]

use crossfade::protocol::{Codec, Message, Violation, json::JsonCodec};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let message = match std::str::from_utf8(input) {
        Ok(text) => Message::Text(text.as_bytes()),
        Err(_) => Message::Binary(input),
    };
    if let Err(Violation::Close { code, .. }) = JsonCodec.decode(message, &mut Vec::new()) {
        assert_eq!(code, 4000);
    }
});
