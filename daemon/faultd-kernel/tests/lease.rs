//! Rules end on time by themselves: at their deadline, and soon after their process stops or dies.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "what a test needs and does not get is a failure of the test"
)]

use std::{fs, path::PathBuf, thread::sleep, time::Duration};

use faultd_kernel::{
    clock,
    datapath::{AttachKind, Datapath, HoldingKind, Hook, InterfaceReference, RulePlan, TargetSide},
    journal::Journal,
    link,
    namespace::{self, Namespace},
    process::{ProcessPlan, Signal, SpawnedProcess},
    residue::{self, Residue},
};
use faultd_testkit::{
    capabilities, ebpf_object, exclusive,
    hosts::{Host, VethPairHosts},
    measure::EchoServer,
    rules::{delayed, lossy, rule},
    supported,
};

const PATIENCE: Duration = Duration::from_millis(300);

/// A lease and some time for a loaded machine.
const LEASE_AND_MARGIN: Duration = Duration::from_millis(1600);

fn full_loss(host: &Host, deadline_monotonic_ns: Option<u64>) -> RulePlan {
    RulePlan { deadline_monotonic_ns, ..rule(host, Hook::Ingress, lossy(1.0), None) }
}

fn in_future(span: Duration) -> Option<u64> {
    Some(clock::monotonic_ns() + clock::nanoseconds(span))
}

#[test]
fn a_rule_ends_at_its_deadline_without_any_action() {
    let _exclusive = exclusive();
    let Some(capabilities) = capabilities("deadline") else { return };
    let datapath = Datapath::start(&ebpf_object(), &capabilities, Journal::nowhere()).expect("a datapath");
    let hosts = VethPairHosts::create();
    let server = EchoServer::start(&hosts.right);
    datapath.prepare(&hosts.switch).expect("ready");
    let deadline = in_future(Duration::from_millis(300));
    let rule = datapath.add_rule(full_loss(&hosts.left, deadline)).expect("a rule").id;
    assert!(!server.answers(&hosts.left, Duration::from_millis(100)));
    let end = server.time_to_answer(&hosts.left, Duration::from_secs(5)).expect("an answer");
    assert!(deadline < Some(clock::monotonic_ns()), "it ended too early");
    println!("answers came {end:?} later");
    assert!(datapath.counters(rule).expect("counters").expired > 0);
    datapath.remove_rule(rule).expect("removed");
}

#[test]
fn a_deadline_can_be_moved_and_longer_ones_are_renewed() {
    let _exclusive = exclusive();
    let Some(capabilities) = capabilities("moved deadline") else { return };
    let datapath = Datapath::start(&ebpf_object(), &capabilities, Journal::nowhere()).expect("a datapath");
    let hosts = VethPairHosts::create();
    let server = EchoServer::start(&hosts.right);
    datapath.prepare(&hosts.switch).expect("ready");
    let rule =
        datapath.add_rule(full_loss(&hosts.left, in_future(Duration::from_millis(200)))).expect("a rule").id;
    datapath.set_deadline(rule, None).expect("moved");
    sleep(LEASE_AND_MARGIN);
    assert!(!server.answers(&hosts.left, PATIENCE), "the lease was not renewed");
    datapath.set_deadline(rule, in_future(Duration::ZERO)).expect("moved");
    sleep(Duration::from_millis(10));
    assert!(server.answers(&hosts.left, PATIENCE));
}

/// Rules of another process, which is this program once more, running `stand_in`.
struct StandIn {
    hosts: VethPairHosts,
    process: SpawnedProcess,
    log: PathBuf,
    namespace_name: String,
}

impl StandIn {
    fn start(kind: AttachKind) -> Self {
        let namespace_name = format!("faultd-test-{}-{kind:?}", std::process::id());
        let switch = Namespace::create_named(&namespace_name).expect("a named namespace");
        let hosts = VethPairHosts::create_around(&switch);
        let log = std::env::temp_dir().join(&namespace_name);
        let settings = [
            ("FAULTD_TEST_SWITCH", namespace_name.clone()),
            ("FAULTD_TEST_INTERFACE", hosts.left.outside.index.to_string()),
            ("FAULTD_TEST_CLSACT", u8::from(kind == AttachKind::Clsact).to_string()),
        ];
        let plan = ProcessPlan {
            program: std::env::current_exe().expect("this program").to_string_lossy().into_owned(),
            arguments: ["--ignored", "--exact", "--nocapture", "stand_in"].map(str::to_owned).to_vec(),
            environment: settings.map(|(name, value)| (name.to_owned(), value)).to_vec(),
            working_directory: std::env::current_dir().expect("here"),
            log: log.clone(),
            control_groups: Vec::new(),
        };
        let here = Namespace::current().expect("here");
        let process = SpawnedProcess::spawn(&here, &plan).expect("the stand-in started");
        let stand_in = Self { hosts, process, log, namespace_name };
        stand_in.wait_for_rules();
        stand_in
    }

    fn wait_for_rules(&self) {
        for _try in 0..500 {
            if fs::read_to_string(&self.log).is_ok_and(|text| text.contains("rules hold")) {
                return;
            }
            sleep(Duration::from_millis(20));
        }
        panic!("the stand-in has no rules: {:?}", fs::read_to_string(&self.log));
    }

    fn signal(&self, signal: Signal) {
        assert!(self.process.identity().send_signal(signal).expect("signalled"));
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        let _ = self.process.identity().send_signal(Signal::KILL);
        let _ = self.process.stop(Duration::from_secs(5));
        let _ = fs::remove_file(&self.log);
        namespace::remove_named(&self.namespace_name).expect("removed");
    }
}

/// Not a test of its own: full loss one way and a delay of a minute the other way, held until killed.
#[test]
#[ignore = "started by other tests as a process of its own"]
fn stand_in() {
    let setting = |name: &str| std::env::var(name).expect("settings of the test that starts this");
    let switch = Namespace::open_named(&setting("FAULTD_TEST_SWITCH")).expect("the switch");
    let index = setting("FAULTD_TEST_INTERFACE").parse().expect("an index");
    let outside = link::by_index(&switch, index).expect("the interface");
    let kind = if setting("FAULTD_TEST_CLSACT") == "1" { AttachKind::Clsact } else { AttachKind::Tcx };
    let datapath = Datapath::start_with(&ebpf_object(), kind, None, Journal::nowhere()).expect("a datapath");
    let target = TargetSide::Beyond;
    let interface = InterfaceReference { namespace: switch, index, name: outside.name, target };
    for hook in Hook::ALL {
        let plan = RulePlan {
            effects: delayed(60_000),
            holding: Some(HoldingKind::Relay),
            ..RulePlan::new(interface.clone(), hook)
        };
        datapath.add_rule(plan).expect("a rule");
    }
    println!("rules hold");
    sleep(Duration::from_secs(60));
}

fn check_stop_and_kill(kind: AttachKind) {
    let mut stand_in = StandIn::start(kind);
    let hosts = stand_in.hosts.clone();
    let server = EchoServer::start(&hosts.right);
    assert!(!server.answers(&hosts.left, PATIENCE), "the rules of the other process do not hold");
    stand_in.signal(Signal::STOP);
    let end = server.time_to_answer(&hosts.left, Duration::from_secs(5)).expect("an answer");
    println!("{kind:?}: answers {end:?} after the process stopped");
    assert!(end < LEASE_AND_MARGIN, "{end:?}");
    stand_in.signal(Signal::CONT);
    sleep(PATIENCE);
    assert!(!server.answers(&hosts.left, PATIENCE), "the rules are not renewed");
    stand_in.signal(Signal::KILL);
    let end = server.time_to_answer(&hosts.left, Duration::from_secs(5)).expect("an answer");
    println!("{kind:?}: answers {end:?} after the process was killed");
    assert!(end < LEASE_AND_MARGIN, "{end:?}");
    stand_in.process.stop(Duration::from_secs(5)).expect("gone");
    check_residue(kind, &hosts, &server);
}

fn check_residue(kind: AttachKind, hosts: &VethPairHosts, server: &EchoServer) {
    let find = || {
        let found = residue::find(std::slice::from_ref(&hosts.switch)).expect("found");
        found.into_iter().filter(|found| !matches!(found, Residue::Namespace { .. })).collect::<Vec<_>>()
    };
    let filters = find();
    println!("{kind:?}: left {filters:?}");
    assert!(filters.iter().all(|residue| matches!(residue, Residue::Filter { .. })), "{filters:?}");
    assert_eq!(filters.len(), if kind == AttachKind::Clsact { 2 } else { 0 });
    for filter in filters {
        residue::remove(&filter).expect("removed");
    }
    assert_eq!(find(), []);
    assert!(server.answers(&hosts.left, PATIENCE));
}

#[test]
fn traffic_flows_soon_after_the_process_stops_or_dies_under_tcx() {
    let name = "stopped and killed, TCX";
    let _exclusive = exclusive();
    let Some(capabilities) = capabilities(name) else { return };
    if supported(name, "TCX", &capabilities.tcx) && supported(name, "TAP devices", &capabilities.tap) {
        check_stop_and_kill(AttachKind::Tcx);
    }
}

#[test]
fn traffic_flows_soon_after_the_process_stops_or_dies_under_clsact() {
    let name = "stopped and killed, clsact";
    let _exclusive = exclusive();
    let Some(capabilities) = capabilities(name) else { return };
    if supported(name, "clsact", &capabilities.clsact) && supported(name, "TAP devices", &capabilities.tap) {
        check_stop_and_kill(AttachKind::Clsact);
    }
}
