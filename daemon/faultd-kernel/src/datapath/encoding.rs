//! From a plan to what the programs read. Pure.

use faultd_abi::{
    DROP_BY_REDIRECT, DROP_BY_STEALING, DROP_BY_VERDICT, HOLD_NONE, LOSS_EVERY_NTH, LOSS_GILBERT_ELLIOTT,
    LOSS_NONE, LOSS_RANDOM, LOSS_TRACE, RATE_ONE, RULE_CORRUPTS_DETECTABLY, RULE_COUNTS_WIRE_PACKETS,
    RULE_CUTS_ALWAYS, RULE_DRAINS, RULE_MAY_REORDER, RULE_TAKES_NEIGHBOUR_DISCOVERY, Rule,
};

use super::{
    AttachKind, Corrupt, CorruptKind, Effects, Hook, Loss, Rate, RulePlan, TargetSide, Unit,
    jitter::correlation_parts,
    rule::{threshold, transfer_time},
};
use crate::clock;

/// The devices that a rule uses, by index; 0 where it uses none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Devices {
    pub(super) holding: u32,
    pub(super) holding_exit: u32,
    pub(super) holding_mode: u32,
    pub(super) cutter_entrance: u32,
    pub(super) cutter_exit: u32,
    pub(super) jitter_table: u32,
}

/// Whether super-packets may have to be cut for the rule.
pub(super) fn may_cut(plan: &RulePlan) -> bool {
    let effects = &plan.effects;
    let chancy = !matches!(effects.loss, None | Some(Loss::Random(1.0)))
        || effects.duplicate.is_some()
        || effects.corrupt.is_some();
    plan.unit == Unit::WirePacket && (chancy || effects.gives_each_packet_its_own_departure())
}

/// Whether some packets end at a hook where their sender would notice a verdict and try again. One whose
/// packets all end may try as often as it likes, unless it is the target itself: its TCP would go on at a
/// steady pace, where it has to try more and more seldom.
pub(super) fn needs_sink(plan: &RulePlan, attach: AttachKind) -> bool {
    let ends = match plan.effects.loss {
        None => false,
        Some(Loss::Random(1.0)) => plan.interface.target == TargetSide::Here,
        Some(_) => true,
    };
    attach == AttachKind::Tcx && plan.hook == Hook::Egress && ends && plan.needed_holding().is_none()
}

/// The rule as the programs read it.
pub(super) fn encode(plan: &RulePlan, devices: Devices, attach: AttachKind) -> Rule {
    let effects = &plan.effects;
    let cuts = may_cut(plan);
    // Both let end what comes without a slot.
    let sink_index = if devices.holding_exit == 0 { devices.cutter_exit } else { devices.holding_exit };
    let mut rule = Rule {
        seed: plan.seed,
        deadline_ns: plan.deadline_monotonic_ns.unwrap_or(u64::MAX),
        duplicate: effects.duplicate.map_or(0, threshold),
        corrupt: effects.corrupt.map_or(0, |corrupt| threshold(corrupt.ratio)),
        reorder: effects.reorder.map_or(0, |reorder| threshold(reorder.ratio)),
        reorder_gap: effects.reorder.map_or(1, |reorder| reorder.gap.max(1)),
        interface_index: plan.interface.index,
        hook: plan.hook.abi(),
        holding_index: devices.holding,
        holding_mode: if devices.holding == 0 { HOLD_NONE } else { devices.holding_mode },
        cutter_entrance: if cuts { devices.cutter_entrance } else { 0 },
        cutter_exit: devices.cutter_exit,
        drop_mode: drop_mode(plan, attach, sink_index),
        sink_index,
        flags: flags(plan),
        jitter_table: devices.jitter_table,
        protocol: plan.selector.protocol.map_or(0, u32::from),
        target_ports: [*plan.selector.target_ports.start(), *plan.selector.target_ports.end()],
        peer_ports: [*plan.selector.peer_ports.start(), *plan.selector.peer_ports.end()],
        ..Rule::default()
    };
    encode_loss(&mut rule, effects.loss.as_ref());
    encode_delay(&mut rule, effects);
    if let Some(rate) = effects.rate {
        encode_rate(&mut rule, rate);
    }
    rule
}

/// The rule at its end: packets only wait for those that are held.
pub(super) fn drained(rule: Rule) -> Rule {
    Rule { flags: rule.flags | RULE_DRAINS, deadline_ns: u64::MAX, ..rule }
}

fn drop_mode(plan: &RulePlan, attach: AttachKind, sink_index: u32) -> u32 {
    match (plan.hook, attach) {
        (Hook::Egress, AttachKind::Clsact) => DROP_BY_STEALING,
        (Hook::Egress, AttachKind::Tcx) if sink_index != 0 => DROP_BY_REDIRECT,
        _ => DROP_BY_VERDICT,
    }
}

fn flags(plan: &RulePlan) -> u32 {
    let effects = &plan.effects;
    let detectably = matches!(effects.corrupt, Some(Corrupt { kind: CorruptKind::Detected, .. }));
    let bits = [
        (RULE_COUNTS_WIRE_PACKETS, plan.unit == Unit::WirePacket),
        (RULE_CUTS_ALWAYS, effects.gives_each_packet_its_own_departure()),
        (RULE_MAY_REORDER, effects.may_reorder),
        (RULE_TAKES_NEIGHBOUR_DISCOVERY, plan.selector.neighbour_discovery),
        (RULE_CORRUPTS_DETECTABLY, detectably),
    ];
    bits.into_iter().filter(|(_bit, set)| *set).fold(0, |flags, (bit, _set)| flags | bit)
}

fn encode_loss(rule: &mut Rule, loss: Option<&Loss>) {
    (rule.loss_model, [rule.loss_a, rule.loss_b, rule.loss_c, rule.loss_d]) = match loss {
        None => (LOSS_NONE, [0; 4]),
        Some(Loss::Random(ratio)) => (LOSS_RANDOM, [threshold(*ratio), 0, 0, 0]),
        Some(Loss::GilbertElliott { good_to_bad, bad_to_good, lost_when_good, lost_when_bad }) => (
            LOSS_GILBERT_ELLIOTT,
            [*good_to_bad, *bad_to_good, *lost_when_good, *lost_when_bad].map(threshold),
        ),
        Some(Loss::EveryNth(number)) => (LOSS_EVERY_NTH, [*number, 0, 0, 0]),
        Some(Loss::Trace(trace)) => {
            let length = u64::try_from(trace.lost.len()).unwrap_or(u64::MAX);
            (LOSS_TRACE, [length, trace.repeats.into(), 0, 0])
        }
    };
}

fn encode_delay(rule: &mut Rule, effects: &Effects) {
    let Some(delay) = &effects.delay else { return };
    rule.delay_ns = clock::nanoseconds(delay.base);
    let Some(jitter) = &delay.jitter else { return };
    rule.jitter_ns = clock::nanoseconds(jitter.spread);
    if jitter.correlation > 0.0 {
        (rule.correlation, rule.innovation) = correlation_parts(jitter.correlation);
    }
}

fn encode_rate(rule: &mut Rule, rate: Rate) {
    rule.byte_time = (RATE_ONE * 1_000_000_000).div_ceil(rate.bytes_per_second.max(1));
    rule.burst_ns = clock::nanoseconds(transfer_time(rate.burst_bytes, rate.bytes_per_second));
    rule.queue_ns = clock::nanoseconds(rate.longest_wait());
}

/// The words of a trace in which some packet is lost, with their indices.
pub(super) fn trace_words(lost: &[bool]) -> Vec<(u32, u64)> {
    let word = |bits: &[bool]| bits.iter().rev().fold(0_u64, |word, lost| word << 1 | u64::from(*lost));
    let words = (0_u32..).zip(lost.chunks(64).map(word));
    words.filter(|(_index, word)| *word != 0).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        AttachKind, Devices, Effects, Hook, Loss, RATE_ONE, Rate, RulePlan, Unit, encode, may_cut,
        needs_sink, trace_words,
    };
    use crate::{
        datapath::{Delay, InterfaceReference, TargetSide},
        namespace::Namespace,
    };

    fn plan(effects: Effects) -> RulePlan {
        let namespace = Namespace::current().expect("own namespace");
        let interface =
            InterfaceReference { namespace, index: 1, name: "lo".to_owned(), target: TargetSide::Beyond };
        RulePlan { effects, ..RulePlan::new(interface, Hook::Ingress) }
    }

    #[test]
    fn a_rate_is_the_time_of_a_byte() {
        let rate = Some(Rate { bytes_per_second: 1_000_000, burst_bytes: 2000, queue_bytes: 5000 });
        let rule = encode(&plan(Effects { rate, ..Effects::default() }), Devices::default(), AttachKind::Tcx);
        assert_eq!(rule.byte_time, 1000 * RATE_ONE);
        assert_eq!((rule.burst_ns, rule.queue_ns), (2_000_000, 5_000_000));
    }

    #[test]
    fn a_target_does_not_notice_what_it_loses() {
        let at = |target, hook, ratio| {
            let lossy = plan(Effects { loss: Some(Loss::Random(ratio)), ..Effects::default() });
            let interface = InterfaceReference { target, ..lossy.interface.clone() };
            needs_sink(&RulePlan { interface, hook, ..lossy }, AttachKind::Tcx)
        };
        assert!(at(TargetSide::Here, Hook::Egress, 0.5) && at(TargetSide::Here, Hook::Egress, 1.0));
        assert!(at(TargetSide::Beyond, Hook::Egress, 0.5) && !at(TargetSide::Beyond, Hook::Egress, 1.0));
        assert!(!at(TargetSide::Here, Hook::Ingress, 1.0) && !at(TargetSide::Beyond, Hook::Ingress, 0.5));
    }

    #[test]
    fn only_what_treats_packets_differently_cuts() {
        let delay = Some(Delay { base: Duration::from_millis(1), jitter: None });
        let fixed = plan(Effects { delay, ..Effects::default() });
        let partition = plan(Effects { loss: Some(Loss::Random(1.0)), ..Effects::default() });
        let mut loss = plan(Effects { loss: Some(Loss::Random(0.1)), ..Effects::default() });
        assert_eq!([&fixed, &partition, &loss].map(may_cut), [false, false, true]);
        loss.unit = Unit::KernelPacket;
        assert!(!may_cut(&loss));
    }

    #[test]
    fn words_without_a_loss_are_left_out() {
        let mut lost = vec![false; 200];
        for packet in [0, 63, 130] {
            lost[packet] = true;
        }
        assert_eq!(trace_words(&lost), [(0, 1 << 63 | 1), (2, 1 << 2)]);
    }
}
