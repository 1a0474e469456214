//! How programs are attached and detached, and what happens when interfaces and namespaces vanish.
#![expect(clippy::expect_used, reason = "what a test needs and does not get is a failure of the test")]

use std::time::{Duration, Instant};

use faultd_kernel::{
    LINK_NAME_PREFIX,
    datapath::{AttachKind, Datapath, DatapathError, Delay, Effects, HoldingKind, Hook, Loss, RulePlan},
    journal::Journal,
    link,
    namespace::{self, Namespace},
    process::{ProcessPlan, SpawnedProcess},
    residue::{self, Residue},
};
use faultd_testkit::{
    capabilities, ebpf_object, exclusive,
    hosts::{Host, VethPairHosts},
    measure::EchoServer,
    rules::{holding_kinds, rule},
    skip, supported,
    traces::rule_parts,
};

const PATIENCE: Duration = Duration::from_millis(300);

fn plan(host: &Host, hook: Hook, delay: Option<Duration>, loss: Option<f64>) -> RulePlan {
    let effects = Effects {
        delay: delay.map(|base| Delay { base, jitter: None }),
        loss: loss.map(Loss::Random),
        ..Effects::default()
    };
    rule(host, hook, effects, delay.map(|_delay| HoldingKind::Relay))
}

fn datapath(test_name: &str) -> Option<Datapath> {
    let capabilities = capabilities(test_name)?;
    let possible = supported(test_name, "TAP devices", &capabilities.tap);
    possible.then(|| Datapath::start(&ebpf_object(), &capabilities, Journal::nowhere()).expect("a datapath"))
}

#[test]
fn clsact_carries_delay_and_loss_and_is_removed_after_the_last_rule() {
    let name = "clsact";
    let _exclusive = exclusive();
    let Some(capabilities) = capabilities(name) else { return };
    if !supported(name, "clsact", &capabilities.clsact) || !supported(name, "TAP devices", &capabilities.tap)
    {
        return;
    }
    let datapath = Datapath::start_with(&ebpf_object(), AttachKind::Clsact, None, Journal::nowhere())
        .expect("a datapath");
    let hosts = VethPairHosts::create();
    let server = EchoServer::start(&hosts.right);
    let base = server.median_round_trip(&hosts.left, 15);
    let delay = Some(Duration::from_millis(50));
    let out = datapath.add_rule(plan(&hosts.left, Hook::Ingress, delay, None)).expect("a rule").id;
    let back = datapath.add_rule(plan(&hosts.left, Hook::Egress, delay, None)).expect("a rule").id;
    let added = server.median_round_trip(&hosts.left, 9).saturating_sub(base);
    assert!(added > Duration::from_millis(99) && added < Duration::from_millis(160), "{added:?}");
    datapath.remove_rule(out).expect("removed");
    datapath.remove_rule(back).expect("removed");
    let loss = datapath.add_rule(plan(&hosts.left, Hook::Ingress, None, Some(1.0))).expect("a rule").id;
    assert!(!server.answers(&hosts.left, PATIENCE));
    datapath.remove_rule(loss).expect("removed");
    assert!(server.answers(&hosts.left, PATIENCE));
    let mut left = residue::find(std::slice::from_ref(&hosts.switch)).expect("found");
    // Somebody's lab may be up meanwhile.
    left.retain(|residue| !matches!(residue, Residue::Namespace { .. }));
    assert_eq!(left, []);
}

#[test]
fn a_clsact_of_somebody_else_stays() {
    let name = "clsact of somebody else";
    let _exclusive = exclusive();
    let Some(capabilities) = capabilities(name) else { return };
    if !supported(name, "clsact", &capabilities.clsact) {
        return;
    }
    let hosts = VethPairHosts::create();
    let outside = hosts.left.outside.name.as_str();
    let Some(_) = tc(&hosts.switch, &["qdisc", "add", "dev", outside, "clsact"]) else {
        return skip(name, "there is no tc");
    };
    let datapath = Datapath::start_with(&ebpf_object(), AttachKind::Clsact, None, Journal::nowhere())
        .expect("a datapath");
    let filters =
        || tc(&hosts.switch, &["filter", "show", "dev", outside, "ingress"]).expect("tc ran before");
    let rule = datapath.add_rule(plan(&hosts.left, Hook::Ingress, None, Some(1.0))).expect("a rule").id;
    assert!(filters().contains("faultd:hook_ingress"), "{}", filters());
    datapath.remove_rule(rule).expect("removed");
    assert!(!filters().contains("faultd"), "{}", filters());
    let disciplines = tc(&hosts.switch, &["qdisc", "show", "dev", outside]).expect("tc ran before");
    assert!(disciplines.contains("clsact"), "{disciplines}");
}

#[test]
fn after_rules_of_every_kind_an_interface_is_to_the_byte_as_before() {
    let name = "interface as before";
    let _exclusive = exclusive();
    let Some(datapath) = datapath(name) else { return };
    let hosts = VethPairHosts::create();
    let interface = &hosts.left.outside;
    let look = || {
        let link = output_in(&hosts.switch, "ip", &["-details", "link", "show", "dev", &interface.name]);
        let disciplines = tc(&hosts.switch, &["qdisc", "show"]);
        Some((without_timers(&link?), disciplines?, rule_parts(interface)))
    };
    let Some(before) = look() else { return skip(name, "there is no ip or no tc") };
    let delay = Some(Duration::from_millis(1));
    for hook in Hook::ALL {
        let faults = [(None, Some(1.0)), (None, Some(0.5)), (delay, None), (delay, Some(0.5))];
        let ids = faults
            .map(|(delay, loss)| datapath.add_rule(plan(&hosts.left, hook, delay, loss)).expect("a rule").id);
        assert_ne!(look().as_ref(), Some(&before), "a rule can be seen");
        ids.into_iter().for_each(|id| drop(datapath.remove_rule(id).expect("removed")));
        assert_eq!(look().as_ref(), Some(&before));
    }
}

/// The words of a text but for the times that a bridge's port counts down.
fn without_timers(text: &str) -> Vec<String> {
    let mut after_timer = false;
    let words = text.split_whitespace().filter(|word| {
        let is_time = std::mem::replace(&mut after_timer, word.ends_with("_timer"));
        !is_time
    });
    words.map(str::to_owned).collect()
}

/// What tc says inside a namespace; nothing if there is no tc.
fn tc(namespace: &Namespace, arguments: &[&str]) -> Option<String> {
    output_in(namespace, "tc", arguments)
}

/// What a program says inside a namespace; nothing if there is no such program.
fn output_in(namespace: &Namespace, program: &str, arguments: &[&str]) -> Option<String> {
    let log = std::env::temp_dir().join(format!("faultd-test-{program}-{}", std::process::id()));
    let plan = ProcessPlan {
        program: program.to_owned(),
        arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
        environment: Vec::new(),
        working_directory: std::env::temp_dir(),
        log: log.clone(),
        control_groups: Vec::new(),
    };
    let process = SpawnedProcess::spawn(namespace, &plan);
    let status = process.ok().map(|mut process| {
        assert!(process.identity().wait_until_ended(Duration::from_secs(10)).expect("waited"));
        process.try_wait().expect("waited").expect("ended")
    });
    let text = std::fs::read_to_string(&log).expect("what tc said");
    std::fs::remove_file(log).expect("removed");
    assert!(status?.success(), "{program} {arguments:?}: {text}");
    Some(text)
}

#[test]
fn devices_exist_only_while_a_rule_needs_them() {
    let _exclusive = exclusive();
    let Some(datapath) = datapath("devices of rules") else { return };
    let hosts = VethPairHosts::create();
    let ours = || {
        let links = link::list(&hosts.switch).expect("links");
        links.into_iter().filter(|link| link.name.starts_with(LINK_NAME_PREFIX)).count()
    };
    let loss = datapath.add_rule(plan(&hosts.left, Hook::Ingress, None, Some(1.0))).expect("a rule").id;
    assert_eq!(ours(), 0);
    let delay = Some(Duration::from_millis(1));
    let first = datapath.add_rule(plan(&hosts.left, Hook::Ingress, delay, None)).expect("a rule").id;
    let second = datapath.add_rule(plan(&hosts.right, Hook::Egress, delay, None)).expect("a rule").id;
    assert_eq!(ours(), 1);
    datapath.remove_rule(first).expect("removed");
    assert_eq!(ours(), 1);
    datapath.remove_rule(second).expect("removed");
    assert_eq!(ours(), 0);
    datapath.remove_rule(loss).expect("removed");
    let some = datapath.add_rule(plan(&hosts.left, Hook::Ingress, None, Some(0.5))).expect("a rule").id;
    assert_eq!(ours(), 2, "a pair cuts super-packets of which some are lost");
    datapath.remove_rule(some).expect("removed");
    assert_eq!(ours(), 0);
}

#[test]
fn a_datapath_that_is_dropped_takes_its_rules_with_it() {
    let _exclusive = exclusive();
    let Some(datapath) = datapath("drop") else { return };
    let hosts = VethPairHosts::create();
    let server = EchoServer::start(&hosts.right);
    datapath.add_rule(plan(&hosts.left, Hook::Ingress, None, Some(1.0))).expect("a rule");
    assert!(!server.answers(&hosts.left, PATIENCE));
    drop(datapath);
    assert!(server.answers(&hosts.left, PATIENCE));
}

#[test]
fn the_65th_rule_for_the_same_packets_is_refused_and_changes_nothing() {
    let _exclusive = exclusive();
    let Some(datapath) = datapath("too many rules") else { return };
    let hosts = VethPairHosts::create();
    for _rule in 0..64 {
        datapath.add_rule(plan(&hosts.left, Hook::Ingress, None, None)).expect("a rule");
    }
    let another = datapath.add_rule(plan(&hosts.left, Hook::Ingress, None, Some(1.0)));
    assert!(matches!(another, Err(DatapathError::TooManyRules { limit: 64, .. })), "{another:?}");
    assert_eq!(datapath.rules().len(), 64);
}

#[test]
fn an_interface_that_is_not_there_is_an_error_and_leaves_nothing() {
    let _exclusive = exclusive();
    let Some(datapath) = datapath("no such interface") else { return };
    let hosts = VethPairHosts::create();
    let mut plan = plan(&hosts.left, Hook::Ingress, Some(Duration::from_millis(1)), None);
    plan.interface.index = 4_000_000;
    assert!(datapath.add_rule(plan).is_err());
    assert_eq!(datapath.holding_devices(), []);
}

#[test]
fn an_interface_deleted_under_a_rule_hinders_nothing() {
    let _exclusive = exclusive();
    let Some(datapath) = datapath("interface deleted") else { return };
    let hosts = VethPairHosts::create();
    let delay = Some(Duration::from_millis(1));
    let rule = datapath.add_rule(plan(&hosts.left, Hook::Ingress, delay, None)).expect("a rule").id;
    link::delete(&hosts.switch, hosts.left.outside.index).expect("deleted");
    datapath.remove_rule(rule).expect("removed");
    datapath.shutdown().expect("a clean end");
}

#[test]
fn a_namespace_deleted_under_a_rule_does_not_hang() {
    let _exclusive = exclusive();
    let Some(datapath) = datapath("namespace deleted") else { return };
    let name = format!("faultd-test-{}", std::process::id());
    let switch = Namespace::create_named(&name).expect("a named namespace");
    let hosts = VethPairHosts::create_around(&switch);
    drop(switch);
    let delay = Some(Duration::from_secs(5));
    let rule = datapath.add_rule(plan(&hosts.left, Hook::Ingress, delay, None)).expect("a rule").id;
    namespace::remove_named(&name).expect("deleted");
    drop(hosts);
    let start = Instant::now();
    datapath.remove_rule(rule).expect("removed");
    datapath.shutdown().expect("a clean end");
    assert!(start.elapsed() < Duration::from_secs(5));
}

/// The relay's thread comes before all others: with nothing to read it must sleep, not try again.
#[test]
fn a_holding_device_deleted_under_a_rule_keeps_no_cpu_busy() {
    let _exclusive = exclusive();
    let Some(datapath) = datapath("holding device deleted") else { return };
    let hosts = VethPairHosts::create();
    let delay = Some(Duration::from_millis(1));
    let rule = datapath.add_rule(plan(&hosts.left, Hook::Ingress, delay, None)).expect("a rule").id;
    let (name, _statistics) = datapath.holding_devices().pop().expect("a holding device");
    let device = link::find(&hosts.switch, &name).expect("links").expect("the device");
    link::delete(&hosts.switch, device.index).expect("deleted");
    let before = cpu_time();
    std::thread::sleep(Duration::from_millis(500));
    let busy = cpu_time() - before;
    assert!(busy < Duration::from_millis(250), "{busy:?} of 500 ms");
    datapath.remove_rule(rule).expect("removed");
    datapath.shutdown().expect("a clean end");
}

#[test]
fn a_device_that_was_made_ready_and_deleted_is_made_again() {
    let _exclusive = exclusive();
    let Some(datapath) = datapath("ready device deleted") else { return };
    let hosts = VethPairHosts::create();
    datapath.prepare(&hosts.switch).expect("ready");
    let (name, _statistics) = datapath.holding_devices().pop().expect("a holding device");
    let device = link::find(&hosts.switch, &name).expect("links").expect("the device");
    link::delete(&hosts.switch, device.index).expect("deleted");
    let capabilities = capabilities("ready device deleted").expect("asked before");
    let kind = holding_kinds(&capabilities).first().copied();
    let delay = Delay { base: Duration::from_millis(50), jitter: None };
    let effects = Effects { delay: Some(delay), ..Effects::default() };
    let rule = datapath.add_rule(rule(&hosts.left, Hook::Ingress, effects, kind)).expect("a rule").id;
    let server = EchoServer::start(&hosts.right);
    assert!(server.median_round_trip(&hosts.left, 1) >= Duration::from_millis(50));
    datapath.remove_rule(rule).expect("removed");
    datapath.release(&hosts.switch);
}

fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).expect("a positive time")
}

#[test]
fn an_interface_that_was_made_ready_takes_a_rule_and_is_left_as_it_was() {
    let _exclusive = exclusive();
    let Some(datapath) = datapath("prepared interface") else { return };
    let hosts = VethPairHosts::create();
    let server = EchoServer::start(&hosts.right);
    datapath.prepare_interface(&hosts.left.outside).expect("ready");
    assert!(server.answers(&hosts.left, Duration::from_secs(1)), "ready is not under fault");
    let rule = datapath.add_rule(plan(&hosts.left, Hook::Ingress, None, Some(1.0))).expect("a rule").id;
    assert!(!server.answers(&hosts.left, Duration::from_millis(100)));
    datapath.remove_rule(rule).expect("removed");
    datapath.release_interface(&hosts.left.outside);
    let links = link::list(&hosts.switch).expect("links");
    assert!(!links.iter().any(|link| link.name.starts_with(LINK_NAME_PREFIX)), "{links:?}");
    // Once more, and this time its end comes with that of the datapath.
    datapath.prepare_interface(&hosts.left.outside).expect("ready");
    datapath.shutdown().expect("a clean end");
    let links = link::list(&hosts.switch).expect("links");
    assert!(!links.iter().any(|link| link.name.starts_with(LINK_NAME_PREFIX)), "{links:?}");
}
