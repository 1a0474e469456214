//! Namespaces, links, processes, probing: what the datapath and a lab stand on.

use std::{fs, path::Path, time::Duration};

use faultd_kernel::{
    link,
    namespace::{self, Namespace, NamespaceError},
    probe::{self, Support},
    process::{ProcessError, ProcessPlan, Signal, SpawnedProcess},
    residue::{self, Residue},
};
use faultd_testkit::{capabilities, ebpf_object, exclusive, hosts::VethPairHosts};

#[test]
fn probing_finds_what_every_kernel_of_ours_has_and_leaves_nothing() {
    let _exclusive = exclusive();
    if capabilities("probing").is_none() {
        return;
    }
    let found = probe::probe(&ebpf_object()).expect("probed");
    println!("{found:#?}");
    assert_eq!(found.programs, Support::Available);
    assert_eq!(found.clsact, Support::Available);
    assert!(found.attach_kind().is_some());
    assert!(!found.kernel_release.is_empty());
}

#[test]
fn an_object_that_is_none_is_a_missing_capability_with_a_reason() {
    if capabilities("probing with a bad object").is_none() {
        return;
    }
    let found = probe::probe(b"no object").expect("probed");
    assert!(matches!(found.programs, Support::Missing { reason } if reason.contains("eBPF object")));
    assert_eq!(found.tap, probe::probe(&ebpf_object()).expect("probed").tap);
}

#[test]
fn the_host_side_of_a_host_is_found_by_its_peer() {
    let _exclusive = exclusive();
    if capabilities("host side").is_none() {
        return;
    }
    let hosts = VethPairHosts::create();
    for host in [&hosts.left, &hosts.right] {
        let pairs = link::host_side_of(&host.namespace, &hosts.switch).expect("pairs");
        let names: Vec<_> =
            pairs.iter().map(|pair| (pair.inside.name.as_str(), pair.outside.index)).collect();
        assert_eq!(names, [("eth0", host.outside.index)]);
    }
    assert_eq!(link::host_side_of(&hosts.left.namespace, &hosts.right.namespace).expect("none"), []);
}

#[test]
fn named_namespaces_come_and_go_and_are_found_as_residue() {
    let _exclusive = exclusive();
    if capabilities("named namespaces").is_none() {
        return;
    }
    let name = format!("faultd-test-named-{}", std::process::id());
    let created = Namespace::create_named(&name).expect("created");
    assert!(matches!(Namespace::create_named(&name), Err(NamespaceError::Create { .. })));
    assert_eq!(Namespace::open_named(&name).expect("opened"), created);
    assert_ne!(Namespace::current().expect("own"), created);
    assert!(namespace::list_named().contains(&name));
    let found = residue::find(&[]).expect("found");
    let residue = found.iter().find(|found| **found == Residue::Namespace { name: name.clone() });
    residue::remove(residue.expect("our namespace")).expect("removed");
    assert!(!namespace::list_named().contains(&name));
    namespace::remove_named(&name).expect("removing what is gone is no error");
}

#[test]
fn a_process_runs_in_its_namespace_and_is_stopped_by_its_identity() {
    let _exclusive = exclusive();
    if capabilities("processes").is_none() {
        return;
    }
    let namespace = Namespace::create_anonymous().expect("a namespace");
    let log = std::env::temp_dir().join(format!("faultd-test-process-{}", std::process::id()));
    let script = "trap '' TERM; echo ready; while :; do sleep 0.1; done";
    let mut process = SpawnedProcess::spawn(&namespace, &shell(script, &log)).expect("started");
    while !fs::read_to_string(&log).expect("its log").contains("ready") {
        std::thread::sleep(Duration::from_millis(10));
    }
    let identity = process.identity();
    assert_eq!(Namespace::of_process(identity.pid).expect("its namespace"), namespace);
    assert!(identity.is_alive());
    assert!(!identity.wait_until_ended(Duration::from_millis(50)).expect("waited"));
    // It ignores the polite signal.
    process.stop(Duration::from_millis(300)).expect("stopped");
    assert!(!identity.is_alive());
    assert!(!identity.send_signal(Signal::TERM).expect("nobody is hit"));
    fs::remove_file(log).expect("removed");
}

#[test]
fn a_program_that_is_not_there_is_named_in_the_error() {
    let _exclusive = exclusive();
    if capabilities("missing program").is_none() {
        return;
    }
    let log = std::env::temp_dir().join(format!("faultd-test-missing-{}", std::process::id()));
    let plan = ProcessPlan { program: "no-such-program".to_owned(), ..shell("", &log) };
    let error =
        SpawnedProcess::spawn(&Namespace::current().expect("here"), &plan).expect_err("no such program");
    assert!(matches!(&error, ProcessError::Start { program, .. } if program == "no-such-program"), "{error}");
    fs::remove_file(log).expect("removed");
}

fn shell(script: &str, log: &Path) -> ProcessPlan {
    ProcessPlan {
        program: "sh".to_owned(),
        arguments: vec!["-c".to_owned(), script.to_owned()],
        environment: Vec::new(),
        working_directory: std::env::temp_dir(),
        log: log.to_owned(),
        control_groups: Vec::new(),
    }
}
