//! What the layer below the engine reports to those above it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::http::http2_frame_budget::FrameAbuse;

/// One connection's notice board.
#[derive(Debug, Default)]
pub(crate) struct Http2State {
    abuse: OnceLock<FrameAbuse>,
    /// The stream whose DATA frame is under way, and how many of its bytes have come: 32 bits each.
    under_way: AtomicU64,
    /// Streams that the engine has reset as malformed, and that are not counted yet.
    malformed: AtomicU32,
    is_leaving: AtomicBool,
}

impl Http2State {
    /// What the client does to its connection; it has no future then.
    pub(crate) fn abuse(&self) -> Option<FrameAbuse> {
        self.abuse.get().copied()
    }

    pub(super) fn accuse(&self, abuse: FrameAbuse) {
        let _ = self.abuse.set(abuse);
    }

    /// How many bytes of a stream's next DATA frame have come.
    pub(super) fn of(&self, stream: u32) -> usize {
        let under_way = self.under_way.load(Ordering::Relaxed);
        match under_way >> 32 == u64::from(stream) {
            true => (under_way & u64::from(u32::MAX)) as usize,
            false => 0,
        }
    }

    pub(super) fn show(&self, stream: u32, come: u32) {
        let under_way = u64::from(stream) << 32 | u64::from(come);
        self.under_way.store(under_way, Ordering::Relaxed);
    }

    /// The process leaves: a client that only goes on sending is not waited for.
    pub(super) fn leave(&self) {
        self.is_leaving.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Relaxed)
    }

    /// How many streams were malformed since the last time.
    pub(super) fn take_malformed(&self) -> u32 {
        match self.malformed.load(Ordering::Relaxed) {
            0 => 0,
            _ => self.malformed.swap(0, Ordering::Relaxed),
        }
    }

    pub(super) fn count_malformed(&self) {
        self.malformed.fetch_add(1, Ordering::Relaxed);
    }
}
