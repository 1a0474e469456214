//! The lab of a real Cassandra and its experiments: `make test-cassandra`.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests"
)]

mod experiments;

use std::{path::Path, time::Duration};

use faultd_testkit::daemon_under_test::DaemonUnderTest;
use serde_json::Value;

const FAULTD: &str = env!("CARGO_BIN_EXE_faultd");
const WORKLOAD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../workloads/cassandra");
const PATIENCE: Duration = Duration::from_secs(120);

fn degradation(daemon: &DaemonUnderTest, words: &str) -> f64 {
    let window = "--clients 4 --warm-up 1s --duration 9s --inject-at 3s --for 3s";
    let document = daemon.faultctl_started(&format!("-o json run {words} {window}")).wait(PATIENCE).json();
    assert_eq!((&document["status"], &document["summary"]["tainted"]), (&"done".into(), &Value::Null));
    document["summary"]["effect"]["degradation"].as_f64().unwrap()
}

#[test]
#[ignore = "optional: needs a Cassandra and 2 GB of memory, see make test-cassandra"]
fn a_slow_coordinator_slows_its_clients_and_a_slow_replica_does_not() {
    let daemon = DaemonUnderTest::start(FAULTD);
    let lab = daemon.lab_name();
    daemon.faultctl_started(&format!("lab up {WORKLOAD} --name {lab}")).wait(PATIENCE).succeeded();
    experiments::all_can_be_run(&daemon, &lab, Path::new(WORKLOAD));

    let load = format!("--cluster {lab} --via member --driver-set consistency=quorum --delay 50ms");
    let coordinator = degradation(&daemon, &format!("{load} --target member:serving"));
    let replica = degradation(&daemon, &format!("{load} --target member:other"));
    assert!(coordinator > 0.7, "a client waits for its coordinator: {coordinator}");
    assert!(replica < 0.5, "a quorum does not wait for the slowest of three: {replica}");

    // Who waits for all copies waits for the slow one.
    let load = load.replace("quorum", "all");
    let replica = degradation(&daemon, &format!("{load} --target member:other"));
    assert!(replica > 0.7, "all copies: {replica}");
    daemon.faultctl(&format!("lab down {lab}")).succeeded();
}
