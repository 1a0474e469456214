//! Collects the clients' operations and cuts them into seconds.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::{
    phase::Phase,
    timeseries::{LatencyMilliseconds, Row},
};

const NANOSECONDS_PER_SECOND: i64 = 1_000_000_000;
const NANOSECONDS_PER_MILLISECOND: f64 = 1e6;

/// A client's operation that took longer than this, one hour, is recorded as having taken this long.
const LONGEST_LATENCY_NS: u64 = 3_600_000_000_000;
const SHORTEST_LATENCY_NS: u64 = 1_000;
const SIGNIFICANT_DIGITS: u8 = 3;

/// Latencies of the phases and of the measured time as a whole, without the warm-up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PhaseLatencies {
    /// Of all phases but the warm-up; none if no operation succeeded.
    pub measured: Option<LatencyMilliseconds>,
    /// Of the phases in which an operation succeeded.
    pub phases: BTreeMap<Phase, LatencyMilliseconds>,
}

impl PhaseLatencies {
    /// Of rows whose operations are not known one by one, because a command of the user's made them: means and
    /// percentiles are those of the seconds, weighted by their operations. That is exact for the mean and near for
    /// percentiles; the maximum is the largest.
    #[must_use]
    pub fn of_rows(rows: &[Row]) -> Self {
        let of = |phases: &[Phase]| {
            mean_of(&rows.iter().filter(|row| phases.contains(&row.phase)).collect::<Vec<_>>())
        };
        let phases = Phase::ALL.into_iter();
        Self {
            measured: of(&[Phase::Baseline, Phase::Injection, Phase::Recovery]),
            phases: phases.filter_map(|phase| Some((phase, of(&[phase])?))).collect(),
        }
    }
}

fn mean_of(rows: &[&Row]) -> Option<LatencyMilliseconds> {
    let of = |row: &Row, value: fn(&LatencyMilliseconds) -> Option<f64>| row.latency.as_ref().and_then(value);
    let mean = |value: fn(&LatencyMilliseconds) -> Option<f64>| {
        let known = rows.iter().filter_map(|row| Some((of(row, value)?, row.ops as f64)));
        let (sum, weight) =
            known.fold((0.0, 0.0), |(sum, all), (value, weight)| (sum + value * weight, all + weight));
        (weight > 0.0).then(|| sum / weight)
    };
    let latency = LatencyMilliseconds {
        mean: mean(|latency| latency.mean),
        p50: mean(|latency| latency.p50),
        p95: mean(|latency| latency.p95),
        p99: mean(|latency| latency.p99),
        p999: mean(|latency| latency.p999),
        max: rows.iter().filter_map(|row| of(row, |latency| latency.max)).reduce(f64::max),
    };
    (latency != LatencyMilliseconds::default()).then_some(latency)
}

/// Takes operations in the order in which clients report them and yields a [`Row`] for each second.
///
/// Every operation ends up in exactly one row, so that the rows always add up to what the clients
/// did: an operation that is reported after its second was closed is counted in the next open one.
#[derive(Debug)]
pub struct SecondRecorder {
    next_second: i64,
    open: BTreeMap<i64, OpenSecond>,
    phases: BTreeMap<Phase, Histogram<u64>>,
    late_operations: u64,
}

#[derive(Debug)]
struct OpenSecond {
    latency: Histogram<u64>,
    errors: u64,
}

impl SecondRecorder {
    /// A recorder whose first row is that of `first_second`, which is negative with a warm-up.
    #[must_use]
    pub fn new(first_second: i64) -> Self {
        Self { next_second: first_second, open: BTreeMap::new(), phases: BTreeMap::new(), late_operations: 0 }
    }

    /// Counts one operation that completed `completed_ns` after the start of the measured time
    /// (negative in the warm-up) and took `latency_ns`.
    pub fn record(&mut self, completed_ns: i64, latency_ns: u64, succeeded: bool) {
        let second = completed_ns.div_euclid(NANOSECONDS_PER_SECOND);
        if second < self.next_second {
            self.late_operations += 1;
        }
        let second = self
            .open
            .entry(second.max(self.next_second))
            .or_insert_with(|| OpenSecond { latency: empty_histogram(), errors: 0 });
        if succeeded {
            second.latency.saturating_record(latency_ns);
        } else {
            second.errors += 1;
        }
    }

    /// The second that [`close_second`](Self::close_second) will close.
    #[must_use]
    pub const fn next_second(&self) -> i64 {
        self.next_second
    }

    /// Closes the next second, counts it to `phase` and yields its row.
    pub fn close_second(&mut self, phase: Phase) -> Row {
        let t_s = self.next_second;
        self.next_second = t_s.saturating_add(1);
        let Some(second) = self.open.remove(&t_s) else {
            return Row { t_s, phase, ops: 0, errors: 0, latency: None, stalled: true };
        };
        // The histograms have the same bounds, so that the sum cannot fail.
        *self.phases.entry(phase).or_insert_with(empty_histogram) += &second.latency;
        let ops = second.latency.len();
        Row {
            t_s,
            phase,
            ops,
            errors: second.errors,
            latency: percentiles(&second.latency),
            stalled: ops == 0,
        }
    }

    /// How many operations were reported too late for their own second. A few are normal; many mean
    /// that seconds are closed too early.
    #[must_use]
    pub const fn late_operations(&self) -> u64 {
        self.late_operations
    }

    /// Latencies of all closed seconds.
    #[must_use]
    pub fn latencies(&self) -> PhaseLatencies {
        let mut measured = empty_histogram();
        for (_, latency) in self.phases.iter().filter(|(phase, _)| **phase != Phase::WarmUp) {
            measured += latency;
        }
        let phases = self.phases.iter();
        PhaseLatencies {
            measured: percentiles(&measured),
            phases: phases.filter_map(|(phase, latency)| Some((*phase, percentiles(latency)?))).collect(),
        }
    }
}

#[expect(clippy::expect_used, reason = "the bounds are constants, and any test that records runs this")]
fn empty_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(SHORTEST_LATENCY_NS, LONGEST_LATENCY_NS, SIGNIFICANT_DIGITS)
        .expect("the constant bounds are in order")
}

fn percentiles(latency_ns: &Histogram<u64>) -> Option<LatencyMilliseconds> {
    let quantile = |q: f64| milliseconds(latency_ns.value_at_quantile(q) as f64);
    (!latency_ns.is_empty()).then(|| LatencyMilliseconds {
        mean: Some(milliseconds(latency_ns.mean())),
        p50: Some(quantile(0.5)),
        p95: Some(quantile(0.95)),
        p99: Some(quantile(0.99)),
        p999: Some(quantile(0.999)),
        max: Some(milliseconds(latency_ns.max() as f64)),
    })
}

/// Rounded to whole microseconds, as in `timeseries.csv`, so that all files agree.
fn milliseconds(nanoseconds: f64) -> f64 {
    (nanoseconds / NANOSECONDS_PER_MILLISECOND * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = NANOSECONDS_PER_SECOND;
    const MS: u64 = 1_000_000;

    #[test]
    fn a_second_without_an_operation_is_a_row_of_zeros() {
        let mut recorder = SecondRecorder::new(-1);
        let row = recorder.close_second(Phase::WarmUp);
        assert_eq!(
            row,
            Row { t_s: -1, phase: Phase::WarmUp, ops: 0, errors: 0, latency: None, stalled: true }
        );
        assert_eq!(recorder.next_second(), 0);
        assert_eq!(recorder.latencies(), PhaseLatencies::default());
    }

    #[test]
    fn of_a_commands_rows_latencies_are_weighted_by_operations() {
        let row = |phase, ops, p99, max| {
            let latency = LatencyMilliseconds { p99, max, ..LatencyMilliseconds::default() };
            Row { t_s: 0, phase, ops, errors: 0, latency: Some(latency), stalled: false }
        };
        let rows = [
            row(Phase::WarmUp, 1000, Some(500.0), Some(900.0)),
            row(Phase::Baseline, 30, Some(10.0), Some(90.0)),
            row(Phase::Baseline, 10, Some(50.0), Some(60.0)),
            row(Phase::Injection, 0, None, None),
        ];
        let latencies = PhaseLatencies::of_rows(&rows);
        let expected =
            LatencyMilliseconds { p99: Some(20.0), max: Some(90.0), ..LatencyMilliseconds::default() };
        assert_eq!(latencies.measured, Some(expected));
        assert_eq!(latencies.phases.keys().copied().collect::<Vec<_>>(), [Phase::WarmUp, Phase::Baseline]);
        assert_eq!(PhaseLatencies::of_rows(&[]), PhaseLatencies::default());
    }

    #[test]
    fn operations_reported_out_of_order_land_in_the_second_in_which_they_completed() {
        let mut recorder = SecondRecorder::new(-1);
        recorder.record(SECOND, MS, true);
        recorder.record(-1, MS, true);
        recorder.record(SECOND - 1, MS, true);
        recorder.record(0, MS, true);
        let ops: Vec<u64> = (0..3).map(|_| recorder.close_second(Phase::Baseline).ops).collect();
        assert_eq!(ops, [1, 2, 1]);
        assert_eq!(recorder.late_operations(), 0);
    }

    #[test]
    fn an_operation_reported_after_its_second_was_closed_is_not_lost() {
        let mut recorder = SecondRecorder::new(0);
        recorder.close_second(Phase::Baseline);
        recorder.record(SECOND / 2, MS, true);
        assert_eq!(recorder.close_second(Phase::Baseline).ops, 1);
        assert_eq!(recorder.late_operations(), 1);
    }

    #[test]
    fn a_second_of_errors_only_is_stalled_and_has_no_latency() {
        let mut recorder = SecondRecorder::new(0);
        recorder.record(5, 1000 * MS, false);
        let row = recorder.close_second(Phase::Injection);
        assert_eq!((row.ops, row.errors, row.latency, row.stalled), (0, 1, None, true));
    }

    #[test]
    fn percentiles_are_those_of_the_recorded_latencies() {
        let mut recorder = SecondRecorder::new(0);
        for latency_ms in 1..=1000 {
            recorder.record(7, latency_ms * MS, true);
        }
        let latency = recorder.close_second(Phase::Baseline).latency.unwrap();
        let close = |value: Option<f64>, expected: f64| (value.unwrap() / expected - 1.0).abs() < 0.001;
        assert!(close(latency.mean, 500.5), "{latency:?}");
        assert!(close(latency.p50, 500.0) && close(latency.p95, 950.0), "{latency:?}");
        assert!(close(latency.p99, 990.0) && close(latency.p999, 999.0), "{latency:?}");
        assert!(close(latency.max, 1000.0), "{latency:?}");
    }

    #[test]
    fn phases_are_kept_apart_and_the_warm_up_is_not_measured() {
        let mut recorder = SecondRecorder::new(-1);
        for (t_s, latency_ms) in [(-1, 900), (0, 5), (1, 100)] {
            recorder.record(t_s * SECOND, latency_ms * MS, true);
        }
        for phase in [Phase::WarmUp, Phase::Baseline, Phase::Injection] {
            recorder.close_second(phase);
        }
        let latencies = recorder.latencies();
        let max = |phase| latencies.phases[&phase].max.unwrap().round();
        assert_eq!([max(Phase::WarmUp), max(Phase::Baseline), max(Phase::Injection)], [900.0, 5.0, 100.0]);
        assert_eq!(latencies.measured.unwrap().max.unwrap().round(), 100.0);
        assert!(!latencies.phases.contains_key(&Phase::Recovery));
    }

    #[test]
    fn absurd_latencies_are_clamped_not_lost() {
        let mut recorder = SecondRecorder::new(0);
        recorder.record(0, 0, true);
        recorder.record(0, u64::MAX, true);
        assert_eq!(recorder.close_second(Phase::Baseline).ops, 2);
    }
}
