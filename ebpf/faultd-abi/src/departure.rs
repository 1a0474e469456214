//! When a held packet leaves: the bottleneck's turn, the delay with its jitter.

use crate::{JitterTable, Rule};

/// Steps of a jitter table.
pub const TABLE_LENGTH: usize = 4096;

/// The unit of jitter tables, normal deviates and correlations.
pub const JITTER_ONE: i64 = 1 << 16;

/// The unit of [`Rule::byte_time`].
pub const RATE_ONE: u64 = 1 << 20;

/// Normal deviates beyond this are cut to it; one in 16 000 is.
const LARGEST_DEVIATE: i64 = 4 * JITTER_ONE;

/// A draw from a jitter table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampled {
    /// How far from the mean, in units of the spread times [`JITTER_ONE`].
    pub value: i64,
    /// The normal deviate to remember, where jitter is correlated.
    pub deviate: i64,
}

/// The table's value at a point between 0 and 2^32, interpolated.
#[inline(always)]
pub fn table_value(table: &JitterTable, point: u32) -> i64 {
    let step = (point >> 20) as usize & (TABLE_LENGTH - 1);
    let low = table.values[step] as i64;
    let high = table.values[step + 1] as i64;
    low + (((high - low) * (point & 0xf_ffff) as i64) >> 20)
}

/// The next deviate of a process whose successive values are correlated and which stays normal: a
/// part of the last one and a part of a new one (an exponential moving average, scaled to keep its variance).
#[inline(always)]
pub fn correlated(rule: &Rule, last: i64, fresh: i64) -> i64 {
    let sum = last * rule.correlation as i64 + fresh * rule.innovation as i64;
    (sum >> 16).clamp(-LARGEST_DEVIATE, LARGEST_DEVIATE)
}

/// The delay with its jitter, in nanoseconds: never below zero.
#[inline(always)]
pub fn jittered_delay_ns(delay_ns: u64, jitter_ns: u64, value: i64) -> u64 {
    // In microseconds and nanoseconds apart: ten minutes times a far deviate would not fit otherwise.
    let coarse = ((jitter_ns >> 16) as i64) * value;
    let fine = ((jitter_ns & 0xffff) as i64 * value) >> 16;
    let delay = delay_ns as i64 + coarse + fine;
    if delay < 0 { 0 } else { delay as u64 }
}

/// How long a packet of so many bytes takes through the bottleneck.
#[inline(always)]
pub fn serialization_ns(rule: &Rule, bytes: u64) -> u64 {
    (bytes * rule.byte_time) / RATE_ONE
}

/// Sends a packet through the bottleneck: when it leaves it and when that is free again, or nothing
/// where its queue is full. A packet leaves when its last byte has passed; a burst passes at once.
#[inline(always)]
pub fn through_bottleneck(rule: &Rule, free_ns: u64, now_ns: u64, own_ns: u64) -> Option<(u64, u64)> {
    let begins_ns = if free_ns > now_ns { free_ns } else { now_ns };
    let free_again_ns = begins_ns + own_ns;
    let leaves_ns = free_again_ns.saturating_sub(rule.burst_ns);
    if leaves_ns <= now_ns {
        return Some((now_ns, free_again_ns));
    }
    // Its own time is not spent in the queue.
    let queued_ns = (leaves_ns - now_ns).saturating_sub(own_ns);
    if queued_ns > rule.queue_ns { None } else { Some((leaves_ns, free_again_ns)) }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::{
        JITTER_ONE, RATE_ONE, TABLE_LENGTH, correlated, jittered_delay_ns, serialization_ns, table_value,
        through_bottleneck,
    };
    use crate::{JitterTable, Rule};

    fn line_from_minus_one_to_one() -> JitterTable {
        let mut table = JitterTable { values: [0; TABLE_LENGTH + 1] };
        for (step, value) in table.values.iter_mut().enumerate() {
            *value = (step as i64 * 2 * JITTER_ONE / TABLE_LENGTH as i64 - JITTER_ONE) as i32;
        }
        table
    }

    #[test]
    fn a_table_is_interpolated_between_its_steps() {
        let table = line_from_minus_one_to_one();
        assert_eq!(table_value(&table, 0), -JITTER_ONE);
        assert_eq!(table_value(&table, 1 << 31), 0);
        assert_eq!(table_value(&table, (1 << 31) + (1 << 19)), 16);
        assert_eq!(table_value(&table, u32::MAX), JITTER_ONE - 1);
    }

    #[test]
    fn jitter_moves_a_delay_both_ways_but_not_below_zero() {
        let ms = 1_000_000;
        assert_eq!(jittered_delay_ns(50 * ms, 10 * ms, JITTER_ONE), 60 * ms);
        assert_eq!(jittered_delay_ns(50 * ms, 10 * ms, -JITTER_ONE), 40 * ms);
        assert_eq!(jittered_delay_ns(5 * ms, 10 * ms, -JITTER_ONE), 0);
        let minutes = 600_000 * ms;
        assert_eq!(jittered_delay_ns(minutes, minutes, 20 * JITTER_ONE), 21 * minutes);
    }

    #[test]
    fn correlated_deviates_keep_their_variance_and_remember_the_last() {
        // 0.8 and its complement 0.6: a Pythagorean pair.
        let rule = Rule { correlation: 52_429, innovation: 39_322, ..Rule::default() };
        let mut state = 1_u64;
        let mut fresh = || {
            // A sum of twelve uniform draws is near enough to a normal deviate.
            let draws = (0..12).map(|_| {
                state = crate::mix(state);
                (state >> 48) as i64
            });
            draws.sum::<i64>() - 6 * JITTER_ONE
        };
        let mut last = 0;
        let mut series = Vec::new();
        for _ in 0..100_000 {
            last = correlated(&rule, last, fresh());
            series.push(last as f64 / JITTER_ONE as f64);
        }
        let product = |lag: usize| {
            series.iter().zip(&series[lag..]).map(|(a, b)| a * b).sum::<f64>() / series.len() as f64
        };
        assert!((0.97..1.03).contains(&product(0)), "variance {}", product(0));
        assert!((0.77..0.83).contains(&(product(1) / product(0))), "correlation {}", product(1));
    }

    #[test]
    fn a_bottleneck_serves_one_packet_after_the_other() {
        // 1000 bytes take 1 ms.
        let rule = Rule { byte_time: 1000 * RATE_ONE, queue_ns: 2_000_000, ..Rule::default() };
        let own = serialization_ns(&rule, 1000);
        assert_eq!(own, 1_000_000);
        let (first, free) = through_bottleneck(&rule, 0, 10_000_000, own).unwrap();
        assert_eq!((first, free), (11_000_000, 11_000_000));
        let (second, free) = through_bottleneck(&rule, free, 10_000_000, own).unwrap();
        assert_eq!(second, 12_000_000);
        let (_third, free) = through_bottleneck(&rule, free, 10_000_000, own).unwrap();
        assert_eq!(through_bottleneck(&rule, free, 10_000_000, own), None, "two wait already");
    }

    #[test]
    fn a_burst_passes_at_once_and_fills_up_again_with_time() {
        let burst_ns = 3_000_000;
        let rule = Rule { byte_time: 1000 * RATE_ONE, burst_ns, queue_ns: u64::MAX, ..Rule::default() };
        let now = 50_000_000;
        let mut free = 0;
        let mut leaves = Vec::new();
        for _ in 0..5 {
            let (at, again) = through_bottleneck(&rule, free, now, 1_000_000).unwrap();
            leaves.push(at - now);
            free = again;
        }
        assert_eq!(leaves, [0, 0, 0, 1_000_000, 2_000_000]);
        assert_eq!(through_bottleneck(&rule, free, now + 10_000_000, 1_000_000).unwrap().0, now + 10_000_000);
    }
}
