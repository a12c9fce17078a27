//! When a session has something to do though nothing comes: one timer for the nearest of all deadlines.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer whose setting is put off as long as it fires early enough.
pub(crate) struct Timer {
    sleep: Pin<Box<Sleep>>,
    /// When it fires.
    at: Instant,
}

impl Timer {
    /// Due at once.
    pub(crate) fn new(now: Instant) -> Self {
        Timer {
            sleep: Box::pin(sleep_until(now)),
            at: now,
        }
    }

    /// Waits for `deadline`. A timer that fires earlier than needed costs a look; setting it, or only asking it, at every event
    /// would cost more. The task's waker stays the same for its life.
    pub(crate) fn poll_until(
        &mut self,
        deadline: Instant,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        if now < self.at && self.at <= deadline {
            return Poll::Pending;
        }
        self.at = deadline;
        self.sleep.as_mut().reset(deadline);
        self.sleep.as_mut().poll(cx)
    }
}
