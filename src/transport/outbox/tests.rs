use super::*;
use crate::packet::PayloadDraft;
use std::task::Waker;

/// A socket that takes so many bytes per write, in one buffer or several.
struct Narrow {
    taken: Vec<u8>,
    room: usize,
    vectored: bool,
    writes: usize,
}

impl AsyncWrite for Narrow {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = bytes.len().min(self.room);
        self.taken.extend_from_slice(&bytes[..count]);
        self.writes += 1;
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all: Vec<u8> = slices.iter().flat_map(|s| s.iter().copied()).collect();
        self.poll_write(cx, &all)
    }

    fn is_write_vectored(&self) -> bool {
        self.vectored
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn frames_leave_whole_and_in_order_whatever_the_socket_takes() {
    for (room, vectored) in [(1, true), (3, false), (1000, true), (1000, false)] {
        let mut io = Narrow {
            taken: Vec::new(),
            room,
            vectored,
            writes: 0,
        };
        let mut outbox = Outbox::default();
        let mut expected = Vec::new();
        for number in 0..100u8 {
            let text = vec![b'a' + number % 26; usize::from(number % 5) + 1];
            expected.extend_from_slice(&[0x81, text.len() as u8]);
            expected.extend_from_slice(&text);
            let (head, body) = text.split_at(usize::from(number % 2));
            outbox.push(message(head, body));
        }
        assert_eq!(outbox.bytes(), expected.len());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(outbox.poll_write(&mut io, &mut cx).is_ready());
        assert_eq!(io.taken, expected);
        assert_eq!((outbox.bytes(), outbox.len()), (0, 0));
        if room == 1000 {
            assert!(io.writes <= 3, "{} writes", io.writes);
        }
    }
}

/// A message whose head, where it has one, is a piece of its own.
fn message(head: &[u8], body: &[u8]) -> Packet {
    let body = Payload::copy_of(body);
    if head.is_empty() {
        return body.into();
    }
    let mut draft = PayloadDraft::with_capacity(head.len());
    draft.push(head);
    Packet::with_head(draft, body)
}

fn left(outbox: &Outbox) -> Vec<u8> {
    let mut pieces = outbox.pieces.iter();
    let first = pieces
        .next()
        .map_or(&[][..], |piece| piece.rest(outbox.written));
    let rest = pieces.flat_map(|piece| piece.bytes.iter().copied());
    first.iter().copied().chain(rest).collect()
}

#[test]
fn a_control_frame_waits_only_for_the_message_under_way() {
    // As far as anything of the message, or all of it, was written.
    for (written, expected) in [
        (0, &b"ping\x81\x05oneoh\x81\x03two"[..]),
        (1, b"\x05oneohping\x81\x03two"),
        (5, b"ohping\x81\x03two"),
        (6, b"hping\x81\x03two"),
        (7, b"ping\x81\x03two"),
    ] {
        let mut outbox = Outbox::default();
        outbox.push(message(b"one", b"oh"));
        outbox.push(message(b"", b"two"));
        outbox.advance(written);
        outbox.control_first(Bytes::from_static(b"ping"));
        assert_eq!(left(&outbox), expected, "{written}");
        outbox.drop_unbegun();
        let under_way = expected.split(|byte| *byte == b'p').next();
        assert_eq!(left(&outbox), under_way.unwrap_or_default(), "{written}");
        assert_eq!(outbox.bytes(), left(&outbox).len(), "{written}");
    }
}

#[test]
fn nothing_comes_behind_the_last_word() {
    let mut outbox = Outbox::new(Framing::EngineIo);
    outbox.push(message(b"a", b"b"));
    outbox.control(Bytes::from_static(b"end"));
    outbox.seal();
    outbox.answer(message(b"", b"c"));
    outbox.push_first(message(b"", b"d"));
    assert_eq!(left(&outbox), b"abend");
    assert_eq!((outbox.len(), outbox.owed()), (2, 0));
}
