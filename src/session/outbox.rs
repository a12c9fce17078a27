//! Finished frames on their way to the client: everything that waits leaves in one write.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncWrite;

/// Frames in one vectored write.
const SLICES: usize = 64;

/// Room for so many frames stays when nothing waits: most events come one by one.
const KEPT: usize = 4;

/// Bytes copied together for a socket that cannot write several buffers at once.
const TOGETHER: usize = 64 * 1024;

/// What waits to be written. Its bound is its filler's: frames of subscriptions are added only when
/// it is empty, so that a stalled client holds one batch and its lag stays in the shared log.
#[derive(Debug, Default)]
pub struct Outbox {
    frames: VecDeque<Bytes>,
    /// How much of the first frame is written.
    written: usize,
    bytes: usize,
    /// Bytes that the socket has taken, ever.
    taken: u64,
}

impl Outbox {
    /// Puts a frame (or several in one piece) behind all others.
    pub fn push(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    /// Puts a frame before all others that have not begun.
    pub fn push_first(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        let begun = usize::from(self.written > 0);
        self.frames.insert(begun.min(self.frames.len()), frame);
    }

    /// Drops every frame that has not begun: what comes now is the last.
    pub fn drop_unbegun(&mut self) {
        self.frames.truncate(usize::from(self.written > 0));
        self.bytes = self
            .frames
            .front()
            .map_or(0, |frame| frame.len() - self.written);
    }

    /// Whether everything is written.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Frames that wait, the one under way among them.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes that the socket has taken since the beginning.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Writes until nothing waits, neither here nor behind TLS, or the socket takes no more.
    pub fn poll_write<Io>(&mut self, io: &mut Io, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        Io: AsyncWrite + Unpin,
    {
        while let Some(first) = self.frames.front() {
            let written = match self.frames.len() {
                1 => {
                    let rest = first.get(self.written..).unwrap_or_default();
                    Pin::new(&mut *io).poll_write(cx, rest)
                }
                _ if io.is_write_vectored() => {
                    let mut slices = [IoSlice::new(&[]); SLICES];
                    let used = self.fill(&mut slices);
                    Pin::new(&mut *io).poll_write_vectored(cx, &slices[..used])
                }
                _ => {
                    self.join();
                    continue;
                }
            };
            match written {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => self.advance(count),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Pin::new(io).poll_flush(cx)
    }

    fn fill<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut skip = self.written;
        let mut used = 0;
        for (slice, frame) in slices.iter_mut().zip(&self.frames) {
            *slice = IoSlice::new(frame.get(skip..).unwrap_or_default());
            skip = 0;
            used += 1;
        }
        used
    }

    /// Makes the first few frames one; always at least two, so that it gets shorter.
    fn join(&mut self) {
        let mut joined = BytesMut::with_capacity(self.bytes.min(TOGETHER));
        let mut count = 0;
        while let Some(frame) = self.frames.front() {
            let rest = frame.get(self.written..).unwrap_or_default();
            if count >= 2 && joined.len() + rest.len() > TOGETHER {
                break;
            }
            joined.extend_from_slice(rest);
            self.written = 0;
            self.frames.pop_front();
            count += 1;
        }
        self.frames.push_front(joined.freeze());
    }

    fn advance(&mut self, mut count: usize) {
        self.bytes = self.bytes.saturating_sub(count);
        self.taken += count as u64;
        while let Some(first) = self.frames.front() {
            let rest = first.len() - self.written;
            if count < rest {
                self.written += count;
                return;
            }
            count -= rest;
            self.written = 0;
            self.frames.pop_front();
        }
        // An idle connection keeps next to nothing.
        if self.frames.capacity() > KEPT {
            self.frames = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
                let frame = vec![number; usize::from(number % 5) + 1];
                expected.extend_from_slice(&frame);
                outbox.push(frame.into());
            }
            assert_eq!(outbox.bytes(), expected.len());
            let mut cx = Context::from_waker(Waker::noop());
            assert!(outbox.poll_write(&mut io, &mut cx).is_ready());
            assert_eq!(io.taken, expected);
            assert_eq!((outbox.bytes(), outbox.len()), (0, 0));
            if room == 1000 {
                assert!(io.writes <= 2, "{} writes", io.writes);
            }
        }
    }

    #[test]
    fn a_control_frame_waits_only_for_the_frame_under_way() {
        let mut outbox = Outbox::default();
        outbox.push_first(Bytes::from_static(b"zero"));
        outbox.push(Bytes::from_static(b"one"));
        outbox.advance(2);
        outbox.push_first(Bytes::from_static(b"ping"));
        let left: Vec<&[u8]> = outbox.frames.iter().map(|frame| &frame[..]).collect();
        assert_eq!(left, [&b"zero"[..], b"ping", b"one"]);
        outbox.drop_unbegun();
        assert_eq!((outbox.len(), outbox.bytes()), (1, 2));
    }
}
