//! Loss in the programs themselves, between two real hosts.
#![expect(clippy::expect_used, reason = "what a test needs and does not get is a failure of the test")]

use std::{net::UdpSocket, time::Duration};

use faultd_abi::{Purpose, chance, threshold_is_met};
use faultd_kernel::{
    datapath::{Datapath, Delay, Effects, HoldingKind, Hook, RulePlan},
    journal::Journal,
};
use faultd_testkit::{
    capabilities, ebpf_object, exclusive,
    flight::arrivals,
    hosts::{Host, VethPairHosts},
    measure::EchoServer,
    rules::{lossy, rule},
    supported,
};

const QUIET: Duration = Duration::from_millis(300);

fn loss(host: &Host, ratio: f64, seed: u64) -> RulePlan {
    RulePlan { seed, ..rule(host, Hook::Ingress, lossy(ratio), None) }
}

fn datapath(test_name: &str) -> Option<Datapath> {
    let capabilities = capabilities(test_name)?;
    Some(Datapath::start(&ebpf_object(), &capabilities, Journal::nowhere()).expect("a datapath"))
}

#[test]
fn a_fifth_is_lost_and_the_same_seed_loses_the_same_packets() {
    let _exclusive = exclusive();
    let Some(datapath) = datapath("loss of a fifth") else { return };
    let hosts = VethPairHosts::create();
    let run = |seed| {
        let rule = datapath.add_rule(loss(&hosts.left, 0.2, seed)).expect("a rule").id;
        let arrived = arrivals(&hosts.left, &hosts.right, 4000, QUIET);
        let counters = datapath.remove_rule(rule).expect("removed").report.counters;
        assert_eq!(counters.matched, 4000);
        assert_eq!(counters.dropped, 4000 - arrived.len() as u64);
        arrived
    };
    let (first, again, other) = (run(1), run(1), run(2));
    println!("{} of 4000 arrived", first.len());
    assert!((3000..3400).contains(&first.len()), "{} of 4000 arrived", first.len());
    assert_eq!(first, again);
    assert_ne!(first, other);
    let expected = (0..4000).filter(|&n| !threshold_is_met(chance(1, Purpose::Loss, n), (1 << 32) / 5 + 1));
    assert_eq!(first, expected.map(|number| u32::try_from(number).unwrap()).collect());
}

#[test]
fn full_loss_loses_all_and_no_loss_none() {
    let _exclusive = exclusive();
    let Some(datapath) = datapath("full loss") else { return };
    let hosts = VethPairHosts::create();
    let rule = datapath.add_rule(loss(&hosts.left, 1.0, 1)).expect("a rule").id;
    assert_eq!(arrivals(&hosts.left, &hosts.right, 500, QUIET).len(), 0);
    assert_eq!(datapath.counters(rule).expect("counters").dropped, 500);
    datapath.remove_rule(rule).expect("removed");
    datapath.add_rule(loss(&hosts.left, 0.0, 1)).expect("a rule");
    assert_eq!(arrivals(&hosts.left, &hosts.right, 500, QUIET).len(), 500);
}

/// No packet has been exchanged before, so the hosts must find each other under full loss.
#[test]
fn neighbours_are_found_under_full_loss() {
    let _exclusive = exclusive();
    let Some(datapath) = datapath("ARP under full loss") else { return };
    let hosts = VethPairHosts::create();
    let rule = datapath.add_rule(loss(&hosts.left, 1.0, 1)).expect("a rule").id;
    assert_eq!(arrivals(&hosts.left, &hosts.right, 3, QUIET).len(), 0);
    let table = hosts.left.namespace.run(|| std::fs::read_to_string("/proc/thread-self/net/arp"));
    let table = table.expect("inside").expect("the ARP table");
    let entry = table.lines().find(|line| line.starts_with("10.111.0.2 ")).expect("an entry");
    assert!(entry.contains("0x2"), "the neighbour was not found: {entry}");
    let counters = datapath.counters(rule).expect("counters");
    assert!(counters.seen > counters.matched, "{counters:?}");
}

#[test]
fn ipv6_is_lost_but_its_neighbour_discovery_passes() {
    let _exclusive = exclusive();
    let Some(datapath) = datapath("IPv6 under full loss") else { return };
    let hosts = VethPairHosts::create();
    hosts.left.add_ipv6("fd00::1".parse().unwrap());
    hosts.right.add_ipv6("fd00::2".parse().unwrap());
    std::thread::sleep(Duration::from_secs(3));
    let rule = datapath.add_rule(loss(&hosts.left, 1.0, 1)).expect("a rule").id;
    let bind = |host: &Host, address: &str| {
        let address: std::net::Ipv6Addr = address.parse().unwrap();
        host.namespace.run(|| UdpSocket::bind((address, 0))).expect("inside").expect("bound")
    };
    let (sender, receiver) = (bind(&hosts.left, "fd00::1"), bind(&hosts.right, "fd00::2"));
    receiver.set_read_timeout(Some(QUIET)).unwrap();
    sender.send_to(&[1; 64], receiver.local_addr().unwrap()).expect("sent");
    assert!(receiver.recv(&mut [0; 64]).is_err());
    assert!(datapath.counters(rule).expect("counters").dropped >= 1);
    datapath.remove_rule(rule).expect("removed");
    // This arrives at once because the neighbour was found meanwhile.
    sender.send_to(&[1; 64], receiver.local_addr().unwrap()).expect("sent");
    assert!(receiver.recv(&mut [0; 64]).is_ok());
}

#[test]
fn delay_and_loss_go_together() {
    let _exclusive = exclusive();
    let Some(capabilities) = capabilities("delay and loss") else { return };
    if !supported("delay and loss", "TAP devices", &capabilities.tap) {
        return;
    }
    let datapath = Datapath::start(&ebpf_object(), &capabilities, Journal::nowhere()).expect("a datapath");
    let hosts = VethPairHosts::create();
    let plan = RulePlan {
        effects: Effects {
            delay: Some(Delay { base: Duration::from_millis(50), jitter: None }),
            ..lossy(0.3)
        },
        holding: Some(HoldingKind::Relay),
        ..loss(&hosts.left, 0.3, 9)
    };
    let rule = datapath.add_rule(plan).expect("a rule").id;
    let arrived = arrivals(&hosts.left, &hosts.right, 1000, QUIET).len();
    assert!((600..800).contains(&arrived), "{arrived} of 1000 arrived");
    let counters = datapath.counters(rule).expect("counters");
    assert_eq!((counters.dropped, counters.returned), (1000 - arrived as u64, arrived as u64));
    let server = EchoServer::start(&hosts.right);
    let trip = (0..20).find(|_try| server.answers(&hosts.left, Duration::from_millis(40)));
    assert_eq!(trip, None, "an answer came before the delay was over");
}
