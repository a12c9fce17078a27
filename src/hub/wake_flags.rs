//! The signals of a topic's subscribers, by slot. They stand in blocks that copies share, so that a copy costs one count: a
//! fan-out takes one under the listeners' lock and notifies it without. What changes meanwhile changes its own block only.

use std::sync::Arc;

use super::wake::WakeFlag;

/// Slots of one block.
const BLOCK: usize = 64;

#[derive(Clone, Default)]
pub(super) struct WakeFlags(Arc<Vec<Block>>);

type Block = Arc<Vec<Option<Arc<WakeFlag>>>>;

impl WakeFlags {
    /// The signal of this slot from now on.
    pub fn set(&mut self, slot: u32, signal: Option<Arc<WakeFlag>>) {
        let (block, place) = (slot as usize / BLOCK, slot as usize % BLOCK);
        let block = entry(Arc::make_mut(&mut self.0), block);
        *entry(Arc::make_mut(block), place) = signal;
    }

    /// Notifies all.
    pub fn ring(&self) {
        let signals = self.0.iter().flat_map(|block| block.iter().flatten());
        signals.for_each(|signal| signal.ring());
    }

    /// Notifies one slot's.
    pub fn ring_one(&self, slot: u32) {
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
    use std::task::{Context, Waker};

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
