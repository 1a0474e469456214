//! What the programs read of a plan: within their bounds, and more where more is asked for.

use std::time::Duration;

use faultd_abi::{
    DROP_BY_REDIRECT, HOLD_NONE, JITTER_ONE, LOSS_RANDOM, RATE_ONE, RULE_COUNTS_WIRE_PACKETS, RULE_DRAINS,
    Rule,
};
use proptest::{
    collection::vec,
    option,
    prelude::{Just, ProptestConfig, Strategy, any, prop_oneof},
    prop_assert, prop_assert_eq, proptest,
};

use super::strategies::a_selector;
use crate::{
    clock,
    datapath::{
        AttachKind, Corrupt, CorruptKind, Delay, Distribution, Effects, Hook, InterfaceReference, Jitter,
        Loss, LossTrace, Rate, Reorder, RulePlan, TargetSide, Unit,
        encoding::{Devices, drained, encode, may_cut, needs_sink, trace_words},
        rule::{threshold, transfer_time},
    },
    namespace::Namespace,
};

const ALWAYS: u64 = 1 << 32;
const LONGEST: Duration = Duration::from_secs(3600);

fn a_ratio() -> impl Strategy<Value = f64> {
    prop_oneof![8 => 0.0..=1.0_f64, 1 => Just(0.0), 1 => Just(1.0), 1 => Just(1e-12)]
}

fn a_time() -> impl Strategy<Value = Duration> {
    (0..=3_600_000_000_000_u64).prop_map(Duration::from_nanos)
}

fn a_loss() -> impl Strategy<Value = Loss> {
    prop_oneof![
        a_ratio().prop_map(Loss::Random),
        (a_ratio(), a_ratio(), a_ratio(), a_ratio()).prop_map(
            |(good_to_bad, bad_to_good, lost_when_good, lost_when_bad)| Loss::GilbertElliott {
                good_to_bad,
                bad_to_good,
                lost_when_good,
                lost_when_bad,
            }
        ),
        (1..=u64::MAX).prop_map(Loss::EveryNth),
        (vec(any::<bool>(), 1..200), any::<bool>())
            .prop_map(|(lost, repeats)| Loss::Trace(LossTrace { lost: lost.into(), repeats })),
    ]
}

fn a_delay() -> impl Strategy<Value = Delay> {
    let distribution =
        prop_oneof![Just(Distribution::Uniform), Just(Distribution::Normal), Just(Distribution::Pareto)];
    let jitter = (a_time(), distribution, 0.0..1.0_f64)
        .prop_map(|(spread, distribution, correlation)| Jitter { spread, distribution, correlation });
    (a_time(), option::of(jitter)).prop_map(|(base, jitter)| Delay { base, jitter })
}

fn effects() -> impl Strategy<Value = Effects> {
    let rate = (8..=u64::MAX, any::<u64>(), any::<u64>()).prop_map(
        |(bytes_per_second, burst_bytes, queue_bytes)| Rate { bytes_per_second, burst_bytes, queue_bytes },
    );
    let kind = prop_oneof![Just(CorruptKind::Detected), Just(CorruptKind::Silent)];
    let corrupt = (a_ratio(), kind).prop_map(|(ratio, kind)| Corrupt { ratio, kind });
    let reorder = (a_ratio(), any::<u32>()).prop_map(|(ratio, gap)| Reorder { ratio, gap });
    let losses = (option::of(a_loss()), option::of(a_ratio()), option::of(corrupt));
    (losses, option::of(a_delay()), option::of(reorder), option::of(rate), any::<bool>()).prop_map(
        |((loss, duplicate, corrupt), delay, reorder, rate, may_reorder)| {
            let reorder = reorder.filter(|_reorder| delay.is_some());
            Effects { loss, delay, may_reorder, reorder, rate, duplicate, corrupt }
        },
    )
}

fn a_plan() -> impl Strategy<Value = RulePlan> {
    let unit = prop_oneof![Just(Unit::WirePacket), Just(Unit::KernelPacket)];
    let hook = prop_oneof![Just(Hook::Ingress), Just(Hook::Egress)];
    (effects(), a_selector(), hook, unit, any::<u64>(), option::of(any::<u64>())).prop_map(
        |(effects, selector, hook, unit, seed, deadline_monotonic_ns)| {
            let namespace = Namespace::current().expect("own namespace");
            let target = TargetSide::Beyond;
            let interface = InterfaceReference { namespace, index: 7, name: "any".to_owned(), target };
            RulePlan {
                effects,
                selector,
                unit,
                seed,
                deadline_monotonic_ns,
                ..RulePlan::new(interface, hook)
            }
        },
    )
}

fn some_devices() -> impl Strategy<Value = Devices> {
    (0..3_u32, 0..3_u32, 0..3_u32, 0..64_u32).prop_map(|(holding, holding_mode, cutter, jitter_table)| {
        Devices {
            holding,
            holding_exit: holding,
            holding_mode,
            cutter_entrance: cutter,
            cutter_exit: cutter,
            jitter_table,
        }
    })
}

fn way() -> impl Strategy<Value = AttachKind> {
    prop_oneof![Just(AttachKind::Tcx), Just(AttachKind::Clsact)]
}

fn thresholds(rule: &Rule) -> Vec<u64> {
    let of_loss = [rule.loss_a, rule.loss_b, rule.loss_c, rule.loss_d];
    let loss = if rule.loss_model <= 2 { &of_loss[..] } else { &[] };
    [&[rule.duplicate, rule.corrupt, rule.reorder], loss].concat()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_planned_is_within_the_bounds_of_the_programs(
        plan in a_plan(),
        devices in some_devices(),
        attach in way(),
    ) {
        prop_assert!(plan.effects.check().is_ok());
        let rule = encode(&plan, devices, attach);
        prop_assert!(thresholds(&rule).iter().all(|threshold| *threshold <= ALWAYS), "{:?}", rule);
        prop_assert!(rule.delay_ns <= clock::nanoseconds(LONGEST) && rule.jitter_ns <= clock::nanoseconds(LONGEST));
        let one = u32::try_from(JITTER_ONE).expect("small");
        prop_assert!(rule.correlation <= one && rule.innovation <= one && rule.reorder_gap >= 1);
        prop_assert_eq!((rule.interface_index, rule.hook), (7, plan.hook.abi()));
        prop_assert_eq!(rule.deadline_ns, plan.deadline_monotonic_ns.unwrap_or(u64::MAX));
        prop_assert_eq!(rule.byte_time > 0, plan.effects.rate.is_some());
        prop_assert_eq!(rule.flags & RULE_COUNTS_WIRE_PACKETS != 0, plan.unit == Unit::WirePacket);
        prop_assert!(rule.holding_index != 0 || rule.holding_mode == HOLD_NONE);
        prop_assert!(rule.cutter_entrance == 0 || may_cut(&plan));
        prop_assert!(rule.drop_mode != DROP_BY_REDIRECT || rule.sink_index != 0, "a redirect to nowhere");
        prop_assert!(!needs_sink(&plan, attach) || plan.hook == Hook::Egress && attach == AttachKind::Tcx);
        let ended = drained(rule);
        prop_assert_eq!((ended.flags & RULE_DRAINS, ended.deadline_ns), (RULE_DRAINS, u64::MAX));
        prop_assert_eq!(Rule { flags: rule.flags, deadline_ns: rule.deadline_ns, ..ended }, rule);
    }

    #[test]
    fn a_higher_ratio_has_a_higher_threshold_and_none_is_off_by_more_than_half_a_step(
        ratios in (a_ratio(), a_ratio()),
    ) {
        let (low, high) = (ratios.0.min(ratios.1), ratios.0.max(ratios.1));
        prop_assert!(threshold(low) <= threshold(high));
        for ratio in [low, high] {
            let exact = ratio * ALWAYS as f64;
            prop_assert!((threshold(ratio) as f64 - exact).abs() <= 0.5);
        }
        prop_assert_eq!(threshold(low) == ALWAYS, low > 1.0 - 0.5 / ALWAYS as f64 || low == 1.0);
    }

    #[test]
    fn a_longer_delay_is_a_longer_delay(times in (a_time(), a_time()), plan in a_plan(), devices in some_devices()) {
        let delayed = |base| {
            let effects = Effects { delay: Some(Delay { base, jitter: None }), ..plan.effects.clone() };
            encode(&RulePlan { effects, ..plan.clone() }, devices, AttachKind::Tcx).delay_ns
        };
        let (short, long) = (times.0.min(times.1), times.0.max(times.1));
        prop_assert!(delayed(short) <= delayed(long));
        prop_assert_eq!(Duration::from_nanos(delayed(long)), long, "to the nanosecond");
    }

    #[test]
    fn a_faster_bottleneck_takes_less_time_for_a_byte_and_never_less_than_none(
        rates in (8..=1_000_000_000_000_u64, 8..=1_000_000_000_000_u64),
        bytes in any::<u64>(),
    ) {
        let plan = |bytes_per_second| {
            let rate = Rate { bytes_per_second, burst_bytes: bytes, queue_bytes: bytes };
            encode_rate(rate)
        };
        let (slow, fast) = (plan(rates.0.min(rates.1)), plan(rates.0.max(rates.1)));
        prop_assert!(slow.byte_time >= fast.byte_time && fast.byte_time > 0);
        prop_assert!(slow.burst_ns >= fast.burst_ns && slow.queue_ns >= fast.queue_ns);
        // Rounded up, so that no more passes than was asked for.
        let exact = u128::from(RATE_ONE) * 1_000_000_000;
        let rate = u128::from(rates.0.min(rates.1));
        let byte_time = u128::from(slow.byte_time);
        prop_assert!(byte_time * rate >= exact && (byte_time - 1) * rate < exact);
        prop_assert_eq!(clock::nanoseconds(transfer_time(bytes, rates.0)), {
            u64::try_from(u128::from(bytes) * 1_000_000_000 / u128::from(rates.0)).unwrap_or(u64::MAX)
        });
    }

    #[test]
    fn the_words_of_a_trace_say_of_every_packet_whether_it_is_lost(lost in vec(any::<bool>(), 1..500)) {
        let words = trace_words(&lost);
        for (packet, lost) in lost.iter().enumerate() {
            let index = u32::try_from(packet / 64).expect("small");
            let word = words.iter().find(|(place, _word)| *place == index).map_or(0, |(_place, word)| *word);
            prop_assert_eq!(word >> (packet % 64) & 1 == 1, *lost, "packet {}", packet);
        }
        prop_assert!(words.iter().all(|(_index, word)| *word != 0), "words without a loss are left out");
    }
}

fn encode_rate(rate: Rate) -> Rule {
    let namespace = Namespace::current().expect("own namespace");
    let interface =
        InterfaceReference { namespace, index: 1, name: "lo".to_owned(), target: TargetSide::Beyond };
    let effects = Effects { rate: Some(rate), ..Effects::default() };
    let plan = RulePlan { effects, ..RulePlan::new(interface, Hook::Ingress) };
    let rule = encode(&plan, Devices::default(), AttachKind::Tcx);
    assert_ne!(rule.loss_model, LOSS_RANDOM);
    rule
}
