//! What holds for every text and every value: readers never panic, and what is written is read back.

use proptest::{
    collection::vec,
    prelude::{ProptestConfig, Strategy, any, prop_oneof},
    prop_assert, prop_assert_eq, proptest,
};

use crate::{
    dictionary,
    fault::{Backend, Direction, FaultRequest},
    quantities::{MOST_PACKETS, packets_text, parse_packets, parse_ports, parse_rate, parse_size, rate_text},
    shape::{Distribution, FaultShape, GilbertElliott},
    stop_condition::StopCondition,
    units::{
        LONGEST_DELAY, LONGEST_DURATION, duration_text, nanoseconds, parse_delay, parse_duration,
        parse_share, share_text,
    },
};

/// Any text, and texts of the letters that readers look for, which get further.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC*",
        "[0-9.,:%eE+\\- \u{b5}]{0,12}",
        "[0-9]{1,20}[.]?[0-9]{0,9}(kbit|gbyte|ms|us|ns|h|%|mb)"
    ]
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_a_reader_takes_is_within_its_bounds(text in any_text()) {
        if let Ok(delay) = parse_delay(&text) {
            prop_assert!(!delay.is_zero() && delay <= LONGEST_DELAY, "{:?}", delay);
        }
        if let Ok(duration) = parse_duration(&text) {
            prop_assert!(!duration.is_zero() && duration <= LONGEST_DURATION, "{:?}", duration);
        }
        if let Ok(share) = parse_share(&text) {
            prop_assert!(share > 0.0 && share <= 1.0, "{}", share);
        }
        if let Ok(rate) = parse_rate(&text) {
            prop_assert!((100..=1_000_000_000_000).contains(&rate), "{}", rate);
        }
        if let Ok(size) = parse_size(&text) {
            prop_assert!(size <= 1_000_000_000_000, "{}", size);
        }
        if let Ok(ports) = parse_ports(&text) {
            prop_assert!(!ports.is_empty() && *ports.start() > 0, "{:?}", ports);
        }
        for range in parse_packets(&text).into_iter().flatten() {
            prop_assert!(!range.is_empty() && *range.start() > 0 && *range.end() <= MOST_PACKETS);
        }
    }

    #[test]
    fn every_rate_is_written_as_it_is_read(rate in prop_oneof![100..100_000_u64, 100..=1_000_000_000_000_u64]) {
        prop_assert_eq!(parse_rate(&rate_text(rate)), Ok(rate));
    }

    #[test]
    fn every_size_is_read_with_each_unit(size in 0..=1_000_000_u64) {
        for (unit, bytes) in [("", 1), ("b", 1), ("kb", 1000), ("MB", 1_000_000)] {
            prop_assert_eq!(parse_size(&format!("{size}{unit}")), Ok(size * bytes));
        }
    }

    #[test]
    fn every_range_of_ports_is_read(first in 1..=u16::MAX, last in 1..=u16::MAX) {
        let read = parse_ports(&format!("{first}-{last}"));
        if first <= last { prop_assert_eq!(read, Ok(first..=last)) } else { prop_assert!(read.is_err()) }
        prop_assert_eq!(parse_ports(&first.to_string()), Ok(first..=first));
    }

    #[test]
    fn every_list_of_packets_is_written_as_it_is_read(lost in vec(any::<bool>(), 1..300)) {
        let mut read = vec![false; lost.len()];
        for range in parse_packets(&packets_text(&lost)).into_iter().flatten() {
            range.for_each(|packet| read[usize::try_from(packet).unwrap() - 1] = true);
        }
        prop_assert_eq!(read, lost);
    }

    /// Texts have three decimals at most, so that a thousandth of the unit may be cut off.
    #[test]
    fn every_duration_is_written_as_it_is_read_to_a_thousandth(
        duration_ns in prop_oneof![1..2_000_u64, 1..2_000_000_000_u64, 1..=nanoseconds(LONGEST_DURATION)],
    ) {
        let text = duration_text(duration_ns);
        let read = nanoseconds(parse_duration(&text).map_err(|error| {
            proptest::test_runner::TestCaseError::fail(format!("{duration_ns} ns as {text}: {error}"))
        })?);
        prop_assert!(read <= duration_ns && duration_ns - read <= duration_ns / 1000, "{}: {}", text, read);
        let again = parse_duration(&duration_text(read)).map(nanoseconds);
        prop_assert_eq!(again, Ok(read), "what was read once is not cut off any more");
    }

    /// Texts have four decimals of a percent at most.
    #[test]
    fn every_share_is_written_as_it_is_read_to_a_millionth(ratio in 1e-6..=1.0_f64) {
        let read = parse_share(&share_text(ratio));
        prop_assert!(read.as_ref().is_ok_and(|read| (read - ratio).abs() < 1e-6), "{}: {:?}", ratio, read);
    }

    #[test]
    fn every_stop_condition_is_written_as_it_is_read(text in a_stop_condition()) {
        let condition = text.parse::<StopCondition>().map_err(|error| {
            proptest::test_runner::TestCaseError::fail(format!("{text}: {error}"))
        })?;
        prop_assert_eq!(condition.to_string(), text);
    }

    #[test]
    fn no_text_breaks_the_reader_of_stop_conditions(
        text in prop_oneof![
            any_text(),
            "(throughput|latency|errors|leader-change|promql)[()<>=%a-z0-9.\"'`\\\\ -]{0,24}",
        ],
    ) {
        if let Ok(condition) = text.parse::<StopCondition>() {
            prop_assert_eq!(condition.to_string().parse::<StopCondition>(), Ok(condition));
        }
    }

    #[test]
    fn every_request_travels_over_the_bus_and_comes_back(request in a_request()) {
        let dictionary = dictionary::encode(&request).unwrap();
        prop_assert_eq!(dictionary::decode::<FaultRequest>(dictionary).unwrap(), request);
    }
}

/// As they are written; the shares in steps of a hundredth of a percent.
fn a_stop_condition() -> impl Strategy<Value = String> {
    let held_for = (1..=100_000_u64).prop_map(|seconds| duration_text(seconds * 1_000_000_000));
    let figure = prop_oneof!["mean", "p50", "p95", "p99", "p999", "max"];
    let sign = prop_oneof!["<", "<=", ">", ">="];
    let expression = "[a-z]{1,4}(\\([a-z]{0,3}\\)|\\{a=\"[()]{0,3}\"\\}|)";
    let of = (1..=10_000_u32, 1..=600_000_u64, figure, sign, expression);
    (of, -1e6..1e6_f64, held_for).prop_flat_map(
        |((share, count, figure, sign, expression), number, held_for)| {
            let share = share_text(f64::from(share) / 10_000.0);
            let above = duration_text(count * 1_000_000);
            proptest::sample::select(vec![
                format!("throughput<{share} for {held_for}"),
                format!("throughput<{count}/s for {held_for}"),
                format!("latency({figure})>{above} for {held_for}"),
                format!("errors>{count}"),
                format!("errors>{share} for {held_for}"),
                format!("leader-change>{count}"),
                format!("promql({expression}){sign}{number} for {held_for}"),
            ])
        },
    )
}

fn a_share() -> impl Strategy<Value = Option<f64>> {
    proptest::option::of(-1.0..2.0_f64)
}

fn a_shape() -> impl Strategy<Value = FaultShape> {
    let delays = (proptest::option::of(any::<u64>()), vec(0.0..1e6_f64, 0..4), any::<bool>());
    let losses = (a_share(), proptest::option::of(any::<u64>()), proptest::option::of("\\PC{0,8}"));
    let texts = (vec("\\PC{0,8}", 0..3), proptest::option::of("\\PC{0,8}"), any::<u32>());
    (delays, losses, texts).prop_map(|(delays, losses, (to, port, priority))| FaultShape {
        jitter_ns: delays.0,
        distribution: delays.2.then_some(Distribution::Paretonormal),
        delay_table_ms: delays.1,
        may_reorder: delays.2,
        loss_gilbert_elliott: losses.0.map(|ratio| GilbertElliott {
            good_to_bad: ratio,
            bad_to_good: ratio / 2.0,
            lost_when_bad: 1.0,
            lost_when_good: 0.0,
        }),
        duplicate_ratio: losses.0,
        loss_every: losses.1,
        loss_packets: losses.2,
        pause_ns: delays.0,
        cpus: losses.0,
        to,
        port,
        priority,
        ..FaultShape::default()
    })
}

fn a_request() -> impl Strategy<Value = FaultRequest> {
    let words = prop_oneof![
        proptest::strategy::Just((Direction::Egress, Backend::Auto)),
        proptest::strategy::Just((Direction::Both, Backend::Relay)),
        proptest::strategy::Just((Direction::Ingress, Backend::Edt)),
    ];
    let numbers = (proptest::option::of(any::<u64>()), a_share(), proptest::option::of(any::<u64>()));
    ("\\PC{0,12}", a_shape(), words, numbers, any::<bool>()).prop_map(
        |(target, shape, (direction, backend), (delay_ns, loss_ratio, seed), detach)| FaultRequest {
            network: (!target.is_empty()).then(|| target.clone()),
            target,
            delay_ns,
            loss_ratio,
            shape,
            direction,
            backend,
            hold_for_ns: seed,
            begin_at_ns: seed,
            seed,
            detach,
        },
    )
}
