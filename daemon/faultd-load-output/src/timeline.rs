//! Which interval a row is about: tools print the end of it at best.

use std::collections::BTreeMap;

use crate::totals::MOST_NAMES;

/// Clocks that go back by less are only imprecise, in seconds; by more, the tool has begun anew.
const IMPRECISION_S: f64 = 0.5;
/// Time columns are precise to a tenth of a second.
const TIME_STEP_S: f64 = 0.1;

/// A count since the tool's start, into what is new.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    last: f64,
}

impl Counter {
    /// What has come since the last time. A count that falls has begun anew at zero.
    pub(crate) fn difference(&mut self, count: f64) -> f64 {
        let difference = if count < self.last { count } else { count - self.last };
        self.last = count;
        difference
    }
}

/// A counter for each kind of operation, as many as are kept.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    counters: BTreeMap<Option<String>, Counter>,
}

impl Counters {
    /// As [`Counter::difference`]; none if there are too many kinds.
    pub(crate) fn difference(&mut self, kind: Option<&String>, count: f64) -> Option<f64> {
        let kind = kind.cloned();
        if self.counters.len() >= MOST_NAMES && !self.counters.contains_key(&kind) {
            return None;
        }
        Some(self.counters.entry(kind).or_default().difference(count))
    }

    /// The tool begins anew.
    pub(crate) fn clear(&mut self) {
        self.counters.clear();
    }
}

/// A tool's time column as one that never goes back, also when the tool runs several times in a row.
#[derive(Debug)]
pub(crate) struct ToolClock {
    /// What is added to the tool's time since it began anew.
    shift_s: f64,
    begins_anew: bool,
    /// The command's clock when the tool's first time was zero, as far as arrivals tell: rows arrive late, never
    /// early, so that the smallest difference is the best.
    zero_s: f64,
    last_of_tool_s: f64,
    last_s: f64,
}

impl Default for ToolClock {
    fn default() -> Self {
        Self { shift_s: 0.0, begins_anew: false, zero_s: f64::INFINITY, last_of_tool_s: 0.0, last_s: 0.0 }
    }
}

impl ToolClock {
    /// The time of a row that arrived at `arrived_s`, both in seconds; not before that of the row before it.
    pub(crate) fn place(&mut self, tool_s: f64, arrived_s: f64) -> f64 {
        if self.begins_anew || tool_s + IMPRECISION_S < self.last_of_tool_s {
            self.shift_s = (arrived_s - tool_s - self.zero_s).max(self.last_s);
            self.begins_anew = false;
        }
        self.zero_s = self.zero_s.min(arrived_s - tool_s - self.shift_s);
        self.last_of_tool_s = tool_s;
        self.last_s = self.last_s.max(self.shift_s + tool_s);
        self.last_s
    }

    /// Says that the tool's next time is counted from a new zero.
    pub(crate) fn begin_anew(&mut self) {
        // Before the first row there is nothing that could be begun anew.
        self.begins_anew = self.zero_s.is_finite();
    }
}

/// Operations a second as a tool prints them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PrintedRate {
    pub(crate) per_s: f64,
    /// What the last digit is worth: 1 for `422`, 0.1 for `100.2`.
    pub(crate) step: f64,
}

/// Rows one after the other, each with the interval that it covers.
#[derive(Debug, Default)]
pub(crate) struct Intervals {
    previous_end_s: f64,
    usual_s: Option<f64>,
}

impl Intervals {
    /// Begin and end of the interval of a row with an end and a number of operations.
    ///
    /// Tools that print no row for an idle interval leave a gap between two rows. With the printed rate it is seen:
    /// operations divided by rate is how long the row covers, as precisely as the rate is printed; the rest of the
    /// gap was silent.
    pub(crate) fn next(&mut self, end_s: f64, operations: f64, rate: Option<PrintedRate>) -> (f64, f64) {
        let end_s = end_s.max(self.previous_end_s);
        let gap_s = end_s - self.previous_end_s;
        let length_s = rate.map_or(gap_s, |rate| self.length_s(gap_s, operations, rate)).min(gap_s);
        self.previous_end_s = end_s;
        (end_s - length_s, end_s)
    }

    /// End of the last interval, in seconds.
    pub(crate) fn previous_end_s(&self) -> f64 {
        self.previous_end_s
    }

    fn length_s(&mut self, gap_s: f64, operations: f64, rate: PrintedRate) -> f64 {
        let (slowest, fastest) = (rate.per_s - rate.step / 2.0, rate.per_s + rate.step / 2.0);
        let shortest_s = operations / fastest;
        let longest_s = if slowest > 0.0 { operations / slowest } else { f64::INFINITY };
        let usual_s = self.usual_s.unwrap_or(1.0);
        let length_s = if gap_s <= longest_s + TIME_STEP_S {
            gap_s
        } else if (shortest_s..=longest_s).contains(&usual_s) {
            usual_s
        } else if slowest > 0.0 {
            operations / rate.per_s
        } else {
            shortest_s
        };
        if longest_s <= shortest_s * 1.1 {
            self.usual_s = Some(length_s);
        }
        length_s
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_become_differences_and_may_begin_anew() {
        let mut counter = Counter::default();
        assert_eq!(
            [100.0, 150.0, 150.0, 30.0, 40.0].map(|count| counter.difference(count)),
            [100.0, 50.0, 0.0, 30.0, 10.0]
        );
    }

    #[test]
    fn the_tools_clock_goes_on_where_arrival_says_when_it_begins_anew() {
        let mut clock = ToolClock::default();
        // The tool's zero is 3 s after the command's start; its second run begins at 20 s.
        assert_eq!(clock.place(1.0, 4.2), 1.0);
        assert_eq!(clock.place(2.0, 5.0), 2.0);
        assert_eq!(clock.place(1.0, 21.0), 18.0);
        assert_eq!(clock.place(2.0, 22.0), 19.0);
    }

    #[test]
    fn a_clock_without_arrivals_goes_on_behind_what_was() {
        let mut clock = ToolClock::default();
        clock.begin_anew();
        assert_eq!((clock.place(5.0, 0.0), clock.place(4.5, 0.0)), (5.0, 5.0));
        clock.begin_anew();
        assert_eq!((clock.place(1.0, 0.0), clock.place(2.0, 0.0)), (6.0, 7.0));
    }

    #[test]
    fn a_gap_is_seen_by_the_rate() {
        let mut intervals = Intervals::default();
        let rate = |per_s| Some(PrintedRate { per_s, step: 1.0 });
        assert_eq!(intervals.next(1.0, 500.0, rate(500.0)), (0.0, 1.0));
        assert_eq!(intervals.next(2.1, 520.0, rate(500.0)), (1.0, 2.1));
        let (begin_s, end_s) = intervals.next(7.1, 500.0, rate(500.0));
        assert_eq!((begin_s.round(), end_s), (6.0, 7.1));
        // One operation in a second, or in one and a half: the usual length is as good as any.
        let (begin_s, _) = intervals.next(20.1, 1.0, rate(1.0));
        assert!((19.0..19.2).contains(&begin_s), "{begin_s}");
        // A rate of less than half is printed as 0.
        assert_eq!(intervals.next(30.1, 1.0, rate(0.0)).0, 20.1);
        assert_eq!(intervals.next(31.1, 0.0, rate(0.0)), (30.1, 31.1));
        assert_eq!(intervals.next(5.0, 10.0, None), (31.1, 31.1));
    }
}
