//! Which rule a packet falls under: peers, ports, protocol, priority.

use std::{cell::RefCell, net::IpAddr, ops::RangeInclusive};

use proptest::{
    prelude::{Just, Strategy, any, prop_oneof},
    test_runner::{Config, TestCaseError, TestRunner},
};

use super::{
    bench::{self, Added, Turn},
    everything_is_lost,
    frames::{
        DESTINATION_OPTIONS, ETHERNET, Extension, FRAGMENT, HOP_BY_HOP, ICMP, ICMPV6, Packet, ROUTING, SCTP,
        TCP, UDP, address,
    },
    test_run::{DROP, PASS},
};
use crate::datapath::{ANY_PORT, Hook, InterfaceReference, Network, RulePlan, Selector, TargetSide};

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

fn an_address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (0..3_u8, 0..4_u8).prop_map(|(net, host)| IpAddr::from([10, 0, net, host])),
        (0..3_u16, 0..4_u16).prop_map(|(net, host)| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, net, host])),
    ]
}

fn a_network() -> impl Strategy<Value = Network> {
    (an_address(), prop_oneof![Just(0), Just(1), Just(2), Just(8), Just(16), Just(24)]).prop_map(
        |(address, less)| {
            let full = if address.is_ipv4() { 32 } else { 128 };
            Network::new(address, full - less).expect("a network")
        },
    )
}

fn a_range_of_ports() -> impl Strategy<Value = RangeInclusive<u16>> {
    prop_oneof![Just(ANY_PORT), (0..6_u16, 0..4_u16).prop_map(|(first, more)| first..=first + more)]
}

fn a_selector() -> impl Strategy<Value = Selector> {
    let peers = prop_oneof![Just(Vec::new()), proptest::collection::vec(a_network(), 1..4)];
    let protocol = prop_oneof![Just(None), Just(Some(TCP)), Just(Some(UDP)), Just(Some(ICMP))];
    (peers, a_range_of_ports(), a_range_of_ports(), protocol).prop_map(
        |(peers, peer_ports, target_ports, protocol)| Selector {
            peers,
            peer_ports,
            target_ports,
            protocol,
            neighbour_discovery: false,
        },
    )
}

fn a_packet() -> impl Strategy<Value = Packet> {
    let addresses = (an_address(), an_address());
    (addresses, prop_oneof![Just(TCP), Just(UDP), Just(ICMP)], 0..10_u16, 0..10_u16).prop_map(
        |((source, destination), protocol, source_port, destination_port)| {
            // A packet is of one family.
            let source = if source.is_ipv4() == destination.is_ipv4() { source } else { destination };
            Packet { source, destination, source_port, destination_port, ..Packet::ipv4(protocol) }
        },
    )
}

/// Whether a rule is for a packet, said as plainly as possible.
fn is_for(selector: &Selector, packet: &Packet, leaves: bool) -> bool {
    let (peer, peer_port, target_port) = if leaves {
        (packet.destination, packet.destination_port, packet.source_port)
    } else {
        (packet.source, packet.source_port, packet.destination_port)
    };
    let has_ports = packet.protocol != ICMP;
    let fits = |ports: &RangeInclusive<u16>, port| *ports == ANY_PORT || has_ports && ports.contains(port);
    let peer = Network::host(peer);
    (selector.peers.is_empty() || selector.peers.iter().any(|network| network.contains(&peer)))
        && selector.protocol.is_none_or(|protocol| protocol == packet.protocol)
        && fits(&selector.peer_ports, &peer_port)
        && fits(&selector.target_ports, &target_port)
}

fn check_case(
    bench: &mut Turn,
    hook: Hook,
    selectors: Vec<(u32, Selector)>,
    packets: &[Packet],
) -> Result<(), TestCaseError> {
    let mut rules: Vec<(u32, Selector, Added)> = Vec::new();
    for (priority, selector) in selectors {
        let plan = RulePlan { priority, ..plan(bench, hook, selector.clone()) };
        let added = bench.add(&plan);
        rules.push((priority, selector, added));
    }
    // Stable: of the same priority the older comes first.
    rules.sort_by_key(|(priority, _selector, _added)| *priority);
    let leaves = hook == Hook::Ingress;
    let first = |packet: &Packet| rules.iter().position(|(_, selector, _)| is_for(selector, packet, leaves));
    let expected: Vec<Option<usize>> = packets.iter().map(first).collect();
    let outputs = bench.run_each(hook, packets.iter().map(Packet::frame));
    let lost: Vec<bool> = outputs.iter().map(|output| output.verdict != PASS).collect();
    proptest::prop_assert_eq!(lost, expected.iter().map(Option::is_some).collect::<Vec<_>>());
    for (place, (_priority, selector, added)) in rules.iter().enumerate() {
        let meant = expected.iter().filter(|found| **found == Some(place)).count() as u64;
        proptest::prop_assert_eq!(bench.counters(added).dropped, meant, "{:?}", selector);
    }
    for (_priority, _selector, added) in &rules {
        bench.remove(added);
    }
    Ok(())
}

#[test]
fn any_packet_falls_under_the_first_of_any_rules_that_is_for_it() {
    let Some(bench) = bench::turn("verdicts of any rules on any packets") else { return };
    let bench = RefCell::new(bench);
    let hook = any::<bool>().prop_map(|leaves| if leaves { Hook::Ingress } else { Hook::Egress });
    let rules = proptest::collection::vec((0..3_u32, a_selector()), 1..12);
    let packets = proptest::collection::vec(a_packet(), 30);
    let config = Config { cases: 100, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&(hook, rules, packets), |(hook, rules, packets)| {
        let mut bench = bench.borrow_mut();
        bench.clear();
        check_case(&mut bench, hook, rules, &packets)
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}
