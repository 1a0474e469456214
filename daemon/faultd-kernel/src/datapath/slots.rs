//! The slots of one namespace: given out in turn, so that a number is not used again soon.

use std::collections::VecDeque;

use faultd_abi::LAST_SLOT;

/// The slots that no rule has.
pub(super) struct SlotPool {
    free: VecDeque<u32>,
}

impl SlotPool {
    pub(super) fn new() -> Self {
        Self { free: (1..=LAST_SLOT).collect() }
    }

    /// The slot that has been free for longest.
    pub(super) fn take(&mut self) -> Option<u32> {
        self.free.pop_front()
    }

    pub(super) fn give_back(&mut self, slot: u32) {
        self.free.push_back(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::{LAST_SLOT, SlotPool};

    #[test]
    fn a_slot_given_back_is_the_last_to_be_used_again() {
        let mut pool = SlotPool::new();
        assert_eq!(pool.take(), Some(1));
        pool.give_back(1);
        let rest: Vec<u32> = std::iter::from_fn(|| pool.take()).collect();
        assert_eq!(rest.len(), LAST_SLOT as usize);
        assert_eq!((rest.first(), rest.last()), (Some(&2), Some(&1)));
        assert_eq!(pool.take(), None);
    }
}
