//! Chance that can be had again: `FAULTD_SEED` is the seed that a failed test has printed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// SplitMix64: small, and good enough to choose.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// A new one, whose seed is printed.
    pub fn new(test: &str) -> Self {
        let of_clock =
            || SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").subsec_nanos().into();
        let seed = match std::env::var("FAULTD_SEED") {
            Ok(seed) => seed.parse().expect("FAULTD_SEED is a number"),
            Err(_) => of_clock(),
        };
        println!("{test}: FAULTD_SEED={seed}");
        Self(seed)
    }

    /// Another one that depends on this one.
    pub fn split(&mut self) -> Self {
        Self(self.number())
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below another one.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end.max(1)
    }

    /// True in so many of a hundred cases.
    pub fn percent(&mut self, share: u64) -> bool {
        self.below(100) < share
    }

    /// One of them.
    pub fn one_of<'of, T>(&mut self, of: &'of [T]) -> &'of T {
        let place = self.below(of.len() as u64);
        &of[usize::try_from(place).expect("a place")]
    }

    /// A time up to the longest.
    pub fn time(&mut self, longest: Duration) -> Duration {
        Duration::from_micros(self.below(u64::try_from(longest.as_micros()).expect("a short time")))
    }
}
