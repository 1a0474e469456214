//! Which packets a rule applies to.

use std::net::{IpAddr, Ipv6Addr, UdpSocket};

use faultd_kernel::datapath::{HoldingKind, Hook, Network, RulePlan, Selector};
use faultd_testkit::{
    exclusive,
    hosts::Host,
    measure::bind_udp,
    rules::{lossy, rule},
};

use crate::{Scene, flight};

fn network(text: &str, prefix_length: u8) -> Network {
    Network::new(text.parse().expect("an address"), prefix_length).expect("a network")
}

fn partition(scene: &Scene, hook: Hook, selector: Selector, priority: u32) -> RulePlan {
    let plan = rule(&scene.hosts.left, hook, lossy(1.0), None::<HoldingKind>);
    RulePlan { selector, priority, ..plan }
}

/// How many of 20 packets arrive, from left to right and back, between ports that are known.
fn arrivals(scene: &Scene, left_port: u16, right_port: u16) -> (usize, usize) {
    let bind = |host: &Host, port: u16| {
        let bound = host.namespace.run(|| UdpSocket::bind((host.address, port)));
        bound.expect("inside").expect("a socket")
    };
    let there = flight(20, 100)
        .run_between(&bind(&scene.hosts.left, left_port), bind(&scene.hosts.right, right_port));
    let back = flight(20, 100)
        .run_between(&bind(&scene.hosts.right, right_port), bind(&scene.hosts.left, left_port));
    (there.len(), back.len())
}

fn with_rules(test_name: &str, rules: &[(Hook, Selector)], check: impl Fn(&Scene)) {
    let _exclusive = exclusive();
    let Some(scene) = Scene::set_up(test_name) else { return };
    for (hook, selector) in rules {
        scene.datapath.add_rule(partition(&scene, *hook, selector.clone(), 0)).expect("a rule");
    }
    check(&scene);
}

#[test]
fn ports_are_those_of_the_target_and_of_its_peer_in_both_directions() {
    let own = Selector { target_ports: 5000..=5009, ..Selector::default() };
    let peers = Selector { peer_ports: 6000..=6000, ..Selector::default() };
    for hook in Hook::ALL {
        let expected = |is_hit: bool| match (is_hit, hook) {
            (false, _) => (20, 20),
            (true, Hook::Ingress) => (0, 20),
            (true, Hook::Egress) => (20, 0),
        };
        with_rules("own port", &[(hook, own.clone())], |scene| {
            assert_eq!(arrivals(scene, 5005, 7000), expected(true));
            assert_eq!(arrivals(scene, 5010, 5005), expected(false));
        });
        with_rules("peer's port", &[(hook, peers.clone())], |scene| {
            assert_eq!(arrivals(scene, 5005, 6000), expected(true));
            assert_eq!(arrivals(scene, 6000, 5005), expected(false));
        });
    }
}

#[test]
fn peers_are_hosts_and_networks_and_others_are_left_alone() {
    for (peers, is_hit) in [
        (vec![network("10.111.0.2", 32)], true),
        (vec![network("10.111.0.3", 32)], false),
        (vec![network("10.111.0.0", 24)], true),
        (vec![network("10.111.1.0", 24), network("fd00::", 16)], false),
        (vec![network("10.111.0.3", 32), network("10.0.0.0", 8)], true),
    ] {
        let selector = Selector { peers: peers.clone(), ..Selector::default() };
        with_rules("peers", &[(Hook::Ingress, selector)], |scene| {
            let expected = if is_hit { (0, 20) } else { (20, 20) };
            assert_eq!(arrivals(scene, 5000, 6000), expected, "{peers:?}");
        });
    }
}

#[test]
fn protocols_are_told_apart() {
    for (protocol, expected) in [(17, 0), (6, 20)] {
        let selector = Selector { protocol: Some(protocol), ..Selector::default() };
        with_rules("protocol", &[(Hook::Ingress, selector)], |scene| {
            assert_eq!(arrivals(scene, 5000, 6000).0, expected);
        });
    }
}

#[test]
fn of_rules_that_fit_the_one_with_the_lowest_priority_number_acts() {
    let _exclusive = exclusive();
    let Some(scene) = Scene::set_up("priorities") else { return };
    let peer = Selector { peers: vec![network("10.111.0.2", 32)], ..Selector::default() };
    let lose = scene.datapath.add_rule(partition(&scene, Hook::Ingress, Selector::default(), 10));
    let lose = lose.expect("a rule").id;
    assert_eq!(arrivals(&scene, 5000, 6000).0, 0);
    let spare = RulePlan {
        selector: peer,
        priority: 5,
        effects: faultd_kernel::datapath::Effects::default(),
        ..partition(&scene, Hook::Ingress, Selector::default(), 5)
    };
    let spare = scene.datapath.add_rule(spare).expect("a rule").id;
    assert_eq!(arrivals(&scene, 5000, 6000).0, 20, "the peer is spared");
    assert!(scene.datapath.counters(spare).expect("counters").matched >= 20);
    scene.datapath.remove_rule(spare).expect("removed");
    assert_eq!(arrivals(&scene, 5000, 6000).0, 0);
    scene.datapath.remove_rule(lose).expect("removed");
    assert_eq!(arrivals(&scene, 5000, 6000).0, 20);
}

#[test]
fn ipv6_peers_and_ports_are_known_too() {
    let _exclusive = exclusive();
    let Some(scene) = Scene::set_up("IPv6 selectors") else { return };
    let addresses: [Ipv6Addr; 2] = ["fd00::1".parse().unwrap(), "fd00::2".parse().unwrap()];
    scene.hosts.left.add_ipv6(addresses[0]);
    scene.hosts.right.add_ipv6(addresses[1]);
    std::thread::sleep(std::time::Duration::from_secs(3));
    let bind = |host: &Host, address: Ipv6Addr, port: u16| {
        host.namespace.run(|| UdpSocket::bind((address, port))).expect("inside").expect("a socket")
    };
    let arrive = |port: u16| {
        let sender = bind(&scene.hosts.left, addresses[0], 0);
        let receiver = bind(&scene.hosts.right, addresses[1], port);
        flight(20, 100).run_between(&sender, receiver).len()
    };
    assert_eq!(arrive(6000), 20);
    let selector = Selector {
        peers: vec![Network::host(IpAddr::V6(addresses[1]))],
        peer_ports: 6000..=6000,
        ..Selector::default()
    };
    scene.datapath.add_rule(partition(&scene, Hook::Ingress, selector, 0)).expect("a rule");
    assert_eq!((arrive(6000), arrive(6001)), (0, 20));
}

#[test]
fn ten_thousand_peers_are_one_lookup_and_hit_only_themselves() {
    let _exclusive = exclusive();
    let Some(scene) = Scene::set_up("10 000 peers") else { return };
    let address = |number: u32| IpAddr::V4(std::net::Ipv4Addr::from_bits(0x0a00_0000 + number));
    let peers = (0..10_000).map(|number| Network::host(address(number))).collect();
    let others = Selector { peers, ..Selector::default() };
    scene.datapath.add_rule(partition(&scene, Hook::Ingress, others, 0)).expect("a rule");
    assert_eq!(arrivals(&scene, 5000, 6000), (20, 20));
    let one_more = Selector { peers: vec![network("10.111.0.2", 32)], ..Selector::default() };
    scene.datapath.add_rule(partition(&scene, Hook::Ingress, one_more, 0)).expect("a rule");
    assert_eq!(arrivals(&scene, 5000, 6000), (0, 20));
}

#[test]
fn neighbour_discovery_is_treated_only_when_asked_for() {
    let _exclusive = exclusive();
    let Some(scene) = Scene::set_up("ARP") else { return };
    let selector = Selector { neighbour_discovery: true, ..Selector::default() };
    let rule = scene.datapath.add_rule(partition(&scene, Hook::Ingress, selector, 0)).expect("a rule").id;
    bind_udp(&scene.hosts.left).send_to(&[1], (scene.hosts.right.address, 9)).expect("sent");
    std::thread::sleep(std::time::Duration::from_millis(300));
    let counters = scene.datapath.counters(rule).expect("counters");
    assert!(counters.dropped > 0 && counters.dropped == counters.matched, "{counters:?}");
    let read = || std::fs::read_to_string("/proc/thread-self/net/arp");
    let table = scene.hosts.left.namespace.run(read).expect("inside").expect("the ARP table");
    assert!(!table.lines().any(|line| line.starts_with("10.111.0.2 ") && line.contains("0x2")), "{table}");
}
