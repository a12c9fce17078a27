//! A backend's event stream: the same messages however its bytes are cut, and never an id that could not be a header.

#![no_main]

use crossfade::source::sse::decode::{Decoder, SseEvent, TooLarge};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (cut, stream) = input;
    let whole = decode(stream.chunks(stream.len().max(1)));
    let pieces = decode(stream.chunks(usize::from(cut).max(1)));
    assert_eq!(whole, pieces);
    for message in whole.0 {
        assert!(std::str::from_utf8(&message.data).is_ok());
        assert!(message.id.is_none_or(|id| !id.contains(['\0', '\r', '\n'])));
    }
});

fn decode<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<SseEvent>, Result<(), TooLarge>) {
    let mut decoder = Decoder::new(None);
    let mut messages = Vec::new();
    for chunk in chunks {
        if let Err(error) = decoder.feed(chunk, &mut messages) {
            return (messages, Err(error));
        }
    }
    (messages, Ok(()))
}
