//! Samples into whole seconds: one value for each second from the first to the last, silent ones included.

use crate::sample::{Clock, Latency, Sample};

/// The longest series that is kept, in seconds: a day. What a broken time column places behind it is left out.
pub const MOST_SECONDS: usize = 86_400;

/// Overlaps that come from the imprecision of sums, in seconds.
const NOTHING_S: f64 = 1e-6;

/// What happened in one second, `[begin_s, begin_s + 1)`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Second {
    /// Begin of the second, counted from the zero of the series.
    pub begin_s: usize,
    /// Operations that succeeded; a part of one where an interval ended within the second.
    pub operations: f64,
    /// Operations that failed.
    pub errors: f64,
    /// Mean and percentiles are those of the intervals that reach into the second, weighted by the operations that
    /// each has in it: exact for the mean, near for percentiles. The maximum is the largest of them.
    pub latency: Latency,
}

/// One time series, put together from samples in any order.
///
/// The operations of an interval are spread evenly over the seconds that it covers. Samples of single kinds are only
/// counted as long as there is none about all of them, so that nothing is counted twice. A day of both takes 20 MB.
#[derive(Clone, Debug, Default)]
pub struct Series {
    of_all: Vec<Sum>,
    of_kinds: Vec<Sum>,
    /// So many seconds there are at least, because the command ran so long.
    at_least: usize,
    complete_s: f64,
    offset_s: Option<f64>,
    left_out: u64,
}

impl Series {
    /// A series without a second.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what a sample says.
    pub fn add(&mut self, sample: &Sample) {
        let numbers = [sample.begin_s, sample.end_s, sample.arrived_s, sample.operations, sample.errors];
        if numbers.iter().any(|number| !number.is_finite()) {
            self.left_out += 1;
            return;
        }
        let begin_s = sample.begin_s.max(0.0);
        let end_s = sample.end_s.max(begin_s);
        if end_s > MOST_SECONDS as f64 {
            self.left_out += 1;
            return;
        }
        if sample.clock == Clock::Tool {
            let offset_s = sample.arrived_s - sample.end_s;
            self.offset_s = Some(self.offset_s.map_or(offset_s, |least| least.min(offset_s)));
        }
        self.complete_s = self.complete_s.max(end_s);
        let sums = if sample.kind.is_none() { &mut self.of_all } else { &mut self.of_kinds };
        for second in whole(begin_s - NOTHING_S)..=whole(end_s).min(MOST_SECONDS - 1) {
            let share = share(begin_s, end_s, second);
            if share > 0.0 {
                if sums.len() <= second {
                    sums.resize(second + 1, Sum::default());
                }
                if let Some(sum) = sums.get_mut(second) {
                    sum.add(sample, share);
                }
            }
        }
    }

    /// Says that the command still ran at a time, in seconds since its start: if the tool was silent since its last
    /// row, these seconds are zeros. Later samples may still fill them.
    pub fn silent_until(&mut self, command_s: f64) {
        let series_s = command_s - self.offset_s();
        if !self.is_empty() && series_s.is_finite() {
            self.at_least = self.at_least.max(whole(series_s));
        }
    }

    /// When the zero of the series was, in seconds since the command's start: the smallest difference of a row's
    /// arrival and the time in it, since rows arrive late but never early. 0 without a time column.
    #[must_use]
    pub fn offset_s(&self) -> f64 {
        self.offset_s.unwrap_or(0.0)
    }

    /// How many seconds, from the first one on, are behind the end of the latest interval: samples that come later
    /// do not change them, except when a tool's rows about single kinds are followed by one about all.
    #[must_use]
    pub fn complete_seconds(&self) -> usize {
        whole(self.complete_s + NOTHING_S).min(self.len())
    }

    /// Samples that were left out because they are behind [`MOST_SECONDS`], or not numbers.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The number of seconds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sums().len().max(self.at_least)
    }

    /// Whether there is no second.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A second, counted from 0; zeros for one that the series does not reach.
    #[must_use]
    pub fn second(&self, begin_s: usize) -> Second {
        self.sums()
            .get(begin_s)
            .map_or_else(|| Second { begin_s, ..Second::default() }, |sum| sum.second(begin_s))
    }

    /// All seconds, from 0 on.
    pub fn seconds(&self) -> impl Iterator<Item = Second> + '_ {
        (0..self.len()).map(|begin_s| self.second(begin_s))
    }

    fn sums(&self) -> &[Sum] {
        if self.of_all.is_empty() { &self.of_kinds } else { &self.of_all }
    }
}

/// The part of an interval that is within a second; everything of one without a length that is in it.
fn share(begin_s: f64, end_s: f64, second: usize) -> f64 {
    let (second_begin_s, second_end_s) = (second as f64, second as f64 + 1.0);
    let length_s = end_s - begin_s;
    if length_s < NOTHING_S {
        // What ends with a second is of that second.
        let at_s = (end_s - NOTHING_S).max(0.0);
        return if whole(at_s) == second { 1.0 } else { 0.0 };
    }
    (end_s.min(second_end_s) - begin_s.max(second_begin_s)).max(0.0) / length_s
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, bounded")]
fn whole(seconds: f64) -> usize {
    seconds.clamp(0.0, MOST_SECONDS as f64) as usize
}

#[derive(Clone, Copy, Debug, Default)]
struct Weighted {
    sum: f64,
    weight: f64,
}

impl Weighted {
    fn add(&mut self, value: Option<f64>, weight: f64) {
        if let Some(value) = value.filter(|value| value.is_finite() && *value >= 0.0) {
            self.sum += value * weight;
            self.weight += weight;
        }
    }

    fn mean(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.sum / self.weight)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    operations: f64,
    errors: f64,
    mean: Weighted,
    p50: Weighted,
    p95: Weighted,
    p99: Weighted,
    p999: Weighted,
    max: Option<f64>,
}

impl Sum {
    fn add(&mut self, sample: &Sample, share: f64) {
        let operations = sample.operations.max(0.0) * share;
        self.operations += operations;
        self.errors += sample.errors.max(0.0) * share;
        self.mean.add(sample.latency.mean, operations);
        self.p50.add(sample.latency.p50, operations);
        self.p95.add(sample.latency.p95, operations);
        self.p99.add(sample.latency.p99, operations);
        self.p999.add(sample.latency.p999, operations);
        let max = sample.latency.max.filter(|max| max.is_finite() && *max >= 0.0);
        if share * (sample.end_s - sample.begin_s) >= NOTHING_S || share >= 1.0 {
            self.max = self.max.into_iter().chain(max).reduce(f64::max);
        }
    }

    fn second(&self, begin_s: usize) -> Second {
        let latency = Latency {
            mean: self.mean.mean(),
            p50: self.p50.mean(),
            p95: self.p95.mean(),
            p99: self.p99.mean(),
            p999: self.p999.mean(),
            max: self.max,
        };
        Second { begin_s, operations: self.operations, errors: self.errors, latency }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample(begin_s: f64, end_s: f64, operations: f64, kind: Option<&str>) -> Sample {
        Sample {
            begin_s,
            end_s,
            arrived_s: end_s + 3.0,
            clock: Clock::Tool,
            operations,
            errors: 0.0,
            latency: Latency::default(),
            kind: kind.map(str::to_owned),
        }
    }

    fn operations(samples: &[Sample]) -> Vec<f64> {
        let mut series = Series::new();
        samples.iter().for_each(|sample| series.add(sample));
        series.seconds().map(|second| second.operations).collect()
    }

    #[test]
    fn intervals_are_spread_and_silent_seconds_are_zeros() {
        let samples = [sample(0.0, 1.0, 10.0, None), sample(4.0, 6.0, 30.0, None)];
        assert_eq!(operations(&samples), [10.0, 0.0, 0.0, 0.0, 15.0, 15.0]);
        assert_eq!(operations(&[sample(0.5, 2.5, 20.0, None)]), [5.0, 10.0, 5.0]);
        assert_eq!(operations(&[sample(1.5, 1.5, 7.0, None)]), [0.0, 7.0]);
        assert_eq!(operations(&[sample(2.0, 2.0, 7.0, None)]), [0.0, 7.0]);
        assert_eq!(operations(&[sample(-3.0, 1.0, 8.0, None)]), [8.0]);
    }

    #[test]
    fn kinds_count_only_as_long_as_there_is_no_row_about_all() {
        let kinds = [sample(0.0, 1.0, 10.0, Some("READ")), sample(0.0, 1.0, 5.0, Some("WRITE"))];
        assert_eq!(operations(&kinds), [15.0]);
        let [read, write] = kinds;
        assert_eq!(operations(&[read, write, sample(0.0, 1.0, 14.0, None)]), [14.0]);
    }

    #[test]
    fn latencies_are_weighted_by_the_operations_and_the_maximum_is_the_largest() {
        let mut series = Series::new();
        let latency = |p99, max| Latency { p99: Some(p99), max: Some(max), ..Latency::default() };
        series.add(&Sample { latency: latency(10.0, 90.0), ..sample(0.0, 0.5, 30.0, None) });
        series.add(&Sample { latency: latency(50.0, 60.0), ..sample(0.5, 1.0, 10.0, None) });
        let found = series.second(0).latency;
        assert_eq!((found.p99, found.max, found.mean), (Some(20.0), Some(90.0), None));
        assert!(series.second(1).latency.is_empty());
    }

    #[test]
    fn a_tool_that_is_silent_is_so_until_the_command_ends() {
        let mut series = Series::new();
        series.silent_until(100.0);
        assert!(series.is_empty());
        series.add(&sample(0.0, 1.5, 15.0, None));
        assert_eq!((series.offset_s(), series.complete_seconds(), series.len()), (3.0, 1, 2));
        series.silent_until(8.0);
        assert_eq!((series.len(), series.second(4).operations), (5, 0.0));
        series.silent_until(f64::NAN);
        series.silent_until(f64::INFINITY);
        assert_eq!(series.len(), 5);
    }

    #[test]
    fn what_no_clock_can_say_is_left_out() {
        let mut series = Series::new();
        series.add(&sample(0.0, 1e300, 1.0, None));
        series.add(&sample(f64::NAN, 1.0, 1.0, None));
        series.add(&sample(0.0, 1.0, f64::INFINITY, None));
        assert_eq!((series.len(), series.left_out()), (0, 3));
        series.add(&sample(MOST_SECONDS as f64 - 1.0, MOST_SECONDS as f64, 4.0, None));
        assert_eq!((series.len(), series.second(MOST_SECONDS - 1).operations), (MOST_SECONDS, 4.0));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn nothing_is_lost_added_or_negative(
            rows in proptest::collection::vec((0.0..500.0_f64, 0.0..50.0_f64, 0.0..1e6_f64), 0..20)
        ) {
            let samples: Vec<Sample> =
                rows.iter().map(|(begin_s, length_s, count)| sample(*begin_s, begin_s + length_s, *count, None)).collect();
            let seconds = operations(&samples);
            let expected: f64 = rows.iter().map(|(_, _, count)| count).sum();
            prop_assert!((seconds.iter().sum::<f64>() - expected).abs() <= 1e-6 * expected.max(1.0));
            prop_assert!(seconds.iter().all(|count| count.is_finite() && *count >= 0.0));
            let last = samples.iter().map(|sample| sample.end_s).fold(0.0, f64::max);
            prop_assert!(seconds.len() as f64 >= last && seconds.len() as f64 <= last + 1.0);
        }
    }
}
