//! What goes away in the middle of a fault: members, namespaces, interfaces, the system bus, those who look at metrics.
//! Containers and their engine are in `tests/containers`.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    thread::sleep,
    time::Duration,
};

use faultd_kernel::link;
use faultd_testkit::{
    command::{Running, wait_until},
    daemon_under_test::DaemonUnderTest,
    exclusive,
    message_bus::TestBus,
    resources::descriptors,
    skip,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{
    FAULTD,
    arena::{Arena, PATIENCE},
    networks::VethToHost,
    turn,
};

/// The calls that are made of a daemon by somebody who does not wait for an answer.
const SCRAPERS: usize = 100;

fn faults(daemon: &DaemonUnderTest) -> Vec<Value> {
    daemon.faultctl("-o json fault ls").json()["faults"].as_array().expect("faults").clone()
}

/// The daemon's first process of a lab host ends, killed, while it has faults.
#[test]
fn a_member_that_is_killed_under_fault_takes_nothing_with_it() {
    let _turn = turn();
    let mut arena = Arena::start();
    let has_groups = arena.start_spinner();
    arena.add("--loss 100% --detach");
    if has_groups {
        arena.add("--pause 5m --detach");
    }
    let status = arena.daemon.faultctl(&format!("-o json lab status {}", arena.lab)).json();
    let pid = status["members"][0]["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    let pid = pid.and_then(Pid::from_raw).expect("a member");
    kill_process(pid, Signal::KILL).expect("a signal");
    sleep(Duration::from_millis(300));
    assert_eq!(
        arena.faults().len(),
        1 + usize::from(has_groups),
        "a host without its process is still a host"
    );
    assert!(!arena.is_fast());
    arena.daemon.faultctl("fault clear").succeeded();
    assert!(wait_until(PATIENCE, || arena.is_fast()));
    arena.assert_runs("after fault clear");
    arena.spinner = None;
    arena.daemon.faultctl(&format!("lab down {}", arena.lab)).succeeded();
    assert_eq!(arena.daemon.left_over(), Vec::<String>::new());
}

/// A fault whose target has gone is told to be gone, and can be removed like any other.
fn assert_gone_and_removed(daemon: &DaemonUnderTest, fault: &Value) {
    let id = fault["id"].as_str().expect("an id");
    let state = || daemon.faultctl(&format!("-o json fault show {id}")).json()["state"].clone();
    assert!(wait_until(PATIENCE, || state() == "gone"), "{}", state());
    let answer = daemon.faultctl(&format!("fault rm {id}"));
    assert!(answer.code == Some(0) || answer.complaints().len() == 1, "{answer:#?}");
    assert_eq!(faults(daemon), Vec::<Value>::new());
}

#[test]
fn an_interface_or_a_namespace_that_is_deleted_under_fault_takes_the_fault_with_it() {
    let _turn = turn();
    let _exclusive = exclusive();
    let daemon = DaemonUnderTest::start(FAULTD);
    let mut before = None;
    for fault in ["--loss 50%", "--delay 20ms", "--loss 50% --direction both"] {
        for with_namespace in [false, true] {
            let network = VethToHost::create();
            let target = network.target.target_name();
            let added = daemon.faultctl(&format!("-o json fault add {target} {fault} --detach")).json();
            if with_namespace {
                drop(network);
            } else {
                link::delete(&network.host.namespace, network.host.outside.index).expect("deleted");
            }
            assert_gone_and_removed(&daemon, &added);
            let again = daemon.faultctl(&format!("fault add {target} {fault} --detach"));
            assert!(matches!(again.code, Some(1 | 3)), "{again:#?}");
            assert_eq!(again.complaints().len(), 1, "{again:#?}");
        }
        // The first time loads what stays loaded for the next one.
        let open = descriptors(daemon.pid());
        let before = *before.get_or_insert(open);
        let settled = || descriptors(daemon.pid()) <= before + 8;
        assert!(
            wait_until(PATIENCE, settled),
            "{fault}: {} open, {before} at first",
            descriptors(daemon.pid())
        );
    }
}

#[test]
fn when_the_system_bus_goes_so_do_the_faults_of_its_callers_and_the_private_socket_is_served() {
    let name = "when_the_system_bus_goes_so_do_the_faults_of_its_callers_and_the_private_socket_is_served";
    let _turn = turn();
    if std::process::Command::new("dbus-daemon").arg("--version").output().is_err() {
        skip(name, "there is no dbus-daemon (Debian package dbus)");
        return;
    }
    let mut bus = TestBus::start();
    let address = bus.address();
    let arena = Arena::of(DaemonUnderTest::prepare(FAULTD, &[("DBUS_SYSTEM_BUS_ADDRESS", &address)], &[]));
    let on_the_bus = |words: &str| {
        let mut command = arena.daemon.faultctl_command(words);
        command.env("FAULTD_BUS", "system").env("DBUS_SYSTEM_BUS_ADDRESS", &address);
        Running::start(command)
    };
    let is_served = || on_the_bus("fault ls").wait(PATIENCE).code == Some(0);
    assert!(wait_until(PATIENCE, is_served), "{}", arena.daemon.log());
    let mut holding = on_the_bus(&format!("fault add {} --loss 100%", arena.target()));
    assert!(wait_until(PATIENCE, || arena.faults().len() == 1), "{holding:?}");
    // Stopped, so that it is the bus that has gone and not its caller.
    holding.signal(Signal::STOP);
    bus.kill();
    assert!(wait_until(PATIENCE, || arena.is_fast()), "the fault outlives the bus; {}", arena.daemon.log());
    arena.assert_as_before("without a bus");
    arena.assert_serves("without a bus");
    drop(holding);
    bus.begin();
    assert!(wait_until(PATIENCE, is_served), "it is not on the bus again; {}", arena.daemon.log());
}

#[test]
fn those_who_look_at_metrics_and_go_or_say_nothing_leave_nothing() {
    let _turn = turn();
    let arena = Arena::start();
    let address = arena.daemon.metrics_address();
    let page = || {
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("a request");
        let mut page = String::new();
        stream.read_to_string(&mut page).expect("a page");
        page
    };
    page();
    // What the first fault opens stays open for the next one.
    arena.assert_serves("before them");
    let before = descriptors(arena.daemon.pid());
    let said: [&[u8]; 4] = [b"", b"GET /met", b"GET /metrics HTTP/1.1\r\n\r\n", b"\xff\x00\r\n\r\n"];
    let mut silent = Vec::new();
    for number in 0..SCRAPERS {
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.write_all(said[number % said.len()]).expect("a part of a request");
        silent.push(stream);
    }
    // While they are there, everything works.
    assert!(page().contains("faultd_"), "no page");
    arena.assert_serves("with silent scrapers");
    drop(silent);
    // A few are opened by and by and stay; those who look are a hundred.
    let closed = wait_until(PATIENCE, || descriptors(arena.daemon.pid()) <= before + 8);
    assert!(closed, "{} open, {before} before", descriptors(arena.daemon.pid()));
    arena.assert_as_before("after them");
}
