//! Which operation a client does next: its key and whether it reads, drawn by the host, so that every driver
//! has the same distributions and the same seed gives the same operations.

use faultd_api::run::KeyDistribution;
use faultd_plugin_host::Operation;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Zipf};
use rand_pcg::Pcg64Mcg;

/// The exponent of YCSB's Zipfian generator, so that results can be laid beside others.
const ZIPF_EXPONENT: f64 = 0.99;

/// Draws the operations of one client.
#[derive(Debug)]
pub struct OperationSource {
    random: Pcg64Mcg,
    read_ratio: f64,
    keys: Keys,
    count: u64,
}

#[derive(Debug)]
enum Keys {
    Uniform,
    Zipfian(Zipf<f64>),
    /// Each client takes every `clients`-th key, beginning with its own number.
    Sequential {
        next: u64,
        clients: u64,
    },
}

impl OperationSource {
    /// The source of client `number` of `clients`, over `count` keys of which there is at least one.
    #[must_use]
    pub fn new(
        distribution: KeyDistribution,
        count: u64,
        read_ratio: f64,
        seed: u64,
        number: u64,
        clients: u64,
    ) -> Self {
        let count = count.max(1);
        let keys = match distribution {
            KeyDistribution::Uniform => Keys::Uniform,
            KeyDistribution::Sequential => Keys::Sequential { next: number % count, clients: clients.max(1) },
            // The constructor refuses only numbers that these are not.
            KeyDistribution::Zipfian => {
                Zipf::new(as_float(count), ZIPF_EXPONENT).map_or(Keys::Uniform, Keys::Zipfian)
            }
        };
        Self { random: Pcg64Mcg::seed_from_u64(seed), read_ratio, keys, count }
    }

    /// The next operation.
    pub fn draw(&mut self) -> Operation {
        let key = match &mut self.keys {
            Keys::Uniform => self.random.random_range(0..self.count),
            Keys::Zipfian(zipf) => scattered(zipf.sample(&mut self.random), self.count),
            Keys::Sequential { next, clients } => {
                let key = *next;
                *next = next.wrapping_add(*clients) % self.count;
                key
            }
        };
        Operation { key, reads: self.random.random_bool(self.read_ratio.clamp(0.0, 1.0)) }
    }
}

#[expect(clippy::cast_precision_loss, reason = "there are far fewer keys than a double has digits")]
fn as_float(count: u64) -> f64 {
    count as f64
}

/// The key of a rank, 1 to `count`: popular keys are spread over all of them, not side by side. Multiplying by
/// an odd number that shares no factor with the count would be a permutation; a hash is what YCSB does, too.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rank is a whole number from 1 on"
)]
fn scattered(rank: f64, count: u64) -> u64 {
    let mixed = (rank as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    (mixed ^ (mixed >> 32)) % count
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn source(distribution: KeyDistribution, read_ratio: f64) -> OperationSource {
        OperationSource::new(distribution, 1000, read_ratio, 7, 2, 10)
    }

    fn shares(distribution: KeyDistribution) -> Vec<u32> {
        let mut source = source(distribution, 0.5);
        let mut counts: HashMap<u64, u32> = HashMap::new();
        (0..100_000).for_each(|_| *counts.entry(source.draw().key).or_default() += 1);
        assert!(counts.keys().all(|key| *key < 1000));
        let mut counts: Vec<u32> = counts.into_values().collect();
        counts.sort_unstable_by(|left, right| right.cmp(left));
        counts
    }

    #[test]
    fn uniform_keys_are_all_as_likely() {
        let counts = shares(KeyDistribution::Uniform);
        assert_eq!(counts.len(), 1000);
        assert!(counts[0] < 150 && counts[999] > 55, "{} {}", counts[0], counts[999]);
    }

    #[test]
    fn zipfian_keys_are_as_skewed_as_the_law_says() {
        // The share of the first rank is 1 / H(1000, 0.99) = 0.128; two ranks may share a key.
        let counts = shares(KeyDistribution::Zipfian);
        assert!((12_000..16_000).contains(&counts[0]), "{}", counts[0]);
        let ten: u32 = counts.iter().take(10).sum();
        assert!((36_000..44_000).contains(&ten), "{ten}");
    }

    #[test]
    fn sequential_clients_take_turns() {
        let mut source = source(KeyDistribution::Sequential, 0.0);
        let keys: Vec<u64> = (0..101).map(|_| source.draw().key).collect();
        assert_eq!((keys[0], keys[1], keys[99], keys[100]), (2, 12, 992, 2));
    }

    #[test]
    fn reads_are_as_many_as_asked_for_and_a_seed_repeats_everything() {
        let reads = |ratio| {
            let mut source = source(KeyDistribution::Uniform, ratio);
            (0..10_000).filter(|_| source.draw().reads).count()
        };
        assert_eq!((reads(0.0), reads(1.0)), (0, 10_000));
        assert!((4_700..5_300).contains(&reads(0.5)));
        let (mut first, mut second) =
            (source(KeyDistribution::Zipfian, 0.5), source(KeyDistribution::Zipfian, 0.5));
        assert!((0..100).all(|_| first.draw() == second.draw()));
    }
}
