//! The ways to the engine's thread: commands in the order in which they come, and what clears everything, which goes
//! ahead of all that wait.
//!
//! The thread does one thing at a time, so that clearing waits for the call into the kernel that is under way and for
//! nothing else: a fault with several rules is given up between two of them, and faults that were asked for before and
//! still wait are refused when their turn comes.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::mpsc;

use super::handle::Command;

/// Those that go ahead are few, and each waits for its answer.
const AHEAD_LENGTH: usize = 16;

/// How many times everything was to be cleared so far; clones count together.
#[derive(Clone, Default)]
pub(super) struct Clearings(Arc<AtomicU64>);

impl Clearings {
    pub(super) fn so_far(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    /// Counts one before the thread is told of it: what is under way there looks at this number.
    pub(super) fn begin(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// The callers' ends.
#[derive(Clone)]
pub(super) struct Callers {
    pub(super) in_order: mpsc::Sender<Command>,
    pub(super) ahead: mpsc::Sender<Command>,
    pub(super) clearings: Clearings,
}

/// The ends of the engine's thread.
pub(super) struct Waiting {
    pub(super) in_order: mpsc::Receiver<Command>,
    pub(super) ahead: mpsc::Receiver<Command>,
    pub(super) clearings: Clearings,
}

/// Both ends of both ways; so many commands can wait in order.
pub(super) fn queues(length: usize) -> (Callers, Waiting) {
    let (in_order, waits_in_order) = mpsc::channel(length);
    let (ahead, waits_ahead) = mpsc::channel(AHEAD_LENGTH);
    let clearings = Clearings::default();
    let waiting = Waiting { in_order: waits_in_order, ahead: waits_ahead, clearings: clearings.clone() };
    (Callers { in_order, ahead, clearings }, waiting)
}
