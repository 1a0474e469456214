//! Pauses of one group, one after the other: when the next begins, and what was really seen of each. Time is told by
//! the caller.

use std::{io, time::Duration};

use super::{
    super::{freezing::Freezing, is_gone},
    protocol::Counts,
};
use crate::clock::nanoseconds;

/// How long the kernel may take until all processes stand still; one that waits for a device does not.
const CONFIRMED_WITHIN: Duration = Duration::from_millis(500);
/// How often it is asked meanwhile.
const ASK_EVERY: Duration = Duration::from_micros(50);
/// How soon what could not be let go is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(10);

/// When pauses begin and how long they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rhythm {
    pub(super) length_ns: u64,
    /// 0 for one pause alone.
    pub(super) every_ns: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The next pause begins at that time.
    Waiting { until_ns: u64 },
    /// It was asked for; when it was due and when it was asked for.
    Freezing { due_ns: u64, since_ns: u64 },
    /// All processes stand still.
    Frozen { due_ns: u64, since_ns: u64 },
    /// There is no other.
    Over,
}

/// The pauses of a group.
pub(super) struct Pulses<F> {
    group: F,
    rhythm: Rhythm,
    phase: Phase,
    counts: Counts,
}

impl<F: Freezing> Pulses<F> {
    /// The first pause is due at once.
    pub(super) fn new(group: F, rhythm: Rhythm, now_ns: u64) -> Self {
        Self { group, rhythm, phase: Phase::Waiting { until_ns: now_ns }, counts: Counts::default() }
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// Other pauses from now on; one that goes on gets its new length. The same ones go on as they were.
    pub(super) fn change(&mut self, rhythm: Rhythm, now_ns: u64) {
        if self.rhythm == rhythm {
            return;
        }
        self.rhythm = rhythm;
        if matches!(self.phase, Phase::Waiting { .. } | Phase::Over) {
            self.phase = Phase::Waiting { until_ns: now_ns };
        }
    }

    /// Does what is due; answers when something is due again, nothing where that is up to others. Where it may not
    /// hold, its processes go on, and the next pause is due as soon as it may again.
    ///
    /// # Errors
    /// When the group is not there any more or refuses.
    pub(super) fn step(&mut self, now_ns: u64, may_hold: bool) -> io::Result<Option<u64>> {
        if !may_hold {
            return Ok(self.let_go(now_ns)?.then_some(now_ns.saturating_add(nanoseconds(TRY_AGAIN))));
        }
        match self.phase {
            Phase::Waiting { until_ns } if now_ns < until_ns => Ok(Some(until_ns)),
            Phase::Waiting { until_ns } => self.begin(until_ns, now_ns),
            Phase::Freezing { due_ns, since_ns } => self.confirm(due_ns, since_ns, now_ns),
            Phase::Frozen { since_ns, .. } if now_ns < self.end_of(since_ns) => {
                Ok(Some(self.end_of(since_ns)))
            }
            Phase::Frozen { due_ns, since_ns } => self.end(due_ns, since_ns, now_ns),
            Phase::Over => Ok(None),
        }
    }

    /// Lets the processes go on, if they were stopped here; true while that cannot be done.
    ///
    /// # Errors
    /// Never for a group that has gone: then nobody is stopped.
    pub(super) fn let_go(&mut self, now_ns: u64) -> io::Result<bool> {
        if let Phase::Freezing { .. } | Phase::Frozen { .. } = self.phase {
            match self.group.thaw() {
                Err(error) if !is_gone(&error) => return Ok(true),
                _ => {}
            }
            if let Phase::Frozen { since_ns, .. } = self.phase {
                self.note_end(since_ns, now_ns);
            }
            self.phase = Phase::Waiting { until_ns: now_ns };
        }
        Ok(false)
    }

    fn begin(&mut self, until_ns: u64, now_ns: u64) -> io::Result<Option<u64>> {
        // A daemon that stood still has missed some: they are not made up for.
        let due_ns = if now_ns.saturating_sub(until_ns) > self.rhythm.every_ns { now_ns } else { until_ns };
        if self.group.is_asked_to_freeze()? {
            // Somebody else has paused it, and would not be asked when it goes on.
            return Ok(self.next(due_ns, now_ns));
        }
        self.group.freeze()?;
        self.phase = Phase::Freezing { due_ns, since_ns: now_ns };
        Ok(Some(now_ns))
    }

    fn confirm(&mut self, due_ns: u64, since_ns: u64, now_ns: u64) -> io::Result<Option<u64>> {
        if self.group.is_frozen()? {
            self.phase = Phase::Frozen { due_ns, since_ns: now_ns };
            self.counts.hits = self.counts.hits.saturating_add(1);
            if self.counts.first_ns == 0 {
                self.counts.first_ns = now_ns;
            }
            return Ok(Some(self.end_of(now_ns)));
        }
        if now_ns.saturating_sub(since_ns) < nanoseconds(CONFIRMED_WITHIN) {
            // Less and less often: where the guard and they share one processor, they must run to be stopped.
            let asked_for_ns = now_ns.saturating_sub(since_ns);
            return Ok(Some(now_ns.saturating_add(nanoseconds(ASK_EVERY).max(asked_for_ns / 4))));
        }
        self.group.thaw()?;
        self.counts.others = self.counts.others.saturating_add(1);
        Ok(self.next(due_ns, now_ns))
    }

    fn end(&mut self, due_ns: u64, since_ns: u64, now_ns: u64) -> io::Result<Option<u64>> {
        self.group.thaw()?;
        self.note_end(since_ns, now_ns);
        Ok(self.next(due_ns, now_ns))
    }

    fn note_end(&mut self, since_ns: u64, now_ns: u64) {
        self.counts.total_ns = self.counts.total_ns.saturating_add(now_ns.saturating_sub(since_ns));
    }

    /// When the next one begins: in step with the first, or, where that is over already, after as long as
    /// processes may run between two.
    fn next(&mut self, due_ns: u64, now_ns: u64) -> Option<u64> {
        let Rhythm { length_ns, every_ns } = self.rhythm;
        if every_ns == 0 {
            self.phase = Phase::Over;
            return None;
        }
        let in_step = due_ns.saturating_add(every_ns);
        let rest = now_ns.saturating_add(every_ns.saturating_sub(length_ns));
        let until_ns = if in_step > now_ns { in_step } else { rest };
        self.phase = Phase::Waiting { until_ns };
        Some(until_ns)
    }

    fn end_of(&self, since_ns: u64) -> u64 {
        since_ns.saturating_add(self.rhythm.length_ns)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::{
        collection::vec,
        prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest},
    };

    use super::*;

    const MS: u64 = 1_000_000;

    /// A group that takes some looks until it stands still.
    #[derive(Default)]
    struct FakeGroup {
        asked: Cell<bool>,
        looks: Cell<u32>,
        slow: Cell<u32>,
        by_others: Cell<bool>,
        stuck: Cell<bool>,
    }

    impl Freezing for &FakeGroup {
        fn freeze(&self) -> io::Result<()> {
            self.asked.set(true);
            self.looks.set(0);
            Ok(())
        }

        fn thaw(&self) -> io::Result<()> {
            if self.stuck.get() {
                return Err(io::Error::from(io::ErrorKind::Interrupted));
            }
            self.asked.set(false);
            Ok(())
        }

        fn is_frozen(&self) -> io::Result<bool> {
            self.looks.set(self.looks.get() + 1);
            Ok(self.asked.get() && self.looks.get() > self.slow.get())
        }

        fn is_asked_to_freeze(&self) -> io::Result<bool> {
            Ok(self.by_others.get() || self.asked.get())
        }
    }

    /// Steps whenever something is due until `end_ns`.
    fn play(pulses: &mut Pulses<&FakeGroup>, from_ns: u64, end_ns: u64) {
        let mut now_ns = from_ns;
        while now_ns < end_ns {
            now_ns = pulses.step(now_ns, true).unwrap().unwrap_or(end_ns).max(now_ns);
        }
    }

    #[test]
    fn pauses_come_in_step_and_are_as_long_as_asked() {
        let group = FakeGroup::default();
        let rhythm = Rhythm { length_ns: 200 * MS, every_ns: 1000 * MS };
        let mut pulses = Pulses::new(&group, rhythm, 0);
        play(&mut pulses, 0, 2900 * MS);
        let counts = pulses.counts();
        assert_eq!((counts.hits, counts.total_ns, counts.others), (3, 600 * MS, 0));
        assert!(!group.asked.get());
        // Slow to stand still: the pause is as long all the same, and the next one is in step.
        group.slow.set(20);
        play(&mut pulses, 2900 * MS, 4900 * MS);
        assert_eq!((pulses.counts().hits, pulses.counts().total_ns), (5, 1000 * MS));
    }

    #[test]
    fn a_single_pause_is_one_and_a_change_makes_another() {
        let group = FakeGroup::default();
        let once = Rhythm { length_ns: 5 * MS, every_ns: 0 };
        let mut pulses = Pulses::new(&group, once, 0);
        play(&mut pulses, 0, 1000 * MS);
        assert_eq!((pulses.counts().hits, pulses.step(2000 * MS, true).unwrap()), (1, None));
        pulses.change(once, 3000 * MS);
        assert_eq!(pulses.step(3000 * MS, true).unwrap(), None, "it is the same one");
        pulses.change(Rhythm { length_ns: 6 * MS, every_ns: 0 }, 3000 * MS);
        play(&mut pulses, 3000 * MS, 4000 * MS);
        assert_eq!(pulses.counts().hits, 2);
    }

    #[test]
    fn what_does_not_stand_still_in_time_is_let_go_and_counted() {
        let group = FakeGroup::default();
        group.slow.set(u32::MAX);
        let mut pulses = Pulses::new(&group, Rhythm { length_ns: MS, every_ns: 1000 * MS }, 0);
        play(&mut pulses, 0, 900 * MS);
        assert_eq!((pulses.counts().hits, pulses.counts().others, group.asked.get()), (0, 1, false));
    }

    #[test]
    fn what_somebody_else_has_paused_is_neither_paused_nor_let_go() {
        let group = FakeGroup::default();
        group.by_others.set(true);
        let mut pulses = Pulses::new(&group, Rhythm { length_ns: MS, every_ns: 10 * MS }, 0);
        play(&mut pulses, 0, 35 * MS);
        assert_eq!((pulses.counts(), group.asked.get()), (Counts::default(), false));
        group.by_others.set(false);
        play(&mut pulses, 35 * MS, 55 * MS);
        assert_eq!(pulses.counts().hits, 2);
    }

    #[test]
    fn where_it_may_not_hold_processes_go_on_at_once_and_letting_go_is_tried_until_it_is_done() {
        let group = FakeGroup::default();
        let mut pulses = Pulses::new(&group, Rhythm { length_ns: 1000 * MS, every_ns: 5000 * MS }, 0);
        play(&mut pulses, 0, 1);
        pulses.step(MS, true).unwrap();
        assert!(group.asked.get());
        group.stuck.set(true);
        assert_eq!(pulses.step(10 * MS, false).unwrap(), Some(20 * MS));
        group.stuck.set(false);
        assert_eq!(pulses.step(20 * MS, false).unwrap(), None);
        assert!(!group.asked.get());
        pulses.step(30 * MS, true).unwrap();
        assert!(group.asked.get(), "it may again");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn whenever_it_looks_nobody_stands_still_for_longer_than_asked(
            length_ms in 1..50_u64, more_ms in 1..50_u64, steps in vec((0..30_u64, any::<bool>()), 1..60),
        ) {
            let group = FakeGroup::default();
            let rhythm = Rhythm { length_ns: length_ms * MS, every_ns: (length_ms + more_ms) * MS };
            let mut pulses = Pulses::new(&group, rhythm, 0);
            let (mut now, mut frozen_since) = (0, None);
            for (wait, may_hold) in steps {
                now += wait * MS;
                let next = pulses.step(now, may_hold).unwrap();
                prop_assert!(next.is_none_or(|next| next >= now));
                prop_assert_eq!(group.asked.get() && !may_hold, false);
                match (group.asked.get(), frozen_since) {
                    (true, None) => frozen_since = Some(now),
                    (false, _) => frozen_since = None,
                    (true, Some(_)) => {}
                }
                // The step after which it was due to end has ended it.
                if let Phase::Frozen { since_ns, .. } = pulses.phase {
                    prop_assert!(now < since_ns + rhythm.length_ns);
                }
            }
            pulses.let_go(now).unwrap();
            prop_assert!(!group.asked.get());
        }
    }
}
