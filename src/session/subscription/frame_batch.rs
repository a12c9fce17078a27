//! What one round may add to the outbox.

use std::sync::Arc;

use tokio::time::Instant;

use crate::config::Route;
use crate::event::{Cause, Event};
use crate::protocol::{Codec, Output};
use crate::telemetry::Meters;
use crate::transport::outbox::Outbox;

/// An event on its way to a socket, whose trace ends there.
pub(in crate::session) struct Traced {
    pub cause: Arc<Cause>,
    pub route: Arc<Route>,
    /// When it was read from the backend.
    pub read: std::time::Instant,
}

/// What a subscription needs of its session to go on.
pub(in crate::session) struct FrameBatch<'a> {
    pub codec: &'a mut dyn Codec,
    pub now: Instant,
    pub out: &'a mut Outbox,
    /// Frames that may still be added in this round.
    pub frames: usize,
    /// Reused between reads.
    pub scratch: Vec<Arc<Event>>,
    /// The event that waited longest among those added, with where its latency is counted.
    pub oldest: Option<(std::time::Instant, Arc<Meters>)>,
    /// An event whose way through the process is traced.
    pub traced: Option<Box<Traced>>,
}

/// Bytes that may be added in one round, as a soft limit.
pub(in crate::session) const BATCH_BYTES: usize = 256 * 1024;

impl FrameBatch<'_> {
    /// Whether this round has no room left.
    pub fn is_full(&self) -> bool {
        self.frames == 0 || self.out.bytes() >= BATCH_BYTES
    }

    /// Adds what the session says beside events, where the protocol has a word for it.
    pub fn say(&mut self, output: &Output<'_>) {
        self.codec.encode(output, &mut |packet| {
            self.out.push(packet);
            self.frames = self.frames.saturating_sub(1);
        });
    }
}
