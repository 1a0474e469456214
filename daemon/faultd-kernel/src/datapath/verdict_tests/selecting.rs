//! Which rule a packet falls under: peers, ports, protocol, priority.

use super::{
    bench::{self, Added, Turn},
    everything_is_lost,
    frames::{
        DESTINATION_OPTIONS, ETHERNET, Extension, FRAGMENT, HOP_BY_HOP, ICMP, ICMPV6, Packet, ROUTING, SCTP,
        TCP, UDP, address,
    },
    test_run::{DROP, PASS},
};
use crate::datapath::{Hook, InterfaceReference, Network, RulePlan, Selector, TargetSide};

fn network(text: &str) -> Network {
    let (host, length) = text.split_once('/').unwrap_or((text, ""));
    let host = address(host);
    let full = if host.is_ipv4() { 32 } else { 128 };
    Network::new(host, length.parse().unwrap_or(full)).expect("a network")
}

fn to_peers(peers: &[&str]) -> Selector {
    Selector { peers: peers.iter().map(|peer| network(peer)).collect(), ..Selector::default() }
}

fn plan(bench: &Turn, hook: Hook, selector: Selector) -> RulePlan {
    RulePlan { selector, ..bench.plan(hook, everything_is_lost()) }
}

/// Whether a packet falls under a rule with this selector, at the hook where packets leave the target.
fn falls_under(bench: &mut Turn, selector: Selector, packet: &Packet) -> bool {
    let plan = plan(bench, Hook::Ingress, selector);
    let added = bench.add(&plan);
    let verdict = bench.run(Hook::Ingress, packet.frame()).verdict;
    assert_eq!(bench.counters(&added).dropped, u64::from(verdict == DROP));
    bench.remove(&added);
    verdict == DROP
}

#[test]
fn the_peer_is_the_other_end_whichever_way_packets_go() {
    let Some(mut bench) = bench::turn("verdict by direction") else { return };
    let leaving = Packet::new(UDP, "10.0.0.1", "10.0.0.2");
    let entering = Packet::new(UDP, "10.0.0.2", "10.0.0.1");
    for (hook, target, leaves) in [
        (Hook::Ingress, TargetSide::Beyond, true),
        (Hook::Egress, TargetSide::Beyond, false),
        (Hook::Ingress, TargetSide::Here, false),
        (Hook::Egress, TargetSide::Here, true),
    ] {
        let plan = plan(&bench, hook, to_peers(&["10.0.0.2"]));
        let interface = InterfaceReference { target, ..plan.interface.clone() };
        let added = bench.add(&RulePlan { interface, ..plan });
        let lost = |packet: &Packet| bench.run(hook, packet.frame()).verdict != PASS;
        assert_eq!((lost(&leaving), lost(&entering)), (leaves, !leaves), "{hook:?} {target:?}");
        bench.remove(&added);
    }
}

#[test]
fn peers_are_addresses_and_networks_of_both_families() {
    let Some(mut bench) = bench::turn("verdict by peer") else { return };
    for (peers, to, expected) in [
        (&["10.0.0.2"][..], "10.0.0.2", true),
        (&["10.0.0.2"], "10.0.0.3", false),
        (&["10.0.0.2", "10.0.0.3"], "10.0.0.3", true),
        (&["10.0.0.0/8"], "10.255.0.3", true),
        (&["10.0.0.0/8"], "11.0.0.3", false),
        (&["10.0.0.0/31"], "10.0.0.1", true),
        (&["10.0.0.0/31"], "10.0.0.2", false),
        (&["0.0.0.0/0"], "203.0.113.9", true),
        (&["fd00::2"], "fd00::2", true),
        (&["fd00::2"], "fd00::3", false),
        (&["fd00::/64"], "fd00::ffff:1", true),
        (&["fd00::/64"], "fd00:0:0:1::1", false),
        (&["::/0"], "2001:db8::1", true),
        // IPv4 is written as a part of IPv6.
        (&["0.0.0.0/0"], "fd00::2", false),
        (&["fd00::/8"], "10.0.0.2", false),
    ] {
        let from = if to.contains(':') { "fd00::99" } else { "10.9.9.9" };
        let found = falls_under(&mut bench, to_peers(peers), &Packet::new(TCP, from, to));
        assert_eq!(found, expected, "{peers:?} to {to}");
    }
}

#[test]
fn ports_are_those_of_either_end_with_both_ends_of_a_range() {
    let Some(mut bench) = bench::turn("verdict by port") else { return };
    for protocol in [TCP, UDP, SCTP] {
        for base in [Packet::ipv4(protocol), Packet::ipv6(protocol)] {
            for (ports, expected) in
                [(80..=82, [false, true, true, false]), (80..=80, [false, true, false, false])]
            {
                let of_peer = Selector { peer_ports: ports.clone(), ..Selector::default() };
                let of_target = Selector { target_ports: ports, ..Selector::default() };
                for (port, expected) in [79, 80, 82, 83].into_iter().zip(expected) {
                    // What leaves the target comes from its own port.
                    let to = Packet { destination_port: port, ..base.clone() };
                    let from = Packet { source_port: port, ..base.clone() };
                    assert_eq!(falls_under(&mut bench, of_peer.clone(), &to), expected, "to {port}");
                    assert_eq!(falls_under(&mut bench, of_target.clone(), &from), expected, "from {port}");
                    assert!(!falls_under(&mut bench, of_target.clone(), &to), "the peer's port is another");
                }
            }
        }
    }
}

#[test]
fn what_has_no_ports_falls_under_no_rule_that_names_some() {
    let Some(mut bench) = bench::turn("verdict without ports") else { return };
    let all_but_one = Selector { peer_ports: 1..=u16::MAX, ..Selector::default() };
    let later_fragment = Packet { fragment_offset: 64, ..Packet::ipv4(UDP) };
    for packet in [Packet::ipv4(ICMP), Packet::ipv6(ICMPV6), Packet::ipv4(47), later_fragment] {
        assert!(!falls_under(&mut bench, all_but_one.clone(), &packet), "{packet:?}");
        assert!(falls_under(&mut bench, Selector::default(), &packet), "{packet:?}");
    }
    let first_fragment = Packet { fragment_offset: 0x2000, ..Packet::ipv4(UDP) };
    assert!(falls_under(&mut bench, all_but_one, &first_fragment), "more fragments follow, but it has ports");
}

#[test]
fn the_protocol_is_known_of_every_packet_and_fragment() {
    let Some(mut bench) = bench::turn("verdict by protocol") else { return };
    let only = |protocol| Selector { protocol: Some(protocol), ..Selector::default() };
    for protocol in [ICMP, TCP, UDP, SCTP, 47] {
        let packet = Packet::ipv4(protocol);
        assert!(falls_under(&mut bench, only(protocol), &packet));
        assert!(!falls_under(&mut bench, only(protocol + 1), &packet));
        assert!(falls_under(&mut bench, only(protocol), &Packet { fragment_offset: 9, ..packet }));
    }
    let fragment = Extension { kind: FRAGMENT, more: 0 };
    let packet = Packet { extensions: vec![fragment], fragment_offset: 9, ..Packet::ipv6(TCP) };
    assert!(falls_under(&mut bench, only(TCP), &packet));
}

#[test]
fn ports_are_found_behind_options_and_up_to_five_extension_headers() {
    let Some(mut bench) = bench::turn("verdict behind options") else { return };
    let selector = Selector { target_ports: 1000..=1000, protocol: Some(UDP), ..Selector::default() };
    for options in [1, 5, 10] {
        assert!(falls_under(&mut bench, selector.clone(), &Packet { options, ..Packet::ipv4(UDP) }));
    }
    let kinds = [HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS, FRAGMENT, DESTINATION_OPTIONS];
    for count in 0..8 {
        let extension = |kind| Extension { kind, more: if kind == ROUTING { 2 } else { 0 } };
        let extensions = kinds.into_iter().cycle().take(count).map(extension).collect();
        let packet = Packet { extensions, ..Packet::ipv6(UDP) };
        // A chain that is longer is suspicious: it is not followed, and then there are no ports.
        assert_eq!(falls_under(&mut bench, selector.clone(), &packet), count <= 5, "{count} headers");
    }
    let later = Packet {
        extensions: vec![Extension { kind: FRAGMENT, more: 0 }],
        fragment_offset: 5,
        ..Packet::ipv6(UDP)
    };
    assert!(!falls_under(&mut bench, selector, &later));
}

/// What a program cannot see it does not guess: a rule that asks for it does not apply. Frames that end
/// within the IP header are not tested, for the kernel refuses to make packets of them.
#[test]
fn a_frame_that_ends_too_soon_falls_under_rules_that_ask_for_nothing_behind_its_end() {
    let Some(mut bench) = bench::turn("verdict on truncated frames") else { return };
    let ports = || Selector { peer_ports: 2000..=2000, ..Selector::default() };
    let protocol = || Selector { protocol: Some(UDP), ..Selector::default() };
    let with_options = Packet { options: 5, ..Packet::ipv4(UDP) };
    let extensions = vec![Extension { kind: HOP_BY_HOP, more: 0 }];
    let with_extension = Packet { extensions, ..Packet::ipv6(UDP) };
    for (packet, selector, header, needed) in [
        (Packet::ipv4(UDP), Selector::default(), 20, 20),
        (Packet::ipv4(UDP), protocol(), 20, 20),
        (Packet::ipv4(UDP), ports(), 20, 24),
        (with_options, ports(), 20, 44),
        (Packet::ipv6(UDP), Selector::default(), 40, 40),
        (Packet::ipv6(UDP), ports(), 40, 44),
        // The protocol stands in the first two bytes of the extension header.
        (with_extension.clone(), protocol(), 40, 42),
        (with_extension, ports(), 40, 52),
    ] {
        let plan = plan(&bench, Hook::Ingress, selector.clone());
        let added = bench.add(&plan);
        let frame = packet.frame();
        let lengths: Vec<usize> = (header..frame.len() - ETHERNET).collect();
        let frames = lengths.iter().map(|length| frame[..ETHERNET + length].to_vec());
        for (output, length) in bench.run_each(Hook::Ingress, frames).iter().zip(&lengths) {
            let expected = if *length >= needed { DROP } else { PASS };
            assert_eq!(output.verdict, expected, "{selector:?} on {length} bytes of {packet:?}");
        }
        bench.remove(&added);
    }
}

#[test]
fn the_first_rule_by_priority_and_then_by_age_acts() {
    let Some(mut bench) = bench::turn("verdict by priority") else { return };
    let plan = plan(&bench, Hook::Ingress, Selector::default());
    let with = |priority| RulePlan { priority, ..plan.clone() };
    let rules = [5, 3, 3, 9].map(|priority| bench.add(&with(priority)));
    let frame = Packet::ipv4(UDP).frame();
    let who_acts = |bench: &Turn, rules: &[Added]| {
        let before: Vec<u64> = rules.iter().map(|rule| bench.counters(rule).matched).collect();
        bench.run(Hook::Ingress, frame.clone());
        rules.iter().zip(before).position(|(rule, before)| bench.counters(rule).matched > before)
    };
    assert_eq!(who_acts(&bench, &rules), Some(1), "the older one of priority 3");
    bench.rank_last(&rules[1]);
    assert_eq!(who_acts(&bench, &rules), Some(2), "one that ends stands behind all others");
    bench.remove(&rules[2]);
    bench.remove(&rules[0]);
    assert_eq!(who_acts(&bench, &[rules[1].clone(), rules[3].clone()]), Some(1));
}

#[test]
fn of_rules_for_overlapping_networks_the_first_acts_and_not_the_narrowest() {
    let Some(mut bench) = bench::turn("verdict of wide rules") else { return };
    let narrow = plan(&bench, Hook::Ingress, to_peers(&["10.0.0.2"]));
    let wide = plan(&bench, Hook::Ingress, to_peers(&["10.0.0.0/8"]));
    let narrow = bench.add(&RulePlan { priority: 2, ..narrow });
    let wide = bench.add(&RulePlan { priority: 1, ..wide });
    bench.run(Hook::Ingress, Packet::ipv4(UDP).frame());
    assert_eq!((bench.counters(&narrow).matched, bench.counters(&wide).matched), (0, 1));
}
