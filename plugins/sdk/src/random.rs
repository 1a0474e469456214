//! A small random generator (SplitMix64), seeded by the host so that a run can be repeated.
//! Kept in the guest, so that it can be tested without a host.

/// A sequence of random numbers. Not for secrets.
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    /// A generator seeded by the host, different for each instance of a plugin.
    pub fn from_host() -> Self {
        Self::from_seed(crate::bindings::host::random::next_u64())
    }

    /// A generator with a seed of the caller's, for tests.
    pub fn from_seed(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next number, uniform over all 64-bit values.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// So many random bytes, for values that no store can compress.
    pub fn bytes(&mut self, count: u32) -> Vec<u8> {
        let words = (0..count.div_ceil(8)).flat_map(|_| self.next_u64().to_le_bytes());
        words.take(usize::try_from(count).unwrap_or(usize::MAX)).collect()
    }

    /// A number below `limit`; 0 if `limit` is 0. The bias of the multiplication is below `limit` / 2^64.
    pub fn below(&mut self, limit: u64) -> u64 {
        let product = u128::from(self.next_u64()) * u128::from(limit);
        u64::try_from(product >> 64).unwrap_or(0)
    }

    /// True with the given probability, 0.0 (never) to 1.0 (always).
    pub fn chance(&mut self, probability: f64) -> bool {
        // 53 bits are what a float holds exactly.
        const STEPS: f64 = (1_u64 << 53) as f64;
        ((self.next_u64() >> 11) as f64) / STEPS < probability
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_sequence() {
        let (mut first, mut second) = (Random::from_seed(7), Random::from_seed(7));
        assert!((0..100).all(|_| first.next_u64() == second.next_u64()));
        assert_ne!(Random::from_seed(7).next_u64(), Random::from_seed(8).next_u64());
    }

    #[test]
    fn numbers_stay_below_the_limit_and_reach_all_of_it() {
        let mut random = Random::from_seed(1);
        let mut seen = [false; 10];
        (0..1000).for_each(|_| seen[usize::try_from(random.below(10)).unwrap()] = true);
        assert_eq!(seen, [true; 10]);
        assert_eq!(random.below(0), 0);
    }

    #[test]
    fn there_are_as_many_bytes_as_asked_for() {
        for count in [0, 1, 7, 8, 9, 1024] {
            assert_eq!(u32::try_from(Random::from_seed(1).bytes(count).len()), Ok(count));
        }
        assert_ne!(Random::from_seed(1).bytes(8), Random::from_seed(2).bytes(8));
    }

    #[test]
    fn chances_of_zero_and_one_are_certain_and_a_half_is_a_half() {
        let mut random = Random::from_seed(1);
        assert!((0..1000).all(|_| !random.chance(0.0) && random.chance(1.0)));
        let heads = (0..10_000).filter(|_| random.chance(0.5)).count();
        assert!((4_700..5_300).contains(&heads), "{heads}");
    }
}
