//! A client's messages in a namespace of Socket.IO, a line each: understood, or a violation that closes. A line that is no
//! packet's text is an attachment.

#![no_main]

use crossfade::protocol::socketio::codec::SocketIoCodec;
use crossfade::protocol::socketio::packet::PacketHead;
use crossfade::protocol::{Codec, Message, Violation};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut codec = SocketIoCodec::new("/".into(), true, true);
    for line in input.split(|byte| *byte == b'\n') {
        let message = match std::str::from_utf8(line) {
            Ok(text) if PacketHead::parse(line).is_ok() => Message::Text(text.as_bytes()),
            _ => Message::Binary(line),
        };
        let mut inputs = Vec::new();
        match codec.decode(message, &mut inputs) {
            Ok(()) => assert!(inputs.len() <= 1),
            Err(Violation::Close { code, .. }) => assert_eq!(code, 4000),
            Err(violation) => panic!("{violation:?}"),
        }
    }
});
