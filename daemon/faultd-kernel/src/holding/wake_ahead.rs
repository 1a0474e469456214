//! How far ahead of time a thread that must be punctual asks to be woken: as far as the kernel has been
//! waking it late, within a budget of processor time for what it then waits awake. Pure, without a clock.

/// Awake at least this long before a frame is due: what it takes to get from waking to writing.
const LEAST_AHEAD_NS: u64 = 20_000;

/// A machine that wakes its threads later than this is busy, and waiting awake would make it busier.
const MOST_AHEAD_NS: u64 = 400_000;

/// One part in so many of the time that passes may be spent waiting awake.
const BUDGET_SHARE: u64 = 4;

/// What may be saved up of that: enough for a burst of frames after a pause.
const MOST_BUDGET_NS: u64 = 4_000_000;

/// What was learnt from earlier wakes.
#[derive(Debug)]
pub(super) struct WakeAhead {
    /// On a machine with one processor, waiting awake takes it from those whose packets are awaited.
    waits_awake: bool,
    lateness_ns: u64,
    budget_ns: u64,
    budget_at_ns: u64,
}

impl WakeAhead {
    /// Nothing is known yet, and the budget is full.
    pub(super) fn new(processors: usize) -> Self {
        let waits_awake = processors > 1;
        Self { waits_awake, lateness_ns: 2 * LEAST_AHEAD_NS, budget_ns: MOST_BUDGET_NS, budget_at_ns: 0 }
    }

    /// How long before the time that matters to ask for waking.
    pub(super) fn ahead_ns(&mut self, now_ns: u64) -> u64 {
        if !self.waits_awake {
            return LEAST_AHEAD_NS;
        }
        let passed_ns = now_ns.saturating_sub(self.budget_at_ns);
        self.budget_at_ns = now_ns;
        self.budget_ns = self.budget_ns.saturating_add(passed_ns / BUDGET_SHARE).min(MOST_BUDGET_NS);
        let wanted_ns = self.lateness_ns.saturating_add(LEAST_AHEAD_NS).min(MOST_AHEAD_NS);
        wanted_ns.min(self.budget_ns).max(LEAST_AHEAD_NS)
    }

    /// Learns from a sleep that ended so much later than it should: quickly that wakes are late, slowly
    /// that they are not, because a frame that leaves late counts for more than a moment of waiting.
    pub(super) fn woken_late_by(&mut self, late_ns: u64) {
        if late_ns > self.lateness_ns {
            self.lateness_ns = self.lateness_ns.saturating_add(late_ns.saturating_sub(self.lateness_ns) / 2);
        } else {
            let less_ns = self.lateness_ns.saturating_sub(late_ns) / 32;
            self.lateness_ns = self.lateness_ns.saturating_sub(less_ns);
        }
        self.lateness_ns = self.lateness_ns.min(MOST_AHEAD_NS);
    }

    /// Takes from the budget what was spent waiting awake.
    pub(super) fn waited_awake(&mut self, nanoseconds: u64) {
        self.budget_ns = self.budget_ns.saturating_sub(nanoseconds);
    }
}

#[cfg(test)]
mod tests {
    use super::{BUDGET_SHARE, LEAST_AHEAD_NS, MOST_AHEAD_NS, WakeAhead};

    #[test]
    fn late_wakes_are_learnt_at_once_and_forgotten_slowly() {
        let mut ahead = WakeAhead::new(2);
        for _wake in 0..10 {
            ahead.woken_late_by(200_000);
        }
        let learnt = ahead.ahead_ns(0);
        assert!((200_000..=240_000).contains(&learnt), "{learnt}");
        ahead.woken_late_by(10_000);
        assert!(ahead.ahead_ns(0) > 200_000);
        for _wake in 0..500 {
            ahead.woken_late_by(10_000);
        }
        assert!(ahead.ahead_ns(0) < 40_000, "{}", ahead.ahead_ns(0));
        ahead.woken_late_by(u64::MAX);
        assert_eq!(ahead.ahead_ns(0), MOST_AHEAD_NS);
    }

    #[test]
    fn a_single_processor_is_left_to_others() {
        let mut ahead = WakeAhead::new(1);
        ahead.woken_late_by(MOST_AHEAD_NS);
        assert_eq!(ahead.ahead_ns(0), LEAST_AHEAD_NS);
    }

    #[test]
    fn waiting_awake_takes_no_more_than_its_share_of_the_time() {
        let mut ahead = WakeAhead::new(2);
        let (mut now_ns, mut awake_ns) = (0, 0);
        // A frame every half millisecond, and wakes that are late by as much.
        for _frame in 0..20_000 {
            now_ns += 500_000;
            ahead.woken_late_by(500_000);
            let spent_ns = ahead.ahead_ns(now_ns);
            ahead.waited_awake(spent_ns);
            awake_ns += spent_ns;
        }
        assert!(awake_ns <= now_ns / BUDGET_SHARE + 10 * MOST_AHEAD_NS, "{awake_ns} of {now_ns}");
        assert!(ahead.ahead_ns(now_ns) >= LEAST_AHEAD_NS);
    }
}
