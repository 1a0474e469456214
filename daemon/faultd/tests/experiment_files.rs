//! The experiment files of `workloads/etcd` on a lab of it.
#![expect(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod experiments;

use faultd_testkit::daemon_under_test::{DaemonUnderTest, etcd_description};

const FAULTD: &str = env!("CARGO_BIN_EXE_faultd");

#[test]
fn each_experiment_of_etcd_can_be_run_as_it_stands_there() {
    let daemon = DaemonUnderTest::start(FAULTD);
    let lab = daemon.lab_up();
    experiments::all_can_be_run(&daemon, &lab, &etcd_description());
}
