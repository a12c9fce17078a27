//! A client's WebSocket bytes: the same messages however they are cut, and within the limits.

#![no_main]

use crossfade::transport::Incoming;
use crossfade::transport::websocket::reader::{MessageLimits, Reader};
use libfuzzer_sys::fuzz_target;

const LIMITS: MessageLimits = MessageLimits {
    message: 1024,
    fragments: 8,
};

fuzz_target!(|input: (u8, &[u8])| {
    let (cut, bytes) = input;
    let whole = read(bytes.chunks(bytes.len().max(1)));
    let pieces = read(bytes.chunks(usize::from(cut).max(1)));
    assert_eq!(whole, pieces);
    for incoming in whole {
        if let Incoming::Text(message) | Incoming::Binary(message) = incoming {
            assert!(message.len() <= LIMITS.message as usize);
        }
    }
});

fn read<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Vec<Incoming> {
    let mut inbound = Reader::new(LIMITS);
    let mut all = Vec::new();
    for chunk in chunks {
        inbound.feed(chunk);
        while let Some(incoming) = inbound.read() {
            let is_end = matches!(incoming, Incoming::Close(_) | Incoming::Broken(_));
            all.push(incoming);
            if is_end {
                return all;
            }
        }
        inbound.take_replies();
    }
    all
}
