//! How long packets were really held: histograms that the programs fill, and what they say.

use std::time::Duration;

use faultd_abi::{BUCKETS, DelayProof, bucket_of, upper_bound_of_bucket};

/// The delay that was really added to a sample of the held packets, from the holding device's entrance
/// to its exit.
#[derive(Clone, Debug, PartialEq)]
pub struct DelayMeasured {
    /// Packets in the sample.
    pub count: u64,
    /// Their mean delay.
    pub mean: Duration,
    /// How much later than asked for they came out on average.
    pub mean_lateness: Duration,
    /// How many came out before they were due.
    pub early: u64,
    /// Their delays.
    pub delays: TimeHistogram,
    /// How much later than due they came out.
    pub lateness: TimeHistogram,
}

impl DelayMeasured {
    /// Adds what was measured under another rule.
    pub fn merge(&mut self, other: &Self) {
        let parts = [(self.count, self.mean), (other.count, other.mean)];
        let late =
            [(self.lateness.count(), self.mean_lateness), (other.lateness.count(), other.mean_lateness)];
        self.mean = weighted_mean(parts);
        self.mean_lateness = weighted_mean(late);
        self.count = self.count.saturating_add(other.count);
        self.early = self.early.saturating_add(other.early);
        self.delays.merge(&other.delays);
        self.lateness.merge(&other.lateness);
    }
}

fn weighted_mean(parts: [(u64, Duration); 2]) -> Duration {
    let sum: u128 = parts.iter().map(|(count, mean)| u128::from(*count) * mean.as_nanos()).sum();
    let count: u128 = parts.iter().map(|(count, _mean)| u128::from(*count)).sum();
    Duration::from_nanos(u64::try_from(sum.checked_div(count).unwrap_or(0)).unwrap_or(u64::MAX))
}

/// Counts of times, in buckets of which none is wider than an eighth of its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeHistogram {
    counts: Vec<u64>,
}

impl Default for TimeHistogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS] }
    }
}

impl TimeHistogram {
    /// Counts one time.
    pub fn record(&mut self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(bucket_of(nanoseconds)) {
            *count = count.saturating_add(1);
        }
    }

    /// How many times were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The time that this ratio of all times does not exceed, to the upper end of its bucket; nothing
    /// while nothing was counted.
    #[must_use]
    pub fn quantile(&self, ratio: f64) -> Option<Duration> {
        let total = self.count();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a rank among a number of packets; half a packet more or less does not matter"
        )]
        let rank = (ratio.clamp(0.0, 1.0) * total as f64).ceil().max(1.0) as u64;
        let mut below = 0_u64;
        for (bucket, count) in self.counts.iter().enumerate() {
            below = below.saturating_add(*count);
            if below >= rank {
                return Some(Duration::from_nanos(upper_bound_of_bucket(bucket)));
            }
        }
        None
    }

    /// The buckets in which something was counted: upper end and count.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let filled = self.counts.iter().enumerate().filter(|(_bucket, count)| **count > 0);
        filled.map(|(bucket, count)| (Duration::from_nanos(upper_bound_of_bucket(bucket)), *count))
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Self) {
        for (sum, count) in self.counts.iter_mut().zip(&other.counts) {
            *sum = sum.saturating_add(*count);
        }
    }

    fn add(&mut self, part: &[u32]) {
        for (sum, count) in self.counts.iter_mut().zip(part) {
            *sum = sum.saturating_add(u64::from(*count));
        }
    }
}

/// Adds up what each CPU measured; nothing where nobody measured anything.
pub(super) fn measured<'a>(parts: impl IntoIterator<Item = &'a DelayProof>) -> Option<DelayMeasured> {
    let mut delays = TimeHistogram::default();
    let mut lateness = TimeHistogram::default();
    let (mut count, mut early, mut delay_sum_ns, mut late_sum_ns) = (0_u64, 0_u64, 0_u64, 0_u64);
    for part in parts {
        count = count.saturating_add(part.count);
        early = early.saturating_add(part.early);
        delay_sum_ns = delay_sum_ns.saturating_add(part.delay_sum_ns);
        late_sum_ns = late_sum_ns.saturating_add(part.late_sum_ns);
        delays.add(&part.delays);
        lateness.add(&part.lateness);
    }
    let mean = Duration::from_nanos(delay_sum_ns.checked_div(count)?);
    // Where only the device knew when packets were due, their lateness was not counted.
    let mean_lateness = Duration::from_nanos(late_sum_ns.checked_div(lateness.count()).unwrap_or(0));
    Some(DelayMeasured { count, mean, mean_lateness, early, delays, lateness })
}

#[cfg(test)]
mod tests {
    use super::{DelayProof, TimeHistogram, bucket_of, measured};
    use std::time::Duration;

    #[test]
    fn quantiles_are_right_to_an_eighth() {
        let mut histogram = TimeHistogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        (1..=1000).for_each(|number| histogram.record(Duration::from_micros(number)));
        for (ratio, expected) in [(0.0, 1.0), (0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = histogram.quantile(ratio).expect("counted").as_secs_f64() * 1e6;
            assert!(found >= expected && found <= expected * 1.13, "{ratio}: {found} us");
        }
    }

    #[test]
    fn what_the_cpus_measured_is_added_up() {
        let mut part = DelayProof { count: 2, delay_sum_ns: 202, late_sum_ns: 2, ..DelayProof::EMPTY };
        part.delays[bucket_of(101)] = 2;
        part.lateness[bucket_of(1)] = 2;
        assert_eq!(measured([]), None);
        let sum = measured([&part, &part]).expect("something");
        assert_eq!(
            (sum.count, sum.mean, sum.mean_lateness),
            (4, Duration::from_nanos(101), Duration::from_nanos(1))
        );
        let mut twice = sum.clone();
        twice.merge(&sum);
        assert_eq!((twice.count, twice.mean), (8, Duration::from_nanos(101)));
        assert_eq!(sum.delays.buckets().collect::<Vec<_>>(), [(Duration::from_nanos(103), 4)]);
    }
}
