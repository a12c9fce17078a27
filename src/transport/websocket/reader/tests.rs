use super::*;

const LIMITS: MessageLimits = MessageLimits {
    message: 64 * 1024,
    fragments: 128,
};

/// A client's frame, masked with a key that shows when it is not taken off.
fn client(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    let mask = [0xa5, 0x5a, 0x0f, 0xf0];
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
    frame
}

fn read_all(inbound: &mut Reader, bytes: &[u8], step: usize) -> (Vec<Incoming>, Vec<u8>) {
    let (mut read, mut replies) = (Vec::new(), Vec::new());
    for part in bytes.chunks(step) {
        inbound.feed(part);
        loop {
            let next = inbound.read();
            replies.extend(inbound.take_replies().unwrap_or_default());
            match next {
                Some(incoming) => read.push(incoming),
                None => break,
            }
        }
    }
    (read, replies)
}

#[test]
fn every_split_reads_the_same() {
    let mut bytes = client(0x81, b"{\"t\":\"ping\"}");
    bytes.extend(client(0x01, b"Hel"));
    bytes.extend(client(0x89, b"now"));
    bytes.extend(client(0x80, b"lo"));
    bytes.extend(client(0x82, &[0xff; 300]));
    bytes.extend(client(0x8a, b""));
    bytes.extend(client(0x88, &4000u16.to_be_bytes()));
    let expected = [
        Incoming::Text(Bytes::from_static(b"{\"t\":\"ping\"}")),
        Incoming::Ping,
        Incoming::Text(Bytes::from_static(b"Hello")),
        Incoming::Binary(Bytes::from(vec![0xff; 300])),
        Incoming::Pong,
        Incoming::Close(Some(4000)),
    ];
    for step in 1..=bytes.len() {
        let (read, replies) = read_all(&mut Reader::new(LIMITS), &bytes, step);
        assert_eq!(read, expected, "in steps of {step}");
        assert_eq!(
            replies, b"\x8a\x03now\x88\x02\x0f\xa0",
            "in steps of {step}"
        );
    }
}

#[test]
fn nothing_is_kept_while_the_client_is_silent() {
    let mut inbound = Reader::new(LIMITS);
    read_all(&mut inbound, &client(0x89, b"x"), 1);
    assert!(inbound.decoder.is_none());
    read_all(&mut inbound, &client(0x01, b"begun"), 64);
    assert!(inbound.decoder.is_some());
    let (read, _) = read_all(&mut inbound, &client(0x80, b"."), 64);
    assert_eq!(read, [Incoming::Text(Bytes::from_static(b"begun."))]);
    assert!(inbound.decoder.is_none());
}

#[test]
fn a_message_has_at_most_so_many_fragments() {
    let mut many = client(0x01, b"a");
    for _ in 0..126 {
        many.extend(client(0x00, b"a"));
    }
    let mut fits = many.clone();
    fits.extend(client(0x80, b"a"));
    let (read, _) = read_all(&mut Reader::new(LIMITS), &fits, 7);
    assert_eq!(read, [Incoming::Text(Bytes::from(vec![b'a'; 128]))]);

    let mut bomb = client(0x81, b"first");
    bomb.extend(many);
    for _ in 0..1000 {
        bomb.extend(client(0x00, b""));
    }
    for step in [1, 50, 100_000] {
        let (read, _) = read_all(&mut Reader::new(LIMITS), &bomb, step);
        assert_eq!(
            read,
            [
                Incoming::Text(Bytes::from_static(b"first")),
                Incoming::Broken(4009)
            ]
        );
    }
}

#[test]
fn a_limit_that_changes_holds_for_what_is_under_way() {
    let mut inbound = Reader::new(LIMITS);
    read_all(&mut inbound, &client(0x01, &[b'a'; 60]), 64);
    inbound.limit_messages(100);
    let (read, _) = read_all(&mut inbound, &client(0x80, &[b'a'; 40]), 64);
    assert_eq!(read, [Incoming::Text(Bytes::from(vec![b'a'; 100]))]);
    read_all(&mut inbound, &client(0x01, &[b'a'; 60]), 64);
    inbound.limit_messages(99);
    let (read, _) = read_all(&mut inbound, &client(0x80, &[b'a'; 40]), 64);
    assert_eq!(read, [Incoming::Broken(4009)]);
}

#[test]
fn each_way_to_break_the_protocol_has_its_code() {
    let long = vec![b'a'; LIMITS.message as usize + 1];
    let mut in_parts = client(0x01, &long[1..]);
    in_parts.extend(client(0x80, b"ab"));
    let cases = [
        (client(0x81, &long), 4009),
        (in_parts, 4009),
        (client(0x81, b"\xc3\x28"), 1007),
        (client(0x80, b"no beginning"), 1002),
        (client(0xc1, b"reserved bit"), 1002),
        (client(0x83, b"reserved opcode"), 1002),
        (client(0x09, b"fragmented ping"), 1002),
        (b"\x81\x02hi".to_vec(), 1002),
    ];
    for (bytes, code) in cases {
        let (read, _) = read_all(&mut Reader::new(LIMITS), &bytes, 1000);
        assert_eq!(read, [Incoming::Broken(code)]);
    }
}
