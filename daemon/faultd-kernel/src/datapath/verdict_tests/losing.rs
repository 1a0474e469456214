//! Which packets are lost: the programs and the shared arithmetic agree on every single one.

use std::sync::Arc;

use faultd_abi::{GE_GOOD, Rule, is_lost};

use super::{
    bench::{self, Added, Turn},
    frames::{Packet, UDP},
    test_run::{DROP, PASS, REDIRECT, STOLEN},
};
use crate::datapath::{AttachKind, Effects, Hook, Loss, LossTrace, RulePlan, encoding, encoding::Devices};

/// Repeated so often, a share of 1 % is seen a thousand times.
const MANY: u32 = 100_000;
/// Looked at one by one.
const FEW: u64 = 4096;

fn channel() -> Loss {
    Loss::GilbertElliott { good_to_bad: 0.05, bad_to_good: 0.25, lost_when_good: 0.01, lost_when_bad: 0.9 }
}

fn add(bench: &mut Turn, loss: Loss, seed: u64) -> Added {
    let effects = Effects { loss: Some(loss), ..Effects::default() };
    let plan = RulePlan { seed, ..bench.plan(Hook::Ingress, effects) };
    bench.add(&plan)
}

/// What the shared arithmetic says of the first packets of a rule.
fn predicted(rule: &Rule, words: &[(u32, u64)], count: u64) -> Vec<bool> {
    let mut state = GE_GOOD;
    let fate = |number| {
        let word =
            |index| words.iter().find(|(place, _word)| *place == index).map_or(0, |(_place, word)| *word);
        let loss = is_lost(rule, number, state, word);
        state = loss.state;
        loss.lost
    };
    (0..count).map(fate).collect()
}

/// What the programs did with the first packets of a rule, one by one.
fn fates(bench: &Turn, count: u64) -> Vec<bool> {
    let frame = Packet::ipv4(UDP).frame();
    let outputs = bench.run_each(Hook::Ingress, (0..count).map(|_packet| frame.clone()));
    let lost = |verdict: i32| {
        assert!(verdict == DROP || verdict == PASS, "verdict {verdict}");
        verdict == DROP
    };
    outputs.iter().map(|output| lost(output.verdict)).collect()
}

fn count(fates: &[bool]) -> u64 {
    fates.iter().filter(|lost| **lost).count() as u64
}

#[test]
fn every_model_loses_exactly_the_packets_that_the_arithmetic_says() {
    let Some(mut bench) = bench::turn("fates of packets") else { return };
    let trace: Vec<bool> = (0..200).map(|packet| packet % 7 == 3 || packet == 64 || packet > 195).collect();
    let trace = |repeats| Loss::Trace(LossTrace { lost: Arc::from(trace.clone()), repeats });
    for loss in [
        Loss::Random(0.2),
        Loss::Random(0.01),
        Loss::Random(0.999),
        Loss::EveryNth(1),
        Loss::EveryNth(7),
        Loss::EveryNth(5000),
        channel(),
        trace(false),
        trace(true),
    ] {
        for seed in [0, 1, 2, u64::MAX] {
            let added = add(&mut bench, loss.clone(), seed);
            let words = match &loss {
                Loss::Trace(trace) => encoding::trace_words(&trace.lost),
                _ => Vec::new(),
            };
            let expected = predicted(&added.rule, &words, FEW);
            assert_eq!(fates(&bench, FEW), expected, "{loss:?}, seed {seed}");
            let counters = bench.counters(&added);
            assert_eq!((counters.matched, counters.dropped), (FEW, count(&expected)), "{loss:?}");
            assert_eq!(bench.state(&added).packet_number, FEW);
            bench.remove(&added);
        }
    }
}

#[test]
fn shares_are_within_the_interval_of_99_9_percent_and_as_predicted() {
    let Some(mut bench) = bench::turn("shares of loss") else { return };
    let frame = Packet::ipv6(UDP).frame();
    for ratio in [0.2, 0.01] {
        for seed in [3, 4, 5] {
            let added = add(&mut bench, Loss::Random(ratio), seed);
            bench.repeat(Hook::Ingress, frame.clone(), MANY);
            let counters = bench.counters(&added);
            let (all, lost) = (f64::from(MANY), counters.dropped as f64);
            let deviation = (all * ratio * (1.0 - ratio)).sqrt();
            assert!(
                (lost - all * ratio).abs() < 3.29 * deviation,
                "{lost} of {all} lost at {ratio}, seed {seed}"
            );
            assert_eq!(counters.matched, u64::from(MANY));
            assert_eq!(counters.matched_bytes, u64::from(MANY) * frame.len() as u64);
            let expected = predicted(&added.rule, &[], MANY.into());
            assert_eq!(counters.dropped, count(&expected), "at {ratio}, seed {seed}");
            bench.remove(&added);
        }
    }
}

#[test]
fn a_bursty_channel_is_in_the_state_that_the_arithmetic_says() {
    let Some(mut bench) = bench::turn("state of a channel") else { return };
    let added = add(&mut bench, channel(), 11);
    let mut packets = 0;
    for step in [1, 2, 30, 400, MANY] {
        bench.repeat(Hook::Ingress, Packet::ipv4(UDP).frame(), step);
        packets += step;
        let expected = predicted(&added.rule, &[], packets.into());
        assert_eq!(bench.counters(&added).dropped, count(&expected), "after {packets} packets");
        let mut state = GE_GOOD;
        for number in 0..packets.into() {
            state = is_lost(&added.rule, number, state, |_index| 0).state;
        }
        assert_eq!(bench.state(&added).loss_state, state, "after {packets} packets");
    }
}

#[test]
fn a_change_of_parameters_goes_on_with_the_next_number() {
    let Some(mut bench) = bench::turn("fates after a change") else { return };
    let added = add(&mut bench, Loss::Random(0.5), 21);
    let before = fates(&bench, 500);
    let changed = Rule { loss_a: added.rule.loss_a / 2, ..added.rule };
    bench.set_rule(&added, changed);
    let after = fates(&bench, 500);
    assert_eq!(before, predicted(&added.rule, &[], 500));
    assert_eq!(after, predicted(&changed, &[], 1000)[500..]);
}

#[test]
fn what_is_lost_ends_as_its_hook_demands() {
    let Some(mut bench) = bench::turn("ends of packets") else { return };
    let sink = Devices { cutter_exit: bench::LOOPBACK, ..Devices::default() };
    let none = Devices::default();
    for (hook, attach, devices, end) in [
        (Hook::Ingress, AttachKind::Clsact, none, DROP),
        (Hook::Ingress, AttachKind::Tcx, sink, DROP),
        (Hook::Egress, AttachKind::Clsact, none, STOLEN),
        (Hook::Egress, AttachKind::Tcx, sink, REDIRECT),
        // All packets end, and the sender may notice.
        (Hook::Egress, AttachKind::Tcx, none, DROP),
    ] {
        let plan = bench.plan(hook, super::everything_is_lost());
        let added = bench.add_with(&plan, devices, attach);
        let output = bench.run(hook, Packet::ipv4(UDP).frame());
        assert_eq!(output.verdict, end, "{hook:?} {attach:?}");
        assert_eq!(bench.counters(&added).dropped, 1);
        assert!(bench.state(&added).first_affected_ns > 0);
        bench.remove(&added);
    }
}

#[test]
fn a_rule_without_effects_only_counts() {
    let Some(mut bench) = bench::turn("a rule that counts") else { return };
    let plan = bench.plan(Hook::Egress, Effects::default());
    let added = bench.add(&plan);
    let frame = Packet::ipv4(UDP).frame();
    let output = bench.run(Hook::Egress, frame.clone());
    assert_eq!((output.verdict, &output.frame), (PASS, &frame));
    let counters = bench.counters(&added);
    assert_eq!((counters.matched, counters.matched_bytes, counters.dropped), (1, frame.len() as u64, 0));
    assert_eq!(bench.state(&added).first_affected_ns, 0, "nothing was done to it");
}
