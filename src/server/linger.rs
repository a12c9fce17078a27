//! The end of a connection whose client may still be sending.
//!
//! The system resets a connection that is closed with bytes unread, and the reset destroys an answer that is on its way
//! (RFC 9112, section 9.6). Many clients write a whole request before they read anything. So what such a client goes on
//! sending is read and thrown away, as nginx does, by time and silence.

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

use super::lazy_timer::Clock;
use crate::policy::connection_limits::Lingering;

/// How long a client may go on sending, and how long it may pause meanwhile: nginx's `lingering_time` and
/// `lingering_timeout`.
pub(crate) const TIME: Duration = Duration::from_secs(30);
pub(crate) const SILENCE: Duration = Duration::from_secs(5);

/// How long it may take at most while the process leaves.
const LAST: Duration = Duration::from_secs(2);

/// How much is read at once.
const PIECE: usize = 16 * 1024;

/// Listens to a client as [`Linger`] does.
pub(crate) async fn listen(
    io: &mut (impl AsyncRead + Unpin),
    place: Option<Lingering>,
    otherwise: Instant,
) {
    let mut linger = Linger::new(place, otherwise);
    poll_fn(|cx| linger.poll(io, cx)).await;
}

/// Listens to one client until it closes its half, falls silent, or has had its time.
#[derive(Debug)]
pub(crate) struct Linger {
    end: Instant,
    heard: Instant,
    clock: Clock,
    _place: Option<Lingering>,
}

impl Linger {
    /// Without a place among those that linger it ends `otherwise`.
    pub(crate) fn new(place: Option<Lingering>, otherwise: Instant) -> Self {
        let now = Instant::now();
        Linger {
            end: place.as_ref().map_or(otherwise, |_| now + TIME),
            heard: now,
            clock: Clock::default(),
            _place: place,
        }
    }

    /// The process leaves: less time is left.
    pub(crate) fn hurry(&mut self) {
        self.end = self.end.min(Instant::now() + LAST);
    }

    /// Reads what comes; ready when that is over.
    pub(crate) fn poll(
        &mut self,
        io: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        loop {
            let mut room = [const { MaybeUninit::uninit() }; PIECE];
            let mut room = ReadBuf::uninit(&mut room);
            match Pin::new(&mut *io).poll_read(cx, &mut room) {
                // Also where the task has had its share: a client that sends without a pause has an end, too.
                Poll::Pending => {
                    let deadline = self.end.min(self.heard + SILENCE);
                    return match deadline <= Instant::now() {
                        true => Poll::Ready(()),
                        false => self.clock.poll_until(deadline, cx),
                    };
                }
                Poll::Ready(Ok(())) if !room.filled().is_empty() => self.heard = Instant::now(),
                Poll::Ready(_) => return Poll::Ready(()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::time::sleep;

    use super::*;
    use crate::policy::connection_limits::Connections;

    /// How long it listens to a client that sends a byte a second, where the process shuts down after `leaves`.
    async fn listened(place: Option<Lingering>, leaves: Option<Duration>) -> Duration {
        let (mut client, mut io) = tokio::io::duplex(64);
        let begun = Instant::now();
        let sending = async {
            while client.write_all(b"x").await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        };
        let mut linger = Linger::new(place, begun);
        let mut leaving = leaves.map(|after| Box::pin(sleep(after)));
        let listening = poll_fn(|cx| {
            if leaving
                .take_if(|leaving| leaving.as_mut().poll(cx).is_ready())
                .is_some()
            {
                linger.hurry();
            }
            linger.poll(&mut io, cx)
        });
        tokio::select! {
            () = listening => {}
            () = sending => {}
        }
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_leaves_listens_for_two_seconds_more() {
        let place = || Connections::default().linger();
        assert_eq!(listened(place(), None).await, TIME);
        let leaves = Some(Duration::from_millis(3500));
        assert_eq!(
            listened(place(), leaves).await,
            Duration::from_millis(3500) + LAST
        );
        // Not longer than it would have otherwise.
        let leaves = Some(TIME - Duration::from_secs(1));
        assert_eq!(listened(place(), leaves).await, TIME);
        assert_eq!(listened(None, None).await, Duration::ZERO);
    }
}
