//! How fast a client takes what waits for it.

use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use super::lazy_timer::Clock;

/// How long a client may take nothing, and over how much time of waiting its rate is measured.
const WINDOW: Duration = Duration::from_secs(30);

/// The clock of a connection's writing half. Only waiting counts: a client is not slow because there is nothing for it.
#[derive(Debug)]
pub(in crate::server) struct Taking {
    /// Bytes in one window.
    enough: u64,
    clock: Clock,
    /// Since when the client has taken nothing, while something waits for it.
    since: Option<Instant>,
    /// Waiting and bytes since the rate was looked at last.
    waited: Duration,
    taken: u64,
}

impl Taking {
    /// `rate` is the least, in bytes per second.
    pub(in crate::server) fn new(rate: u64) -> Self {
        Taking {
            enough: rate.saturating_mul(WINDOW.as_secs()),
            clock: Clock::default(),
            since: None,
            waited: Duration::ZERO,
            taken: 0,
        }
    }

    /// Follows a write; one that takes too long fails.
    pub(in crate::server) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(written) => {
                self.took(written.as_ref().map_or(0, |count| *count));
                Poll::Ready(written)
            }
            Poll::Pending => {
                ready!(self.poll_waiting(cx));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }

    fn took(&mut self, bytes: usize) {
        // The common case is a socket that takes everything at once: no clock is read then.
        let Some(since) = self.since.take() else {
            return;
        };
        self.waited += since.elapsed();
        self.taken = self.taken.saturating_add(bytes as u64);
    }

    /// Ready once it has taken too long.
    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let stalled = since + WINDOW;
        loop {
            let rate_is_due = since + WINDOW.saturating_sub(self.waited);
            ready!(self.clock.poll_until(rate_is_due.min(stalled), cx));
            if rate_is_due >= stalled || self.taken < self.enough {
                return Poll::Ready(());
            }
            self.waited = Duration::ZERO;
            self.taken = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// After how many seconds a client is given up that takes `bytes` every `every` seconds, out of 300.
    async fn given_up(bytes: usize, every: u64) -> Option<u64> {
        let mut taking = Taking::new(100);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(300) {
            let next = Instant::now() + Duration::from_secs(every);
            let blocked = poll_fn(|cx| taking.poll(cx, Poll::Pending));
            match tokio::time::timeout_at(next, blocked).await {
                Ok(failed) => {
                    assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::TimedOut);
                    return Some(begun.elapsed().as_secs());
                }
                Err(_) => {
                    let took = poll_fn(|cx| taking.poll(cx, Poll::Ready(Ok(bytes)))).await;
                    assert_eq!(took.unwrap(), bytes);
                }
            }
        }
        None
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_has_half_a_minute() {
        assert_eq!(given_up(0, 1000).await, Some(30));
        assert_eq!(given_up(1_000_000, 31).await, Some(30));
    }

    #[tokio::test(start_paused = true)]
    async fn a_dripping_client_is_given_up_and_a_slow_one_is_not() {
        assert_eq!(given_up(1, 1).await, Some(30));
        assert_eq!(given_up(99, 1).await, Some(30));
        assert_eq!(given_up(120, 1).await, None);
        assert_eq!(given_up(3_500, 29).await, None);
    }
}
