//! The relay's queue: frames ordered by when they are due, bounded in memory. Pure, without a clock.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

/// What a queued frame costs beside its bytes.
const OVERHEAD: usize = 64;

/// A frame that waits.
#[derive(Debug)]
pub(crate) struct HeldFrame {
    /// When it is to be sent, monotonic clock, nanoseconds.
    pub(crate) due_ns: u64,
    /// Order of arrival, which decides between frames that are due at the same time.
    sequence: u64,
    /// The rule slot that it belongs to.
    pub(crate) slot: u32,
    /// The frame with its offload header.
    pub(crate) bytes: Box<[u8]>,
}

impl PartialEq for HeldFrame {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for HeldFrame {}

impl PartialOrd for HeldFrame {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for HeldFrame {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.due_ns, self.sequence).cmp(&(other.due_ns, other.sequence))
    }
}

/// Frames in the order in which they are due.
#[derive(Debug)]
pub(crate) struct DelayLine {
    frames: BinaryHeap<Reverse<HeldFrame>>,
    next_sequence: u64,
    bytes: usize,
    byte_limit: usize,
}

impl DelayLine {
    /// An empty line that takes at most `byte_limit` bytes of memory for frames.
    pub(crate) fn new(byte_limit: usize) -> Self {
        Self { frames: BinaryHeap::new(), next_sequence: 0, bytes: 0, byte_limit }
    }

    /// Queues a frame; false, and the frame is lost, if there is no room.
    #[must_use]
    pub(crate) fn push(&mut self, slot: u32, due_ns: u64, frame: &[u8]) -> bool {
        let cost = frame.len().saturating_add(OVERHEAD);
        if self.bytes.saturating_add(cost) > self.byte_limit {
            return false;
        }
        self.bytes = self.bytes.saturating_add(cost);
        let sequence = self.next_sequence;
        self.next_sequence = self.next_sequence.wrapping_add(1);
        self.frames.push(Reverse(HeldFrame { due_ns, sequence, slot, bytes: frame.into() }));
        true
    }

    /// When the next frame is due.
    pub(crate) fn next_due_ns(&self) -> Option<u64> {
        self.frames.peek().map(|Reverse(frame)| frame.due_ns)
    }

    /// Takes the first frame if it is due at `now_ns`.
    pub(crate) fn pop_due(&mut self, now_ns: u64) -> Option<HeldFrame> {
        if self.next_due_ns()? > now_ns {
            return None;
        }
        let Reverse(frame) = self.frames.pop()?;
        self.bytes = self.bytes.saturating_sub(frame.bytes.len().saturating_add(OVERHEAD));
        Some(frame)
    }

    /// Makes all frames of a slot due at once; among themselves they keep their order.
    pub(crate) fn make_due(&mut self, slot: u32, now_ns: u64) {
        let frames = std::mem::take(&mut self.frames).into_sorted_vec();
        // The vector of reversed frames is sorted with the last due first.
        for Reverse(mut frame) in frames.into_iter().rev() {
            if frame.slot == slot && frame.due_ns > now_ns {
                frame.due_ns = now_ns;
                frame.sequence = self.next_sequence;
                self.next_sequence = self.next_sequence.wrapping_add(1);
            }
            self.frames.push(Reverse(frame));
        }
    }

    /// How many frames wait.
    pub(crate) fn len(&self) -> usize {
        self.frames.len()
    }
}

#[cfg(test)]
mod tests {
    use super::{DelayLine, OVERHEAD};

    fn drain(line: &mut DelayLine, now_ns: u64) -> Vec<u8> {
        std::iter::from_fn(|| line.pop_due(now_ns)).map(|frame| frame.bytes[0]).collect()
    }

    #[test]
    fn frames_come_out_when_due_and_in_order_of_due_then_arrival() {
        let mut line = DelayLine::new(1 << 20);
        for (due, byte) in [(30, 3), (10, 1), (30, 4), (20, 2)] {
            assert!(line.push(1, due, &[byte]));
        }
        assert_eq!(line.next_due_ns(), Some(10));
        assert_eq!(drain(&mut line, 9), [0; 0]);
        assert_eq!(drain(&mut line, 20), [1, 2]);
        assert_eq!(drain(&mut line, 30), [3, 4]);
        assert_eq!(line.next_due_ns(), None);
    }

    #[test]
    fn a_full_line_refuses_and_takes_again_after_a_frame_left() {
        let mut line = DelayLine::new(2 * (OVERHEAD + 1));
        assert!(line.push(1, 0, &[1]));
        assert!(line.push(1, 0, &[2]));
        assert!(!line.push(1, 0, &[3]));
        assert!(line.pop_due(0).is_some());
        assert!(line.push(1, 0, &[4]));
        assert_eq!(line.len(), 2);
    }

    #[test]
    fn releasing_a_slot_keeps_its_order_and_leaves_the_others_waiting() {
        let mut line = DelayLine::new(1 << 20);
        for (slot, due, byte) in [(1, 300, 2), (2, 250, 9), (1, 200, 1), (1, 400, 3), (1, 5, 0)] {
            assert!(line.push(slot, due, &[byte]));
        }
        line.make_due(1, 100);
        assert_eq!(drain(&mut line, 100), [0, 1, 2, 3]);
        assert_eq!(drain(&mut line, 250), [9]);
    }
}
