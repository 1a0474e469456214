//! Delay by the relay, between two real hosts.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "what a test needs and does not get is a failure of the test"
)]

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use faultd_kernel::{
    datapath::{Datapath, HoldingKind, Hook, RulePlan},
    journal::Journal,
    process::{ProcessPlan, SpawnedProcess},
};
use faultd_testkit::{
    capabilities, ebpf_object, exclusive,
    flight::arrivals,
    hosts::{Host, VethPairHosts},
    measure::EchoServer,
    rules::{delayed, rule},
    skip, supported,
};

/// The datapath, where this kernel can run the relay.
fn relay_datapath(test_name: &str) -> Option<Datapath> {
    let capabilities = capabilities(test_name)?;
    let possible = supported(test_name, "TAP devices", &capabilities.tap);
    possible.then(|| Datapath::start(&ebpf_object(), &capabilities, Journal::nowhere()).expect("a datapath"))
}

fn delay(host: &Host, hook: Hook, milliseconds: u64) -> RulePlan {
    rule(host, hook, delayed(milliseconds), Some(HoldingKind::Relay))
}

/// Generous upwards, for other things run on the machine; a delay is never too short. Without one, what is compared
/// with was measured on the same machine: in User Mode Linux it has been 0.7 ms slower than what came later.
fn assert_added(base: Duration, with_rule: Duration, milliseconds: u32) {
    let added = with_rule.as_secs_f64() * 1e3 - base.as_secs_f64() * 1e3;
    println!("added {added:.3} ms for {milliseconds} ms");
    let asked = f64::from(milliseconds);
    let too_short = if milliseconds == 0 { 2.0 } else { 0.5 };
    assert!(
        (asked - too_short..asked + 28.0).contains(&added),
        "{added} ms were added instead of {asked} ms"
    );
}

fn check_hooks(test_name: &str, hooks: &[Hook]) {
    let _exclusive = exclusive();
    let Some(datapath) = relay_datapath(test_name) else { return };
    let hosts = VethPairHosts::create();
    let server = EchoServer::start(&hosts.right);
    let base = server.median_round_trip(&hosts.left, 15);
    let rules: Vec<_> = hooks
        .iter()
        .map(|&hook| datapath.add_rule(delay(&hosts.left, hook, 100)).expect("a rule").id)
        .collect();
    assert_added(base, server.median_round_trip(&hosts.left, 9), 100 * u32::try_from(hooks.len()).unwrap());
    for rule in rules {
        let counters = datapath.remove_rule(rule).expect("removed").report.counters;
        // The bridge itself joins a multicast group now and then.
        assert!(counters.delayed >= 10, "{counters:?}");
        assert_eq!(counters.returned, counters.delayed);
        assert_eq!(counters.unintended, 0);
    }
    assert_added(base, server.median_round_trip(&hosts.left, 15), 0);
    datapath.shutdown().expect("a clean end");
}

#[test]
fn delay_on_what_leaves_the_host_adds_to_the_round_trip_and_ends_with_the_rule() {
    check_hooks("delay on egress", &[Hook::Ingress]);
}

#[test]
fn delay_on_what_enters_the_host_adds_to_the_round_trip_and_ends_with_the_rule() {
    check_hooks("delay on ingress", &[Hook::Egress]);
}

#[test]
fn delay_both_ways_adds_twice() {
    check_hooks("delay both ways", &[Hook::Ingress, Hook::Egress]);
}

#[test]
fn delays_on_both_ends_of_a_path_add_up_through_one_device() {
    let _exclusive = exclusive();
    let Some(datapath) = relay_datapath("delays of two hosts") else { return };
    let hosts = VethPairHosts::create();
    let server = EchoServer::start(&hosts.right);
    let base = server.median_round_trip(&hosts.left, 15);
    datapath.add_rule(delay(&hosts.left, Hook::Ingress, 20)).expect("a rule");
    datapath.add_rule(delay(&hosts.right, Hook::Egress, 30)).expect("a rule");
    datapath.add_rule(delay(&hosts.right, Hook::Ingress, 10)).expect("a rule");
    assert_eq!(datapath.holding_devices().len(), 1);
    assert_added(base, server.median_round_trip(&hosts.left, 9), 60);
}

#[test]
fn removing_a_rule_lets_held_packets_go_at_once_and_loses_none() {
    let _exclusive = exclusive();
    let Some(datapath) = relay_datapath("flush on removal") else { return };
    let hosts = VethPairHosts::create();
    let rule = datapath.add_rule(delay(&hosts.left, Hook::Ingress, 60_000)).expect("a rule").id;
    let (left, right) = (hosts.left.clone(), hosts.right.clone());
    let arriving = thread::spawn(move || arrivals(&left, &right, 200, Duration::from_secs(2)));
    thread::sleep(Duration::from_millis(500));
    let removed = datapath.remove_rule(rule).expect("removed");
    assert_eq!(arriving.join().expect("counted").len(), 200);
    assert!(removed.report.counters.delayed > 0);
    assert_eq!(removed.report.counters.delayed, removed.report.counters.returned);
}

#[test]
fn the_first_of_two_rules_acts_and_the_second_takes_over() {
    let _exclusive = exclusive();
    let Some(datapath) = relay_datapath("two rules on one hook") else { return };
    let hosts = VethPairHosts::create();
    let server = EchoServer::start(&hosts.right);
    let base = server.median_round_trip(&hosts.left, 15);
    let first = datapath.add_rule(delay(&hosts.left, Hook::Ingress, 50)).expect("a rule").id;
    let second = datapath.add_rule(delay(&hosts.left, Hook::Ingress, 20)).expect("a rule").id;
    assert_added(base, server.median_round_trip(&hosts.left, 9), 50);
    datapath.remove_rule(first).expect("removed");
    assert_added(base, server.median_round_trip(&hosts.left, 9), 20);
    datapath.remove_rule(second).expect("removed");
    assert_added(base, server.median_round_trip(&hosts.left, 15), 0);
}

#[test]
fn a_bulk_transfer_passes_through_the_relay_in_large_segments() {
    const MEGABYTES: usize = 32;
    let _exclusive = exclusive();
    let Some(datapath) = relay_datapath("TCP through the relay") else { return };
    let hosts = VethPairHosts::create();
    let rule = datapath.add_rule(delay(&hosts.left, Hook::Ingress, 10)).expect("a rule").id;
    let (elapsed, received) = transfer(&hosts, MEGABYTES);
    assert_eq!(received, MEGABYTES << 20);
    let counters = datapath.remove_rule(rule).expect("removed").report.counters;
    let mean = counters.matched_bytes / counters.delayed.max(1);
    println!("{MEGABYTES} MiB in {elapsed:?}, {mean} bytes a packet, {counters:?}");
    assert!(mean > 3000, "segmentation offload was lost: {mean} bytes a packet");
    assert_eq!(counters.unintended, 0);
}

fn transfer(hosts: &VethPairHosts, megabytes: usize) -> (Duration, usize) {
    let listener = hosts.right.namespace.run(|| TcpListener::bind((hosts.right.address, 0)));
    let listener = listener.expect("inside").expect("a listener");
    let address = listener.local_addr().expect("an address");
    let receiving = thread::spawn(move || {
        let (mut stream, _peer) = listener.accept().expect("a connection");
        let mut buffer = vec![0; 1 << 16];
        let mut received = 0;
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            received += length;
        }
        received
    });
    let start = Instant::now();
    let mut stream =
        hosts.left.namespace.run(|| TcpStream::connect(address)).expect("inside").expect("connected");
    let block = vec![7; 1 << 20];
    for _megabyte in 0..megabytes {
        stream.write_all(&block).expect("written");
    }
    drop(stream);
    (start.elapsed(), receiving.join().expect("received"))
}

#[test]
fn ping_sees_the_delay() {
    let _exclusive = exclusive();
    let Some(datapath) = relay_datapath("ping") else { return };
    let hosts = VethPairHosts::create();
    let log = std::env::temp_dir().join(format!("faultd-test-ping-{}", std::process::id()));
    // The first packets after ports were made may be lost, and then a neighbour is found late.
    EchoServer::start(&hosts.right).time_to_answer(&hosts.left, Duration::from_secs(5)).expect("an answer");
    let Some(base) = ping(&hosts, &log) else { return skip("ping", "there is no ping") };
    let start = Instant::now();
    let rule = datapath.add_rule(delay(&hosts.left, Hook::Ingress, 100)).expect("a rule").id;
    println!("adding the rule took {:?}", start.elapsed());
    let with_rule = ping(&hosts, &log).expect("ping ran before");
    println!("ping: average {base} ms, with 100 ms on egress {with_rule} ms");
    assert!((99.5..110.0).contains(&(with_rule - base)), "{base} ms, then {with_rule} ms");
    println!("{:?}", datapath.holding_devices());
    let start = Instant::now();
    datapath.remove_rule(rule).expect("removed");
    println!("removing the rule took {:?}", start.elapsed());
}

/// The average round trip in milliseconds that ping reports.
fn ping(hosts: &VethPairHosts, log: &std::path::Path) -> Option<f64> {
    let arguments = ["-q", "-c", "20", "-i", "0.05", &hosts.right.address.to_string()];
    let plan = ProcessPlan {
        program: "ping".to_owned(),
        arguments: arguments.map(str::to_owned).to_vec(),
        environment: Vec::new(),
        working_directory: std::env::temp_dir(),
        log: log.to_owned(),
        control_groups: Vec::new(),
    };
    let mut process = SpawnedProcess::spawn(&hosts.left.namespace, &plan).ok()?;
    assert!(process.identity().wait_until_ended(Duration::from_secs(20)).expect("waited"));
    process.try_wait().expect("waited");
    let text = std::fs::read_to_string(log).expect("what ping said");
    std::fs::remove_file(log).expect("removed");
    let (_, times) = text.split_once("min/avg/max/mdev = ")?;
    times.split('/').nth(1)?.parse().ok()
}
