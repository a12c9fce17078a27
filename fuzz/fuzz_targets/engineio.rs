//! The body of a POST of Engine.IO: its packets are read, and what can be written is written as it was read.

#![no_main]

use bytes::Bytes;
use crossfade::protocol::engineio::packet::EnginePacket;
use crossfade::protocol::engineio::payload::{PollAnswer, PostedPackets};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(packets) = PostedPackets::of(Bytes::copy_from_slice(input), 65_536) else {
        return;
    };
    let packets: Vec<EnginePacket> = packets.map_while(Result::ok).collect();
    assert!(packets.len() <= input.len());
    for some in packets.chunks(16) {
        let mut answer = PollAnswer::default();
        for packet in some {
            assert!(answer.push_packet(packet));
        }
        let read = PostedPackets::of(answer.finish(), usize::MAX).expect("packets");
        let read: Vec<EnginePacket> = read.map(|packet| packet.expect("a packet")).collect();
        assert_eq!(read, some);
    }
});
