//! How far the clock of another machine is from ours, and how sure that is. Arithmetic alone: who asks is elsewhere.
//!
//! The answer was made between question and answer, so half of that time is the most by which its middle can be wrong;
//! of several answers the one that took the shortest time says most (Cristian, "Probabilistic clock synchronization",
//! 1989).

use std::time::Duration;

/// One question for the time and its answer, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    /// On our clock, when it was asked.
    pub(super) asked_ns: u64,
    /// On our clock, when the answer was here.
    pub(super) answered_ns: u64,
    /// The answer.
    pub(super) there_ns: u64,
}

/// What is known of another clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClockOffset {
    /// What is to be added to our time to have the time there; clocks count from the start of their machines, so it is
    /// anything.
    offset_ns: i128,
    /// Between question and answer.
    round_trip_ns: u64,
}

impl ClockOffset {
    /// By the answer that took the shortest time; nothing where there is none.
    pub(super) fn of(samples: &[Sample]) -> Option<Self> {
        let round_trip = |sample: &Sample| sample.answered_ns.saturating_sub(sample.asked_ns);
        let best = samples.iter().min_by_key(|sample| round_trip(sample))?;
        let middle_ns = i128::from(best.asked_ns) + i128::from(round_trip(best) / 2);
        Some(Self { offset_ns: i128::from(best.there_ns) - middle_ns, round_trip_ns: round_trip(best) })
    }

    /// Our time on the other clock; times before its begin are its begin.
    pub(crate) fn there(&self, here_ns: u64) -> u64 {
        u64::try_from((i128::from(here_ns) + self.offset_ns).max(0)).unwrap_or(u64::MAX)
    }

    /// A time of the other clock on ours.
    pub(crate) fn here(&self, there_ns: u64) -> u64 {
        u64::try_from((i128::from(there_ns) - self.offset_ns).max(0)).unwrap_or(u64::MAX)
    }

    /// By how much a time that was converted can be wrong at most.
    pub(crate) fn uncertainty_ns(&self) -> u64 {
        self.round_trip_ns.div_ceil(2)
    }

    /// The shortest time between question and answer.
    pub(crate) fn round_trip(&self) -> Duration {
        Duration::from_nanos(self.round_trip_ns)
    }
}

/// How far ahead a moment has to be, so that all have heard of it and are ready before: some time for any machine, the
/// requests on their way, and twice what looking for the targets took before.
pub(crate) fn lead(round_trips: impl Iterator<Item = Duration>, looked: Duration) -> Duration {
    const ANYWAY: Duration = Duration::from_millis(200);
    ANYWAY + round_trips.max().unwrap_or_default() * 4 + looked * 2
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// A question at `asked` that took `there` and then `back` to a clock that is `offset` ahead.
    fn sample(asked: u64, there: u64, back: u64, offset: i64) -> Sample {
        let there_ns = (asked + there).checked_add_signed(offset).unwrap();
        Sample { asked_ns: asked, answered_ns: asked + there + back, there_ns }
    }

    #[test]
    fn the_shortest_round_trip_says_the_offset() {
        for offset in [-400_000_000, 0, 7_000_000_000] {
            let samples = [
                sample(1000 * MS, 9 * MS, MS, offset),
                sample(2000 * MS, MS, MS, offset),
                sample(3000 * MS, MS, 20 * MS, offset),
            ];
            let clock = ClockOffset::of(&samples).unwrap();
            assert_eq!(clock.there(5000 * MS), (5000 * MS).checked_add_signed(offset).unwrap());
            assert_eq!(clock.here(clock.there(5000 * MS)), 5000 * MS);
            assert_eq!((clock.uncertainty_ns(), clock.round_trip()), (MS, Duration::from_millis(2)));
        }
        assert_eq!(ClockOffset::of(&[]), None);
    }

    #[test]
    fn the_error_is_at_most_half_of_the_round_trip() {
        for (there, back) in [(0, 10), (10, 0), (3, 7), (1, 2)] {
            let clock = ClockOffset::of(&[sample(100 * MS, there * MS, back * MS, 5)]).unwrap();
            let error = clock.there(500 * MS).abs_diff(500 * MS + 5);
            assert!(error <= clock.uncertainty_ns(), "{there} {back}: {error}");
        }
    }

    #[test]
    fn a_time_before_the_begin_of_the_other_clock_is_its_begin() {
        let young =
            ClockOffset::of(&[Sample { asked_ns: 100 * MS, answered_ns: 100 * MS, there_ns: 0 }]).unwrap();
        assert_eq!(young.there(MS), 0);
        let absurd = ClockOffset::of(&[Sample { asked_ns: 0, answered_ns: 0, there_ns: u64::MAX }]).unwrap();
        assert_eq!(absurd.there(MS), u64::MAX);
    }

    #[test]
    fn the_slowest_machine_says_how_far_ahead() {
        let trips = [1, 30].map(Duration::from_millis);
        assert_eq!(lead(trips.into_iter(), Duration::from_millis(40)), Duration::from_millis(400));
        assert_eq!(lead(std::iter::empty(), Duration::ZERO), Duration::from_millis(200));
    }
}
