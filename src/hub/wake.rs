//! How a topic reaches a session without owning a queue for it.

use atomic_waker::AtomicWaker;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Context;

/// A notification that any thread may send and one task waits for. Several between two looks are one.
#[derive(Debug, Default)]
pub struct WakeFlag {
    rung: AtomicBool,
    waker: AtomicWaker,
}

impl WakeFlag {
    /// Wakes the waiting task, now or when it next looks.
    pub fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    /// Whether it was notified since the last look; registers the task for the next notification.
    pub fn poll_rung(&self, cx: &mut Context<'_>) -> bool {
        self.waker.register(cx.waker());
        self.rung.swap(false, Ordering::AcqRel)
    }
}
