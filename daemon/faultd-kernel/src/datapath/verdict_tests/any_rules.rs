//! Any rules and any packets: which rule acts, against a plain model of what rules mean.

use std::{cell::RefCell, ops::RangeInclusive};

use proptest::{
    prelude::{Just, Strategy, any, prop_oneof},
    test_runner::{Config, TestCaseError, TestRunner},
};

use super::{
    bench::{self, Added, Turn},
    everything_is_lost,
    frames::{ICMP, Packet, TCP, UDP},
    test_run::PASS,
};
use crate::datapath::{
    ANY_PORT, Hook, Network, RulePlan, Selector,
    properties::strategies::{a_selector, an_address},
};

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
        let selector_of_plan = selector.clone();
        let plan =
            RulePlan { priority, selector: selector_of_plan, ..bench.plan(hook, everything_is_lost()) };
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
