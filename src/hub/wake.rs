//! How a topic reaches its sessions without owning a queue for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Context;

use atomic_waker::AtomicWaker;

/// A notification that any thread may send and one task waits for. Several between two looks are one.
#[derive(Debug, Default)]
pub struct WakeFlag {
    rung: AtomicBool,
    waker: AtomicWaker,
}

impl WakeFlag {
    /// Wakes the waiting task, now or when it next looks.
    pub(crate) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    /// Whether it was notified since the last look; registers the task for the next notification.
    pub(crate) fn poll_rung(&self, cx: &mut Context<'_>) -> bool {
        self.waker.register(cx.waker());
        self.rung.swap(false, Ordering::AcqRel)
    }
}

/// Slots of one block.
const BLOCK: usize = 64;

/// The signals of a topic's subscribers, by slot. They stand in blocks that copies share, so that a copy costs one count: a
/// fan-out takes one under the listeners' lock and notifies it without. What changes meanwhile changes its own block only.
#[derive(Clone, Default)]
pub(super) struct WakeFlags(Arc<Vec<Block>>);

type Block = Arc<Vec<Option<Arc<WakeFlag>>>>;

impl WakeFlags {
    /// The signal of this slot from now on.
    pub(super) fn set(&mut self, slot: u32, signal: Option<Arc<WakeFlag>>) {
        let (block, place) = (slot as usize / BLOCK, slot as usize % BLOCK);
        let block = entry(Arc::make_mut(&mut self.0), block);
        *entry(Arc::make_mut(block), place) = signal;
    }

    /// Notifies all.
    pub(super) fn ring(&self) {
        let signals = self.0.iter().flat_map(|block| block.iter().flatten());
        signals.for_each(|signal| signal.ring());
    }

    /// Notifies one slot's.
    pub(super) fn ring_one(&self, slot: u32) {
        let block = self.0.get(slot as usize / BLOCK);
        let signal = block.and_then(|block| block.get(slot as usize % BLOCK));
        if let Some(Some(signal)) = signal {
            signal.ring();
        }
    }
}

/// The entry at this place, which is made where the list ends before it.
fn entry<T: Default>(list: &mut Vec<T>, place: usize) -> &mut T {
    if list.len() <= place {
        list.resize_with(place + 1, T::default);
    }
    &mut list[place]
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn rung(signal: &WakeFlag) -> bool {
        signal.poll_rung(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_copy_rings_what_was_there_when_it_was_taken() {
        let bells: Vec<Arc<WakeFlag>> = (0..200).map(|_| Arc::default()).collect();
        let mut signals = WakeFlags::default();
        for (slot, bell) in (0..150).zip(&bells) {
            signals.set(slot, Some(bell.clone()));
        }
        let copy = signals.clone();
        signals.set(149, None);
        for (slot, bell) in (150..).zip(&bells[150..]) {
            signals.set(slot, Some(bell.clone()));
        }
        copy.ring();
        let rang: Vec<bool> = bells.iter().map(|bell| rung(bell)).collect();
        assert!(rang[..150].iter().all(|rang| *rang) && !rang[150..].contains(&true));
        signals.ring();
        let rang: Vec<bool> = bells.iter().map(|bell| rung(bell)).collect();
        assert!((0..).zip(&rang).all(|(slot, rang)| *rang == (slot != 149)));
        signals.ring_one(3);
        assert!(rung(&bells[3]) && !rung(&bells[4]));
        signals.ring_one(149);
        signals.ring_one(10_000);
    }
}
