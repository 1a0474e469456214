//! What holds for all numbers in the arithmetic that programs and daemon share.

extern crate std;
use std::{boxed::Box, vec::Vec};

use proptest::{
    collection::vec,
    prelude::{Just, ProptestConfig, Strategy, any, prop_oneof},
    prop_assert, prop_assert_eq, proptest,
};

use crate::{
    BUCKETS, JITTER_ONE, JitterTable, LOSS_EVERY_NTH, LOSS_GILBERT_ELLIOTT, LOSS_NONE, LOSS_RANDOM,
    LOSS_TRACE, Purpose, RATE_ONE, Rule, TABLE_LENGTH, bucket_of, chance, correlated, is_lost,
    jittered_delay_ns, serialization_ns, table_value, threshold_is_met, through_bottleneck,
    upper_bound_of_bucket,
};

/// The longest delay and jitter that the daemon lets through.
const LONGEST_NS: u64 = 3_600_000_000_000;
/// The largest super-packet.
const LARGEST_PACKET: u64 = 65_600;
const ALWAYS: u64 = 1 << 32;

fn config() -> ProptestConfig {
    ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() }
}

/// A table that rises from its first value to its last, as all of them do.
fn a_table() -> impl Strategy<Value = Box<JitterTable>> {
    vec(any::<i32>(), 2..20).prop_map(|mut points| {
        points.sort_unstable();
        let mut table = Box::new(JitterTable { values: [0; TABLE_LENGTH + 1] });
        for (step, value) in table.values.iter_mut().enumerate() {
            *value = points[step * (points.len() - 1) / TABLE_LENGTH];
        }
        table
    })
}

/// Packets that come to a bottleneck: how long after the one before, and how large.
fn arrivals() -> impl Strategy<Value = Vec<(u64, u64)>> {
    let pause = prop_oneof![Just(0), 0..10_000_u64, 0..100_000_000_u64];
    vec((pause, 60..LARGEST_PACKET), 1..100)
}

fn bottleneck(bytes_per_second: u64, burst_bytes: u64, queue_bytes: u64) -> Rule {
    Rule {
        byte_time: (RATE_ONE * 1_000_000_000).div_ceil(bytes_per_second),
        burst_ns: burst_bytes * 1_000_000_000 / bytes_per_second,
        queue_ns: queue_bytes * 1_000_000_000 / bytes_per_second,
        ..Rule::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_jittered_delay_is_never_negative_and_rises_with_its_deviation(
        delay_ns in 0..=LONGEST_NS,
        jitter_ns in 0..=LONGEST_NS,
        values in (any::<i32>(), any::<i32>()),
    ) {
        let (low, high) = (values.0.min(values.1), values.0.max(values.1));
        let [low_ns, high_ns] = [low, high].map(|value| jittered_delay_ns(delay_ns, jitter_ns, value.into()));
        prop_assert!(low_ns <= high_ns);
        for (value, found_ns) in [(low, low_ns), (high, high_ns)] {
            let exact = i128::from(delay_ns) + i128::from(jitter_ns) * i128::from(value) / i128::from(JITTER_ONE);
            prop_assert!((i128::from(found_ns) - exact.max(0)).abs() <= 1, "{} ns, {} expected", found_ns, exact);
        }
        prop_assert_eq!(jittered_delay_ns(delay_ns, jitter_ns, 0), delay_ns);
    }

    #[test]
    fn a_value_of_a_table_lies_between_its_ends_and_rises_with_the_point(
        table in a_table(),
        points in (any::<u32>(), any::<u32>()),
    ) {
        let (low, high) = (points.0.min(points.1), points.0.max(points.1));
        let [low, high] = [low, high].map(|point| table_value(&table, point));
        prop_assert!(low <= high);
        prop_assert!(low >= table.values[0].into() && high <= table.values[TABLE_LENGTH].into());
    }

    #[test]
    fn correlated_deviates_stay_within_their_bound(
        correlation in 0..JITTER_ONE,
        series in vec(-4 * JITTER_ONE..=4 * JITTER_ONE, 1..50),
    ) {
        let innovation = (JITTER_ONE * JITTER_ONE - correlation * correlation).isqrt();
        let rule = Rule {
            correlation: u32::try_from(correlation).unwrap(),
            innovation: u32::try_from(innovation).unwrap(),
            ..Rule::default()
        };
        let mut last = 0;
        for fresh in series {
            last = correlated(&rule, last, fresh);
            prop_assert!(last.abs() <= 4 * JITTER_ONE);
        }
    }

    #[test]
    fn nothing_leaves_a_bottleneck_before_it_came_or_before_those_in_front(
        rate in 100..10_000_000_000_u64,
        burst in 0..1_000_000_u64,
        queue in 0..10_000_000_u64,
        arrivals in arrivals(),
    ) {
        let rule = bottleneck(rate, burst, queue);
        let (mut now_ns, mut free_ns, mut last_ns) = (1_000_000_000, 0, 0);
        for (pause_ns, bytes) in arrivals {
            now_ns += pause_ns;
            let own_ns = serialization_ns(&rule, bytes);
            let Some((leaves_ns, free_again_ns)) = through_bottleneck(&rule, free_ns, now_ns, own_ns) else {
                continue;
            };
            prop_assert!(leaves_ns >= now_ns && leaves_ns >= last_ns && free_again_ns >= free_ns);
            prop_assert!(leaves_ns - now_ns <= rule.queue_ns + own_ns, "longer than the queue holds");
            (last_ns, free_ns) = (leaves_ns, free_again_ns);
        }
    }

    /// From any packet to any later one: what leaves is bounded by the rate, the burst and one packet.
    #[test]
    fn a_bottleneck_never_passes_more_than_its_rate_and_its_burst(
        rate in 100..10_000_000_000_u64,
        burst in 0..1_000_000_u64,
        queue in 0..10_000_000_u64,
        arrivals in arrivals(),
    ) {
        let rule = bottleneck(rate, burst, queue);
        let (mut now_ns, mut free_ns) = (1_000_000_000, 0);
        let mut passed: Vec<(u64, u64)> = Vec::new();
        for (pause_ns, bytes) in arrivals {
            now_ns += pause_ns;
            let own_ns = serialization_ns(&rule, bytes);
            if let Some((leaves_ns, free_again_ns)) = through_bottleneck(&rule, free_ns, now_ns, own_ns) {
                free_ns = free_again_ns;
                passed.push((leaves_ns, bytes));
            }
        }
        for (first, (begin_ns, first_bytes)) in passed.iter().enumerate() {
            let mut sum = 0;
            for (end_ns, bytes) in &passed[first..] {
                sum += bytes;
                let time_ns = u128::from(end_ns - begin_ns);
                // A nanosecond for each packet is lost by rounding.
                let rounding = u128::from(rate) * passed.len() as u128 / 1_000_000_000 + 1;
                let bound = u128::from(rate) * time_ns / 1_000_000_000 + u128::from(burst + first_bytes) + rounding;
                prop_assert!(u128::from(sum) <= bound, "{} bytes in {} ns, at most {}", sum, time_ns, bound);
            }
        }
    }

    #[test]
    fn a_packet_takes_the_time_that_the_rate_says(rate in 100..10_000_000_000_u64, bytes in 1..LARGEST_PACKET) {
        let rule = bottleneck(rate, 0, 0);
        let exact = u128::from(bytes) * 1_000_000_000 / u128::from(rate);
        let found = u128::from(serialization_ns(&rule, bytes));
        // The time of a byte is rounded up to a millionth of a nanosecond.
        prop_assert!(found >= exact && found - exact <= 1 + u128::from(bytes), "{} ns, {} exactly", found, exact);
    }

    #[test]
    fn a_time_falls_into_a_bucket_that_ends_above_it_and_is_an_eighth_wide(
        time in prop_oneof![any::<u64>(), 0..1000_u64, 0..=1_u64 << 41],
        later in any::<u64>(),
    ) {
        let bucket = bucket_of(time);
        prop_assert!(bucket < BUCKETS);
        prop_assert!(bucket_of(time.max(later)) >= bucket);
        if bucket < BUCKETS - 1 {
            let upper = upper_bound_of_bucket(bucket);
            prop_assert!(time <= upper && upper - time <= time / 8);
            prop_assert!(bucket == 0 || upper_bound_of_bucket(bucket - 1) < time);
        }
    }

    #[test]
    fn no_rule_whatever_is_in_it_breaks_the_loss_of_a_packet(
        model in prop_oneof![Just(LOSS_NONE), Just(LOSS_RANDOM), Just(LOSS_GILBERT_ELLIOTT), Just(LOSS_EVERY_NTH), Just(LOSS_TRACE), any::<u32>()],
        numbers in (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>()),
        packet in (any::<u64>(), any::<u64>(), 0..2_u64),
        word in any::<u64>(),
    ) {
        let (loss_a, loss_b, loss_c, loss_d) = numbers;
        let (seed, number, state) = packet;
        // Numbers do not get that far, whatever happens.
        let number = number >> 1;
        let rule = Rule { seed, loss_model: model, loss_a, loss_b, loss_c, loss_d, ..Rule::default() };
        let loss = is_lost(&rule, number, state, |_index| word);
        prop_assert!(loss.state <= 1);
        prop_assert_eq!(loss, is_lost(&rule, number, state, |_index| word), "it is repeatable");
        if model != LOSS_GILBERT_ELLIOTT {
            prop_assert_eq!(loss.state, state);
        }
    }

    #[test]
    fn a_higher_probability_hits_all_packets_that_a_lower_one_hits(
        seed in any::<u64>(),
        number in any::<u64>(),
        thresholds in (0..=ALWAYS, 0..=ALWAYS),
    ) {
        let drawn = chance(seed, Purpose::Loss, number);
        let (low, high) = (thresholds.0.min(thresholds.1), thresholds.0.max(thresholds.1));
        prop_assert!(!threshold_is_met(drawn, low) || threshold_is_met(drawn, high));
        prop_assert!(threshold_is_met(drawn, ALWAYS) && !threshold_is_met(drawn, 0));
    }
}
