//! Targets that are neither containers nor lab hosts: namespaces, processes and interfaces, caught at the
//! host's end of a veth or inside of a namespace that has none.
#![expect(clippy::disallowed_methods, clippy::expect_used, reason = "tests")]

mod networks;

use std::{process::Command, time::Duration};

use faultd_kernel::namespace::Namespace;
use faultd_testkit::{
    command::{Running, wait_until},
    daemon_under_test::DaemonUnderTest,
    exclusive,
    flight::{arrivals, fits},
    hosts::Host,
    measure::EchoServer,
    traces::rule_parts,
};
use serde_json::Value;

use networks::{MacvlanNetwork, VethToHost};

const FAULTD: &str = env!("CARGO_BIN_EXE_faultd");
const PATIENCE: Duration = Duration::from_secs(30);
/// The delay of the faults here, and what a busy machine may add to it.
const DELAY: Duration = Duration::from_millis(50);
const SLACK: Duration = Duration::from_millis(40);
const PACKETS: u32 = 1000;
/// Longer than any delay here.
const QUIET: Duration = Duration::from_millis(500);

fn assert_slower_by(added: Duration, before: Duration, now: Duration) {
    assert!(now + Duration::from_millis(1) >= before + added, "{before:?} became {now:?}");
    assert!(now <= before + added + SLACK, "{before:?} became {now:?}");
}

fn assert_all_arrive(from: &Host, to: &Host) {
    assert_eq!(arrivals(from, to, PACKETS, QUIET).len(), PACKETS as usize);
}

fn assert_30_percent_are_lost(from: &Host, to: &Host) {
    let lost = u64::from(PACKETS) - arrivals(from, to, PACKETS, QUIET).len() as u64;
    assert!(fits(lost, PACKETS.into(), 0.3), "{lost} of {PACKETS} were lost");
}

/// Adds a fault with `fault add`'s words and answers its status.
fn added(daemon: &DaemonUnderTest, words: &str) -> Value {
    daemon.faultctl(&format!("-o json fault add {words} --for 60s --seed 7")).json()
}

fn assert_refused(daemon: &DaemonUnderTest, words: &str, code: i32, reason: &str) {
    let answer = daemon.faultctl(&format!("fault add {words} --for 60s"));
    assert_eq!((answer.code, answer.stdout.as_str()), (Some(code), ""), "{answer:#?}");
    assert_eq!(answer.stderr.lines().count(), 1, "{answer:#?}");
    assert!(answer.stderr.contains(reason), "no '{reason}': {answer:#?}");
}

/// Clears all faults; nothing of them may be left at the interface or in its namespace. In its own the
/// daemon keeps devices ready for the next one.
fn clear(daemon: &DaemonUnderTest, host: &Host) {
    daemon.faultctl("fault clear").succeeded();
    let is_own = host.outside.namespace == Namespace::current().expect("own namespace");
    let left = || {
        let parts = rule_parts(&host.outside).into_iter();
        parts.filter(|part| !(is_own && part.starts_with("link "))).collect::<Vec<_>>()
    };
    assert!(wait_until(PATIENCE, || left().is_empty()), "{:?}", left());
}

#[test]
fn a_namespace_without_a_veth_is_slow_inside_of_it() {
    let _exclusive = exclusive();
    let network = MacvlanNetwork::create();
    let [target, other, outside] = [&network.left.host, &network.right.host, &network.outside];
    let daemon = DaemonUnderTest::start(FAULTD);
    let name = network.left.target_name();
    let server = EchoServer::start(outside);
    let (before, other_before) = (server.median_round_trip(target, 9), server.median_round_trip(other, 9));

    let fault = added(&daemon, &format!("{name} --delay 50ms"));
    assert_eq!((&fault["target"], &fault["interface"]), (&name.as_str().into(), &"mv0".into()));
    assert_slower_by(DELAY, before, server.median_round_trip(target, 9));
    assert_slower_by(Duration::ZERO, other_before, server.median_round_trip(other, 9));
    // The device that makes packets wait is in the namespace too, and is not a part of the target.
    let second = added(&daemon, &format!("{name} --loss 1% --priority 9"));
    assert_eq!(second["interface"], "mv0");
    clear(&daemon, target);

    added(&daemon, &format!("{name} --delay 50ms --direction both"));
    assert_slower_by(2 * DELAY, before, server.median_round_trip(target, 9));
    assert_slower_by(Duration::ZERO, other_before, server.median_round_trip(other, 9));
    clear(&daemon, target);
    assert_slower_by(Duration::ZERO, before, server.median_round_trip(target, 9));
}

#[test]
fn a_namespace_without_a_veth_loses_packets_in_the_direction_that_was_asked_for() {
    let _exclusive = exclusive();
    let network = MacvlanNetwork::create();
    let [target, other, outside] = [&network.left.host, &network.right.host, &network.outside];
    let daemon = DaemonUnderTest::start(FAULTD);
    let name = network.left.target_name();

    let fault = added(&daemon, &format!("{name} --loss 30%"));
    assert_30_percent_are_lost(target, outside);
    assert_30_percent_are_lost(target, other);
    assert_all_arrive(outside, target);
    assert_all_arrive(other, outside);
    let shown = daemon.faultctl(&format!("-o json fault show {}", fault["id"].as_str().expect("an id")));
    let packets = shown.json()["packets"].take();
    let count = |verdict: &str| packets[verdict].as_u64().expect("a count");
    assert!(count("matched") >= 2 * u64::from(PACKETS), "{packets}");
    assert!(fits(count("dropped"), count("matched"), 0.3), "{packets}");
    assert_eq!(count("unintended"), 0, "{packets}");
    clear(&daemon, target);

    added(&daemon, &format!("{name} --loss 30% --direction ingress"));
    assert_30_percent_are_lost(outside, target);
    assert_all_arrive(target, outside);
    assert_all_arrive(outside, other);
    clear(&daemon, target);
    assert_all_arrive(outside, target);
}

#[test]
fn a_namespace_with_a_veth_is_caught_at_the_end_of_the_host() {
    let _exclusive = exclusive();
    let network = VethToHost::create();
    let (target, host) = (&network.target.host, &network.host);
    let daemon = DaemonUnderTest::start(FAULTD);
    let server = EchoServer::start(host);
    let before = server.median_round_trip(target, 9);

    let name = network.target.target_name();
    let fault = added(&daemon, &format!("{name} --delay 50ms"));
    assert_eq!(fault["interface"], host.outside.name);
    assert_slower_by(DELAY, before, server.median_round_trip(target, 9));
    // The same packets by another name; and others, seen from the other end: one hook cannot do both.
    let of_host = format!("interface/{}", host.outside.name);
    let ingress = format!("{of_host} --loss 1% --direction ingress");
    assert_refused(&daemon, &ingress, 1, "already has a fault for the same packets");
    assert_refused(&daemon, &format!("{ingress} --proto udp"), 1, "see their target at the other end of it");
    clear(&daemon, host);

    // What leaves the interface is what enters the namespace.
    assert_eq!(added(&daemon, &format!("{of_host} --loss 30%"))["interface"], host.outside.name);
    assert_30_percent_are_lost(host, target);
    assert_all_arrive(target, host);
    clear(&daemon, host);
    network.set_down();
    assert_refused(&daemon, &format!("{of_host} --delay 1ms"), 1, "is down: switch it on first");
}

#[test]
fn a_process_stands_for_its_namespace() {
    let _exclusive = exclusive();
    let network = MacvlanNetwork::create();
    let target = &network.left.host;
    let daemon = DaemonUnderTest::start(FAULTD);
    let server = EchoServer::start(&network.outside);
    let before = server.median_round_trip(target, 9);
    let mut sleep = Command::new("sleep");
    sleep.arg("600");
    let process = target.namespace.run(|| Running::start(sleep)).expect("inside the namespace");
    let name = format!("pid/{}", process.pid());

    let fault = added(&daemon, &format!("{name} --delay 50ms"));
    assert_eq!((&fault["target"], &fault["interface"]), (&name.as_str().into(), &"mv0".into()));
    let by_another_name = format!("{} --delay 50ms", network.left.target_name());
    assert_refused(&daemon, &by_another_name, 1, "already has a fault for the same packets");
    drop(process);
    assert_slower_by(DELAY, before, server.median_round_trip(target, 9));
    assert_refused(&daemon, &format!("{name} --delay 5ms"), 3, "no process has the number");
    clear(&daemon, target);
}

#[test]
fn of_a_process_in_the_network_of_the_host_only_one_port_is_faulted() {
    let _exclusive = exclusive();
    let network = VethToHost::create();
    let (caller, host) = (&network.target.host, &network.host);
    let daemon = DaemonUnderTest::start(FAULTD);
    let (server, other) = (EchoServer::start(host), EchoServer::start(host));
    let before = server.median_round_trip(caller, 9);
    let words = format!("pid/{} --delay 50ms", std::process::id());
    assert_refused(&daemon, &words, 2, "is in the network of the host: say with --port");
    let with_port = format!("{words} --port {} --proto udp", server.port());
    // Interfaces of others come and go on this host meanwhile.
    let mut fault = Value::Null;
    let is_added = || {
        let answer = daemon.faultctl(&format!("-o json fault add {with_port} --for 60s"));
        fault = if answer.code == Some(0) { answer.json() } else { Value::Null };
        fault != Value::Null
    };
    assert!(wait_until(PATIENCE, is_added));
    let interfaces = fault["interface"].as_str().expect("interfaces").split(',').collect::<Vec<_>>();
    assert!(interfaces.contains(&host.outside.name.as_str()) && !interfaces.contains(&"lo"), "{fault}");
    assert_slower_by(DELAY, before, server.median_round_trip(caller, 9));
    assert_slower_by(Duration::ZERO, before, other.median_round_trip(caller, 9));
    let id = fault["id"].as_str().expect("an id");
    daemon.faultctl(&format!("fault rm {id}")).succeeded();
    clear(&daemon, host);
}

#[test]
fn namespaces_and_interfaces_are_listed_with_what_stands_in_the_way() {
    let _exclusive = exclusive();
    let network = VethToHost::create();
    let empty = networks::NamedNamespace::create_named(&format!("fdtest-{}", std::process::id()));
    let daemon = DaemonUnderTest::start(FAULTD);
    let target = |name: &str| {
        let listed = daemon.faultctl("-o json target ls").json()["targets"].take();
        listed.as_array().expect("targets").iter().find(|target| target["name"] == name).cloned()
    };
    let interface = target(&format!("interface/{}", network.host.outside.name)).expect("the host's end");
    assert_eq!((&interface["kind"], &interface["problem"]), (&"interface".into(), &Value::Null));
    assert_eq!(interface["addresses"][0], network.host.address.to_string());
    assert_eq!(target("interface/lo"), None);
    assert_eq!(target(&network.target.target_name()), None, "those of faultd are not shown");

    let name = format!("netns/{}", empty.name);
    let reason = format!("network namespace '{}' has no network interface that is up", empty.name);
    let shown = target(&name).expect("a namespace");
    assert_eq!((&shown["kind"], &shown["interface"]), (&"netns".into(), &Value::Null));
    assert!(shown["problem"].as_str().is_some_and(|problem| problem.starts_with(&reason)), "{shown}");
    assert_refused(&daemon, &format!("{name} --delay 1ms"), 1, &reason);

    networks::add_veth(&empty.namespace, "eth0", &network.target.host.namespace, "eth1");
    let shown = target(&name).expect("a namespace");
    assert_eq!((&shown["interface"], &shown["problem"]), (&"eth0".into(), &Value::Null));
}
