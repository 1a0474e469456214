//! The relay's queue: frames ordered by when they are due, bounded in memory. Pure, without a clock.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, VecDeque},
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
    /// The memory that it is in.
    pub(crate) buffer: Box<[u8]>,
    /// Where in there the frame begins, with its offload header.
    start: usize,
    /// Where it ends.
    end: usize,
}

impl HeldFrame {
    /// The frame with its offload header.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    fn cost(&self) -> usize {
        self.buffer.len().saturating_add(OVERHEAD)
    }

    fn key(&self) -> (u64, u64) {
        (self.due_ns, self.sequence)
    }
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
        self.key().cmp(&other.key())
    }
}

/// Frames in the order in which they are due.
#[derive(Debug)]
pub(crate) struct DelayLine {
    /// Those that came in the order in which they are due, as nearly all do: a heap of many frames is
    /// several times slower than a queue.
    in_order: VecDeque<HeldFrame>,
    /// Those that came later than others that are due after them.
    overtaking: BinaryHeap<Reverse<HeldFrame>>,
    next_sequence: u64,
    bytes: usize,
    byte_limit: usize,
}

impl DelayLine {
    /// An empty line that takes at most `byte_limit` bytes of memory for frames.
    pub(crate) fn new(byte_limit: usize) -> Self {
        Self {
            in_order: VecDeque::new(),
            overtaking: BinaryHeap::new(),
            next_sequence: 0,
            bytes: 0,
            byte_limit,
        }
    }

    /// Whether a buffer of so many bytes fits in.
    pub(crate) fn has_room_for(&self, length: usize) -> bool {
        self.bytes.saturating_add(length).saturating_add(OVERHEAD) <= self.byte_limit
    }

    /// Queues the frame that is in `buffer` from `start` to `end`. Whether there is room is for the
    /// caller to ask first.
    pub(crate) fn push(&mut self, slot: u32, due_ns: u64, buffer: Box<[u8]>, start: usize, end: usize) {
        let sequence = self.next_sequence;
        self.next_sequence = self.next_sequence.wrapping_add(1);
        let frame = HeldFrame { due_ns, sequence, slot, buffer, start, end };
        self.bytes = self.bytes.saturating_add(frame.cost());
        self.queue(frame);
    }

    fn queue(&mut self, frame: HeldFrame) {
        if self.in_order.back().is_none_or(|last| *last < frame) {
            self.in_order.push_back(frame);
        } else {
            self.overtaking.push(Reverse(frame));
        }
    }

    /// When the next frame is due.
    pub(crate) fn next_due_ns(&self) -> Option<u64> {
        let first = self.in_order.front().map(|frame| frame.due_ns);
        let overtaking = self.overtaking.peek().map(|Reverse(frame)| frame.due_ns);
        first.into_iter().chain(overtaking).min()
    }

    /// Takes the first frame if it is due at `now_ns`.
    pub(crate) fn pop_due(&mut self, now_ns: u64) -> Option<HeldFrame> {
        if self.next_due_ns()? > now_ns {
            return None;
        }
        let frame = match (self.in_order.front(), self.overtaking.peek()) {
            (Some(first), Some(Reverse(overtaking))) if overtaking < first => self.overtaking.pop()?.0,
            (None, Some(_)) => self.overtaking.pop()?.0,
            _ => self.in_order.pop_front()?,
        };
        self.bytes = self.bytes.saturating_sub(frame.cost());
        Some(frame)
    }

    /// Makes all frames of a slot due at once; among themselves they keep their order.
    pub(crate) fn make_due(&mut self, slot: u32, now_ns: u64) {
        let overtaking = std::mem::take(&mut self.overtaking).into_vec();
        let mut frames: Vec<HeldFrame> = std::mem::take(&mut self.in_order).into();
        frames.extend(overtaking.into_iter().map(|Reverse(frame)| frame));
        frames.sort_unstable();
        for frame in &mut frames {
            if frame.slot == slot && frame.due_ns > now_ns {
                frame.due_ns = now_ns;
                frame.sequence = self.next_sequence;
                self.next_sequence = self.next_sequence.wrapping_add(1);
            }
        }
        frames.sort_unstable();
        self.in_order = frames.into();
    }

    /// How many frames wait.
    pub(crate) fn len(&self) -> usize {
        self.in_order.len().saturating_add(self.overtaking.len())
    }
}

#[cfg(test)]
mod tests {
    use super::{DelayLine, OVERHEAD};

    fn push(line: &mut DelayLine, slot: u32, due_ns: u64, byte: u8) -> bool {
        let room = line.has_room_for(1);
        if room {
            line.push(slot, due_ns, Box::new([byte]), 0, 1);
        }
        room
    }

    fn drain(line: &mut DelayLine, now_ns: u64) -> Vec<u8> {
        std::iter::from_fn(|| line.pop_due(now_ns)).map(|frame| frame.bytes()[0]).collect()
    }

    #[test]
    fn frames_come_out_when_due_and_in_order_of_due_then_arrival() {
        let mut line = DelayLine::new(1 << 20);
        for (due, byte) in [(30, 3), (10, 1), (30, 4), (20, 2)] {
            assert!(push(&mut line, 1, due, byte));
        }
        assert_eq!(line.next_due_ns(), Some(10));
        assert_eq!(drain(&mut line, 9), [0; 0]);
        assert_eq!(drain(&mut line, 20), [1, 2]);
        assert_eq!(drain(&mut line, 30), [3, 4]);
        assert_eq!(line.next_due_ns(), None);
    }

    #[test]
    fn a_full_line_has_no_room_and_has_it_again_after_a_frame_left() {
        let mut line = DelayLine::new(2 * (OVERHEAD + 1));
        assert!(push(&mut line, 1, 0, 1));
        assert!(push(&mut line, 1, 0, 2));
        assert!(!push(&mut line, 1, 0, 3));
        assert!(line.pop_due(0).is_some());
        assert!(push(&mut line, 1, 0, 4));
        assert_eq!(line.len(), 2);
    }

    #[test]
    fn releasing_a_slot_keeps_its_order_and_leaves_the_others_waiting() {
        let mut line = DelayLine::new(1 << 20);
        for (slot, due, byte) in [(1, 300, 2), (2, 250, 9), (1, 200, 1), (1, 400, 3), (1, 5, 0)] {
            assert!(push(&mut line, slot, due, byte));
        }
        line.make_due(1, 100);
        assert_eq!(drain(&mut line, 100), [0, 1, 2, 3]);
        assert_eq!(drain(&mut line, 250), [9]);
    }

    #[test]
    fn a_frame_is_what_lies_between_its_ends() {
        let mut line = DelayLine::new(1 << 20);
        line.push(1, 0, Box::new([9, 1, 2, 9]), 1, 3);
        assert_eq!(line.pop_due(0).expect("a frame").bytes(), [1, 2]);
    }
}
