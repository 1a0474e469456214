//! What passes whatever the rules say: second passes, rules that are over, frames that nobody meant.

use faultd_abi::{FROM_CUTTER_MARK, SECOND_PASS_MARK};

use super::{
    bench, everything_is_lost,
    frames::{ICMP, ICMPV6, Packet, TCP, UDP, arp, icmpv6_message, in_vlan, other},
    test_run::{DROP, Input, Output, PASS, STOLEN},
};
use crate::{
    clock,
    datapath::{Hook, RulePlan, Selector},
};

fn frames_of_every_kind() -> Vec<Vec<u8>> {
    let ip =
        [Packet::ipv4(UDP), Packet::ipv4(TCP), Packet::ipv4(ICMP), Packet::ipv6(UDP), Packet::ipv6(ICMPV6)];
    let ip = ip.iter().map(Packet::frame);
    let others = [arp(), icmpv6_message(135), other(0x88cc, &[2; 46]), in_vlan(&Packet::ipv4(UDP).frame())];
    ip.chain(others).collect()
}

#[test]
fn a_hook_without_a_rule_lets_everything_pass_as_it_came() {
    let Some(bench) = bench::turn("verdict without a rule") else { return };
    for hook in Hook::ALL {
        for frame in frames_of_every_kind() {
            let input = Input { frame: frame.clone(), mark: 0x1234, ..Input::default() };
            assert_eq!(bench.run(hook, input), Output { verdict: PASS, frame, mark: 0x1234 });
        }
    }
}

#[test]
fn a_second_pass_loses_only_our_bits_of_the_mark_and_falls_under_no_rule() {
    let Some(mut bench) = bench::turn("verdict of the second pass") else { return };
    for hook in Hook::ALL {
        let plan = RulePlan {
            selector: Selector { neighbour_discovery: true, ..Selector::default() },
            ..bench.plan(hook, everything_is_lost())
        };
        let added = bench.add(&plan);
        for mark in [SECOND_PASS_MARK, u32::MAX, SECOND_PASS_MARK | 1] {
            for frame in frames_of_every_kind() {
                let output = bench.run(hook, Input { frame: frame.clone(), mark, ..Input::default() });
                let mark = mark & !(SECOND_PASS_MARK | FROM_CUTTER_MARK);
                assert_eq!(output, Output { verdict: PASS, frame, mark });
            }
        }
        assert_eq!((bench.counters(&added).matched, bench.seen(&added)), (0, 0));
        let only_other_bits = !(SECOND_PASS_MARK | FROM_CUTTER_MARK);
        let input = Input { frame: Packet::ipv4(UDP).frame(), mark: only_other_bits, ..Input::default() };
        let output = bench.run(hook, input);
        assert_eq!(
            (output.verdict != PASS, output.mark),
            (true, only_other_bits),
            "marks of others say nothing"
        );
    }
}

#[test]
fn a_rule_past_its_deadline_counts_what_passes_as_expired() {
    let Some(mut bench) = bench::turn("verdict after the deadline") else { return };
    let now_ns = clock::monotonic_ns();
    let hour_ns = 3_600_000_000_000;
    for (deadline_ns, verdict) in [(now_ns - 1, PASS), (now_ns + hour_ns, DROP)] {
        let plan = RulePlan {
            deadline_monotonic_ns: Some(deadline_ns),
            ..bench.plan(Hook::Ingress, everything_is_lost())
        };
        let added = bench.add(&plan);
        assert_eq!(bench.run(Hook::Ingress, Packet::ipv4(UDP).frame()).verdict, verdict);
        let counters = bench.counters(&added);
        let over = u64::from(verdict == PASS);
        assert_eq!((counters.expired, counters.matched, counters.dropped), (over, 1 - over, 1 - over));
        bench.remove(&added);
    }
}

#[test]
fn no_rule_acts_when_the_lease_is_over_and_all_do_when_it_is_renewed() {
    let Some(mut bench) = bench::turn("verdict after the lease") else { return };
    let plan = bench.plan(Hook::Egress, everything_is_lost());
    let added = bench.add(&plan);
    let frame = Packet::ipv6(TCP).frame();
    for until_ns in [0, clock::monotonic_ns() - 1] {
        bench.set_lease(until_ns);
        assert_eq!(bench.run(Hook::Egress, frame.clone()).verdict, PASS);
    }
    let counters = bench.counters(&added);
    assert_eq!((counters.expired, counters.matched, bench.seen(&added)), (2, 0, 2));
    bench.set_lease(u64::MAX);
    assert_eq!(bench.run(Hook::Egress, frame).verdict, STOLEN);
}

#[test]
fn a_rule_that_is_over_makes_way_for_the_next() {
    let Some(mut bench) = bench::turn("verdict of the next rule") else { return };
    let plan = bench.plan(Hook::Ingress, everything_is_lost());
    let over = bench.add(&RulePlan { deadline_monotonic_ns: Some(1), ..plan.clone() });
    let next = bench.add(&plan);
    assert_eq!(bench.run(Hook::Ingress, Packet::ipv4(UDP).frame()).verdict, DROP);
    assert_eq!((bench.counters(&over).expired, bench.counters(&over).dropped), (1, 0));
    assert_eq!(bench.counters(&next).dropped, 1);
}

#[test]
fn neighbours_are_spared_unless_a_rule_asks_for_them() {
    let Some(mut bench) = bench::turn("verdict on neighbours") else { return };
    let plan = bench.plan(Hook::Ingress, everything_is_lost());
    let added = bench.add(&plan);
    let neighbours: Vec<Vec<u8>> = (133..=137).map(icmpv6_message).chain([arp()]).collect();
    let other_messages: Vec<Vec<u8>> = [1, 128, 129, 132, 138, 143].map(icmpv6_message).to_vec();
    let verdicts = |bench: &bench::Turn, frames: &[Vec<u8>]| -> Vec<i32> {
        bench.run_each(Hook::Ingress, frames.to_vec()).iter().map(|output| output.verdict).collect()
    };
    assert_eq!(verdicts(&bench, &neighbours), [PASS; 6]);
    assert_eq!(bench.counters(&added).matched, 0);
    assert_eq!(verdicts(&bench, &other_messages), [DROP; 6]);
    bench.remove(&added);
    let selector = Selector { neighbour_discovery: true, ..Selector::default() };
    bench.add(&RulePlan { selector, ..plan });
    assert_eq!(verdicts(&bench, &neighbours), [DROP; 6]);
}

#[test]
fn frames_that_are_neither_ip_nor_arp_are_never_touched() {
    let Some(mut bench) = bench::turn("verdict on other frames") else { return };
    let selector = Selector { neighbour_discovery: true, ..Selector::default() };
    let plan = RulePlan { selector, ..bench.plan(Hook::Ingress, everything_is_lost()) };
    let added = bench.add(&plan);
    let inside = Packet::ipv4(UDP).frame();
    // LLDP, MPLS, PPPoE, a length instead of a type, and a VLAN with IPv4 inside.
    let kinds = [0x88cc, 0x8847, 0x8864, 0x0026];
    let frames = kinds.map(|kind| other(kind, &inside[14..])).into_iter().chain([in_vlan(&inside)]);
    for frame in frames {
        assert_eq!(bench.run(Hook::Ingress, frame.clone()), Output { verdict: PASS, frame, mark: 0 });
    }
    assert_eq!((bench.seen(&added), bench.counters(&added).matched), (5, 0));
}

#[test]
fn what_comes_to_a_device_of_ours_without_a_slot_ends_there() {
    let Some(bench) = bench::turn("verdict without a slot") else { return };
    for program in ["hold_return", "cut_return", "edt_entrance", "netem_entrance", "relay_entrance"] {
        let inputs: Vec<Input> = frames_of_every_kind().into_iter().map(Input::from).collect();
        let outputs = bench.run_program(program, &inputs, 1).expect("the kernel runs the program");
        assert!(outputs.iter().all(|output| output.verdict == DROP), "{program}: {outputs:?}");
    }
}
