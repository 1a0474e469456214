//! Delay by netem on a veth pair, where the kernel has it.
#![expect(clippy::expect_used, reason = "what a test needs and does not get is a failure of the test")]

use std::time::{Duration, Instant};

use faultd_kernel::{
    LINK_NAME_PREFIX,
    datapath::{Datapath, HoldingKind, Hook, RulePlan},
    journal::Journal,
    link,
};
use faultd_testkit::{
    capabilities, ebpf_object, exclusive,
    flight::arrivals,
    hosts::{Host, VethPairHosts},
    measure::EchoServer,
    rules::{delayed, rule},
    supported,
};

fn netem_datapath(test_name: &str) -> Option<Datapath> {
    let capabilities = capabilities(test_name)?;
    let possible = supported(test_name, "netem", &capabilities.netem);
    possible.then(|| Datapath::start(&ebpf_object(), &capabilities, Journal::nowhere()).expect("a datapath"))
}

fn delay(host: &Host, hook: Hook, milliseconds: u64) -> RulePlan {
    rule(host, hook, delayed(milliseconds), Some(HoldingKind::Netem))
}

fn our_links(hosts: &VethPairHosts) -> usize {
    let links = link::list(&hosts.switch).expect("links");
    links.into_iter().filter(|link| link.name.starts_with(LINK_NAME_PREFIX)).count()
}

#[test]
fn netem_delays_both_ways_and_ends_with_the_rules() {
    let _exclusive = exclusive();
    let Some(datapath) = netem_datapath("netem delay") else { return };
    let hosts = VethPairHosts::create();
    let server = EchoServer::start(&hosts.right);
    let base = server.median_round_trip(&hosts.left, 15);
    let out = datapath.add_rule(delay(&hosts.left, Hook::Ingress, 50)).expect("a rule").id;
    let back = datapath.add_rule(delay(&hosts.left, Hook::Egress, 50)).expect("a rule").id;
    assert_eq!(our_links(&hosts), 4, "each rule has a pair of its own");
    let added = server.median_round_trip(&hosts.left, 9).saturating_sub(base);
    println!("netem added {added:?} for 100 ms");
    assert!(added > Duration::from_millis(99) && added < Duration::from_millis(160), "{added:?}");
    for rule in [out, back] {
        let counters = datapath.remove_rule(rule).expect("removed").report.counters;
        // The bridge itself joins a multicast group now and then.
        assert!(counters.delayed >= 10 && counters.returned >= 10, "{counters:?}");
    }
    let added = server.median_round_trip(&hosts.left, 15).saturating_sub(base);
    assert!(added < Duration::from_millis(20), "{added:?}");
    datapath.shutdown().expect("a clean end");
    assert_eq!(our_links(&hosts), 0);
}

#[test]
fn packets_that_netem_holds_arrive_after_the_rule_was_removed() {
    let _exclusive = exclusive();
    let Some(datapath) = netem_datapath("netem drain") else { return };
    let hosts = VethPairHosts::create();
    let rule = datapath.add_rule(delay(&hosts.left, Hook::Ingress, 700)).expect("a rule").id;
    let (left, right) = (hosts.left.clone(), hosts.right.clone());
    let arriving = std::thread::spawn(move || arrivals(&left, &right, 200, Duration::from_secs(2)));
    std::thread::sleep(Duration::from_millis(300));
    let (_name, statistics) = datapath.holding_devices()[0].clone();
    assert!(statistics.waiting > 0, "{statistics:?}");
    let start = Instant::now();
    datapath.remove_rule(rule).expect("removed");
    assert!(start.elapsed() < Duration::from_millis(500), "the caller had to wait for netem");
    assert_eq!(arriving.join().expect("counted").len(), 200);
    assert_eq!(our_links(&hosts), 0, "the pair is gone after it has drained");
}

#[test]
fn netem_loses_nothing_above_its_own_default_limit() {
    let _exclusive = exclusive();
    let Some(datapath) = netem_datapath("netem limit") else { return };
    let hosts = VethPairHosts::create();
    let rule = datapath.add_rule(delay(&hosts.left, Hook::Ingress, 100)).expect("a rule").id;
    arrivals(&hosts.left, &hosts.right, 3000, Duration::from_secs(1));
    // Not all that arrives is received: the socket's queue is short.
    let counters = datapath.counters(rule).expect("counters");
    assert_eq!((counters.delayed, counters.returned), (3000, 3000));
    let (_name, statistics) = datapath.holding_devices()[0].clone();
    assert_eq!((statistics.waiting, statistics.unintended_drops), (0, 0));
}
