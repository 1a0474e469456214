//! Numbers that are given out in turn, so that none is used again soon.

use std::{collections::VecDeque, ops::Range};

use faultd_abi::LAST_SLOT;

/// The numbers that nobody has.
pub(super) struct NumberPool {
    free: VecDeque<u32>,
}

impl NumberPool {
    /// The slots of a namespace.
    pub(super) fn slots() -> Self {
        Self::of(1..LAST_SLOT + 1)
    }

    pub(super) fn of(numbers: Range<u32>) -> Self {
        Self { free: numbers.collect() }
    }

    /// The number that has been free for longest.
    pub(super) fn take(&mut self) -> Option<u32> {
        self.free.pop_front()
    }

    pub(super) fn give_back(&mut self, number: u32) {
        self.free.push_back(number);
    }
}

#[cfg(test)]
mod tests {
    use super::{LAST_SLOT, NumberPool};

    #[test]
    fn a_slot_given_back_is_the_last_to_be_used_again() {
        let mut pool = NumberPool::slots();
        assert_eq!(pool.take(), Some(1));
        pool.give_back(1);
        let rest: Vec<u32> = std::iter::from_fn(|| pool.take()).collect();
        assert_eq!(rest.len(), LAST_SLOT as usize);
        assert_eq!((rest.first(), rest.last()), (Some(&2), Some(&1)));
        assert_eq!(pool.take(), None);
    }
}
